"""What commands say and what a command did to each table: the words that executors and the readers of Starlake's output share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
Log = Callable[[Level, str], None]
"""Takes a level and one line of text, without its line end. May be called from any thread."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Row counts of a load. None = unknown (Starlake prints -1 where it does not know)."""

    input: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    files: tuple[str, ...] = ()
    """Paths of the files that were loaded."""


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """The result of one expectation of a table or task (a row of ``audit.expectations``)."""

    expect: str
    """The call as the project writes it: ``is_unique('id')``."""
    success: bool
    violations: int | None = None
    sql: str | None = None
    error: str | None = None


Outcome = Literal["loaded", "failed", "open", "unknown"]
"""The outcome of one table of a ``load``.

``loaded``: all its files are loaded, or it had none. ``failed``: it was tried and failed. ``open``: it was not tried, or it is not known
how far it came, and another ``load`` finds all that is left of it. ``unknown``: not even that is known; another ``load`` may not see a file
that this one left.
"""


Progress = Literal["none", "begun", "complete"]


@dataclass(frozen=True, slots=True)
class TableResult:
    """What a ``load`` did to one of its tables.

    Attributes:
        outcome: how it ended, see :data:`Outcome`.
        counters: rows and files that were loaded, where they are known; also of a table that failed or is open, when some of its files
            were.
        row_count: rows of the table afterwards, where they are known.
        expectations: the results of its expectations, where they are known.
        reason: one sentence on a failure, when more is known than that the command failed.
        retry: False when another attempt cannot succeed.
        failed_in_table: the load failed although rows of its files are in the table (its expectations failed): no other attempt finds these
            files.
        leaves_files: the load failed, and its files may lie where no other load looks and this executor cannot reach them.
    """

    outcome: Outcome
    counters: Counters | None = None
    row_count: int | None = None
    expectations: tuple[ExpectationResult, ...] = ()
    reason: str | None = None
    retry: bool = True
    failed_in_table: bool = False
    leaves_files: bool = False
