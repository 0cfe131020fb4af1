"""The lines of Starlake's log: their level and message. Starlake: distrib/log4j2.properties."""

import re

from ..base import Level

RECORD = re.compile(
    r"""^\W{0,2}(?:\d[\d/.:,TZ+-]*\s+){0,3}      # date and time
        (?:\[[^\]]*\]\s+)?                       # thread
        \[?(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL|SEVERE)\]?(?=[\s:])\s*:?\s*(?:([\w.$]+):\s)?(.*)$""",
    re.VERBOSE | re.DOTALL,
)
"""The first line of a record: level, class, message."""
EXCEPTION = re.compile(r'^Exception in thread "[^"]*" (.*)$')
USAGE = re.compile(r"^Error: (.*)$")

_LEVELS: dict[str, Level] = {
    "TRACE": "debug",
    "DEBUG": "debug",
    "INFO": "info",
    "WARN": "warning",
    "WARNING": "warning",
    "ERROR": "error",
    "FATAL": "error",
    "SEVERE": "error",
}


def level_of(line: str) -> tuple[Level, str]:
    """Return level and message of a log line; a line without a level is ``info``, wherever it came from.

    Starlake's layout is ``26/01/31 10:00:00 INFO Class: message``; other log4j and JUL layouts are understood as well.
    """
    match = RECORD.match(line)
    if match:
        return _LEVELS[match[1]], match[3]
    for pattern in (EXCEPTION, USAGE):
        match = pattern.match(line)
        if match:
            return "error", match[1]
    return "info", line
