"""The results of runs and of their assets, read from Dagster's events during a run or after it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import dagster as dg

from ..definitions.batches import FAILED
from ..definitions.steps.empty_loads import NO_FILES

Status = Literal["done", "skipped", "failed", "not run"]

EVENT_TYPES = {
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_SKIPPED,
    dg.DagsterEventType.STEP_FAILURE,
}
"""The event types that :class:`RunState` uses."""


@dataclass(frozen=True, slots=True)
class AssetResult:
    """The result of one asset of a run.

    Attributes:
        key: the asset's key as a user string, or for a step without assets, the step's key.
        status: ``done`` (materialized), ``skipped`` (nothing to load), ``failed``, or ``not run`` because something upstream failed.
        rows: number of rows in its table afterward, if known.
        seconds: duration of its step, or of the command that loaded it together with others.
        error: the error message, if it failed.
        files, loaded, rejected: numbers of files that were loaded, and of rows that were loaded and rejected, if known.
        no_files: why a load or a pre-load found no file, if it found none and the reason is known.
    """

    key: str
    status: Status
    rows: int | None = None
    loaded: int | None = None
    seconds: float = 0.0
    error: str | None = None
    files: int | None = None
    rejected: int | None = None
    no_files: str | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one run of a job.

    Attributes:
        run_id: Dagster's ID of the run; empty if nothing in the job could run.
        seconds: its duration.
        error: the run's own error message, if it has one.
        partition: key of its partition, or ``FIRST...LAST`` for a range; empty if it has none.
    """

    job: str
    run_id: str
    success: bool
    seconds: float
    assets: tuple[AssetResult, ...]
    error: str | None = None
    partition: str = ""

    @property
    def label(self) -> str:
        """The job's name, followed by the partition if there is one."""
        return f"{self.job} {self.partition}".rstrip()


class RunState:
    """The state of a run according to its events so far.

    Attributes:
        planned: the asset keys of each step.
        running: keys of the steps that have started but not finished.
        finished: the asset results of each finished step, in the order in which steps finished.
    """

    def __init__(self) -> None:
        self.planned: dict[str, list[str]] = {}
        self.running: dict[str, None] = {}
        self.finished: dict[str, list[AssetResult]] = {}
        self._made: dict[str, dict[str, AssetResult]] = {}
        self._no_files: dict[str, str] = {}

    def add_event(self, event: dg.DagsterEvent) -> list[AssetResult]:
        """Process an event. If it ends a step, return the results of the step's assets."""
        step = event.step_key
        if step is None:
            return []
        type_ = event.event_type
        if type_ == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED and event.asset_key is not None:
            keys = self.planned.setdefault(step, [])
            if event.asset_key.to_user_string() not in keys:
                keys.append(event.asset_key.to_user_string())
        elif type_ == dg.DagsterEventType.STEP_START:
            self.running[step] = None
        elif type_ == dg.DagsterEventType.ASSET_MATERIALIZATION:
            done = _read_materialization(event.materialization)
            self._made.setdefault(step, {})[done.key] = done
        elif type_ == dg.DagsterEventType.ASSET_OBSERVATION and event.asset_key is not None:
            reason = event.asset_observation_data.asset_observation.metadata.get(NO_FILES)
            if reason is not None:
                self._no_files[event.asset_key.to_user_string()] = str(reason.value)
        elif event.is_step_success or event.is_step_skipped or event.is_step_failure:
            self.running.pop(step, None)
            known = step in self.finished
            self.finished[step] = self._end_step(step, event)
            return [] if known else self.finished[step]
        return []

    def _end_step(self, step: str, event: dg.DagsterEvent) -> list[AssetResult]:
        keys, made = self.planned.get(step, [step]), self._made.get(step, {})
        results = [made[key] if key in made else _explain_missing(key, event, together=len(keys) > 1) for key in keys]
        results = [replace(result, no_files=result.no_files or self._no_files.get(result.key)) for result in results]
        if event.is_step_success and len(results) == 1:
            results = [replace(results[0], seconds=float(event.step_success_data.duration_ms) / 1000.0)]
        return results

    def list_results(self) -> tuple[AssetResult, ...]:
        """Return one result per asset: those of finished steps, in the order in which they finished, then those of other steps."""
        found = dict(self.finished)
        for step in sorted(self.planned.keys() - found.keys()):
            found[step] = [self._made.get(step, {}).get(key) or AssetResult(key, "not run") for key in self.planned[step]]
        return tuple(asset for assets in found.values() for asset in assets)


def _read_materialization(materialization: dg.AssetMaterialization) -> AssetResult:
    metadata = {k: v.value for k, v in materialization.metadata.items()}
    seconds = metadata.get("starlake/seconds", metadata.get("starlake/batch_seconds"))
    return AssetResult(
        materialization.asset_key.to_user_string(),
        "done",
        rows=_read_number(metadata.get("dagster/row_count")),
        loaded=_read_number(metadata.get("starlake/rows_loaded")),
        files=_read_number(metadata.get("starlake/files")),
        rejected=_read_number(metadata.get("starlake/rows_rejected")),
        no_files=str(metadata[NO_FILES]) if NO_FILES in metadata else None,
        seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
    )


def _explain_missing(key: str, event: dg.DagsterEvent, *, together: bool) -> AssetResult:
    """Return the result of an asset that its step did not materialize."""
    if not event.is_step_failure:
        return AssetResult(key, "skipped")
    error = event.step_failure_data.error
    user = event.step_failure_data.user_failure_data
    failed = user.metadata[FAILED].value if user and FAILED in user.metadata else None
    reasons = {str(k): str(v) for k, v in failed.items()} if isinstance(failed, Mapping) else {}
    if reasons and key not in reasons:
        return AssetResult(key, "skipped")
    # Dagster wraps exceptions; the innermost one has the reason.
    while error is not None and error.cause is not None:
        error = error.cause
    text = reasons[key] if reasons and together else (user.description if user else None) or (error.message if error else None) or "failed"
    return AssetResult(key, "failed", error=text.strip())


def _read_number(value: object) -> int | None:
    return value if isinstance(value, int) else None
