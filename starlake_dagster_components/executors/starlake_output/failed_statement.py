"""Find the SQL statement that failed in the output of Starlake. Starlake: JdbcDbUtils.execute."""

import re

from ...failed_sql import find_place, show_statement
from .log_levels import EXCEPTION, RECORD

_BEGIN = re.compile(r"Error running JDBC SQL \[(.*)$", re.DOTALL)
_END = re.compile(r"^(.*)\] with id [0-9a-f-]{36}: ?(.*)$", re.DOTALL)
_WRAPPER = re.compile(r"Invalid Input Error: Attempting to execute an unsuccessful or closed pending query result\s+Error: ")
_EXCERPT = re.compile(r"\s+LINE \d+: .*$", re.DOTALL)

LONGEST = 2_000
"""Maximum number of lines of a statement, or of a message, to keep."""


def shorten_message(text: str) -> str:
    """Return a database's message about a statement without the words that its driver puts before it, and without the excerpt."""
    return _EXCERPT.sub("", _WRAPPER.sub("", text))


class FailedStatement:
    """Reads an output line by line, and keeps the last statement that failed, with the database's message about it."""

    def __init__(self) -> None:
        self._open: list[str] | None = None
        self._statement = ""
        self._message: list[str] = []
        self._goes_on = False

    def take(self, line: str) -> None:
        """Take a line, which may be blank."""
        if RECORD.match(line) or EXCEPTION.match(line):
            begin = _BEGIN.search(line)
            self._open, self._goes_on = ([] if begin else None), False
            if begin:
                self._take_statement(begin[1])
        elif self._open is not None:
            self._take_statement(line)
        elif self._goes_on and len(self._message) < LONGEST:
            self._message.append(line)

    def _take_statement(self, line: str) -> None:
        assert self._open is not None
        end = _END.match(line)
        self._open.append(end[1] if end else line)
        if end:
            self._statement, self._message, self._goes_on = "\n".join(self._open), [end[2]], True
        if end or len(self._open) > LONGEST:
            self._open = None

    def show(self, reason: str | None) -> str | None:
        """Return the lines of the statement around the error; None if the reason for the failure is not about a statement."""
        message = shorten_message(" ".join(filter(None, (line.strip() for line in self._message))))
        if not reason or not message or message[:60] not in reason:
            return None
        return show_statement(self._statement, *find_place("\n".join(self._message), self._statement))
