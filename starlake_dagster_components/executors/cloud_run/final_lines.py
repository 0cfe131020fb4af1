"""Read the output of executions that have ended: their last lines, and those with the results of loads."""

import time
from collections.abc import Callable, Sequence
from itertools import islice

from ...errors import MissingDependency
from ..starlake_output.load_log import PATTERN, LoadLines
from .calls import is_transient
from .connection import Connection
from .log_queries import Line, fetch_lines, iterate_tries
from .log_reader import find_reader

LATE_LINES = (0.0, 2.0, 4.0)
"""Seconds to wait before each query for the last lines of a finished execution."""
ALL_LINES = 50_000
"""Maximum number of lines of one execution to read."""


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

    It waits a few seconds for late lines, and repeats a query that Cloud Logging has rejected temporarily. ``count`` is the number of lines
    (None = all, up to :data:`ALL_LINES`), and ``since`` the earliest time, in seconds since 1970. The wait ends when the lines are enough.
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

    It waits a few seconds for late lines. Loads that end at the same time share queries. The arguments are those of
    :func:`fetch_last_lines`. ``settled``: whether to continue until no more lines arrive.
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
    """Return the lines with the row counts of a successful load, and the reason if they are missing. Loads share queries."""
    return find_reader(connection, project, COUNTS).fetch(
        execution, since, lambda texts: any(text.startswith("IngestionCounters:") for text in texts)
    )
