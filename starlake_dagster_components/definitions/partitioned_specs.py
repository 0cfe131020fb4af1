"""Partitions of specs, including those that a translator sets."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from ..errors import Problem
from ..pipelines.pipeline import Pipeline, Plan
from ..settings import Settings
from .nodes import StarlakeNode
from .partitions import build_partitions, is_partitioned

NodeId = tuple[str, str]
Windows = dg.TimeWindowPartitionsDefinition

BACKFILL = "starlake/backfill"
"""Metadata of a spec that says how its task is backfilled, ``runs`` or ``single_run``; without it, the setting decides."""


@dataclass(frozen=True, slots=True)
class PartitionedSpecs:
    """The specs that have partitions.

    Attributes:
        specs: those that are no longer as the translator made them.
        by_job: job -> its partitions.
        problems: partitions that were refused.
    """

    specs: Mapping[NodeId, dg.AssetSpec]
    by_job: Mapping[str, Windows]
    problems: tuple[Problem, ...] = ()


def add_partitions(
    plan: Plan, settings: Settings, nodes: Mapping[NodeId, StarlakeNode], specs: Mapping[NodeId, dg.AssetSpec]
) -> PartitionedSpecs:
    """Return the specs of tasks with the partitions of their jobs, or with those that the translator sets.

    Args:
        plan: the plan.
        settings: which tasks have partitions.
        nodes: all nodes.
        specs: as the translator made them.
    """
    chosen: dict[NodeId, Windows] = {}
    problems: list[Problem] = []
    for node_id, node in nodes.items():
        given = specs[node_id].partitions_def
        if given is None:
            if node.task and node.pipeline and is_partitioned(node.task, node.pipeline, settings):
                chosen[node_id] = build_partitions(node.pipeline, settings)
            continue
        refused = _explain_refusal(node, given, settings)
        if refused:
            problems.append(Problem(node.location, "error", f"the translation of {node.name} gives it partitions, {refused}"))
        elif isinstance(given, Windows) and node.task:
            chosen[node_id] = given
    problems += _find_bad_policies(nodes, specs)
    if not chosen:
        return PartitionedSpecs({}, {}, tuple(problems))
    by_job: dict[str, Windows] = {}
    for pipeline in plan.pipelines:
        problems += _settle_job(plan, pipeline, settings, nodes, chosen)
    for pipeline in plan.pipelines:
        found = next((chosen[node_id] for node_id in _list_tasks(plan, pipeline) if node_id in chosen), None)
        if found is not None:
            by_job[pipeline.name] = found
    keys = {key for node_id in chosen for key in (nodes[node_id].key, specs[node_id].key)}
    finished = {
        node_id: _finish_spec(specs[node_id], chosen.get(node_id), keys)
        for node_id, node in nodes.items()
        if node_id in chosen or (node.task and any(dep.asset_key in keys for dep in specs[node_id].deps))
    }
    return PartitionedSpecs(finished, by_job, tuple(problems))


def _list_tasks(plan: Plan, pipeline: Pipeline) -> Iterator[NodeId]:
    """Yield the tasks that a job runs: its own, then those upstream that it runs first."""
    for task in pipeline.tasks:
        yield "task", task.full_name
    if pipeline.run_dependencies_first:
        for dependency in plan.dependencies.get_transitive(*(task.full_name for task in pipeline.tasks)):
            if dependency.kind == "task":
                yield "task", dependency.name


def _explain_refusal(node: StarlakeNode, given: dg.PartitionsDefinition[str], settings: Settings) -> str:
    """Return why partitions that a translation gives cannot be honored; an empty string where they can."""
    if node.type == "external":
        return ""
    if node.task is None:
        return "and a load has none: it takes the files that are there, whatever the date"
    if not isinstance(given, Windows):
        return f"and {type(given).__name__} has no intervals: expected a TimeWindowPartitionsDefinition"
    pipeline = node.pipeline
    schedule = pipeline.schedule if pipeline else None
    if pipeline is None or schedule is None:
        return ""
    own = build_partitions(pipeline, settings)
    if (given.cron_schedule, given.timezone) != (own.cron_schedule, own.timezone):
        return (
            f"whose intervals are not those of its schedule: '{given.cron_schedule}' ({given.timezone}), and its job "
            f"{pipeline.name} runs at '{own.cron_schedule}' ({own.timezone})"
        )
    return ""


def _settle_job(
    plan: Plan, pipeline: Pipeline, settings: Settings, nodes: Mapping[NodeId, StarlakeNode], chosen: dict[NodeId, Windows]
) -> Iterator[Problem]:
    """Take away partitions that the other assets of a job do not have: Dagster runs assets for one kind of partitions at a time."""
    own = {("task", task.full_name) for task in pipeline.tasks}
    kinds = {chosen[node_id]: node_id for node_id in sorted(own) if node_id in chosen}
    if len(kinds) > 1:
        names = " and ".join(nodes[node_id].name for node_id in kinds.values())
        text = f"{names} have different partitions, and both belong to the job {pipeline.name}"
        yield Problem(pipeline.dag_config.origin.locate("filename"), "error", text)
        return
    others = [node_id for node_id in _list_tasks(plan, pipeline) if node_id not in own and node_id in chosen]
    if not others:
        return
    main = next(iter(kinds), build_partitions(pipeline, settings) if pipeline.schedule else chosen[others[0]])
    for node_id in others:
        if chosen.get(node_id, main) != main:
            del chosen[node_id]
            yield Problem(
                nodes[node_id].location,
                "warning",
                f"{nodes[node_id].name} has no partitions: {pipeline.name} runs it, too (run_dependencies_first), at other times",
            )


def _find_bad_policies(nodes: Mapping[NodeId, StarlakeNode], specs: Mapping[NodeId, dg.AssetSpec]) -> Iterator[Problem]:
    for node_id, spec in specs.items():
        given = spec.metadata.get(BACKFILL)
        if given is not None and given not in ("runs", "single_run"):
            text = f"metadata {BACKFILL} of {nodes[node_id].name}: expected 'runs' or 'single_run', not {given!r}"
            yield Problem(nodes[node_id].location, "error", text)


def _finish_spec(spec: dg.AssetSpec, windows: Windows | None, partitioned: Collection[dg.AssetKey]) -> dg.AssetSpec:
    """Return the spec of a task with its partitions, or with how it depends on those of other tasks: on all of them.

    Between tasks with partitions Dagster's own rule holds: the same one, or of other crons those whose intervals meet.
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
