"""The lines of Starlake's log: their level and message, and what is worth showing of an exception. Starlake: distrib/log4j2.properties."""

import re

from ..outcomes import Level

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


def parse_level(line: str) -> tuple[Level, str]:
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


_WRAPPER = re.compile(
    r"^(?:java\.lang\.(?:Exception|RuntimeException|Throwable)|java\.util\.concurrent\.\w+Exception|scala\.\w+(?:\.\w+)*): "
)
_CLASS = re.compile(r"^((?:[\w$]+\.)+[\w$]+): (?=\S)")
_FRAME = re.compile(r"\s*(?:\n|\s)\s*at (?:[\w$]+\.)+[\w$<>]+\(")
_MISSING = (
    "ClassNotFoundException",
    "NoClassDefFoundError",
    "NoSuchMethodError",
    "NoSuchFieldError",
    "UnsupportedClassVersionError",
    "FileNotFoundException",
)
"""Exceptions whose message is the name of something: without the class it says nothing."""


def shorten_exception(text: str) -> str:
    """Return the message of a Java exception without its stack, and without classes that say nothing.

    ``java.lang.Exception: java.sql.SQLException: Binder Error ...`` -> ``Binder Error ...``. A class stays where it is the message:
    ``java.lang.ClassNotFoundException: org.postgresql.Driver`` -> ``ClassNotFoundException: org.postgresql.Driver``.
    """
    frame = _FRAME.search(text)
    text = (text[: frame.start()] if frame else text).strip()
    while True:
        shorter = _WRAPPER.sub("", text, count=1)
        match = _CLASS.match(shorter)
        if match:
            name, message = match[1].rpartition(".")[2], shorter[match.end() :]
            # One word is the name of a class, a table, a file; what it means is in the class of the exception.
            if name in _MISSING or not re.search(r"\s", message.strip()):
                return f"{name}: {message}"
            shorter = message
        if shorter == text:
            return text
        text = shorter
