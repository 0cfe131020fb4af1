"""What a run continues: needed by executors that find remote work of a lost worker again."""

import threading
from dataclasses import dataclass
from datetime import datetime, timezone

import dagster as dg

MAX_RUNS = 50
"""Runs to look back at: a chain of re-executions is not longer in practice."""


@dataclass(frozen=True, slots=True)
class RunHistory:
    """When a run, or the oldest that it re-executes, was created; the runs that it re-executes, nearest first, and what succeeded in them."""

    since: datetime | None
    earlier_runs: tuple[str, ...]
    succeeded: tuple[frozenset[str], ...] = ()
    """Keys of the steps that succeeded in each of ``earlier_runs``."""

    def continued(self, step_key: str) -> tuple[str, ...]:
        """Return the earlier runs that a step continues: back to, and without, the latest one in which it succeeded.

        A step that succeeded there is run again on purpose: nothing of that run may stand for it.
        """
        found: list[str] = []
        for run_id, succeeded in zip(self.earlier_runs, self.succeeded, strict=False):
            if step_key in succeeded:
                break
            found.append(run_id)
        return tuple(found)


class RunHistories:
    """Looks a run's history up once per run and process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, RunHistory] = {}

    def of(self, run: dg.DagsterRun, instance: dg.DagsterInstance) -> RunHistory:
        """Return the history of a run."""
        with self._lock:
            if run.run_id not in self._known:
                if len(self._known) > 100:
                    self._known.clear()
                self._known[run.run_id] = _look_up(run, instance)
            return self._known[run.run_id]


def _look_up(run: dg.DagsterRun, instance: dg.DagsterInstance) -> RunHistory:
    since: datetime | None = None
    earlier: list[str] = []
    succeeded: list[frozenset[str]] = []
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
    return RunHistory(since, tuple(earlier), tuple(succeeded))
