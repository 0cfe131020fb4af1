"""Parse the level and the message of Starlake's log lines, and shorten exceptions. Starlake: distrib/log4j2.properties."""

import re

from ...project.word_sets import split_words
from ..base import Level

RECORD = re.compile(
    r"""^\W{0,2}(?:\d[\d/.:,TZ+-]*\s+){0,3}      # date and time
        (?:\[[^\]]*\]\s+)?                       # thread
        \[?(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL|SEVERE)\]?(?=[\s:])\s*:?\s*
        (?:([\w.$]+(?=:)|(?:\w+\.)+[A-Z][\w$]*(?=\s-\s))(?::|\s-)\s)?(.*)$""",
    re.VERBOSE | re.DOTALL,
)
"""The first line of a record: level, class, message."""
EXCEPTION = re.compile(r'^Exception in thread "[^"]*" (.*)$')
USAGE = re.compile(r"^Error: (.*)$")

_LEVELS: dict[str, Level] = {"TRACE": "debug", "DEBUG": "debug", "INFO": "info", "WARN": "warning", "WARNING": "warning"}


def parse_level(line: str) -> tuple[Level, str]:
    """Return the level and the message of a log line. A line without a level has the level ``info``.

    Starlake's layout is ``26/01/31 10:00:00 INFO Class: message``. Other layouts of log4j (its default is
    ``10:00:00.123 [main] INFO ai.starlake.Class - message``) and JUL are also supported.
    """
    match = RECORD.match(line)
    if match:
        return _LEVELS.get(match[1], "error"), match[3]
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
_MISSING = split_words("""
    ClassNotFoundException NoClassDefFoundError NoSuchMethodError NoSuchFieldError UnsupportedClassVersionError FileNotFoundException
""")
"""Exceptions whose message is only a name, which has no meaning without the class."""


def shorten_exception(text: str) -> str:
    """Return the message of a Java exception without its stack, and without classes that add no information.

    ``java.lang.Exception: java.sql.SQLException: Binder Error ...`` -> ``Binder Error ...``. A class that is part of the message is kept:
    ``java.lang.ClassNotFoundException: org.postgresql.Driver`` -> ``ClassNotFoundException: org.postgresql.Driver``.
    """
    frame = _FRAME.search(text)
    text = (text[: frame.start()] if frame else text).strip()
    while True:
        shorter = _WRAPPER.sub("", text, count=1)
        match = _CLASS.match(shorter)
        if match:
            name, message = match[1].rpartition(".")[2], shorter[match.end() :]
            # A single word is the name of a class, a table, or a file. The class of the exception gives its meaning.
            if name in _MISSING or not re.search(r"\s", message.strip()):
                return f"{name}: {message}"
            shorter = message
        if shorter == text:
            return text
        text = shorter
