"""Run a command of the engine, from its arguments to its exit code. Starlake: Main.run."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ..cancellation_event import Canceled
from ..errors import CommandCanceled, InvalidProject, ProjectNotFound, StarlakeError
from ..failed_sql import is_permanent
from ..full_disk import explain_full_disk
from ..project.model import Project
from ..project.variables import build_date_variables
from .arguments import Arguments, parse_arguments
from .command_project import list_files, select_project
from .engine_errors import BadArguments, BadFile, BadSetting, DatabaseReadOnly, ExpectationsFailed, NotFound, NotSupported, TableDiffers
from .result import EngineResult, TableFailure
from .session import LogLine, Out, Session, find_zone, get_time, make_local, parse_scheduled_date, read_settings

if TYPE_CHECKING:
    from .writing import Loads

_NO_RETRY = (
    BadArguments,
    BadFile,
    BadSetting,
    DatabaseReadOnly,
    ExpectationsFailed,
    InvalidProject,
    NotFound,
    NotSupported,
    ProjectNotFound,
    TableDiffers,
)
"""Failures that recur with the same files and the same SQL."""


def run_command(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    out: Out,
    log: LogLine,
    canceled: Canceled | None = None,
    project: Project | None = None,
    strict: bool = False,
) -> EngineResult:
    """Run ``stage``, ``preload``, ``load``, or ``transform`` with Starlake's arguments.

    Args:
        argv: the verb and its arguments.
        environ: environment of the command: ``SL_ROOT``, ``SL_ENV``, ``SL_JOB_ID``, settings.
        out: receives each line that Starlake would print on stdout.
        log: receives the level and text of each line that Starlake would write to its log.
        canceled: event that ends the command; unfinished work is discarded.
        strict: whether to reject commands that Starlake's command line rejects; otherwise there is a warning.
        project: the project, if it has already been read. It is read again only if the command's options or environment change it.

    Returns:
        The result. A failure is a result, not an exception. Its message is also logged.

    Raises:
        CommandCanceled: ``canceled`` was set.
    """
    try:
        arguments = parse_arguments(argv)
    except BadArguments as error:
        log("error", str(error))
        return EngineResult(1, reason=str(error), retry=False)
    try:
        began, zone = get_time(), find_zone(environ)
        known = select_project(arguments, environ, project)
        known.raise_for_errors()
        dates = build_date_variables(began.astimezone(ZoneInfo(zone) if zone else None))
        session = Session(
            project=known,
            environ=environ,
            variables={**known.variables, **dates, **arguments.options},
            settings=read_settings(known, environ),
            out=out,
            log=log,
            began=began,
            scheduled=parse_scheduled_date(arguments.scheduled_date, make_local(began, zone), zone),
            canceled=canceled,
            options=arguments.options,
            zone=zone,
            strict=strict,
        )
        _report_rejected_files(session, arguments)
        return _run_verb(session, arguments)
    except CommandCanceled:
        raise
    except Exception as error:
        reason = explain_full_disk(error)
        if isinstance(error, StarlakeError):
            reason = reason or str(error)
        elif isinstance(error, OSError):
            reason = reason or (f"{error.strerror}: {error.filename}" if error.filename else str(error))
        elif reason is None:
            raise
        log("error", reason)
        return EngineResult(1, reason=reason, retry=_is_worth_retrying([error]))


def _report_rejected_files(session: Session, arguments: Arguments) -> None:
    """Warn about files of the project that Starlake rejects: those of the command's tables and tasks, and those of all commands.

    Raises:
        NotSupported: the command is strict.
    """
    rejected = [problem for problem in session.project.problems if problem.rejected]
    if not rejected:
        return
    project = session.project
    folders = [project.metadata_folder / name for name in ("load", "transform")]
    used = set(list_files(project, arguments))
    for problem in rejected:
        name = problem.location.file if problem.location else ""
        if name in used or not any(project.get_path(name).is_relative_to(folder) for folder in folders):
            if session.strict:
                raise NotSupported(problem.location, f"{problem.message} (the executor is strict)")
            session.warn(f"{problem.location}: {problem.message}")


def _run_verb(session: Session, arguments: Arguments) -> EngineResult:
    """Run the command, and import only the modules that it needs, because a process often runs one command."""
    if arguments.verb == "stage":
        from .staging import stage_files

        moved = stage_files(session, arguments)
        return EngineResult(0, metadata={"starlake/staged_files": len(moved)})
    if arguments.verb == "preload":
        from .preloading import check_readiness

        return check_readiness(session, arguments)
    if arguments.verb == "load":
        from .loading import load_tables

        return _make_load_result(session, load_tables(session, arguments))
    if arguments.compile:
        from .interactive_transform import show_sql

        show_sql(session, arguments)
        return EngineResult(0)
    from .transforming import run_transform

    done = run_transform(session, arguments)
    expectations = tuple(done.expectations)
    if done.failures:
        reason = "\n".join(str(error) for error in done.failures)
        session.log("error", reason)
        return EngineResult(1, reason=reason, retry=_is_worth_retrying(done.failures), expectations=expectations)
    metadata: dict[str, Any] = {} if done.written is None else {"starlake/rows_written": done.written}
    return EngineResult(0, row_count=done.row_count, expectations=expectations, metadata=metadata)


def _is_worth_retrying(failures: Sequence[Exception]) -> bool:
    return not all(isinstance(error, _NO_RETRY) or is_permanent(str(error)) for error in failures)


def _make_load_result(session: Session, loads: "Loads") -> EngineResult:
    tables = loads.tables.values()
    total = {name: sum(getattr(t, name) for t in tables) for name in ("input", "accepted", "rejected")}
    counts = {
        "counters": dict(loads.tables),
        "expectations": tuple(loads.expectations),
        "finished": tuple(loads.finished),
        "failures": {
            name: TableFailure("\n".join(map(str, errors)), _is_worth_retrying(errors)) for name, errors in loads.failures_of.items()
        },
    }
    if loads.failures:
        session.log("error", "Some tables failed to be loaded")
        reason = "\n".join(str(error) for error in loads.failures)
        return EngineResult(1, reason=reason, retry=_is_worth_retrying(loads.failures), **counts)  # type: ignore[arg-type]
    files = "\n\t".join(loads.paths)
    lines = f"Load summary:\nInput records: {total['input']}\nAccepted: {total['accepted']}\nRejected: {total['rejected']}"
    for line in f"{lines}\nData successfully loaded from {files}\n".split("\n"):
        session.out(line)
    if session.settings.api:
        counters = {
            "inputCount": total["input"],
            "acceptedCount": total["accepted"],
            "rejectedCount": total["rejected"],
            "paths": loads.paths,
            # Starlake: one ID per file. A comma precedes the first one, too.
            "jobid": "".join(f",{job}" for job in loads.jobs),
        }
        session.out(f"IngestionCounters:{json.dumps(counters, separators=(',', ':'), ensure_ascii=False)}")
    return EngineResult(0, **counts)  # type: ignore[arg-type]
