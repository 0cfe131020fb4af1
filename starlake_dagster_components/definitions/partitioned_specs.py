"""Add partitions to asset specs, and check those that a translator sets."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg

from ..errors import Problem, join_with
from ..pipelines.pipeline import Pipeline, Plan
from ..settings import Settings
from .nodes import StarlakeNode
from .partitions import build_partitions, is_partitioned

NodeId = tuple[str, str]
Windows = dg.TimeWindowPartitionsDefinition

BACKFILL = "starlake/backfill"
"""Metadata of a spec that overrides the ``backfill`` setting for a task: ``runs`` or ``single_run``."""


def add_partitions(
    plan: Plan, settings: Settings, nodes: Mapping[NodeId, StarlakeNode], specs: Mapping[NodeId, dg.AssetSpec]
) -> tuple[Mapping[NodeId, dg.AssetSpec], Mapping[str, Windows], Sequence[Problem]]:
    """Add partitions to the specs of tasks: those of their jobs, or those that the translator sets.

    Returns:
        The specs that differ from the translator's, the partitions by job name, and problems with partitions.
    """
    chosen: dict[NodeId, Windows] = {}
    problems: list[Problem] = []
    for node_id, node in nodes.items():
        given = specs[node_id].partitions_def
        if given is None:
            if node.task and node.pipeline and is_partitioned(node.task, node.pipeline, settings):
                chosen[node_id] = build_partitions(node.pipeline, settings)
        elif reason := _explain_rejection(node, given, settings):
            problems.append(Problem(node.location, "error", f"the translation sets partitions for {node.name}, {reason}"))
        elif isinstance(given, Windows) and node.task:
            chosen[node_id] = given
        policy = specs[node_id].metadata.get(BACKFILL)
        if policy is not None and policy not in ("runs", "single_run"):
            text = f"metadata {BACKFILL} of {node.name}: expected 'runs' or 'single_run', not {policy!r}"
            problems.append(Problem(node.location, "error", text))
    if not chosen:
        return {}, {}, problems
    for pipeline in plan.pipelines:
        problems += _restrict_partitions(plan, pipeline, settings, nodes, chosen)
    found = ((p.name, next((chosen[task] for task in _list_tasks(plan, p) if task in chosen), None)) for p in plan.pipelines)
    by_job = {name: windows for name, windows in found if windows is not None}
    keys = {key for node_id in chosen for key in (nodes[node_id].key, specs[node_id].key)}
    finished = {
        node_id: _finish_spec(specs[node_id], chosen.get(node_id), keys)
        for node_id, node in nodes.items()
        if node_id in chosen or (node.task and any(dep.asset_key in keys for dep in specs[node_id].deps))
    }
    return finished, by_job, problems


def _list_tasks(plan: Plan, pipeline: Pipeline) -> Iterator[NodeId]:
    """Yield the tasks that a job runs: its own, and then those upstream (``run_dependencies_first``)."""
    for task in pipeline.tasks:
        yield "task", task.full_name
    if pipeline.run_dependencies_first:
        for dependency in plan.dependencies.get_transitive(*(task.full_name for task in pipeline.tasks)):
            if dependency.kind == "task":
                yield "task", dependency.name


def _explain_rejection(node: StarlakeNode, given: dg.PartitionsDefinition[str], settings: Settings) -> str:
    """Return the reason why partitions that the translator sets are not supported; empty if they are."""
    if node.type == "external":
        return ""
    if node.task is None:
        return "but loads cannot have partitions: they load all waiting files, whatever the date"
    if not isinstance(given, Windows):
        return f"but {type(given).__name__} has no intervals (expected a TimeWindowPartitionsDefinition)"
    pipeline = node.pipeline
    schedule = pipeline.schedule if pipeline else None
    if pipeline is None or schedule is None:
        return ""
    own = build_partitions(pipeline, settings)
    if (given.cron_schedule, given.timezone) != (own.cron_schedule, own.timezone):
        return (
            f"but their cron '{given.cron_schedule}' ({given.timezone}) is not that of the schedule of its job {pipeline.name}: "
            f"'{own.cron_schedule}' ({own.timezone})"
        )
    return ""


def _restrict_partitions(
    plan: Plan, pipeline: Pipeline, settings: Settings, nodes: Mapping[NodeId, StarlakeNode], chosen: dict[NodeId, Windows]
) -> Iterator[Problem]:
    """Remove partitions that differ from those of a job from ``chosen``, because the assets of a run must have the same partitions."""
    own = {("task", task.full_name) for task in pipeline.tasks}
    kinds = {chosen[node_id]: node_id for node_id in sorted(own) if node_id in chosen}
    if len(kinds) > 1:
        names = join_with("and", [nodes[node_id].name for node_id in kinds.values()])
        text = f"{names} have different partitions, but {'both' if len(kinds) == 2 else 'all'} belong to the job {pipeline.name}"
        yield Problem(pipeline.dag_config.origin.locate("filename"), "error", text)
        return
    others = [node_id for node_id in _list_tasks(plan, pipeline) if node_id not in own and node_id in chosen]
    if not others:
        return
    main = next(iter(kinds), build_partitions(pipeline, settings) if pipeline.schedule else chosen[others[0]])
    for node_id in others:
        if chosen.get(node_id, main) != main:
            del chosen[node_id]
            reason = f"{pipeline.name} also runs it (run_dependencies_first), at other times"
            yield Problem(nodes[node_id].location, "warning", f"{nodes[node_id].name} has no partitions, because {reason}")


def _finish_spec(spec: dg.AssetSpec, windows: Windows | None, partitioned: Collection[dg.AssetKey]) -> dg.AssetSpec:
    """Return a task's spec with its partitions. A task without partitions depends on all partitions of its inputs.

    Between partitioned tasks, Dagster's default mapping applies: partitions depend on those whose intervals overlap.
    """
    if windows is not None:
        return spec if spec.partitions_def is not None else spec.replace_attributes(partitions_def=windows)
    deps = [
        dg.AssetDep(d.asset_key, partition_mapping=dg.AllPartitionMapping())
        if d.asset_key in partitioned and d.partition_mapping is None
        else d
        for d in spec.deps
    ]
    return spec.replace_attributes(deps=deps)
