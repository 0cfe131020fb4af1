"""Find single lines of many executions with few queries, because Cloud Logging allows 60 queries per minute and project.

Loads that end at the same time ask for their row counts at the same time. They share queries, and repeat those that are rejected.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...errors import MissingDependency
from .calls import is_transient, summarize_error
from .connection import Connection
from .log_queries import AT_ONCE, PATIENCE, PAUSE, fetch_lines
from .shared import share_in_process

GATHERING = 0.5
"""Seconds to wait for other executions before a query."""
LOOKS = 3
"""Maximum number of queries for lines that have not arrived."""


@dataclass(slots=True)
class _Wanted:
    """A thread's request for the lines of an execution."""

    execution: str
    since: float | None
    enough: Callable[[Sequence[str]], bool]
    lines: list[str] = field(default_factory=list)
    looks: int = 0
    began: float = field(default_factory=time.monotonic)
    problem: str = ""
    done: threading.Event = field(default_factory=threading.Event)


class SharedReader:
    """Reads the lines that match a regular expression, for all threads that ask at about the same time."""

    def __init__(self, connection: Connection, project: str, matching: str) -> None:
        self._connection, self._project, self._matching = connection, project, matching
        self._condition = threading.Condition()
        self._wanted: list[_Wanted] = []
        self._thread: threading.Thread | None = None

    def fetch(self, execution: str, since: float | None, enough: Callable[[Sequence[str]], bool]) -> tuple[Sequence[str], str]:
        """Return the matching lines of an execution, oldest first, and the reason if they are incomplete.

        Args:
            execution: its short name.
            since: the earliest time, in seconds since 1970.
            enough: returns whether the lines are complete, so that the wait can end.
        """
        wanted = _Wanted(execution, since, enough)
        with self._condition:
            self._wanted.append(wanted)
            if self._thread is None:
                self._thread = threading.Thread(target=self._read_until_answered, daemon=True, name="cloud-run-log-reader")
                self._thread.start()
        wanted.done.wait()
        return wanted.lines, wanted.problem

    def _read_until_answered(self) -> None:
        while True:
            time.sleep(GATHERING)
            with self._condition:
                self._wanted = [wanted for wanted in self._wanted if not wanted.done.is_set()]
                if not self._wanted:
                    self._thread = None
                    return
                batch = self._wanted[:AT_ONCE]
            try:
                paused = self._run_query(batch)
            except BaseException as error:  # noqa: BLE001 -- if the reader died, every step would wait forever
                self._end_all(batch, f"{type(error).__name__}: {error}")
                continue
            if paused:
                with self._condition:
                    # Requests whose lines have not arrived do not delay the others.
                    self._wanted = [wanted for wanted in self._wanted if wanted not in batch] + batch
                    alone = len(self._wanted) == len(batch)
                if alone:
                    time.sleep(PAUSE)

    def _run_query(self, batch: Sequence[_Wanted]) -> bool:
        """Make one query. Return whether some of its executions need another one."""
        from google.api_core import exceptions

        found: dict[str, list[str]] = {}
        starts = [wanted.since for wanted in batch if wanted.since is not None]
        try:
            names = [wanted.execution for wanted in batch]
            for line in fetch_lines(
                self._connection, self._project, names, since=min(starts) if len(starts) == len(batch) else None, matching=self._matching
            ):
                found.setdefault(line.execution, []).append(line.text)
        except MissingDependency as error:
            return self._end_all(batch, str(error))
        except exceptions.GoogleAPIError as error:
            return self._record_rejection(batch, error)
        for wanted in batch:
            wanted.looks += 1
            wanted.problem = ""
            wanted.lines = found.get(wanted.execution, [])
            if wanted.enough(wanted.lines):
                wanted.done.set()
            elif wanted.looks >= LOOKS:
                wanted.problem = "Cloud Logging does not have them"
                wanted.done.set()
        return any(not wanted.done.is_set() for wanted in batch)

    def _record_rejection(self, batch: Sequence[_Wanted], error: BaseException) -> bool:
        message = summarize_error(error)
        if not is_transient(error):
            return self._end_all(batch, f"the logs cannot be read ({message}); roles/logging.viewer allows it")
        for wanted in batch:
            wanted.problem = f"Cloud Logging did not answer for {PATIENCE:g} s ({message})"
            if time.monotonic() - wanted.began > PATIENCE:
                wanted.done.set()
        return any(not wanted.done.is_set() for wanted in batch)

    @staticmethod
    def _end_all(batch: Sequence[_Wanted], problem: str) -> bool:
        for wanted in batch:
            wanted.problem = problem
            wanted.done.set()
        return False


@share_in_process
def find_reader(connection: Connection, project: str, matching: str) -> SharedReader:
    """Return this process's reader for lines of a project's executions that match a regular expression."""
    return SharedReader(connection, project, matching)
