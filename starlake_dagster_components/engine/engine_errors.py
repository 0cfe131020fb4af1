"""Errors that the engine raises, all of them an :class:`~starlake_dagster_components.errors.EngineError`."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import EngineError, Location
from ..failed_sql import show_statement

SHOWN_VALUES = 10
"""Number of bad values that a message lists."""


class BadArguments(EngineError):
    """The command line has an unknown verb or option, or an invalid value."""


class NotFound(EngineError):
    """The project does not have a task, table, domain, or connection."""


class _LocatedError(EngineError):
    """An error at a line of the project's files."""

    def __init__(self, location: Location | None, message: str) -> None:
        self.location = location
        super().__init__(f"{location}: {message}" if location else message)


class NotSupported(_LocatedError):
    """The engine does not support a key of the project."""


class BadSetting(_LocatedError):
    """The value of a key of the project cannot work, for example because an upsert has no key."""


@dataclass(frozen=True, slots=True)
class BadValue:
    """A value of a data file that is not valid for its column.

    Attributes:
        line: line in the file, from 1; 0 if unknown.
        expected: the expected type, or a description of the problem.
        column: name of the attribute; empty if the whole line is invalid.
        value: the value as written in the file; None if it is missing.
        text: the line, if the whole line is invalid.
    """

    line: int
    expected: str
    column: str = ""
    value: str | None = None
    text: str = ""

    def __str__(self) -> str:
        """Describe the bad value without the file's name."""
        where = f"line {self.line}: " if self.line else ""
        if not self.column:
            return f"{where}{self.expected}" + (f": {self.text}" if self.text else "")
        reason = "no value, but it is required" if self.value is None else f"'{self.value}' is not {self.expected}"
        return f"{where}column '{self.column}': {reason}"


class BadFile(EngineError):
    """A data file cannot be loaded. None of its rows are in the table. Each bad value is shown with its line, column, and type."""

    def __init__(self, file: str, reason: str, values: Sequence[BadValue] = (), more: bool = False) -> None:
        self.file = file
        self.values = tuple(values)
        lines = [f"{file}: {reason}" if reason else file]
        lines += [f"  {value}" for value in self.values[:SHOWN_VALUES]]
        if more or len(self.values) > SHOWN_VALUES:
            lines.append("  ... and more")
        super().__init__("\n".join(lines))


class TableDiffers(EngineError):
    """The columns of a table differ from those of the project, and cannot be adapted without losing data."""


class SqlFailed(EngineError):
    """A SQL statement failed.

    Attributes:
        location: file and line of the error.
        column: column of the error, from 1; 0 if unknown.
        statement: the statement as it was run.
        reason: the database's message.
        position: index of the error in the statement; None if unknown.
    """

    def __init__(
        self, *, location: Location | None, column: int, statement: str, reason: str, hint: str = "", position: int | None = None
    ) -> None:
        self.location = location
        self.column = column
        self.statement = statement
        self.reason = reason
        where = f"{location}{f':{column}' if column and location and location.line else ''}: " if location else ""
        before = statement[:position] if position is not None else ""
        place = (before.count("\n") + 1, len(before) - before.rfind("\n")) if position is not None else (None, None)
        shown = show_statement(statement, *place)
        super().__init__(f"{where}{reason}{f' ({hint})' if hint else ''}\n  in the statement:\n{shown}")


class ExpectationsFailed(EngineError):
    """Blocking expectations of a table or task are not met. Nothing was written."""


class DatabaseFailed(EngineError):
    """The database file is in use, cannot be read, or cannot be used for another reason."""


class DatabaseReadOnly(DatabaseFailed):
    """The connection is read-only."""
