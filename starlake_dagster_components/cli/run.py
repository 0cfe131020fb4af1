"""Running jobs of a project without a web interface: what ``sl-dagster run`` and the demo do."""

import contextlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import dagster as dg

from ..definitions.batches import FAILED
from ..definitions.build import Built, build_definitions, choose_job_executor
from ..definitions.steps.run_tags import SCHEDULED_DATE, parse_time
from ..definitions.warnings import describe_assets_without_job
from ..errors import InvalidSetting, StarlakeError, UnknownName, did_you_mean
from ..pipelines.pipeline import Dependencies, Pipeline
from ..settings import Settings

Status = Literal["done", "skipped", "failed", "not run"]


@dataclass(frozen=True, slots=True)
class AssetResult:
    """What became of one asset of a run.

    ``status`` is ``done``, ``skipped``, ``failed``, or ``not run`` behind a failure; ``rows`` the rows of its table afterwards and ``loaded`` those
    that a load brought, where they are known; ``seconds`` the time of its step, or of the command that loaded it together with others; ``error``
    why it failed; ``files`` how many files a load took and ``rejected`` how many rows it left out, where that is known.
    """

    key: str
    status: Status
    rows: int | None = None
    loaded: int | None = None
    seconds: float = 0.0
    error: str | None = None
    files: int | None = None
    rejected: int | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of one job."""

    job: str
    run_id: str
    success: bool
    seconds: float
    assets: tuple[AssetResult, ...]
    error: str | None = None


def run_headless(
    root: str | Path,
    settings: Settings,
    *,
    job: str | None = None,
    selection: str | None = None,
    scheduled_date: str | None = None,
    log_level: str = "CRITICAL",
    say: Callable[[str], None] | None = None,
) -> list[RunResult]:
    """Run jobs of a project in this process, one after the other, with Dagster's own event log.

    Args:
        root: the project's folder.
        settings: as for the definitions.
        job: one job; None = all load jobs, then all transform jobs, upstream ones first.
        selection: assets to materialize instead of a job, in Dagster's selection syntax.
        scheduled_date: logical date of the runs, ISO 8601.
        log_level: what of the runs' log is also printed: DEBUG, INFO, WARNING, ERROR or CRITICAL (nothing).
        say: takes a sentence on what is left out because it has no job.

    Returns:
        One result per job, in the order in which they ran. A failing job does not stop the others, but what needs an asset that failed does not run.

    Raises:
        UnknownName: there is no such job.
        InvalidSetting: a job and a selection, a selection of nothing, a date that is none.
        InvalidProject: the project has errors.
        StarlakeError: all jobs are to run, and there is none.
    """
    if job is not None and selection is not None:
        raise InvalidSetting("expected a job or a selection, not both")
    tags = _tags(scheduled_date)
    built = build_definitions(root, settings.override(step_executor=None, on_error="fail"))
    names = run_order(built.plan.pipelines, built.plan.dependencies)
    if job is not None and job not in names:
        raise UnknownName(kind="job", name=job, known=names)
    keys = _selected(built, selection) if selection is not None else None
    if job is None and keys is None:
        left_out = describe_assets_without_job(built.graph)
        if not names:
            why = f"{left_out}; run assets instead (--select '*' for all of them)" if left_out else "it has no tables and no tasks"
            raise StarlakeError(f"{built.plan.project.root} has no job to run: {why}")
        if left_out and say:
            say(f"{left_out}; they are run by a selection only (--select)")
    with _instance() as instance, _kept(built, settings) as token:
        if keys is not None:
            return [_run(instance, token, _selection_job(built), tags, keys, log_level)]
        if job is not None:
            return [_run(instance, token, job, tags, None, log_level)]
        return _run_all(instance, token, names, tags, log_level)


def _run_all(instance: dg.DagsterInstance, token: str, names: Sequence[str], tags: Mapping[str, str], log_level: str) -> list[RunResult]:
    """Run jobs one after the other, without the assets that need one that an earlier job did not make."""
    results: list[RunResult] = []
    not_made: set[dg.AssetKey] = set()
    for name in names:
        keys, blocked = _split_blocked(token, name, not_made) if not_made else (None, {})
        if keys == []:
            result = RunResult(name, "", False, 0.0, (), error="nothing of it can run: " + "; ".join(blocked.values()))
        else:
            result = _run(instance, token, name, tags, keys, log_level)
        waiting = tuple(AssetResult(key.to_user_string(), "not run") for key in blocked)
        result = replace(result, assets=(*result.assets, *waiting))
        results.append(result)
        for asset in result.assets:
            key = dg.AssetKey.from_user_string(asset.key)
            (not_made.add if asset.status in ("failed", "not run") else not_made.discard)(key)
    return results


def _split_blocked(token: str, job: str, not_made: Set[dg.AssetKey]) -> tuple[list[dg.AssetKey] | None, dict[dg.AssetKey, str]]:
    """Return the assets of a job that can run (None = all), and those that need one that was not made, each with a sentence that says which.

    Args:
        token: the definitions.
        job: the job.
        not_made: assets that failed or did not run in earlier jobs. Those that this job runs again do not count.
    """
    definitions = _BUILT[token]
    graph = definitions.resolve_asset_graph()
    keys = definitions.resolve_job_def(job).asset_layer.selected_asset_keys
    blocked: dict[dg.AssetKey, str] = {}
    for key in graph.toposorted_asset_keys:
        if key not in keys:
            continue
        needs = sorted(p.to_user_string() for p in graph.get(key).parent_keys if p in blocked or (p in not_made and p not in keys))
        if needs:
            blocked[key] = f"{key.to_user_string()} needs {', '.join(needs)}"
    return (sorted(keys - blocked.keys()) if blocked else None), blocked


def _tags(scheduled_date: str | None) -> dict[str, str]:
    if scheduled_date is None:
        return {}
    if parse_time(scheduled_date) is None:
        raise InvalidSetting(f"scheduled_date: '{scheduled_date}' is no ISO 8601 time (expected like 2026-01-31T00:00:00)")
    return {SCHEDULED_DATE: scheduled_date.strip()}


def _selected(built: Built, selection: str) -> list[dg.AssetKey]:
    """Return the assets of a selection that can be run.

    Raises:
        InvalidSetting: there is none, or Dagster does not understand it.
    """
    if not selection.strip():
        raise InvalidSetting(
            f"selection '{selection}' is empty (expected Dagster's syntax: 'sales_orders', '+kpi_revenue', 'group:sales', '*')"
        )
    graph = built.definitions.resolve_asset_graph()
    name = _ONE_NAME.fullmatch(selection.strip())
    hint = did_you_mean(name[1], [key.to_user_string() for key in built.graph.by_key]) if name else ""
    try:
        found = dg.AssetSelection.from_string(selection).resolve(graph)
    except dg.DagsterInvalidSubsetError as error:
        raise InvalidSetting(f"selection '{selection}' names no asset{hint}") from error
    except Exception as error:  # Dagster's parser raises errors of many kinds
        raise InvalidSetting(
            f"selection '{selection}' is not understood by Dagster: {str(error) or type(error).__name__} "
            "(expected like 'sales_orders', '+kpi_revenue', 'group:sales and kind:table', '*')"
        ) from error
    if not found:
        raise InvalidSetting(f"selection '{selection}' matches no asset{hint}")
    made = sorted(found & graph.materializable_asset_keys)
    if not made:
        elsewhere = ", ".join(key.to_user_string() for key in sorted(found))
        raise InvalidSetting(f"selection '{selection}' matches only tables that are made elsewhere: {elsewhere}")
    return made


_ONE_NAME = re.compile(r"""[+*\d]*(?:key:)?["']?([\w./-]+)["']?[+*\d]*""")


def run_order(pipelines: Sequence[Pipeline], dependencies: Dependencies) -> list[str]:
    """Return the names of all jobs: load jobs first, then transform jobs so that what a job reads is made by an earlier one.

    Jobs that read each other's tables keep their order by name.
    """
    makers = {t.full_name: p.name for p in pipelines for t in p.tasks}
    waits = {
        p.name: {makers[d.name] for t in p.tasks for d in dependencies.get_direct(t.full_name) if d.kind == "task" and d.name in makers}
        - {p.name}
        for p in pipelines
    }
    order = [p.name for p in pipelines if p.kind == "load"]
    rest = [p.name for p in pipelines if p.kind != "load"]
    while rest:
        ready = next((name for name in rest if not (waits[name] & set(rest))), rest[0])
        order.append(ready)
        rest.remove(ready)
    return order


SELECTION = "selection"
"""Name of the job that runs a selection of assets, unless the project has one of this name."""


def _selection_job(built: Built) -> str:
    name = SELECTION
    while any(name == pipeline.name for pipeline in built.plan.pipelines):
        name += "_"
    return name


_BUILT: dict[str, dg.Definitions] = {}
"""Definitions in use by :func:`run_headless`; :func:`rebuild` finds them again when Dagster asks for a job by name."""


def rebuild(token: str, job: str) -> dg.JobDefinition:
    """Return a job of the definitions that :func:`run_headless` built in this process."""
    return _BUILT[token].resolve_job_def(job)


@contextlib.contextmanager
def _kept(built: Built, settings: Settings) -> Iterator[str]:
    everything = dg.define_asset_job(
        _selection_job(built),
        dg.AssetSelection.all(),
        executor_def=choose_job_executor(None, settings.override(step_executor=None, on_error="fail")),
    )
    token = uuid.uuid4().hex
    _BUILT[token] = dg.Definitions.merge(built.definitions, dg.Definitions(jobs=[everything]))
    try:
        yield token
    finally:
        del _BUILT[token]


@contextlib.contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    if os.environ.get("DAGSTER_HOME"):
        with dg.DagsterInstance.get() as instance:
            yield instance
    else:
        with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
            yield instance


def _run(
    instance: dg.DagsterInstance, token: str, job: str, tags: Mapping[str, str], keys: Sequence[dg.AssetKey] | None, log_level: str
) -> RunResult:
    target = dg.build_reconstructable_job(__name__, rebuild.__name__, reconstructable_kwargs={"token": token, "job": job})
    config = {"loggers": {"console": {"config": {"log_level": log_level}}}}
    began = time.monotonic()
    with dg.execute_job(
        target, instance=instance, run_config=config, tags=dict(tags), raise_on_error=False, asset_selection=keys
    ) as result:
        assets = _asset_results(result, instance)
        failed = [e for e in result.all_events if e.is_run_failure]
        return RunResult(
            job=job,
            run_id=result.run_id,
            success=result.success,
            seconds=time.monotonic() - began,
            assets=assets,
            error=failed[0].message if failed else None,
        )


def _asset_results(result: dg.JobExecutionResult, instance: dg.DagsterInstance) -> tuple[AssetResult, ...]:
    """Return one entry per asset: in the order in which their steps ended, then those whose steps never began; for a step without assets its key."""
    planned: dict[str, list[str]] = {}
    for entry in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED):
        event = entry.dagster_event
        if event is not None and event.step_key is not None and event.asset_key is not None:
            planned.setdefault(event.step_key, []).append(event.asset_key.to_user_string())
    found: dict[str, list[AssetResult]] = {}
    made: dict[str, dict[str, AssetResult]] = {}
    for event in result.all_events:
        step = event.step_key
        if step is None:
            continue
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            done = _materialized(event.materialization)
            made.setdefault(step, {})[done.key] = done
        elif event.is_step_success or event.is_step_skipped or event.is_step_failure:
            keys, here = planned.get(step, [step]), made.get(step, {})
            found[step] = [here[key] if key in here else _not_made(key, event, together=len(keys) > 1) for key in keys]
            if event.is_step_success and len(keys) == 1:
                found[step] = [replace(found[step][0], seconds=_seconds(event))]
    for step in sorted(planned.keys() - found.keys()):
        found[step] = [made.get(step, {}).get(key) or AssetResult(key, "not run") for key in planned[step]]
    return tuple(asset for assets in found.values() for asset in assets)


def _materialized(materialization: dg.AssetMaterialization) -> AssetResult:
    metadata = {k: v.value for k, v in materialization.metadata.items()}
    seconds = metadata.get("starlake/seconds", metadata.get("starlake/batch_seconds"))
    return AssetResult(
        materialization.asset_key.to_user_string(),
        "done",
        rows=_number(metadata.get("dagster/row_count")),
        loaded=_number(metadata.get("starlake/rows_loaded")),
        files=_number(metadata.get("starlake/files")),
        rejected=_number(metadata.get("starlake/rows_rejected")),
        seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
    )


def _not_made(key: str, event: dg.DagsterEvent, *, together: bool) -> AssetResult:
    """Return what became of an asset that its step did not materialize."""
    if not event.is_step_failure:
        return AssetResult(key, "skipped")
    error = event.step_failure_data.error
    user = event.step_failure_data.user_failure_data
    failed = user.metadata[FAILED].value if user and FAILED in user.metadata else None
    told = {str(k): str(v) for k, v in failed.items()} if isinstance(failed, Mapping) else {}
    if told and key not in told:
        return AssetResult(key, "skipped")
    # Dagster wraps what was raised; the innermost says it.
    while error is not None and error.cause is not None:
        error = error.cause
    text = told[key] if told and together else (user.description if user else None) or (error.message if error else None) or "failed"
    return AssetResult(key, "failed", error=text.strip())


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _seconds(event: dg.DagsterEvent) -> float:
    return float(event.step_success_data.duration_ms) / 1000.0
