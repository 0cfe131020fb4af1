"""The results of commands for each table. Executors and the readers of Starlake's output share these types."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
Log = Callable[[Level, str], None]
"""A function that receives a level and a line of text without its line end. It may be called from any thread."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Row counts of a load. None = unknown (Starlake prints -1)."""

    input: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    files: tuple[str, ...] = ()
    """Paths of the files that were loaded."""


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """The result of one expectation of a table or task (a row of ``audit.expectations``)."""

    expect: str
    """The call as written in the project: ``is_unique('id')``."""
    success: bool
    violations: int | None = None
    sql: str | None = None
    error: str | None = None


Outcome = Literal["loaded", "failed", "open", "unknown"]
"""The outcome of one table of a ``load``.

- ``loaded``: all its files are loaded, or it had none.
- ``failed``: it was tried and failed.
- ``open``: it was not tried, or it is not known how far it got. Another ``load`` finds all files that are left.
- ``unknown``: not even that is known. This load may have left a file that another ``load`` does not see.
"""


Progress = Literal["none", "begun", "complete"]


@dataclass(frozen=True, slots=True)
class TableResult:
    """The result of a ``load`` for one of its tables.

    Attributes:
        outcome: the outcome, see :data:`Outcome`.
        counters: rows and files that were loaded, if known. A table that failed or is open has them too if some of its files were loaded.
        row_count: rows of the table afterward, if known.
        expectations: the results of its expectations, if known.
        reason: one sentence about a failure, if the cause is known.
        retry: False if another attempt cannot succeed.
        failed_in_table: the load failed although rows of its files are in the table (its expectations failed). No other attempt finds these
            files.
        leaves_files: the load failed, and may have left files in a folder that no other load reads and that this executor cannot reach.
    """

    outcome: Outcome
    counters: Counters | None = None
    row_count: int | None = None
    expectations: tuple[ExpectationResult, ...] = ()
    reason: str | None = None
    retry: bool = True
    failed_in_table: bool = False
    leaves_files: bool = False
