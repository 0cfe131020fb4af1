"""Find executions of a job by the command id in their environment.

Every execution has the id of its command in ``STARLAKE_DAGSTER_COMMAND_ID``, and the API returns it in ``Execution.template``. So an
execution is found even if the process that started it, its disk, or the answer is lost.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from .connection import Connection
from .request import split_id
from .shared import share_in_process
from .state import ExecutionState, read_message

PAGE_SIZE = 500
MAX_PAGES = 100
"""Maximum number of executions in a listing, in case a server never ends it. Cloud Run keeps at most 1,000 finished ones of a job."""
TIMEOUT = 30.0


@dataclass(slots=True)
class _Listing:
    """The result of one listing: for each family of command ids the attempts with their states, and how far back it goes."""

    began: float
    since: float | None
    found: dict[str, list[tuple[int, ExecutionState]]] = field(default_factory=dict)


class Finder:
    """Lists the executions of one job. Concurrent callers share a listing."""

    def __init__(self, connection: Connection, job: str) -> None:
        self._connection = connection
        self._job = job
        self._lock = threading.Lock()
        self._listing: _Listing | None = None

    def find(self, families: Sequence[str], since: float | None) -> list[tuple[int, int, ExecutionState]]:
        """Return the executions of the command ids in ``families``, as they were after this call began.

        Args:
            families: the family of the run itself, then those of the runs that it continues.
            since: the earliest time, in seconds since 1970; None = all executions that the API still has.

        Returns:
            (index of the family, attempt, state), oldest first.

        Raises:
            google.api_core.exceptions.GoogleAPIError: a call failed.
        """
        asked = time.monotonic()
        with self._lock:
            listing = self._listing
            if listing is None or listing.began < asked or (listing.since is not None and (since is None or since < listing.since)):
                self._listing = listing = self._list_executions(since)
        matches = [(i, attempt, state) for i, family in enumerate(families) for attempt, state in listing.found.get(family, ())]
        return sorted(matches, key=lambda match: match[2].created)

    def _list_executions(self, since: float | None) -> _Listing:
        listing = _Listing(time.monotonic(), since)
        for page in list_pages(self._connection, self._job, PAGE_SIZE):
            states = [read_message(message) for message in page]
            for state in states:
                split = split_id(state.command_id)
                if split:
                    listing.found.setdefault(split[0], []).append((split[1], state))
            is_newest_first = all(a.created >= b.created for a, b in pairwise(states))
            if since is not None and len(states) > 1 and is_newest_first and states[-1].created < since:
                break
        return listing


@share_in_process
def find_finder(connection: Connection, job: str) -> Finder:
    """Return this process's finder for the executions of a job."""
    return Finder(connection, job)


def list_pages(connection: Connection, job: str, size: int) -> Iterator[Sequence[Any]]:
    """Yield the executions of a job, page by page, as protobuf messages; the API lists the newest first."""
    from google.cloud import run_v2

    request = run_v2.ListExecutionsRequest(parent=job, page_size=size)
    answer = connection.executions.list_executions(request=request, timeout=TIMEOUT)
    for number, page in enumerate(answer.pages, start=1):
        yield run_v2.ListExecutionsResponse.pb(page).executions
        if number >= MAX_PAGES:
            return
