"""Run commands on this machine safely: hold locks, keep files from being lost, and read Starlake's audit."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...commands import Command
from ...errors import CommandCanceled, CommandError
from ...locks import hold_lock, lock_databases
from ..base import CommandResult, Invocation, Log, TableResult
from ..starlake_output.audit import Findings, complete_result, count_rows_of_tables, read_findings
from ..starlake_output.audit_rows import is_failed_expectation
from ..starlake_output.file_fates import FileFates, group_by_table, judge_files
from ..starlake_output.load_log import LoadLines
from ..starlake_output.process_output import OutputTrail
from ..starlake_output.remote_commands import mark_left_files
from ..starlake_output.table_outcomes import Places, drop_files, find_reason_in_table, judge_output, judge_tables
from ..starlake_output.warehouse_rows import count_appended_rows
from .load_files import FilesOfLoad, hold_files

Run = Callable[[Command], CommandResult]


def run_locally(command: Command, invocation: Invocation, run: Run, *, trusted: bool = False) -> CommandResult:
    """Run a command that uses local files and DuckDB files, safely.

    Commands that write the same DuckDB file wait for each other, as do loads of the same table. A command whose worker was killed keeps
    running: the next attempt of its step, even in a run that continues the lost one, waits for its end. Files that an earlier load left in
    the ingesting folder are put back before a load. Files that this load leaves are put back after it, however it ends. A load that leaves
    files behind, or that failed according to Starlake's audit, is a failure regardless of its exit code.

    A load of several tables has a result for each of them. If it is interrupted, the exception has the results.

    Args:
        command: the command.
        invocation: the step that runs it.
        run: starts the command and waits for its end. It gets the command with a separate ``SL_JOB_ID`` for each attempt.
        trusted: whether the program takes care of its files and reports all failures by its exit code, as the embedded engine does.

    Raises:
        CommandCanceled: the run was canceled while the command waited, before anything was started.
        Exception: whatever ``run`` raises.
    """
    if invocation.canceled.is_set():
        raise CommandCanceled("the run was canceled before the command was started")
    command = command.number_attempt(invocation.attempt)
    holder = f"{command.verb} of run {invocation.run_id}, step {invocation.step_key}" if invocation.run_id else command.verb
    with contextlib.ExitStack() as stack:
        files: FilesOfLoad | None = None
        if command.files is not None and not trusted:
            files = stack.enter_context(hold_files(command.files, log=invocation.log, canceled=invocation.canceled, holder=holder))
            names = files.list_left()
            if names:
                moved = ", ".join(files.put_back(names))
                invocation.log("warning", f"an earlier load left files in ingesting; they are loaded now: {moved}")
        if invocation.run_id:
            first = invocation.earlier_runs[-1] if invocation.earlier_runs else invocation.run_id
            step = f"step {invocation.step_key} of run {first}"
            stack.enter_context(hold_lock(step, canceled=invocation.canceled, log=invocation.log, holder=holder, single_use=True))
        stack.enter_context(lock_databases(command.databases, canceled=invocation.canceled, log=invocation.log, holder=holder))
        guarded = _Guarded(command, invocation, files)
        try:
            result = run(command)
        except CommandError as error:
            if not error.tables:
                error.tables = guarded.judge_interrupted(error.trail)
            raise
        except BaseException:
            guarded.judge_interrupted(None)
            raise
        return result if trusted else guarded.check_result(result)


class _Guarded:
    """A command whose locks are held, and its files and tables before and after it."""

    def __init__(self, command: Command, invocation: Invocation, files: FilesOfLoad | None) -> None:
        """Look at the files and tables before the command. ``files`` are those that may be moved; None = they are not on this machine."""
        self._command = command
        self._log = invocation.log
        self._files = self._seen = files
        if files is None and command.files is not None and len(command.tables) > 1:
            self._seen = FilesOfLoad(command.files, invocation.log)
        self._before = frozenset(self._seen.list_staged()) if self._seen is not None else frozenset()
        self._rows = self._count_rows(missing=0) if files is not None else {}

    def _count_rows(self, *, missing: int | None) -> Mapping[str, int]:
        """Return how many rows the tables have, in DuckDB files and in a warehouse."""
        counts = count_rows_of_tables(self._command, self._log)
        # Without files, nothing is loaded, so the query is not needed.
        return {**count_appended_rows(self._command, self._log, missing=missing), **counts} if self._before else counts

    def _find_places(self, left: Sequence[str]) -> Places | None:
        """Return where the files are now; None if that is not known here, and for a load of one table. ``left`` are those in ingesting."""
        if self._seen is None or len(self._command.tables) < 2:
            return None
        staged = self._before.intersection(self._seen.list_staged())
        return Places(*(group_by_table(names, self._command.tables) for names in (self._before, staged, left)))

    def _judge_files(self, findings: Findings, lines: LoadLines | None, left: Sequence[str], *, ended_by_itself: bool) -> FileFates:
        growth = {}
        if left and not ended_by_itself:
            growth = {name: count - self._rows[name] for name, count in self._count_rows(missing=None).items() if name in self._rows}
        return judge_files(self._command, findings, lines, left, self._before, ended_by_itself=ended_by_itself, growth=growth)

    def judge_interrupted(self, trail: OutputTrail | None) -> Mapping[str, TableResult]:
        """Put files back after the command was interrupted, and return the result of each of its tables."""
        places = self._find_places(self._seen.list_left() if self._seen is not None else ())
        if self._files is None and places is None:
            return {}
        findings = read_findings(self._command, self._log, trail)
        left = self._files.list_left() if self._files is not None else []
        fates = self._judge_files(findings, trail.load if trail else None, left, ended_by_itself=False)
        if self._files is not None:
            _, problem = _move_files(self._files, left, fates, self._log)
            if problem:
                self._log("error", problem)
        if places is None:
            return {}
        lines = trail.load if trail else LoadLines()
        result = CommandResult(1, tables=judge_output(self._command, 1, lines, None), progress=lines.progress)
        return _mask_reasons(self._command, judge_tables(self._command, result, findings, places, fates))

    def check_result(self, result: CommandResult) -> CommandResult:
        """Return the result, or a failure if the audit or the files show that the command did not do its work."""
        if result.not_ready:
            return result
        command, trail = self._command, result.trail
        findings = read_findings(command, self._log, trail)
        result = replace(complete_result(command, result, findings), trail=None)
        may_have_loaded = result.exit_code == 0 and (result.counters is None or result.counters.files)
        if command.expectations and not result.expectations and may_have_loaded:
            self._log(
                "info",
                "the results of expectations are not known: they can be read only from Starlake's audit tables, "
                "or from its log if its level is info (SL_LOG_LEVEL)",
            )
        failure = findings.failure if result.exit_code == 0 else None
        if command.verb == "load":
            result, failure = self._check_load(result, failure, findings, trail.load if trail else None)
        if failure is None:
            return result
        failure = command.mask()(failure)
        self._log("error", failure)
        return replace(result, exit_code=result.exit_code or 1, program_exit_code=result.exit_code, reason=failure)

    def _check_load(
        self, result: CommandResult, failure: str | None, findings: Findings, lines: LoadLines | None
    ) -> tuple[CommandResult, str | None]:
        """Return the result of a load, with the reason of a failure that its exit code does not report. Move its files to their places."""
        command, files = self._command, self._files
        left = files.list_left() if files is not None else []
        fates = self._judge_files(findings, lines, left, ended_by_itself=not result.was_killed)
        unloaded: list[str] = []
        if files is not None:
            places = self._find_places(left)
            if places is not None:
                result = replace(result, tables=_mask_reasons(command, judge_tables(command, result, findings, places, fates)))
            unloaded, problem = _move_files(files, left, fates, self._log)
            if unloaded and failure is None and result.exit_code == 0:
                folder = command.files.ingesting if command.files else "ingesting"
                failure = f"the load left {', '.join(unloaded)} in {folder} without loading them"
            failure = "; ".join(filter(None, (failure or (result.reason if problem else None), problem))) or None
        elif fates.lost:
            failure = f"{failure}; their rows are not in the table, but Starlake archived them: {', '.join(sorted(fates.lost))}"
        if fates.has_failed_in_table or (result.exit_code != 0 and is_failed_expectation(result.reason)):
            single = len(command.tables) < 2
            result = replace(result, failed_in_table=single, retry=result.retry and not single)
            if single and failure is None:
                failure = find_reason_in_table(findings, result, fates)
        result = replace(result, counters=drop_files(result.counters, [*unloaded, *fates.lost]))
        if files is None:
            # Starlake's folders are not on this machine, so nothing can be put back.
            failed = result if failure is None else replace(result, exit_code=result.exit_code or 1)
            result = replace(mark_left_files(command, failed, lines), exit_code=result.exit_code)
        return result, failure


def _mask_reasons(command: Command, tables: Mapping[str, TableResult]) -> Mapping[str, TableResult]:
    mask = command.mask()
    return {name: replace(table, reason=mask(table.reason)) if table.reason else table for name, table in tables.items()}


def _move_files(files: FilesOfLoad, left: Sequence[str], fates: FileFates, log: Log) -> tuple[list[str], str | None]:
    """Move each file left in ingesting to its place: to the archive if its rows are in the table, otherwise to the stage folder.

    Return the names of the files that were not loaded, and a message about files that need attention, if there are any.
    """
    problems = []
    kept = [name for name in left if name in fates.kept]
    if kept:
        moved = ", ".join(files.archive(kept))
        log("warning", f"the rows of these files are in the table, so they are not loaded again although the load failed: {moved}")
    unclear = [name for name in left if name in fates.unclear]
    if unclear:
        moved = ", ".join(files.set_aside(unclear))
        problems.append(f"it is not known whether the rows of these files are in the table, so they are not loaded again: {moved}")
    elsewhere = sorted(fates.unclear.difference(left))
    if elsewhere:
        problems.append(f"it is not known whether the rows of these files are in the table; Starlake archived them: {', '.join(elsewhere)}")
    unloaded = [name for name in left if name not in fates.kept and name not in fates.unclear]
    if unloaded:
        log("warning", f"files that were not loaded are back in the stage folder: {', '.join(files.put_back(unloaded))}")
    found, missing = files.take_from_archive(fates.lost)
    if found:
        moved = ", ".join(found)
        why = "these files were archived although their rows are not in the table"
        log("warning", f"{why}, so they were moved back to the stage folder: {moved}")
    if missing:
        problems.append(f"the rows of these files are not in the table, and the files are not in the archive: {', '.join(missing)}")
    return unloaded, "; ".join(problems) or None
