"""The contract of executors: one method that runs one command."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import ConfigDict

from ..cancellation_event import Cancelled
from ..errors import Problem
from ..pipelines.pipeline import Pipeline
from .outcomes import Counters as Counters
from .outcomes import ExpectationResult as ExpectationResult
from .outcomes import Level as Level
from .outcomes import Log as Log
from .outcomes import Outcome as Outcome
from .outcomes import Progress as Progress
from .outcomes import TableResult as TableResult

if TYPE_CHECKING:
    from ..commands import Command
    from ..project.model import Project
    from .starlake_output.process_output import OutputTrail


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended.

    Attributes:
        exit_code: 0 = done. Anything else is a failure, described by ``reason`` and ``tail``.
        not_ready: a ``preload`` that found nothing to load: neither done nor failed.
        counters: rows of a ``load``, where they are known.
        row_count: rows of the table (or of the task's table) after the command, where they are known.
        expectations: the results of the expectations that were evaluated, where they are known.
        tail: the last lines of the output, oldest first.
        reason: one sentence on a failure, when the executor knows more than the exit code.
        retry: False when another attempt cannot succeed (a bad argument, a missing permission).
        metadata: what Dagster should show with the step (log links, execution ids, ...): texts, numbers, ``dg.MetadataValue``.
        tables: for a ``load``: what is known of each table, by its logical name. Of a table that is missing here only the exit code speaks.
        progress: how far a ``load`` that failed says that it came: it had ``begun`` with some table, so that it knew all files, or it went
            through all of its tables (``complete``).
        program_exit_code: the exit code of the program, where ``exit_code`` says that it failed although the program said that it did not.
        failed_in_table: a ``load`` of one table failed although rows of its files are in the table, see :class:`TableResult`.
        leaves_files: files of a ``load`` of one table may lie where no other load looks, see :class:`TableResult`.
        trail: what the output says about single files and expectations, for executors that see the files too.
    """

    exit_code: int
    not_ready: bool = False
    counters: Counters | None = None
    row_count: int | None = None
    expectations: tuple[ExpectationResult, ...] = ()
    tail: tuple[str, ...] = ()
    reason: str | None = None
    retry: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, TableResult] = field(default_factory=dict)
    progress: Progress = "none"
    program_exit_code: int | None = None
    failed_in_table: bool = False
    leaves_files: bool = False
    trail: "OutputTrail | None" = field(default=None, repr=False, compare=False)

    @property
    def shown_exit_code(self) -> int:
        """The exit code of the program."""
        return self.exit_code if self.program_exit_code is None else self.program_exit_code

    def get_table_result(self, name: str, tables: int) -> TableResult:
        """Return what is known of one table of a ``load``.

        Args:
            name: its logical name.
            tables: how many tables the command had; what a command of one table says is said of that table.
        """
        known = self.tables.get(name)
        if tables == 1:
            if self.exit_code == 0:
                return TableResult("loaded", self.counters, self.row_count, self.expectations)
            reason = self.reason or (self.tail[-1] if self.tail else "no output")
            return TableResult(
                "failed",
                self.counters,
                self.row_count,
                self.expectations,
                reason,
                self.retry,
                failed_in_table=self.failed_in_table,
                leaves_files=self.leaves_files,
            )
        if known is None:
            return TableResult("loaded") if self.exit_code == 0 else TableResult("unknown")
        return known


@dataclass(frozen=True, slots=True)
class Invocation:
    """Who runs a command and how to talk to it.

    Attributes:
        log: receives what the executor says, and the output where there is no ``output``.
        cancelled: set when the run is cancelled: the executor ends the command, waits for its end and raises CommandCancelled.
        run_id: Dagster's run.
        step_key: Dagster's step.
        attempt: number of earlier attempts of this step, from 0.
        report: receives metadata as soon as it is known (an execution id, a log link).
        find_usual_seconds: returns how long the latest materializations of what is made took, in seconds; None where there are none.
        since: when the run began, or the oldest of ``earlier_runs``: nothing that belongs to this step is older. None = unknown.
        earlier_runs: runs that this run continues (re-execution from failure), nearest first, in which this step did not succeed.
        output: receives the lines that the program writes; None = ``log`` does.
    """

    log: Log
    cancelled: Cancelled
    run_id: str = ""
    step_key: str = ""
    attempt: int = 0
    report: Callable[[Mapping[str, Any]], None] = lambda metadata: None
    find_usual_seconds: Callable[[], float | None] = lambda: None
    since: datetime | None = None
    earlier_runs: tuple[str, ...] = ()
    output: Log | None = None

    @property
    def log_output(self) -> Log:
        """What receives the lines that the program writes, while it runs."""
        return self.output or self.log


class StarlakeExecutor(dg.Model, ABC):
    """Runs Starlake commands somewhere. Subclasses are plain pydantic models: their fields are the YAML of ``executor:``."""

    # A wrong field may hold a secret.
    model_config = ConfigDict(hide_input_in_errors=True)

    @abstractmethod
    def run(self, command: "Command", invocation: Invocation) -> CommandResult:
        """Run one command to its end.

        Args:
            command: what to run.
            invocation: log, cancellation, ids.

        Returns:
            How it ended; a failing command is a result, not an exception.

        Raises:
            CommandCancelled: ``invocation.cancelled`` was set; nothing of the command runs any more.
            CommandTimeout: it ran longer than the executor allows; nothing of it runs any more.
            CommandError: it could not be started or followed.
        """

    def find_problems(self, pipeline: Pipeline) -> Sequence[Problem]:
        """Return what keeps this executor from running a pipeline (an option that it needs and the DAG config lacks).

        Called when definitions are built; no network, no process.
        """
        return ()

    def find_unsupported(self, project: "Project", pipeline: Pipeline) -> Sequence[Problem]:
        """Return which of a pipeline's tables and tasks this executor cannot run, whatever the options say.

        Called when definitions are built; no network, no process.
        """
        return ()

    def find_missing_program(self, project: "Project", pipeline: Pipeline) -> str | None:
        """Return a sentence on a program that commands need and that this machine lacks; None where there is none.

        Called when definitions are built; no network, no process. It is logged and no problem of the project: commands may run on another
        machine.
        """
        return None

    def get_retries(self, pipeline: Pipeline) -> tuple[int, timedelta] | None:
        """Return how often and after which delay steps of a pipeline are tried again, where the executor's own options say so.

        Holds when the DAG config sets no ``retries``.
        """
        return None

    @property
    def runs_starlake(self) -> bool:
        """Whether commands are run by Starlake itself: with its loaders, which may reject rows, and its JSON schema."""
        return True

    @property
    def max_concurrent(self) -> int:
        """How many commands may run at a time in one run, unless the user says otherwise."""
        return 4
