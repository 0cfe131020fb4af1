"""Running jobs of a project without a web interface: what ``sl-dagster run`` and the demo do."""

import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from .definitions.batches import FAILED
from .definitions.build import Built, build, job_executor
from .definitions.run_tags import SCHEDULED_DATE
from .definitions.settings import Settings
from .errors import UnknownName
from .pipelines.model import Dependencies, Pipeline


@dataclass(frozen=True, slots=True)
class AssetResult:
    """What became of one asset of a run.

    ``status`` is ``done``, ``skipped`` or ``failed``; ``rows`` the rows of its table afterwards and ``loaded`` those that a load brought, where
    they are known; ``seconds`` the time of its step, or of the command that loaded it together with others; ``error`` the first line of a failure.
    """

    key: str
    status: str
    rows: int | None = None
    loaded: int | None = None
    seconds: float = 0.0
    error: str | None = None


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
) -> list[RunResult]:
    """Run jobs of a project in this process, one after the other, with Dagster's own event log.

    Args:
        root: the project's folder.
        settings: as for the definitions.
        job: one job; None = all load jobs, then all transform jobs, upstream ones first.
        selection: assets to materialise instead of a job, in Dagster's selection syntax.
        scheduled_date: logical date of the runs, ISO 8601.
        log_level: what of the runs' log is also printed: DEBUG, INFO, WARNING, ERROR or CRITICAL (nothing).

    Returns:
        One result per job, in the order in which they ran. A failing job does not stop the others.

    Raises:
        UnknownName: there is no such job.
        InvalidProject: the project has errors.
    """
    built = build(root, replace(settings, step_executor=None))
    tags = {SCHEDULED_DATE: scheduled_date} if scheduled_date else {}
    with _instance() as instance, _kept(built, settings) as token:
        if selection:
            keys = dg.AssetSelection.from_string(selection).resolve(built.definitions.resolve_asset_graph())
            return [_run(instance, token, SELECTION, tags, sorted(keys), log_level)]
        names = run_order(built.plan.pipelines, built.plan.dependencies)
        if job is not None:
            if job not in names:
                raise UnknownName(kind="job", name=job, known=names)
            names = [job]
        return [_run(instance, token, name, tags, None, log_level) for name in names]


def run_order(pipelines: Sequence[Pipeline], dependencies: Dependencies) -> list[str]:
    """Return the names of all jobs: load jobs first, then transform jobs so that what a job reads is made by an earlier one.

    Jobs that read each other's tables keep their order by name.
    """
    makers = {t.full_name: p.name for p in pipelines for t in p.tasks}
    waits = {
        p.name: {makers[d.name] for t in p.tasks for d in dependencies.of(t.full_name) if d.kind == "task" and d.name in makers} - {p.name}
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
"""Name of the job that runs a selection of assets."""

_BUILT: dict[str, dg.Definitions] = {}
"""Definitions in use by :func:`run_headless`; :func:`rebuild` finds them again when Dagster asks for a job by name."""


def rebuild(token: str, job: str) -> dg.JobDefinition:
    """Return a job of the definitions that :func:`run_headless` built in this process."""
    return _BUILT[token].resolve_job_def(job)


@contextlib.contextmanager
def _kept(built: Built, settings: Settings) -> Iterator[str]:
    everything = dg.define_asset_job(
        SELECTION, dg.AssetSelection.all(), executor_def=job_executor(None, replace(settings, step_executor=None))
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
    """Return one entry per asset, in the order in which their steps ended; for a step without assets one for the step."""
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
    return tuple(asset for assets in found.values() for asset in assets)


def _materialized(materialization: dg.AssetMaterialization) -> AssetResult:
    metadata = {k: v.value for k, v in materialization.metadata.items()}
    seconds = metadata.get("starlake/seconds", metadata.get("starlake/batch_seconds"))
    return AssetResult(
        materialization.asset_key.to_user_string(),
        "done",
        rows=_number(metadata.get("dagster/row_count")),
        loaded=_number(metadata.get("starlake/rows_loaded")),
        seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
    )


def _not_made(key: str, event: dg.DagsterEvent, *, together: bool) -> AssetResult:
    """Return what became of an asset that its step did not materialise."""
    if not event.is_step_failure:
        return AssetResult(key, "skipped")
    error = event.step_failure_data.error
    user = event.step_failure_data.user_failure_data
    failed = user.metadata[FAILED].value if user and FAILED in user.metadata else None
    told = {str(k): str(v) for k, v in failed.items()} if isinstance(failed, Mapping) else {}
    if told and key not in told:
        return AssetResult(key, "skipped")
    text = told[key] if told and together else (user.description if user else None) or (error.message if error else None) or "failed"
    return AssetResult(key, "failed", error=text.strip().splitlines()[0])


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _seconds(event: dg.DagsterEvent) -> float:
    return float(event.step_success_data.duration_ms) / 1000.0


def print_results(results: Sequence[RunResult]) -> None:
    """Print a table: job, asset, what became of it, rows, seconds."""
    from rich.console import Console
    from rich.table import Table

    table = Table("job", "asset", "result", "rows loaded", "rows in table", "seconds")
    for result in results:
        for asset in result.assets:
            table.add_row(
                result.job,
                asset.key,
                asset.status if not asset.error else f"failed: {asset.error}",
                "" if asset.loaded is None else str(asset.loaded),
                "" if asset.rows is None else str(asset.rows),
                f"{asset.seconds:.2f}",
            )
        if result.error and not any(a.error for a in result.assets):
            table.add_row(result.job, "", f"failed: {result.error}", "", "", "")
    Console(width=None).print(table)
