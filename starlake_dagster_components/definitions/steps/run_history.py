"""Find the runs that a run continues. Executors need them to find the remote work of a lost worker."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import dagster as dg

_FROM_FAILURE = "dagster/is_resume_retry"
"""Tag of runs that re-execute from failure. Dagster: RESUME_RETRY_TAG."""

_CHOSEN_STEPS = "dagster/step_selection"
"""Tag of runs that re-execute selected steps. Dagster: STEP_SELECTION_TAG."""

MAX_RUNS = 50
"""Number of earlier runs that are considered. In practice, chains of re-executions are shorter."""


@dataclass(frozen=True, slots=True)
class RunHistory:
    """The time when a run, or the oldest run that it re-executes, was created.

    Includes the runs that it re-executes, nearest first, and the steps that succeeded in them.
    """

    since: datetime | None
    earlier_runs: tuple[str, ...]
    succeeded: tuple[frozenset[str], ...] = ()
    """Keys of the steps that succeeded in each of ``earlier_runs``."""
    from_failure: int = 0
    """Number of ``earlier_runs`` that this run continues from failure. The runs before those were re-executed as a whole."""

    def list_continued_runs(self, step_key: str) -> tuple[str, ...]:
        """Return the earlier runs that a step continues, back to but not including the latest one in which it succeeded.

        A step that succeeded there runs again on purpose, so nothing in that run may replace it.
        """
        found: list[str] = []
        for run_id, succeeded in zip(self.earlier_runs, self.succeeded, strict=False):
            if step_key in succeeded:
                break
            found.append(run_id)
        return tuple(found)

    @property
    def succeeded_before(self) -> frozenset[str]:
        """Keys of the steps that succeeded in a run whose results are kept."""
        return frozenset().union(*self.succeeded[: self.from_failure])


@dataclass(frozen=True, slots=True)
class Materialized:
    """A materialization of an earlier attempt of a step."""

    run_id: str
    metadata: Mapping[str, dg.MetadataValue[Any]]


def find_materializations(instance: dg.DagsterInstance, run_ids: Sequence[str], step_key: str) -> Mapping[dg.AssetKey, Materialized]:
    """Return the materializations of a step in some runs, the latest of each asset.

    Args:
        instance: the Dagster instance with the events.
        run_ids: the runs, nearest first.
        step_key: the step.
    """
    found: dict[dg.AssetKey, Materialized] = {}
    for run_id, key, event in _list_asset_events(instance, run_ids, step_key, dg.DagsterEventType.ASSET_MATERIALIZATION):
        metadata = event.step_materialization_data.materialization.metadata
        made_in = metadata.get("starlake/made_in_run")
        found[key] = Materialized(str(made_in.value) if made_in else run_id, metadata)
    return found


def _list_asset_events(
    instance: dg.DagsterInstance, run_ids: Sequence[str], step_key: str, kind: dg.DagsterEventType
) -> Iterator[tuple[str, dg.AssetKey, dg.DagsterEvent]]:
    """Yield a step's events about assets, with their run and asset. The farthest run comes first, so that later ones override it."""
    for run_id in reversed(run_ids):
        for entry in instance.all_logs(run_id, of_type=kind):
            event = entry.dagster_event
            if event is not None and event.step_key == step_key and event.asset_key is not None:
                yield run_id, event.asset_key, event


FAILED_IN_TABLE = "starlake/failed_in_table"
"""Metadata of an observation: why the load of a table failed although its rows are in the table."""
FILES_LEFT = "starlake/files_left"
"""Metadata of an observation: why the load of a table failed whose files may be in a folder that no other load reads."""


@dataclass(frozen=True, slots=True)
class EarlierFailure:
    """The failure of an earlier load of a table.

    Attributes:
        reason: why.
        in_table: whether its rows are in the table; otherwise its files may be in a folder that no other load reads.
    """

    reason: str
    in_table: bool


def find_earlier_failures(instance: dg.DagsterInstance, run_ids: Sequence[str], step_key: str) -> Mapping[dg.AssetKey, EarlierFailure]:
    """Return the tables of a step whose load failed in some runs so that another load does not find their files, with the latest reason.

    Args:
        instance: the Dagster instance with the events.
        run_ids: the runs, nearest first.
        step_key: the step.
    """
    found: dict[dg.AssetKey, EarlierFailure] = {}
    for _, key, event in _list_asset_events(instance, run_ids, step_key, dg.DagsterEventType.ASSET_OBSERVATION):
        metadata = event.asset_observation_data.asset_observation.metadata
        for name in (FAILED_IN_TABLE, FILES_LEFT):
            reason = metadata.get(name)
            if reason is not None:
                found[key] = EarlierFailure(str(reason.value), name == FAILED_IN_TABLE)
    return found


_LOOKED_BACK = 10
"""Number of materializations to read: a load that found little does not predict the next one."""
_SECONDS = ("starlake/seconds", "starlake/batch_seconds")


def find_usual_seconds(context: dg.AssetExecutionContext) -> float | None:
    """Return the longest duration in seconds of the latest materializations of a step's assets; None if one of them has none."""
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
    """Looks up a run's history once per run and process."""

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
    """Return whether a run continues another one from failure, rather than re-executing all of it or selected steps.

    Dagster tags such runs in its UI, its API, and its automatic retries. For runs started in Python, only the list of steps shows
    it.
    """
    return run.tags.get(_FROM_FAILURE) == "true" or (run.step_keys_to_execute is not None and _CHOSEN_STEPS not in run.tags)
