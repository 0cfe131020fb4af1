"""Pass on the output of executions while they run."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..base import Level, Log
from .connection import Connection
from .log_queries import AT_ONCE, PAGE_SIZE, PATIENCE, TIMEOUT, Line, fetch_lines
from .shared import share_in_process

OVERLAP = 20.0
"""Seconds before the newest known line at which each query starts, because lines arrive late and out of order."""
LATE = 60.0
"""Seconds after which a line that has not arrived is no longer looked for."""
QUIET_AFTER = 20
"""The maximum wait for the lines of a finished execution, as a multiple of its ``log_settle``, plus the time that one query may take."""

OnLine = Callable[[Level | None, str], None]
"""Takes a line and its severity, if it has one (structured logs). Only one thread at a time calls it for an execution."""


@dataclass(slots=True)
class _Followed:
    execution: str
    on_line: OnLine
    newest: float
    settle: float
    seen: dict[str, float] = field(default_factory=dict)
    prune_at: int = 20_000
    draining: bool = False
    """True once it has ended, so that only late lines can still arrive."""
    quiet: int = 0
    """Number of answers without a new line since then."""

    @property
    def drained(self) -> bool:
        """True if no more lines are expected."""
        return self.quiet >= 2

    def take(self, line: Line) -> bool:
        """Pass a line on if it is new."""
        if line.id in self.seen:
            return False
        self.seen[line.id] = line.time
        self.newest = max(self.newest, line.time)
        self.on_line(line.level, line.text)
        if len(self.seen) > self.prune_at:
            self.seen = {key: at for key, at in self.seen.items() if at >= self.newest - 2 * OVERLAP}
            self.prune_at = max(20_000, 2 * len(self.seen))
        return True


class Follower:
    """Passes on the lines of all followed executions of a project while they run. One query serves many executions."""

    def __init__(self, connection: Connection, project: str, interval: float) -> None:
        self._connection = connection
        self._project = project
        self._interval = interval
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._followed: dict[str, _Followed] = {}
        self._thread: threading.Thread | None = None
        self._last = 0
        self._rejected = False
        self._changed = threading.Condition(self._lock)

    @contextmanager
    def follow_execution(self, execution: str, on_line: OnLine, *, since: float, settle: float, report: Log) -> Iterator[None]:
        """Follow an execution while the block runs. At its end, wait for late lines.

        Args:
            execution: its short name.
            on_line: receives the lines, in order.
            since: its start, in seconds since 1970.
            settle: seconds without a new line after which no more lines are expected.
            report: receives a warning if lines are missing.
        """
        self._connection.logs  # noqa: B018 -- reports a missing package before the wait
        followed = _Followed(execution, on_line, since - OVERLAP, settle)
        with self._changed:
            self._followed[execution] = followed
            if self._thread is None:
                self._thread = threading.Thread(target=self._read_until_drained, daemon=True, name="cloud-run-logs")
                self._thread.start()
        try:
            yield
        finally:
            try:
                if not self._drain(followed):
                    report("warning", f"lines of {execution} may be missing: Cloud Logging did not answer for some time")
            finally:
                with self._changed:
                    del self._followed[execution]
                    self._changed.notify()

    def _drain(self, followed: _Followed) -> bool:
        """Wait for the lines of an execution that has ended. Return whether Cloud Logging has answered.

        One thread reads the lines of all executions, so that executions that end at the same time share queries.
        """
        with self._reading:
            followed.draining = True
        began = time.monotonic()
        with self._changed:
            self._changed.notify_all()
            while not followed.drained:
                limit = QUIET_AFTER * followed.settle + (PATIENCE if self._rejected else TIMEOUT)
                if time.monotonic() - began > limit:
                    return not self._rejected
                self._changed.wait(max(followed.settle, 0.05))
        return True

    def _find_pause(self) -> float:
        """Return the seconds between two queries."""
        settles = [followed.settle for followed in self._list_unfinished() if followed.draining]
        return max(min([self._interval, *settles]), 0.01)

    def _list_unfinished(self) -> list[_Followed]:
        """Return the executions of which more lines are expected. Others may wait to be removed by their own threads."""
        return [followed for followed in self._followed.values() if not followed.drained]

    def _read_until_drained(self) -> None:
        while True:
            with self._changed:
                began = time.monotonic()
                while self._list_unfinished() and (rest := began + self._find_pause() - time.monotonic()) > 0:
                    self._changed.wait(rest)
                followed = self._list_unfinished()
                if not followed:
                    self._thread = None
                    return
            for start in range(0, len(followed), AT_ONCE):
                self._read(followed[start : start + AT_ONCE])
            with self._changed:
                self._changed.notify_all()

    def _read(self, followed: Sequence[_Followed]) -> int:
        """Read new lines, and return their number. If a query fails, the next one reads the same lines."""
        from google.api_core import exceptions

        new = 0
        with self._reading:
            began = time.time()
            by_name = {f.execution: f for f in followed}
            draining = [f for f in followed if f.draining]
            newest: dict[str, int] = {}
            # After much output, looking far back again would need more queries than the quota allows.
            since = min(f.newest for f in followed) - (OVERLAP if self._last < PAGE_SIZE else 1.0)
            try:
                for line in fetch_lines(self._connection, self._project, list(by_name), since=since):
                    if line.execution in by_name:
                        taken = by_name[line.execution].take(line)
                        newest[line.execution] = newest.get(line.execution, 0) + taken
                        new += taken
            except exceptions.GoogleAPIError:
                # The lines that arrived are kept. The next query continues from there.
                self._rejected = True
                return new
            finally:
                self._last = new
            self._rejected = False
            for f in draining:
                f.quiet = 0 if newest.get(f.execution) else f.quiet + 1
            for f in followed:
                # An execution without output must not make every query start at its beginning.
                f.newest = max(f.newest, began - LATE)
        return new


@share_in_process
def find_follower(connection: Connection, project: str, interval: float) -> Follower:
    """Return this process's follower for the logs of a project."""
    return Follower(connection, project, interval)
