"""Avoid repeating work when a batch is retried, or re-executed from failure.

Dagster runs a failed step again as a whole, along with all steps that depend on it. This is right for steps with one asset, because the
steps that depend on a failed one have not run. But a failed batch may have loaded some of its tables, and their readers may have run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from .command import Events, get_step_key
from .run_history import MADE_IN_RUN, EarlierFailure, Materialized, RunHistory, find_earlier_failures, find_materializations


def find_loaded_before(context: dg.AssetExecutionContext, history: RunHistory) -> Mapping[dg.AssetKey, Materialized]:
    """Return the assets that failed attempts of this step materialized, in this run or in runs that it re-executes from failure."""
    return find_materializations(context.instance, _list_attempts(context, history), get_step_key(context))


def find_failed_before(context: dg.AssetExecutionContext, history: RunHistory) -> Mapping[dg.AssetKey, EarlierFailure]:
    """Return the tables whose files a load does not find, because one failed in this run or in runs that it re-executes from failure."""
    return find_earlier_failures(context.instance, _list_attempts(context, history), get_step_key(context))


def _list_attempts(context: dg.AssetExecutionContext, history: RunHistory) -> Sequence[str]:
    return (context.run.run_id, *history.list_continued_runs(get_step_key(context))[: history.from_failure])


def find_done_before(context: dg.AssetExecutionContext, history: RunHistory) -> Mapping[dg.AssetKey, Materialized]:
    """Return the assets that this step materialized in a run that this one re-executes from failure, if it succeeded there.

    Dagster runs such a step again only because one of its inputs runs again.
    """
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
    """Log the assets that are not materialized again. If later steps need one of them, repeat its materialization with the same metadata.

    Dagster does not know the earlier outputs of a step that runs again, except those of earlier attempts in the same process. ``before``
    has the assets that were materialized before.
    """
    for output, key in outputs:
        earlier = before.get(key)
        if earlier is None:
            continue
        in_run = "this run" if earlier.run_id == context.run.run_id else f"run {earlier.run_id}"
        context.log.info(f"{key.to_user_string()} is not materialized again, because an earlier attempt in {in_run} did so")
        known_here = earlier.run_id == context.run.run_id and context.op_execution_context.retry_number > 0
        if not known_here and _is_needed_later(context, output, history.succeeded_before):
            yield dg.MaterializeResult(asset_key=key, metadata={**earlier.metadata, MADE_IN_RUN: earlier.run_id})


def _is_needed_later(context: dg.AssetExecutionContext, output: str, done: frozenset[str]) -> bool:
    """Return whether a remaining step of this run depends, directly or indirectly, on an output of the current step."""
    to_do: Sequence[str] | None = context.run.step_keys_to_execute
    readers: dict[str, list[tuple[str, str]]] = {}
    for reader, read, name in _iterate_dependencies(context):
        readers.setdefault(read, []).append((name, reader))
    stack = [reader for name, reader in readers.get(get_step_key(context), ()) if name == output]
    seen: set[str] = set()
    while stack:
        step = stack.pop()
        if step not in done and (to_do is None or step in to_do):
            return True
        if step not in seen:
            seen.add(step)
            stack.extend(reader for _, reader in readers.get(step, ()))
    return False


def _iterate_dependencies(context: dg.AssetExecutionContext) -> Iterator[tuple[str, str, str]]:
    """Yield the dependencies of the job's steps: the step, its upstream step, and the name of the upstream output."""
    for invocation, inputs in context.job_def.dependencies.items():
        for dependency in inputs.values():
            for node in dependency.get_node_dependencies():
                yield invocation.alias or invocation.name, node.node, node.output
