"""Run jobs of a project in this process, for ``sl-dagster run`` and the demo."""

import contextlib
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import dagster as dg

from .. import _dagster_cli
from ..definitions.build import Built, build_definitions, choose_job_executor
from ..definitions.jobs import build_job_of_all_assets
from ..definitions.warnings import describe_assets_without_job
from ..errors import InvalidSetting, StarlakeError, UnknownName
from ..full_disk import explain_full_disk
from ..settings import Settings
from .dates import PlannedRun, RunDates, plan_job_runs, plan_selection_runs
from .dev import name_locations
from .progress import Progress
from .results import EVENT_TYPES, AssetResult, RunResult, RunState
from .selection import order_jobs, select_assets

logger = logging.getLogger("starlake_dagster_components")


def run_headless(
    root: str | Path,
    settings: Settings,
    *,
    job: str | None = None,
    selection: str | None = None,
    dates: RunDates | None = None,
    log_level: str = "CRITICAL",
    report: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> list[RunResult]:
    """Run jobs of a project in this process, one after the other. The runs are stored in the Dagster instance of ``DAGSTER_HOME``.

    Args:
        root: the project's folder.
        settings: the settings of the definitions.
        job: name of the job; None = all load jobs, then all transform jobs, upstream ones first.
        selection: assets to materialize instead of a job, in Dagster's selection syntax.
        dates: the dates of the runs; None = none.
        log_level: minimum level of the log messages to print: DEBUG, INFO, WARNING, ERROR, or CRITICAL (nothing).
        report: receives messages about assets that do not run because no job has them, and about jobs without a partition in the range.
        progress: receives events as they happen.

    Returns:
        One result per run, in the order in which they ran. A failed job does not stop the others, but assets downstream of a failed one do
        not run.

    Raises:
        UnknownName: the job does not exist.
        InvalidSetting: both a job and a selection, a selection without a match, an invalid date, or a range with nothing to run.
        InvalidProject: the project has errors.
        StarlakeError: neither a job nor a selection was given, and the project has no jobs.
    """
    if job is not None and selection is not None:
        raise InvalidSetting("expected a job or a selection, not both")
    dates = dates or RunDates()
    dates.check()
    location = name_locations([Path(root)])[0].name
    tags = {_REPOSITORY: f"{_dagster_cli.REPOSITORY}@{location}"}
    settings = settings.override(step_executor=None, on_error="fail", **({"backfill": "single_run"} if dates.single_run else {}))
    built = build_definitions(root, settings)
    if settings.partitions != "off" and not dates.fits_partitions(built, selection):
        # Dagster does not run partitioned assets that depend on each other without a partition.
        settings = settings.override(partitions="off")
        built = build_definitions(root, settings)
    names = order_jobs(built.plan.pipelines, built.plan.dependencies)
    if job is not None and job not in names:
        raise UnknownName(kind="job", name=job, known=names)
    keys = select_assets(built, selection) if selection is not None else None
    if job is None and keys is None:
        left_out = describe_assets_without_job(built.graph)
        if not names:
            why = f"{left_out}; select assets instead (--select '*' for all of them)" if left_out else "it has no tables and no tasks"
            raise StarlakeError(f"{built.plan.project.root} has no jobs to run: {why}")
        if left_out and report:
            report(f"{left_out}; use --select to run them")
    if keys is None:
        planned = plan_job_runs(built, settings, dates, [job] if job is not None else names, report)
    else:
        name = SELECTION
        while name in names:
            name += "_"
        planned = plan_selection_runs(built, dates, name, keys)
    with _open_instance() as instance, keep_definitions(built, settings) as token, progress or contextlib.nullcontext():
        _dagster_cli.name_location_of_runs(instance, location)
        runner = _Runner(instance, token, tags, log_level, progress)
        if progress:
            progress.plan_jobs([run.label for run in planned])
        return runner.run_jobs(planned) if keys is None else [runner.run_job(run, keys, selection=True) for run in planned]


SELECTION = "selection"
"""Name of the job that runs selected assets. Underscores are added if the project has a job with this name."""


_BUILT: dict[str, dg.Definitions] = {}
"""Token -> definitions that :func:`run_headless` is using, for :func:`rebuild`."""


def rebuild(token: str, job: str, selection: bool = False) -> dg.JobDefinition:
    """Return a job of the definitions that :func:`keep_definitions` keeps. Dagster calls this to get a reconstructable job.

    With ``selection``, return a job of all assets with this name instead.
    """
    definitions = _BUILT[token]
    return build_job_of_all_assets(job, definitions, definitions.executor) if selection else definitions.resolve_job_def(job)


@contextlib.contextmanager
def keep_definitions(built: Built, settings: Settings) -> Iterator[str]:
    """Keep definitions for :func:`rebuild` during a ``with`` block, and yield their token."""
    executor = choose_job_executor(None, settings.override(step_executor=None, on_error="fail"))
    token = uuid.uuid4().hex
    _BUILT[token] = dg.Definitions.merge(built.definitions, dg.Definitions(executor=executor))
    try:
        yield token
    finally:
        del _BUILT[token]


@contextlib.contextmanager
def hide_warnings() -> Iterator[None]:
    """Keep the package's warnings, such as those about the project, out of the log during a ``with`` block."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _open_instance() -> Iterator[dg.DagsterInstance]:
    if os.environ.get("DAGSTER_HOME"):
        with dg.DagsterInstance.get() as instance:
            yield instance
    else:
        with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
            yield instance


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs jobs of the definitions that a token stands for."""

    instance: dg.DagsterInstance
    token: str
    tags: Mapping[str, str]
    log_level: str
    progress: Progress | None

    def run_jobs(self, planned: Sequence[PlannedRun]) -> list[RunResult]:
        """Run jobs one after the other. Assets downstream of those that an earlier job did not materialize do not run."""
        results: list[RunResult] = []
        not_made: set[dg.AssetKey] = set()
        for job, runs in groupby(planned, key=lambda run: run.job):
            keys, blocked = _split_blocked(self.token, job, not_made) if not_made else (None, {})
            waiting = tuple(AssetResult(key.to_user_string(), "not run") for key in blocked)
            # If there are several runs for partitions, an asset must be materialized by all of them.
            made: dict[dg.AssetKey, bool] = {}
            for run in runs:
                if keys == []:
                    error = "none of its assets can run: " + "; ".join(blocked.values())
                    result = RunResult(job, "", False, 0.0, (), error, run.partition)
                else:
                    result = self.run_job(run, keys)
                result = replace(result, assets=(*result.assets, *waiting))
                results.append(result)
                if self.progress:
                    self.progress.end_job(result)
                for asset in result.assets:
                    key = dg.AssetKey.from_user_string(asset.key)
                    made[key] = made.get(key, True) and asset.status not in ("failed", "not run")
            for key, is_made in made.items():
                (not_made.discard if is_made else not_made.add)(key)
        return results

    def run_job(self, run: PlannedRun, keys: Sequence[dg.AssetKey] | None, *, selection: bool = False) -> RunResult:
        """Run one job, or some of its assets, to completion."""
        target = dg.build_reconstructable_job(
            __name__, rebuild.__name__, reconstructable_kwargs={"token": self.token, "job": run.job, "selection": selection}
        )
        config = {"loggers": {"console": {"config": {"log_level": self.log_level}}}}
        mark = uuid.uuid4().hex
        began = time.monotonic()
        with (
            _Follower(self.instance, mark, run.label, self.progress) if self.progress else contextlib.nullcontext(),
            dg.execute_job(
                target, self.instance, config, {**self.tags, **run.tags, _MARK: mark}, raise_on_error=False, asset_selection=keys
            ) as result,
        ):
            error = next((e.message for e in result.all_events if e.is_run_failure), None)
            seconds, assets = time.monotonic() - began, _list_results(result, self.instance)
            return RunResult(run.job, result.run_id, result.success, seconds, assets, error, run.partition)


def _split_blocked(token: str, job: str, not_made: Set[dg.AssetKey]) -> tuple[list[dg.AssetKey] | None, dict[dg.AssetKey, str]]:
    """Return the assets of a job that can run (None = all), and for each of the others a message that says which assets it needs.

    ``not_made`` are the assets that failed or did not run in earlier jobs.
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


def _list_results(result: dg.JobExecutionResult, instance: dg.DagsterInstance) -> tuple[AssetResult, ...]:
    state = RunState()
    for entry in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED):
        if entry.dagster_event is not None:
            state.add_event(entry.dagster_event)
    for event in result.all_events:
        state.add_event(event)
    return state.list_results()


_REPOSITORY = ".dagster/repository"
"""Tag that assigns a run to a code location in Dagster's UI: the location that ``sl-dagster dev`` creates for the project."""

_MARK = ".dagster/starlake_headless"
"""Tag by which :class:`_Follower` finds its run. Dagster's UI hides tags with this prefix."""

_POLL_SECONDS = 0.2
"""Time between two reads of a run's events."""


class _Follower:
    """Reports a run's progress from a thread that reads the event log."""

    def __init__(self, instance: dg.DagsterInstance, mark: str, job: str, progress: Progress) -> None:
        self._instance, self._mark, self._job, self._progress = instance, mark, job, progress
        self._state = RunState()
        self._run_id: str | None = None
        self._cursor: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="starlake-progress", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        try:
            while not self._ended.wait(_POLL_SECONDS):
                self._read_events()
            self._read_events()
        except Exception as error:  # noqa: BLE001 -- the run goes on, and its results are reported when it ends
            reason = explain_full_disk(error) or str(error).partition("\n")[0]
            logger.warning("the progress of %s is no longer shown: %s", self._job, reason)

    def _read_events(self) -> None:
        if self._run_id is None:
            runs = self._instance.get_runs(dg.RunsFilter(tags={_MARK: self._mark}), limit=1)
            if not runs:
                return
            self._run_id = runs[0].run_id
        ended: list[AssetResult] = []
        more = True
        while more:
            page = self._instance.get_records_for_run(self._run_id, self._cursor, EVENT_TYPES, limit=1000)
            self._cursor, more = page.cursor, page.has_more
            events = (record.event_log_entry.dagster_event for record in page.records)
            ended += [result for event in events if event for result in self._state.add_event(event)]
        self._progress.report_job(self._job, self._state, ended)
