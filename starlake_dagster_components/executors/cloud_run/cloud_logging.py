"""Read the output of executions from Cloud Logging: the last lines after a failure, or all lines while they run."""

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
"""Seconds before the newest known line at which each query starts, because lines arrive late and out of order."""
LATE = 60.0
"""Seconds after which a line that has not arrived is no longer looked for."""
LATE_LINES = (0.0, 2.0, 4.0)
"""Seconds to wait before each query for the last lines of a finished execution."""
ALL_LINES = 50_000
"""Maximum number of lines that are read of one execution."""
QUIET_AFTER = 20
"""The maximum wait for the lines of a finished execution, as a multiple of its ``log_settle``."""

OnLine = Callable[[Level | None, str], None]
"""Takes a line and its severity, if it has one (structured logs). Only one thread at a time calls it for an execution."""


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
        connection: the connection of the account.
        project: the project of the executions.
        executions: their short names.
        since: the earliest time, in seconds since 1970.
        newest: the maximum number of lines, counted from the end.
        matching: regular expression (RE2) that an entry must match.

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
    # Uses the raw protobuf messages, because wrapping every entry would take several times as long as everything else.
    entries = (entry for page in pages for entry in ListLogEntriesResponse.pb(page).entries)
    chosen = reversed(list(islice(entries, newest))) if newest else entries
    for entry in chosen:
        yield from _split_entry(entry)


def _fetch_pages(client: Any, request: Any, pace: Pace) -> Iterator[Any]:
    """Yield the pages of an answer. Each page counts as one query for the quota."""
    while True:
        pace.wait()
        # The client reads the first page only. This function asks for the other pages itself, to limit the rate.
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
    """Whether it has ended, so that only late lines can still arrive."""
    quiet: int = 0
    """Number of answers without a new line since then."""

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
        self._refused = False
        self._changed = threading.Condition(self._lock)

    @contextmanager
    def follow_execution(self, execution: str, on_line: OnLine, *, since: float, settle: float, say: Log) -> Iterator[None]:
        """Follow an execution while the block runs. At its end, wait for late lines.

        Args:
            execution: its short name.
            on_line: receives the lines, in order.
            since: its start, in seconds since 1970.
            settle: seconds without a new line after which no more lines are expected.
            say: receives a warning if lines are missing.
        """
        self._connection.logs  # noqa: B018 -- reports a missing package before the wait
        followed = _Followed(execution, on_line, since - OVERLAP, settle)
        with self._changed:
            self._followed[execution] = followed
            if self._thread is None:
                self._thread = threading.Thread(target=self._read_until_removed, daemon=True, name="cloud-run-logs")
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
        """Wait for the lines of an execution that has ended. Return whether Cloud Logging has answered.

        One thread reads the lines of all executions, so that executions that end at the same time share queries.
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

    def _read_until_removed(self) -> None:
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
                self._refused = True
                return new
            finally:
                self._last = new
            self._refused = False
            for f in draining:
                f.quiet = 0 if newest.get(f.execution) else f.quiet + 1
            for f in followed:
                # An execution without output must not make every query start at its beginning.
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
    """Return the last lines of an execution, oldest first, or a message with the reason why they cannot be read.

    It waits a few seconds for late lines, and repeats a query that Cloud Logging has rejected temporarily.

    Args:
        connection: the connection of the account.
        project: the project of the execution.
        execution: its short name.
        count: the number of lines; None = all, up to :data:`ALL_LINES`.
        since: the earliest time, in seconds since 1970.
        has_enough: returns whether the lines are complete, so that the wait can end.
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
    """Return the lines of an execution about the tables of its load, in order. Lines that cannot be read are left out.

    It waits a few seconds for late lines. Loads that end at the same time share queries.

    Args:
        connection: the connection of the account.
        project: the project of the execution.
        execution: its short name.
        since: the earliest time, in seconds since 1970.
        has_enough: returns whether all expected lines have arrived.
        settled: whether to continue until no more lines arrive.
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
    # If no query was answered, lines are missing. Otherwise, lines that have not arrived may not exist.
    return LoadLines() if problem and not texts else read(texts)


COUNTS = r"^(?:IngestionCounters:|Data successfully loaded from |(?:Input records|Accepted|Rejected): )"
"""Regular expression (RE2) that finds the lines with the row counts of a load."""


def fetch_count_lines(connection: Connection, project: str, execution: str, *, since: float | None) -> tuple[Sequence[str], str]:
    """Return the lines with the row counts of a successful load, and the reason if they are missing. Loads share queries.

    Args:
        connection: the connection of the account.
        project: the project of the execution.
        execution: its short name.
        since: the earliest time, in seconds since 1970.
    """
    return find_reader(connection, project, COUNTS).fetch(
        execution, since, lambda texts: any(text.startswith("IngestionCounters:") for text in texts)
    )
