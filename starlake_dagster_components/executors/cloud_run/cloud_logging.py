"""An execution's output, from Cloud Logging: the last lines after a failure, or all of them while it runs."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from ...errors import MissingDependency
from ..base import Level, Log
from ..starlake_output.load_log import PATTERN, LoadLines
from .calls import is_transient
from .connection import Connection
from .log_reader import AT_ONCE, PATIENCE, Pace, find_pace, find_reader, iterate_tries

PAGE_SIZE = 1000
TIMEOUT = 30.0
OVERLAP = 20.0
"""Seconds that each query looks back behind the newest line seen: lines arrive late and out of order."""
LATE = 60.0
"""Seconds after which a line that has not arrived is not looked for any more."""
LATE_LINES = (0.0, 2.0, 4.0)
"""Seconds before each look at the last lines of a finished execution."""
ALL_LINES = 50_000
"""Lines of one execution that are read at most."""
QUIET_AFTER = 20
"""How many times its ``log_settle`` the lines of a finished execution are waited for."""

OnLine = Callable[[Level | None, str], None]
"""Takes a line and its severity, where it has one (structured logs); not called by two threads at a time for one execution."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output."""

    execution: str
    id: str
    time: float
    level: Level | None
    text: str


def fetch_lines(
    connection: Connection,
    project: str,
    executions: Sequence[str],
    *,
    since: float | None,
    newest: int | None = None,
    matching: str | None = None,
) -> Iterator[Line]:
    """Yield the lines of some executions (short names), oldest first.

    Args:
        connection: the account.
        project: the project of the executions.
        executions: short names.
        since: nothing older, seconds since 1970.
        newest: only so many of the last lines.
        matching: only entries with a line that this regular expression (RE2) finds.

    Raises:
        MissingDependency: google-cloud-logging is not installed.
        google.api_core.exceptions.GoogleAPIError: the call failed.
    """
    client = connection.logs
    from google.cloud.logging_v2.types import ListLogEntriesRequest, ListLogEntriesResponse

    names = " OR ".join(f'labels."run.googleapis.com/execution_name"="{name}"' for name in executions)
    clauses = ['resource.type="cloud_run_job"', f"({names})"]
    if since is not None:
        clauses.append(f'timestamp>="{datetime.fromtimestamp(since, timezone.utc).isoformat()}"')
    if matching is not None:
        clauses.append(f'textPayload=~"(?m){matching}"')
    request = ListLogEntriesRequest(
        resource_names=[f"projects/{project}"],
        filter=" AND ".join(clauses),
        order_by="timestamp desc" if newest else "timestamp asc",
        page_size=min(newest or PAGE_SIZE, PAGE_SIZE),
    )
    pages = _fetch_pages(client, request, find_pace(connection, project))
    # The bare messages: wrapping every entry would cost several times as much as all the rest.
    entries = (entry for page in pages for entry in ListLogEntriesResponse.pb(page).entries)
    chosen = reversed(list(islice(entries, newest))) if newest else entries
    for entry in chosen:
        yield from _split_entry(entry)


def _fetch_pages(client: Any, request: Any, pace: Pace) -> Iterator[Any]:
    """Yield the pages of an answer; each of them is a query of its own for the quota."""
    while True:
        pace.wait()
        # The first page alone: going on is ours, at our pace.
        page = next(iter(client.list_log_entries(request=request, timeout=TIMEOUT).pages))
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _split_entry(entry: Any) -> Iterator[Line]:
    text = entry.text_payload
    if entry.HasField("json_payload"):
        from google.protobuf.json_format import MessageToDict

        payload = MessageToDict(entry.json_payload)
        text = str(payload.get("message") or json.dumps(payload, ensure_ascii=False))
    name = entry.labels["run.googleapis.com/execution_name"]
    at = entry.timestamp.seconds + entry.timestamp.nanos / 1e9
    level = _read_level(entry.severity)
    for number, line in enumerate(text.split("\n")):
        yield Line(name, f"{entry.insert_id}.{number}", at, level, line)


def _read_level(severity: int) -> Level | None:
    """Return the level for a LogSeverity: 500 = ERROR, 400 = WARNING, 200 = INFO, 100 = DEBUG; None for plain output."""
    if not severity:
        return None
    return "error" if severity >= 500 else "warning" if severity >= 400 else "info" if severity >= 200 else "debug"


@dataclass(slots=True)
class _Followed:
    execution: str
    on_line: OnLine
    newest: float
    settle: float
    seen: dict[str, float] = field(default_factory=dict)
    prune_at: int = 20_000
    draining: bool = False
    """Whether it has ended, so that only lines on their way are waited for."""
    quiet: int = 0
    """Answers without a new line since then."""

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
    """Passes on the lines of all followed executions of a project while they run, with one query for many of them."""

    def __init__(self, connection: Connection, project: str, interval: float) -> None:
        self._connection = connection
        self._project = project
        self._interval = interval
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._followed: dict[str, _Followed] = {}
        self._thread: threading.Thread | None = None
        self._last = 0
        self._refused = False
        self._changed = threading.Condition(self._lock)

    @contextmanager
    def follow_execution(self, execution: str, on_line: OnLine, *, since: float, settle: float, say: Log) -> Iterator[None]:
        """Follow an execution as long as the block lasts; on leaving, wait for the lines that are still on their way.

        Args:
            execution: short name.
            on_line: receives the lines, in order.
            since: its start, seconds since 1970.
            settle: seconds without a new line after which no more are expected.
            say: receives a warning where lines are missing.
        """
        self._connection.logs  # noqa: B018 -- a missing package is said before anything is waited for
        followed = _Followed(execution, on_line, since - OVERLAP, settle)
        with self._changed:
            self._followed[execution] = followed
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, daemon=True, name="cloud-run-logs")
                self._thread.start()
        try:
            yield
        finally:
            try:
                if not self._drain(followed):
                    say("warning", f"lines of {execution} may be missing: Cloud Logging did not answer for some time")
            finally:
                with self._changed:
                    del self._followed[execution]
                    self._changed.notify()

    def _drain(self, followed: _Followed) -> bool:
        """Wait for the lines of an execution that has ended; return whether Cloud Logging has answered.

        The thread of all executions reads them, so that many which end at the same time do not need a query each.
        """
        with self._reading:
            followed.draining = True
        began = time.monotonic()
        with self._changed:
            self._changed.notify_all()
            while followed.quiet < 2:
                limit = QUIET_AFTER * followed.settle + (PATIENCE if self._refused else 1.0)
                if time.monotonic() - began > limit:
                    return not self._refused
                self._changed.wait(max(followed.settle, 0.05))
        return True

    def _find_pause(self) -> float:
        """Return the seconds between two queries."""
        settles = [followed.settle for followed in self._followed.values() if followed.draining]
        return max(min([self._interval, *settles]), 0.01)

    def _loop(self) -> None:
        while True:
            with self._changed:
                began = time.monotonic()
                while self._followed and (rest := began + self._find_pause() - time.monotonic()) > 0:
                    self._changed.wait(rest)
                if not self._followed:
                    self._thread = None
                    return
                followed = list(self._followed.values())
            for start in range(0, len(followed), AT_ONCE):
                self._read(followed[start : start + AT_ONCE])
            with self._changed:
                self._changed.notify_all()

    def _read(self, followed: Sequence[_Followed]) -> int:
        """Read what is new; return how many lines. A failing query is left to the next one."""
        from google.api_core import exceptions

        new = 0
        with self._reading:
            began = time.time()
            by_name = {f.execution: f for f in followed}
            draining = [f for f in followed if f.draining]
            newest: dict[str, int] = {}
            # After much output looking far back again would cost more queries than are allowed.
            since = min(f.newest for f in followed) - (OVERLAP if self._last < PAGE_SIZE else 1.0)
            try:
                for line in fetch_lines(self._connection, self._project, list(by_name), since=since):
                    if line.execution in by_name:
                        taken = by_name[line.execution].take(line)
                        newest[line.execution] = newest.get(line.execution, 0) + taken
                        new += taken
            except exceptions.GoogleAPIError:
                # What came is kept; the next query goes on from there.
                self._refused = True
                return new
            finally:
                self._last = new
            self._refused = False
            for f in draining:
                f.quiet = 0 if newest.get(f.execution) else f.quiet + 1
            for f in followed:
                # A silent execution must not make every query start at its beginning.
                f.newest = max(f.newest, began - LATE)
        return new


_followers: dict[tuple[Connection, str], Follower] = {}
_followers_lock = threading.Lock()


def find_follower(connection: Connection, project: str, interval: float) -> Follower:
    """Return this process's follower for the logs of a project."""
    with _followers_lock:
        return _followers.setdefault((connection, project), Follower(connection, project, interval))


def fetch_last_lines(
    connection: Connection,
    project: str,
    execution: str,
    count: int | None,
    *,
    since: float | None,
    has_enough: Callable[[Sequence[Line]], bool] = bool,
) -> Sequence[Line] | str:
    """Return the last lines of an execution, oldest first; or why they cannot be had.

    Waits a few seconds for late ones, and for Cloud Logging where it refuses a query for now.

    Args:
        connection: the account.
        project: the project of the execution.
        execution: its short name.
        count: how many lines; None = all, up to :data:`ALL_LINES`.
        since: nothing older, seconds since 1970.
        has_enough: whether the lines are those that were waited for.
    """
    from google.api_core import exceptions

    lines: Sequence[Line] = ()
    problem = ""
    try:
        for delay in LATE_LINES:
            time.sleep(delay)
            for _ in iterate_tries():
                try:
                    found = fetch_lines(connection, project, [execution], since=since, newest=count)
                    lines, problem = list(islice(found, ALL_LINES)), ""
                    break
                except exceptions.GoogleAPIError as error:
                    problem = f"the logs cannot be read ({getattr(error, 'message', None) or error})"
                    if not is_transient(error):
                        return f"{problem}; roles/logging.viewer allows it"
            if problem or has_enough(lines):
                break
    except MissingDependency as error:
        return str(error)
    return lines[-count:] if lines and count else lines or problem or "Cloud Logging has no lines of it yet"


def fetch_load_lines(
    connection: Connection, project: str, execution: str, *, since: float | None, has_enough: Callable[[LoadLines], bool], settled: bool
) -> LoadLines:
    """Return what an execution wrote about the tables of its load, in order. What cannot be had is not known. Waits a few seconds for late
    lines; loads that end at the same time share queries.

    Args:
        connection: the account.
        project: the project of the execution.
        execution: its short name.
        since: nothing older, seconds since 1970.
        has_enough: whether everything that can be expected has come.
        settled: whether to look until nothing more comes.
    """
    before = -1

    def read(texts: Sequence[str]) -> LoadLines:
        found = LoadLines()
        for text in texts:
            found.take(text)
        return found

    def is_enough(texts: Sequence[str]) -> bool:
        nonlocal before
        is_settled, before = len(texts) == before or not settled, len(texts)
        return is_settled and has_enough(read(texts))

    texts, problem = find_reader(connection, project, PATTERN).fetch(execution, since, is_enough)
    # Lines of a query that was never answered are missing; lines that never came may not exist.
    return LoadLines() if problem and not texts else read(texts)


COUNTS = r"^(?:IngestionCounters:|Data successfully loaded from |(?:Input records|Accepted|Rejected): )"
"""Regular expression (RE2) that finds the lines with the row counts of a load."""


def fetch_count_lines(connection: Connection, project: str, execution: str, *, since: float | None) -> tuple[Sequence[str], str]:
    """Return the lines with the row counts of a load that succeeded, and why they are missing, if so; loads share queries.

    Args:
        connection: the account.
        project: the project of the execution.
        execution: its short name.
        since: nothing older, seconds since 1970.
    """
    return find_reader(connection, project, COUNTS).fetch(
        execution, since, lambda texts: any(text.startswith("IngestionCounters:") for text in texts)
    )
