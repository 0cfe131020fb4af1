"""Define the contract of executors: a method that runs a command."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import dagster as dg
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from ..cancellation_event import Canceled
from ..errors import Problem
from ..pipelines.pipeline import Pipeline

if TYPE_CHECKING:
    from ..commands import Command
    from ..project.model import Project
    from .starlake_output.process_output import OutputTrail


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
        outcome: the outcome, see ``Outcome``.
        counters: rows and files that were loaded, if known. A table that failed or is open has them too if some of its files were loaded.
        row_count: rows of the table afterward, if known.
        expectations: the results of its expectations, if known.
        reason: one sentence about a failure, if the cause is known.
        retry: False if another attempt cannot succeed.
        failed_in_table: the load failed although rows of its files are in the table (its expectations failed). No retry finds these files.
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


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command.

    Attributes:
        exit_code: 0 = success. Anything else is a failure, which ``reason`` and ``tail`` describe.
        not_ready: a ``preload`` found nothing to load; it has neither succeeded nor failed.
        counters: row counts of a ``load``, if known.
        row_count: rows of the table (or of the task's table) after the command, if known.
        expectations: the results of the expectations that were evaluated, if known.
        tail: the last lines of the output, oldest first.
        reason: one sentence about a failure, if the executor knows more than the exit code.
        statement: the lines around the error in the SQL statement that failed, if known and not part of ``reason``.
        retry: False if another attempt cannot succeed (a bad argument, a missing permission).
        metadata: metadata for Dagster to show with the step, such as log links: strings, numbers, or ``dg.MetadataValue``.
        tables: for a ``load``: the result of each table, by its logical name. For a table that is not listed, only the exit code is known.
        progress: how far a failed ``load`` got, according to its output: it had ``begun`` to load a table, and so had listed all files, or
            it had tried all of its tables (``complete``).
        program_exit_code: the exit code of the program, if ``exit_code`` reports a failure that the program did not report.
        failed_in_table: a ``load`` of one table failed although rows of its files are in the table, see ``TableResult``.
        leaves_files: a ``load`` of one table may have left files in a folder that no other load reads, see ``TableResult``.
        trail: information in the output about individual files and expectations, for executors that also have access to the files.
    """

    exit_code: int
    not_ready: bool = False
    counters: Counters | None = None
    row_count: int | None = None
    expectations: tuple[ExpectationResult, ...] = ()
    tail: tuple[str, ...] = ()
    reason: str | None = None
    statement: str | None = None
    retry: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, TableResult] = field(default_factory=dict)
    progress: Progress = "none"
    program_exit_code: int | None = None
    failed_in_table: bool = False
    leaves_files: bool = False
    trail: "OutputTrail | None" = field(default=None, repr=False, compare=False)

    @property
    def was_killed(self) -> bool:
        """True if the exit code stands for a signal."""
        return self.exit_code >= 128

    @property
    def shown_exit_code(self) -> int:
        """The exit code of the program."""
        return self.exit_code if self.program_exit_code is None else self.program_exit_code

    def get_table_result(self, name: str, tables: int) -> TableResult:
        """Return the result of one table of a ``load``.

        Args:
            name: its logical name.
            tables: number of tables of the command. The result of a command with one table is the result of that table.
        """
        if tables == 1:
            if self.exit_code == 0:
                return TableResult("loaded", self.counters, self.row_count, self.expectations)
            reason = self.reason or (self.tail[-1] if self.tail else "no output")
            known = (self.counters, self.row_count, self.expectations, reason, self.retry)
            return TableResult("failed", *known, failed_in_table=self.failed_in_table, leaves_files=self.leaves_files)
        return self.tables.get(name) or TableResult("loaded" if self.exit_code == 0 else "unknown")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The step that runs a command, and the means to communicate with it.

    Attributes:
        log: receives the messages of the executor, and the output if there is no ``output``.
        canceled: set when the run is canceled. The executor then ends the command, waits for its end, and raises CommandCanceled.
        run_id: Dagster's run.
        step_key: Dagster's step.
        attempt: number of earlier attempts of this step, from 0.
        report: receives metadata as soon as it is known, such as an execution ID or a log link.
        find_usual_seconds: returns the duration, in seconds, of the latest materializations of the command's assets, if there are any.
        since: the time at which the run, or the oldest of ``earlier_runs``, began: nothing of this step is older. None = unknown.
        earlier_runs: runs that this run continues (re-execution from failure), most recent first, in which this step did not succeed.
        output: receives the lines that the program writes; None = they go to ``log``.
    """

    log: Log
    canceled: Canceled
    run_id: str = ""
    step_key: str = ""
    attempt: int = 0
    report: Callable[[Mapping[str, Any]], None] = lambda metadata: None
    find_usual_seconds: Callable[[], float | None] = lambda: None
    since: datetime | None = None
    earlier_runs: tuple[str, ...] = ()
    output: Log | None = None

    @property
    def cancelled(self) -> Canceled:
        """An earlier spelling of ``canceled``, for executors of users."""
        return self.canceled

    @property
    def log_output(self) -> Log:
        """The receiver of the lines that the program writes while it runs."""
        return self.output or self.log


def _convert_to_texts(value: Any) -> Any:
    """Convert numbers and booleans to strings, as expected from ``PORT: 8080`` or ``DEBUG: true``."""
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"the name {key!r} is not a string: put it in quotes (YAML reads on, off, yes, and no as true and false)")
    return {k: ("true" if v is True else "false" if v is False else str(v)) for k, v in value.items() if v is not None}


Environment = Annotated[
    dict[str, str],
    BeforeValidator(_convert_to_texts),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}),
]
"""Environment variables by name. Numbers and booleans may be written without quotes."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A positive number of seconds."""


class StarlakeExecutor(dg.Model, ABC):
    """Runs Starlake commands. Subclasses are plain pydantic models: their fields are the YAML of ``executor:``.

    The ``find_`` methods are called when definitions are built. They may use neither the network nor processes.
    """

    # An invalid field may contain a secret. Most executors are not used by a project, so their validators are built on first use.
    model_config = ConfigDict(hide_input_in_errors=True, defer_build=True)

    @abstractmethod
    def run(self, command: "Command", invocation: Invocation) -> CommandResult:
        """Run one command to its end.

        Args:
            command: the command.
            invocation: the step that runs it.

        Returns:
            The result of the command. A failed command is a result, not an exception.

        Raises:
            CommandCanceled: ``invocation.canceled`` was set; no process of the command is still running.
            CommandTimeout: it ran longer than the executor allows; no process of it is still running.
            CommandError: it could not be started or monitored.
        """

    def find_problems(self, pipeline: Pipeline) -> Sequence[Problem]:
        """Return the reasons why this executor cannot run a pipeline (for example, a required option that the DAG config lacks)."""
        return ()

    def find_unsupported(self, project: "Project", pipeline: Pipeline) -> Sequence[Problem]:
        """Return problems for the tables and tasks of a pipeline that this executor cannot run, regardless of the options.

        By default, these are warnings about those that a fault of Starlake keeps from running.
        """
        if not self.runs_starlake:
            return ()
        from .known_faults import find_known_faults

        return list(find_known_faults(project, pipeline))

    def find_missing_program(self, project: "Project", pipeline: Pipeline) -> str | None:
        """Return a message about a program that commands need and this machine lacks; None if nothing is missing.

        The message is only logged. It is not a problem of the project, because commands may run on another machine.
        """
        return None

    def get_retries(self, pipeline: Pipeline) -> tuple[int, timedelta] | None:
        """Return the number and delay of retries of a pipeline's steps, for a DAG config that does not set ``retries``."""
        return None

    @property
    def runs_starlake(self) -> bool:
        """True if Starlake itself runs the commands: with its loaders, which may reject rows, and its JSON schema."""
        return True

    @property
    def rejects_files(self) -> bool:
        """True if a file of the project that Starlake rejects is an error."""
        return self.runs_starlake

    @property
    def max_concurrent(self) -> int:
        """Number of commands that may run at the same time in one run, unless the user sets another number."""
        return 4
