"""``executor: {type: duckdb}``: the embedded engine, in this process, without Starlake."""

import contextlib
import importlib.util
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..cancellation_event import Canceled
from ..commands import Command, LoadTable
from ..errors import CommandCanceled, CommandTimeout, Location, MissingDependency, Problem, Severity, StarlakeError, join_with
from ..masking import Mask
from ..pipelines.pipeline import Pipeline
from ..project.sinks import find_section_key, find_sink
from .base import CommandResult, Counters, Environment, ExpectationResult, Invocation, Level, Log, Seconds, StarlakeExecutor, TableResult
from .local.guarded import run_locally
from .projects import PROJECTS
from .starlake_output.process_output import TAIL
from .starlake_output.table_outcomes import NOTHING, add_counters

if TYPE_CHECKING:
    from ..engine.result import EngineResult, ExpectationOutcome, TableLoad
    from ..project.model import Connection, Project, Table, Task


class DuckDBExecutor(StarlakeExecutor):
    """Runs Starlake's commands with the embedded DuckDB engine, in Dagster's process.

    It is for projects whose connection is a DuckDB file: for development, demos, and tests without Java or Starlake. Commands take
    milliseconds instead of seconds. If the engine does not support a feature, the error names the key and its line.
    """

    type: Literal["duckdb"] = Field(default="duckdb", description="Run commands with the embedded DuckDB engine; no Starlake is needed.")
    env: Environment = Field(
        default_factory=dict,
        description="Environment variables for the project's files, in addition to those of Dagster's process. "
        "sl_env_var of a DAG config overrides them.",
        examples=[{"COUNTRY": "FR"}],
    )
    timeout: Seconds | None = Field(
        default=None,
        description="Time limit of a command, in seconds. When it is reached, the command is interrupted, nothing is written, and the step "
        "fails. Default: no limit.",
        examples=[600],
    )

    @property
    def runs_starlake(self) -> bool:
        """False: the engine replaces Starlake, and loads either all rows of a file or none."""
        return False

    @property
    def rejects_files(self) -> bool:
        """True if the executor is strict."""
        return self.strict

    time_zone: str | None = Field(
        default=None,
        description="Time zone of the times that the engine writes (SCD2, audit) and of current_timestamp. "
        "Default: as in Starlake, TZ, or else that of Dagster's process.",
        examples=["UTC"],
    )
    strict: bool = Field(
        default=False,
        description="Whether to reject features that Starlake does not have, such as queries that its SQL parser rejects, "
        "and names that need quotes. By default, there is a warning.",
    )

    def run(self, command: Command, invocation: Invocation) -> CommandResult:
        """Run one command in the calling thread; see ``StarlakeExecutor.run``.

        Raises:
            MissingDependency: the package ``duckdb`` is not installed.
            CommandCanceled: the run was canceled; nothing was written.
            CommandTimeout: it ran longer than ``timeout``; nothing was written.
        """
        if importlib.util.find_spec("duckdb") is None:
            raise _build_missing_dependency()
        return run_locally(command, invocation, partial(self._run, invocation=invocation), trusted=True)

    def find_problems(self, pipeline: Pipeline) -> Sequence[Problem]:
        """Return the missing package, if it is missing."""
        if importlib.util.find_spec("duckdb") is None:
            return (Problem(None, "error", str(_build_missing_dependency())),)
        return ()

    def find_unsupported(self, project: "Project", pipeline: Pipeline) -> Sequence[Problem]:
        """Return problems for everything that the engine would reject in each step: connections other than DuckDB files, and Python tasks.

        It is an error if nothing of the pipeline can run, and a warning if a part of it can.
        """
        audit = _explain_rejected_audit(project)
        nodes: tuple[Table | Task, ...] = (*pipeline.tables, *pipeline.tasks)
        rejected = [_explain_rejection(project, node) or audit for node in nodes]
        severity: Severity = "error" if all(rejected) else "warning"
        return tuple(Problem(where, severity, why) for where, why in dict.fromkeys(filter(None, rejected)))

    def _run(self, command: Command, *, invocation: Invocation) -> CommandResult:
        from ..engine import run_command

        environment = {**os.environ, **self.env, **command.environment, "SL_ROOT": command.project}
        if self.time_zone:
            environment["TZ"] = self.time_zone
        mask = command.mask(self.env)
        lines = _Lines(invocation.log)
        # With variables of the executor, a command may read another project.
        loaded = None if self.env else command.loaded
        invocation.log("info", f"running {command.shown.partition(' ')[2]} with the embedded engine")
        with _end_when(invocation.canceled, self.timeout) as canceled:
            result = run_command(
                command.argv,
                environ=environment,
                out=lambda line: lines.take("info", mask(line)),
                log=lambda level, line: lines.take(level, mask(line)),
                canceled=canceled,
                project=PROJECTS.get(command, environment) if loaded is None else loaded,
                strict=self.strict,
            )
        return _build_result(result, lines, mask, command)


Rejection = tuple[Location | None, str]


def _explain_rejection(project: "Project", node: "Table | Task") -> Rejection | None:
    """Return the reason why the engine cannot write a table, and the location of the cause."""
    python = getattr(node, "python_file", None)
    if python:
        return node.origin.locate(), f"task {node.full_name} is Python ({python}): the duckdb executor runs only SQL"
    name, known = project.find_connection_name(node), project.application.connections
    if name and name not in known:
        return None  # Reading the project reported the connection.
    sink = find_sink(node)
    if not (sink and sink.connection_ref) or name == project.application.connection_ref:
        return _explain_rejected_connection(project, known.get(name))
    where = node.origin.locate(find_section_key(node, "sink.connectionRef"))
    return _explain_rejected_connection(project, known[name], f", and {node.full_name} is written to it", where)


def _explain_rejected_audit(project: "Project") -> Rejection | None:
    """Return the reason why the engine cannot write the audit, which every command must write."""
    application = project.application
    if not application.audit_active:
        return None
    own = application.audit_connection_ref not in (None, "", application.connection_ref)
    where = application.origin.locate("audit.sink.connectionRef") if own else None
    return _explain_rejected_connection(project, application.audit_connection, ", and the audit is written to it", where)


def _explain_rejected_connection(
    project: "Project", connection: "Connection | None", use: str = "", where: Location | None = None
) -> Rejection | None:
    """Return the reason why the engine cannot write to a connection.

    ``use`` describes its use. ``where`` is the ``connectionRef`` of a sink that names it; None if the application does.
    """
    application = project.application
    if connection is None:
        known = ", ".join(sorted(application.connections)) or "none"
        return application.origin.locate("connectionRef"), (
            f"no connection: set application.connectionRef to one of application.connections (known: {known})"
        )
    path = connection.duckdb_path
    if path is None:
        kind = f"uses {connection.engine}"
    elif not _is_file(path):
        kind = f"is not a file ('{path}')"
    else:
        return None
    return where or connection.origin.locate("options.url"), (
        f"connection '{connection.name}' {kind}{use}; the duckdb executor writes only to DuckDB files: "
        f"{_propose_connection(project, in_sink=where is not None)}"
    )


def _is_file(path: str | None) -> bool:
    return bool(path) and not str(path).startswith((":memory:", "md:", "ducklake:"))


def _propose_connection(project: "Project", *, in_sink: bool = False) -> str:
    """Return advice on how to use a DuckDB file for the project or one of its sinks."""
    names = [name for name, c in project.application.connections.items() if _is_file(c.duckdb_path)]
    if in_sink and names:
        return f"set connectionRef of this sink to {join_with('or', names)}, or use another executor"
    folder = project.metadata_folder
    files = sorted(folder.glob("env.*.sl.yml"))
    stamps = tuple((file.name, file.stat().st_mtime_ns) for file in files if file.is_file())
    environments = _find_environments_with_duckdb(str(project.root), stamps)
    if environments:
        return f"set env to {join_with('or', environments)}, whose connection is a DuckDB file, or use another executor"
    if names:
        return f"set application.connectionRef to {join_with('or', names)}, or use another executor"
    key = "connectionRef of this sink" if in_sink else "application.connectionRef"
    return f"add a DuckDB connection to application.connections, set {key} to it, or use another executor"


@lru_cache(maxsize=8)
def _find_environments_with_duckdb(root: str, files: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """Return the environments in which a project writes to a DuckDB file, given its env files with their modification times."""
    from ..project.reader import start_reading

    found = []
    for name, _ in files:
        profile = name.split(".")[1]
        with contextlib.suppress(StarlakeError):
            application = start_reading(root, profile=profile).project.application
            connection = application.connections.get(application.connection_ref or "")
            if connection is not None and _is_file(connection.duckdb_path):
                found.append(profile)
    return tuple(found)


class _Lines:
    """A log that keeps the last lines."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.tail: deque[str] = deque(maxlen=TAIL)

    def take(self, level: Level, text: str) -> None:
        for line in text.splitlines():
            if line.strip():
                self.tail.append(line)
                self._log(level, line)


@contextlib.contextmanager
def _end_when(canceled: Canceled, timeout: float | None) -> Iterator[Canceled]:
    """Yield the event that ends the command: cancellation, or the time limit.

    Raises:
        CommandTimeout: instead of CommandCanceled, if the time limit was reached.
    """
    if timeout is None:
        yield canceled
        return
    either, timed_out = Canceled(), threading.Event()

    def end_in_time() -> None:
        if not canceled.is_set():
            timed_out.set()
            either.set()

    timer = threading.Timer(timeout, end_in_time)
    timer.daemon = True
    timer.start()
    try:
        with canceled.notify(either.set):
            yield either
    except CommandCanceled as error:
        if timed_out.is_set():
            text = f"the command ran longer than {timeout:g} seconds and was interrupted (setting 'timeout' of the executor)"
            raise CommandTimeout(text) from error
        raise
    finally:
        timer.cancel()
        timer.join()


def _build_result(result: "EngineResult", lines: _Lines, mask: Mask, command: Command) -> CommandResult:
    loads = list(result.counters.values())
    counters = NOTHING if command.verb == "load" and result.exit_code == 0 else None
    if loads:
        counters = reduce(add_counters, map(_convert_counters, loads))
    row_count = result.row_count if result.row_count is not None else loads[0].row_count if len(loads) == 1 else None
    return CommandResult(
        exit_code=result.exit_code,
        not_ready=result.not_ready,
        counters=counters,
        row_count=row_count,
        expectations=tuple(map(_build_expectation_result, result.expectations)),
        tail=tuple(lines.tail),
        reason=mask(result.reason) if result.reason else None,
        retry=result.retry,
        metadata=result.metadata,
        tables={t.name: _build_table_result(result, t, mask) for t in command.tables} if len(command.tables) > 1 else {},
    )


def _build_table_result(result: "EngineResult", table: LoadTable, mask: Mask) -> TableResult:
    name = f"{table.domain}.{table.name}"
    load, failure = result.counters.get(name), result.failures.get(name)
    if name not in result.finished:
        # Not finished: a retry may still find files, because the engine also loads those in the ingesting area.
        return TableResult("open", retry=result.retry)
    return TableResult(
        "failed" if failure else "loaded",
        _convert_counters(load) if load else NOTHING,
        load.row_count if load else None,
        tuple(_build_expectation_result(e) for e in result.expectations if e.table == table.final_full_name),
        mask(failure.reason) if failure else None,
        failure.retry if failure else True,
    )


def _convert_counters(load: "TableLoad") -> Counters | None:
    return Counters(load.input, load.accepted, load.rejected, load.files)


def _build_expectation_result(outcome: "ExpectationOutcome") -> ExpectationResult:
    return ExpectationResult(outcome.expect, outcome.success, outcome.violations, outcome.sql, outcome.error)


def _build_missing_dependency() -> MissingDependency:
    return MissingDependency(package="duckdb", extra="duckdb", purpose="the duckdb executor")
