"""What all commands that run on this machine have in common: locks, files that must not be lost, a look at what Starlake noted."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...commands import Command
from ...errors import CommandCancelled, CommandError
from ...locks import hold_lock, lock_databases
from ..base import CommandResult, Counters, Invocation, TableResult
from ..starlake_output import audit
from ..starlake_output.table_outcomes import Places, from_places
from .load_files import FilesOfLoad, by_table, files_of_load

Run = Callable[[Command], CommandResult]


def run_locally(command: Command, invocation: Invocation, run: Run, *, trusted: bool = False) -> CommandResult:
    """Run a command that uses local files and DuckDB files, safely.

    Commands that write one DuckDB file wait for each other, and so do loads of one table. A command whose worker was killed goes on by itself: the
    next attempt of its step, also in a run that continues the lost one, waits for its end. Files that an earlier load left in the ingesting folder are
    put back before a load, and those that this one leaves after it, however it ends. A load that leaves files behind, or of which Starlake's audit says
    that it failed, is a failure whatever its exit code.

    Of a load of several tables it is found out what became of each, also when it is ended in the middle (then the exception has it).

    Args:
        command: what to run.
        invocation: for whom.
        run: starts the command and waits for its end; gets the command with an ``SL_JOB_ID`` of its own for each attempt.
        trusted: whether what runs looks after its files itself and tells the truth by its exit code: our own engine, in process.

    Raises:
        CommandCancelled: cancelled while waiting, before anything was started; and what ``run`` raises.
    """
    if invocation.cancelled.is_set():
        raise CommandCancelled("the run was cancelled before the command was started")
    command = _of_this_attempt(command, invocation.attempt)
    holder = f"{command.verb} of run {invocation.run_id}, step {invocation.step_key}" if invocation.run_id else command.verb
    with contextlib.ExitStack() as stack:
        files: FilesOfLoad | None = None
        if command.files is not None and not trusted:
            files = stack.enter_context(files_of_load(command.files, log=invocation.log, cancelled=invocation.cancelled, holder=holder))
            _put_back_old(files, invocation)
        if invocation.run_id:
            first = invocation.earlier_runs[-1] if invocation.earlier_runs else invocation.run_id
            step = f"step {invocation.step_key} of run {first}"
            stack.enter_context(hold_lock(step, cancelled=invocation.cancelled, log=invocation.log, holder=holder, passing=True))
        stack.enter_context(lock_databases(command.databases, cancelled=invocation.cancelled, log=invocation.log, holder=holder))
        watched = _Watched(command, files, invocation)
        try:
            result = run(command)
        except CommandError as error:
            if not error.tables:
                error.tables = _of_interrupted(command, invocation, watched, files)
            raise
        except BaseException:
            if files is not None:
                _put_back(files, files.left(), invocation)
            raise
        return result if trusted else _checked(command, invocation, result, files, watched)


class _Watched:
    """The files of a load of several tables, before and after it."""

    def __init__(self, command: Command, files: FilesOfLoad | None, invocation: Invocation) -> None:
        self._tables = command.tables
        self._files = None
        if command.files is not None and len(command.tables) > 1:
            self._files = files or FilesOfLoad(command.files, invocation.log)
        self._before = frozenset(self._files.staged()) if self._files is not None else frozenset()

    def places(self, left: Sequence[str] | None = None) -> Places | None:
        """Return where the files are now; None where nobody can say it from here.

        Args:
            left: what lies in ingesting, if that is known already.
        """
        if self._files is None:
            return None
        staged = self._before.intersection(self._files.staged())
        ingesting = self._files.left() if left is None else left
        return Places(by_table(self._before, self._tables), by_table(staged, self._tables), by_table(ingesting, self._tables))


def _of_interrupted(command: Command, invocation: Invocation, watched: _Watched, files: FilesOfLoad | None) -> Mapping[str, TableResult]:
    """Put files back after a command that was ended, and return what became of each of its tables."""
    places = watched.places()
    findings = audit.look(command, invocation.log) if places is not None else audit.Findings()
    if files is not None:
        left = files.left()
        loaded = [name for name in left if name in findings.loaded_files]
        files.archive(loaded)
        _put_back(files, [name for name in left if name not in loaded], invocation)
    return _masked(command, from_places(command, CommandResult(1), findings, places)) if places is not None else {}


def _masked(command: Command, tables: Mapping[str, TableResult]) -> Mapping[str, TableResult]:
    mask = command.mask(os.environ)
    return {name: replace(table, reason=mask(table.reason)) if table.reason else table for name, table in tables.items()}


def _of_this_attempt(command: Command, attempt: int) -> Command:
    """Give each attempt audit rows of its own."""
    if command.audit is None or not attempt:
        return command
    before, now = command.audit.job_id, f"{command.audit.job_id}.{attempt}"
    renamed = {name: now for name, value in command.environment.items() if value == before}
    return replace(command.with_environment(renamed), audit=replace(command.audit, job_id=now))


def _put_back_old(files: FilesOfLoad, invocation: Invocation) -> None:
    names = files.left()
    if names:
        invocation.log("warning", f"an earlier load left files in ingesting; they are loaded now: {', '.join(files.put_back(names))}")


def _put_back(files: FilesOfLoad, names: list[str], invocation: Invocation) -> None:
    if names:
        invocation.log("warning", f"files that were not loaded are back in the stage folder: {', '.join(files.put_back(names))}")


def _checked(
    command: Command, invocation: Invocation, result: CommandResult, files: FilesOfLoad | None, watched: _Watched
) -> CommandResult:
    """Return the result, or a failure where the audit or the files say that the command did not do its work."""
    if result.not_ready:
        return result
    findings = audit.look(command, invocation.log)
    result = replace(
        result,
        row_count=result.row_count if result.row_count is not None else findings.row_count,
        expectations=result.expectations or findings.expectations,
    )
    failure = findings.failure if result.exit_code == 0 else None
    if files is not None:
        left = files.left()
        places = watched.places(left)
        if places is not None:
            result = replace(result, tables=_masked(command, from_places(command, result, findings, places)))
        loaded = [name for name in left if name in findings.loaded_files]
        if loaded:
            archived = files.archive(loaded)
            invocation.log(
                "warning",
                f"the rows of these files are in the table, so they are archived although the command failed: {', '.join(archived)}",
            )
        unloaded = [name for name in left if name not in loaded]
        _put_back(files, unloaded, invocation)
        if result.exit_code == 0:
            lost = files.take_from_archive(findings.lost_files)
            if lost:
                invocation.log("warning", f"archived, but their rows are not in the table; back in the stage folder: {', '.join(lost)}")
        if unloaded and failure is None and result.exit_code == 0:
            failure = (
                f"the load left {', '.join(unloaded)} in {command.files.ingesting if command.files else 'ingesting'} without loading them"
            )
        result = replace(result, counters=_without(result.counters, unloaded))
    if failure is None:
        return result
    failure = command.mask(os.environ)(failure)
    invocation.log("error", failure)
    return replace(result, exit_code=result.exit_code or 1, reason=failure)


def _without(counters: Counters | None, names: list[str]) -> Counters | None:
    """Take files that were not loaded from the list of loaded ones."""
    if counters is None or not names:
        return counters
    return replace(counters, files=tuple(path for path in counters.files if path.rpartition("/")[2] not in names))
