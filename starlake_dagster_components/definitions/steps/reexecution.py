"""Avoid repeating work in a re-execution from failure, or in a retry of a step that has made some of its assets.

Dagster runs a failed step again as a whole, along with everything that depends on it, including what succeeded. This suits steps that
make one asset, because readers of a failed asset have not run. A batch may have made some assets, and their readers may have run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from .command import Events, get_step_key
from .run_history import EarlierFailure, Materialized, RunHistory, find_earlier_failures, find_materializations


def find_loaded_before(context: dg.AssetExecutionContext, history: RunHistory) -> Mapping[dg.AssetKey, Materialized]:
    """Return the assets that earlier attempts of this step made before failing, in this run or in runs that it re-executes from failure."""
    key = get_step_key(context)
    runs = history.list_continued_runs(key)[: history.from_failure]
    return find_materializations(context.instance, (context.run.run_id, *runs), key)


def find_failed_before(context: dg.AssetExecutionContext, history: RunHistory) -> Mapping[dg.AssetKey, EarlierFailure]:
    """Return the tables whose load failed so that another one does not find their files, in earlier attempts or in the runs that this one
    re-executes.
    """
    key = get_step_key(context)
    runs = history.list_continued_runs(key)[: history.from_failure]
    return find_earlier_failures(context.instance, (context.run.run_id, *runs), key)


def find_done_before(context: dg.AssetExecutionContext, history: RunHistory) -> Mapping[dg.AssetKey, Materialized]:
    """Return the assets that this step made in a run that this one continues, if it succeeded there and runs again only with its inputs."""
    key = get_step_key(context)
    if key not in history.succeeded_before:
        return {}
    to_do = context.run.step_keys_to_execute or ()
    if not any(step == key and read in to_do for step, read, _ in _iterate_dependencies(context)):
        return {}
    return find_materializations(context.instance, history.earlier_runs[: history.from_failure], key)


def report_kept_assets(
    context: dg.AssetExecutionContext,
    history: RunHistory,
    outputs: Iterable[tuple[str, dg.AssetKey]],
    before: Mapping[dg.AssetKey, Materialized],
) -> Events:
    """Log the assets that are not made again. Materialize those that later steps need again, with the earlier metadata.

    Dagster does not know the earlier outputs of a step that a run executes again. Within a process, it remembers those of earlier attempts.

    Args:
        context: the step.
        history: the runs that this run continues.
        outputs: name and key of the step's outputs.
        before: the assets that were made before.
    """
    for output, key in outputs:
        earlier = before.get(key)
        if earlier is None:
            continue
        in_run = "this run" if earlier.run_id == context.run.run_id else f"run {earlier.run_id}"
        context.log.info(f"{key.to_user_string()} is not made again, because an earlier attempt in {in_run} made it")
        known_here = earlier.run_id == context.run.run_id and context.op_execution_context.retry_number > 0
        if not known_here and _is_needed_later(context, output, history.succeeded_before):
            yield dg.MaterializeResult(asset_key=key, metadata={**earlier.metadata, "starlake/made_in_run": earlier.run_id})


def _is_needed_later(context: dg.AssetExecutionContext, output: str, done: frozenset[str]) -> bool:
    """Return whether a remaining step of this run depends, directly or indirectly, on an output of the current step."""
    to_do: Sequence[str] | None = context.run.step_keys_to_execute
    readers: dict[str, list[tuple[str, str]]] = {}
    for reader, read, name in _iterate_dependencies(context):
        readers.setdefault(read, []).append((name, reader))
    waiting = [reader for name, reader in readers.get(get_step_key(context), ()) if name == output]
    seen: set[str] = set()
    while waiting:
        step = waiting.pop()
        if step not in done and (to_do is None or step in to_do):
            return True
        if step not in seen:
            seen.add(step)
            waiting.extend(reader for _, reader in readers.get(step, ()))
    return False


def _iterate_dependencies(context: dg.AssetExecutionContext) -> Iterator[tuple[str, str, str]]:
    """Yield the dependencies of the job's steps: the step, the other step, the name of its output."""
    for invocation, inputs in context.job_def.dependencies.items():
        for dependency in inputs.values():
            for node in dependency.get_node_dependencies():
                yield invocation.alias or invocation.name, node.node, node.output
