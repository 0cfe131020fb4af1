"""Define the results of the engine's commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TableLoad:
    """The loaded rows and files of a table.

    Attributes:
        table: ``domain.table`` with the logical names.
        input: rows in the files.
        accepted: rows that passed the table's ``filter``.
        rejected: rows that were left out because the project allows it (``options: {ignore_errors: true}``).
        files: paths of the loaded files at the time when they were loaded.
        failed: paths of the files that were rejected. The next load finds them there.
        row_count: rows of the table afterward.
    """

    table: str
    input: int = 0
    accepted: int = 0
    rejected: int = 0
    files: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    row_count: int | None = None


@dataclass(frozen=True, slots=True)
class ExpectationOutcome:
    """Result of one expectation.

    Attributes:
        table: ``domain.table`` with the names in the database.
        expect: the call as written in the project.
        sql: the query that was run; None if the call could not be rendered.
        violations: the number that the query counted; None if it failed.
        success: whether it is met.
        error: why the query failed.
        blocking: whether the command fails if the expectation does.
        is_countless: whether the query ran, but did not return one number.
    """

    table: str
    expect: str
    success: bool
    violations: int | None = None
    sql: str | None = None
    error: str | None = None
    blocking: bool = False
    is_countless: bool = False


@dataclass(frozen=True, slots=True)
class TableFailure:
    """The failure of a load table.

    Attributes:
        reason: the messages, one per line.
        retry: False if another attempt cannot succeed.
    """

    reason: str
    retry: bool = True


@dataclass(frozen=True, slots=True)
class EngineResult:
    """The result of a command.

    Attributes:
        exit_code: 0 = success; otherwise Starlake's code.
        not_ready: whether a ``preload`` found nothing to load, regardless of its exit code.
        counters: logical ``domain.table`` -> counts of its load.
        row_count: rows of the table after a ``transform``; None for a view and for SQL that writes its own tables.
        expectations: results of the expectations.
        reason: why it failed: a message that may have several lines.
        retry: False if the same command cannot succeed later (a bad argument, an unsupported key).
        metadata: more information about the run: strings and numbers.
        finished: of a ``load``: logical names of the tables that were processed, including failed ones and those without files.
        failures: of a ``load``: why tables failed, by logical name.
    """

    exit_code: int
    not_ready: bool = False
    counters: Mapping[str, TableLoad] = field(default_factory=dict)
    row_count: int | None = None
    expectations: tuple[ExpectationOutcome, ...] = ()
    reason: str | None = None
    retry: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    finished: tuple[str, ...] = ()
    failures: Mapping[str, TableFailure] = field(default_factory=dict)
