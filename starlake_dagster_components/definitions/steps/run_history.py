"""The history of a run: the runs that it re-executes, and the events of its steps in them."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import dagster as dg

from .run_options import is_dry_run

_FROM_FAILURE = "dagster/is_resume_retry"
"""Tag of runs that re-execute another one from failure (Dagster's ``RESUME_RETRY_TAG``)."""

_CHOSEN_STEPS = "dagster/step_selection"
"""Tag of runs that re-execute selected steps (Dagster's ``STEP_SELECTION_TAG``)."""

MAX_RUNS = 50
"""Maximum length of a chain of re-executions."""


MADE_IN_RUN = "starlake/made_in_run"
"""Metadata of a materialization that a re-execution repeats: the run that wrote the table."""


@dataclass(frozen=True, slots=True)
class RunHistory:
    """The runs that a run re-executes.

    Attributes:
        since: the time when the oldest of these runs, or the run itself, was created; None = unknown.
        earlier_runs: IDs of the runs that it re-executes, the most recent first.
        succeeded: keys of the steps that succeeded in each of ``earlier_runs``.
        from_failure: number of ``earlier_runs`` that are re-executed from failure. The ones before were re-executed as a whole.
    """

    since: datetime | None
    earlier_runs: tuple[str, ...]
    succeeded: tuple[frozenset[str], ...] = ()
    from_failure: int = 0

    def list_continued_runs(self, step_key: str) -> tuple[str, ...]:
        """Return the earlier runs whose work a step may continue: those since it last succeeded.

        After a success, the step runs again on purpose, so its earlier work must not replace the new one.
        """
        found: list[str] = []
        for run_id, succeeded in zip(self.earlier_runs, self.succeeded, strict=False):
            if step_key in succeeded:
                break
            found.append(run_id)
        return tuple(found)

    @property
    def succeeded_before(self) -> frozenset[str]:
        """Keys of the steps that succeeded in runs that are re-executed from failure."""
        return frozenset().union(*self.succeeded[: self.from_failure])


@dataclass(frozen=True, slots=True)
class Materialized:
    """A materialization by an earlier attempt of a step: the ID of the run, and the metadata."""

    run_id: str
    metadata: Mapping[str, dg.MetadataValue[Any]]


def find_materializations(instance: dg.DagsterInstance, run_ids: Sequence[str], step_key: str) -> Mapping[dg.AssetKey, Materialized]:
    """Return the latest materialization of each asset by a step in the runs ``run_ids``, which begin with the most recent one."""
    found: dict[dg.AssetKey, Materialized] = {}
    for run_id, key, event in _list_asset_events(instance, run_ids, step_key, dg.DagsterEventType.ASSET_MATERIALIZATION):
        metadata = event.step_materialization_data.materialization.metadata
        made_in = metadata.get(MADE_IN_RUN)
        found[key] = Materialized(str(made_in.value) if made_in else run_id, metadata)
    return found


def _list_asset_events(
    instance: dg.DagsterInstance, run_ids: Sequence[str], step_key: str, kind: dg.DagsterEventType
) -> Iterator[tuple[str, dg.AssetKey, dg.DagsterEvent]]:
    """Yield the asset events of a step: run ID, asset key, and event. The oldest run comes first, so that later ones override it."""
    for run_id in reversed(run_ids):
        for entry in instance.all_logs(run_id, of_type=kind):
            event = entry.dagster_event
            if event is not None and event.step_key == step_key and event.asset_key is not None:
                yield run_id, event.asset_key, event


FAILED_IN_TABLE = "starlake/failed_in_table"
"""Metadata of an observation: the error message of a load that failed although its rows are in the table."""
FILES_LEFT = "starlake/files_left"
"""Metadata of an observation: the error message of a failed load whose files may be in a folder that no load reads."""


@dataclass(frozen=True, slots=True)
class EarlierFailure:
    """The failure of an earlier load, whose rows are in the table, or whose files may be in a folder that no load reads."""

    reason: str
    in_table: bool


def find_earlier_failures(instance: dg.DagsterInstance, run_ids: Sequence[str], step_key: str) -> Mapping[dg.AssetKey, EarlierFailure]:
    """Return the latest failure, by a step in the runs ``run_ids``, of each table whose files another load does not find.

    ``run_ids`` begins with the most recent run.
    """
    found: dict[dg.AssetKey, EarlierFailure] = {}
    for _, key, event in _list_asset_events(instance, run_ids, step_key, dg.DagsterEventType.ASSET_OBSERVATION):
        metadata = event.asset_observation_data.asset_observation.metadata
        for name in (FAILED_IN_TABLE, FILES_LEFT):
            reason = metadata.get(name)
            if reason is not None:
                found[key] = EarlierFailure(str(reason.value), name == FAILED_IN_TABLE)
    return found


def has_been_loaded_since(instance: dg.DagsterInstance, key: dg.AssetKey, timestamp: float, run_id: str) -> bool:
    """Return whether a run other than the given one may have written rows to a table after a time, in seconds since the epoch.

    The given run does not count, because the time is that of one of its events.
    """
    since = dg.AssetRecordsFilter(asset_key=key, after_timestamp=timestamp)
    loads = instance.fetch_materializations(since, limit=_LOOKED_BACK, ascending=True).records
    if any(record.run_id != run_id and _may_have_written(record.asset_materialization, run_id) for record in loads):
        return True
    failures = instance.fetch_observations(since, limit=_LOOKED_BACK, ascending=True).records
    observations = [record.event_log_entry.asset_observation for record in failures if record.run_id != run_id]
    return any(observation is not None and FAILED_IN_TABLE in observation.metadata for observation in observations)


def _may_have_written(materialization: dg.AssetMaterialization | None, run_id: str) -> bool:
    if materialization is None or is_dry_run(materialization):
        return False
    files, made_in = (materialization.metadata.get(name) for name in ("starlake/files", MADE_IN_RUN))
    return (files is None or files.value != 0) and (made_in is None or made_in.value != run_id)


_LOOKED_BACK = 10
"""Number of materializations to read. One is not enough, because loads of few files are fast."""
_SECONDS = ("starlake/seconds", "starlake/batch_seconds")


def find_usual_seconds(context: dg.AssetExecutionContext) -> float | None:
    """Return the longest duration, in seconds, of a step's latest materializations; None if it is unknown for one of its assets."""
    usual = 0.0
    for key in context.selected_asset_keys:
        records = context.instance.fetch_materializations(key, limit=_LOOKED_BACK).records
        found = [value for record in records if (value := _read_seconds(record)) is not None]
        if not found:
            return None
        usual = max(usual, *found)
    return usual or None


def _read_seconds(record: dg.EventLogRecord) -> float | None:
    materialization = record.asset_materialization
    values = [materialization.metadata.get(name) for name in _SECONDS] if materialization else []
    return next((float(value.value) for value in values if value is not None and isinstance(value.value, (int, float))), None)


class RunHistories:
    """Finds the histories of runs, and caches them. It is thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, RunHistory] = {}

    def find(self, run: dg.DagsterRun, instance: dg.DagsterInstance) -> RunHistory:
        """Return the history of a run."""
        with self._lock:
            if run.run_id not in self._known:
                if len(self._known) > 100:
                    self._known.clear()
                self._known[run.run_id] = _look_up_history(run, instance)
            return self._known[run.run_id]


def _look_up_history(run: dg.DagsterRun, instance: dg.DagsterInstance) -> RunHistory:
    since: datetime | None = None
    earlier: list[str] = []
    succeeded: list[frozenset[str]] = []
    from_failure = 0
    unbroken = True
    run_id: str | None = run.run_id
    while run_id and len(earlier) < MAX_RUNS:
        record = instance.get_run_record_by_id(run_id)
        if record is None:
            break
        if run_id != run.run_id:
            earlier.append(run_id)
            succeeded.append(frozenset(s.step_key for s in instance.get_run_step_stats(run_id) if s.status and s.status.value == "SUCCESS"))
        created = record.create_timestamp
        since = created if created.tzinfo else created.replace(tzinfo=timezone.utc)
        parent = record.dagster_run.parent_run_id
        run_id = parent if parent not in (*earlier, run.run_id) else None
        unbroken = unbroken and _continues_from_failure(record.dagster_run)
        from_failure += bool(unbroken and run_id)
    return RunHistory(since, tuple(earlier), tuple(succeeded), from_failure)


def _continues_from_failure(run: dg.DagsterRun) -> bool:
    """Return whether a run re-executes another one from failure, rather than as a whole or with selected steps.

    Dagster's UI, API, and automatic retries set a tag. Runs that are started in Python only have a list of steps.
    """
    return run.tags.get(_FROM_FAILURE) == "true" or (run.step_keys_to_execute is not None and _CHOSEN_STEPS not in run.tags)
