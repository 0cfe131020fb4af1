"""Read lines of executions from Cloud Logging, within its quota: it allows 60 queries per minute and project."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from ..base import Level
from .connection import Connection
from .shared import share_in_process

QUERIES_A_MINUTE = 45
"""Maximum number of queries per minute of this process for a project. It is below the quota, because others read the same logs."""
MINUTE = 60.0
PATIENCE = 180.0
"""Seconds to continue while queries are rejected."""
PAUSE = 4.0
"""Seconds until the next query for lines that have not arrived, or after a rejected query."""
AT_ONCE = 100
"""Executions in one query: a filter has at most 20,000 characters."""
PAGE_SIZE = 1000
TIMEOUT = 30.0


class Pace:
    """Limits the number of queries per minute of all threads."""

    def __init__(self, limit: int | None = None) -> None:
        """Take the number of queries per minute; None = unlimited, for emulators."""
        self._limit = limit
        self._lock = threading.Lock()
        self._times: deque[float] = deque()

    def wait(self) -> None:
        """Return when the next query may be made."""
        while self._limit is not None:
            with self._lock:
                now = time.monotonic()
                while self._times and now - self._times[0] >= MINUTE:
                    self._times.popleft()
                if len(self._times) < self._limit:
                    self._times.append(now)
                    return
                rest = MINUTE - (now - self._times[0])
            time.sleep(max(rest, 0.01))


@share_in_process
def find_pace(address: str, project: str, limit: int | None) -> Pace:
    """Return the pace of this process for the logs of a project at an address."""
    return Pace(limit)


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
    """Yield the lines of ``executions`` (short names), oldest first.

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
    access = connection.access
    address = access.find_endpoint("Logging") or access.api_endpoint or ""
    pages = _fetch_pages(client, request, find_pace(address, project, None if access.insecure else QUERIES_A_MINUTE))
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


def iterate_tries() -> Iterator[None]:
    """Yield once for each try of a query that may be rejected, with a pause between them, until :data:`PATIENCE` is over."""
    end = time.monotonic() + PATIENCE
    while True:
        yield
        if time.monotonic() + PAUSE > end:
            return
        time.sleep(PAUSE)
