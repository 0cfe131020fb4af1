"""Convert a finished execution to the result of a command: success, failure with its reasons, or not ready."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...commands import Command
from ...errors import StarlakeError
from ...masking import Mask
from ..base import CommandResult, Log, TableResult
from ..starlake_output.load_log import LoadLines
from ..starlake_output.process_output import Output, drop_growth
from ..starlake_output.remote_commands import judge_remote_command, mark_left_files
from ..starlake_output.table_outcomes import judge_output
from . import sentinel
from .calls import call_until_answered
from .connection import Connection
from .final_lines import fetch_count_lines, fetch_last_lines, fetch_load_lines
from .finder import TIMEOUT
from .log_queries import Line
from .state import ExecutionState

NOT_READY_EXIT_CODE = 1
"""Exit code of a ``preload`` with nothing to load, and of one that ended with an exception. Starlake: PreLoadCmd."""

_COUNTS = re.compile(r"^IngestionCounters:|^Data successfully loaded from ")
_SUCCESS = re.compile(r" INFO Main: Successfully ")


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished execution, and the context in which it is evaluated.

    Attributes:
        command: the command that it ran.
        state: its last state.
        connection, project: used to query the exit code and the logs.
        sentinel: where a ``preload`` reports "not ready"; None = by its exit code.
        followed: the output, if the logs were followed.
        tail_lines: number of lines to fetch otherwise; 0 = none.
        mask: hides secrets.
        allow_task_retries: whether to accept a load that succeeded only after a retry by Cloud Run.
        log: receives messages.
        metadata: ids and links.
    """

    command: Command
    state: ExecutionState
    connection: Connection
    project: str
    sentinel: str | None
    followed: Output | None
    tail_lines: int
    mask: Mask
    allow_task_retries: bool
    log: Log
    metadata: Mapping[str, Any]

    @property
    def since(self) -> float | None:
        """The earliest time of its output, in seconds since 1970; None if unknown."""
        return self.state.created - 60.0 if self.state.created else None

    def read_lines(self, lines: Iterable[str] = ()) -> Output:
        """Return the output with some lines, without logging them."""
        output = Output(lambda level, line: None, self.mask)
        for line in lines:
            output.feed("out", f"{line}\n".encode("utf-8", "backslashreplace"))
        return output


def judge_execution(ended: Ended) -> CommandResult:
    """Return the result of a command."""
    state = ended.state
    if state.succeeded:
        return _judge_success(ended)
    # The middle of the output has the statement that failed, and shows which exception belongs to which file.
    output = _fetch_output(ended, whole=ended.command.verb in ("load", "transform"))
    if state.canceled:
        reason = f"Cloud Run execution {state.short_name} was canceled outside Dagster ({state.message or state.reason})"
        return _build_result(ended, 1, output, reason)
    code = _fetch_exit_code(ended)
    if ended.command.verb == "preload" and ended.sentinel is None and code == NOT_READY_EXIT_CODE and not output.has_exception:
        ended.log(
            "info",
            "preload ended with exit code 1, which counts as not ready. An exception of Starlake has the same exit code; "
            "set not_ready_folder to distinguish them",
        )
        return CommandResult(exit_code=code, not_ready=True, tail=output.tail, metadata=ended.metadata)
    failed = f"Cloud Run execution {state.short_name} failed ({state.reason or 'no reason given'}){state.message and f': {state.message}'}"
    reason = f"{output.reason} ({failed})" if output.reason else failed
    return _build_result(ended, code or 1, output, reason)


def _judge_success(ended: Ended) -> CommandResult:
    state = ended.state
    if ended.sentinel is not None and sentinel.has_sentinel(ended.sentinel, ended.connection):
        if sentinel.find_sentinel(ended.command.arguments) is None:
            sentinel.remove_sentinel(ended.sentinel, ended.connection)
        return CommandResult(exit_code=0, not_ready=True, tail=ended.followed.tail if ended.followed else (), metadata=ended.metadata)
    if state.retried and ended.command.verb == "load" and not ended.allow_task_retries:
        reason = (
            f"Cloud Run execution {state.short_name} succeeded only after Cloud Run had retried its task. The failed attempt may have left "
            "files in the ingesting area, where the next load does not look. Move them back to the stage area, and set --max-retries 0 "
            "on the job (or allow_task_retries: true on the executor)"
        )
        return _build_result(ended, 1, _fetch_output(ended), reason)
    if ended.followed is None and not ended.command.expectations:
        return _count_rows(ended)
    last_line = _COUNTS if ended.command.verb == "load" else _SUCCESS
    output = _fetch_output(ended, has_enough=lambda lines: any(last_line.search(line.text) for line in lines), whole=True)
    if ended.command.verb == "load" and output.counters is None and ended.followed is None:
        ended.log("warning", f"the row counts of {state.short_name} are unknown because they are not in its log")
    return _build_result(ended, 0, output)


def _count_rows(ended: Ended) -> CommandResult:
    """Return the result of a successful command, with the row counts of a load. Its other lines are not read."""
    if ended.command.verb != "load" or not ended.tail_lines:
        return _judge_output(ended, CommandResult(exit_code=0, metadata=ended.metadata), ended.read_lines())
    texts, problem = fetch_count_lines(ended.connection, ended.project, ended.state.short_name, since=ended.since)
    output = ended.read_lines(texts)
    if output.counters is None:
        ended.log("warning", f"the row counts of {ended.state.short_name} are unknown: {problem or 'they are not in its log'}")
    return _build_result(ended, 0, output, has_all_lines=False)


def _build_result(ended: Ended, code: int, output: Output, reason: str | None = None, *, has_all_lines: bool = True) -> CommandResult:
    """Return the result of a command with an exit code, and the information in its output."""
    result = CommandResult(
        code,
        reason=ended.mask(reason) if reason else None,
        statement=output.statement if code else None,
        counters=drop_growth(output.counters, ended.command.tables) if ended.command.verb == "load" else None,
        tail=output.tail if ended.followed else output.tail[-ended.tail_lines :] if ended.tail_lines else (),
        metadata=ended.metadata,
        tables=_find_table_results(ended, code, output),
    )
    known = output.load if output.tail and has_all_lines else None
    return mark_left_files(ended.command, _judge_output(ended, result, output), known)


def _judge_output(ended: Ended, result: CommandResult, output: Output) -> CommandResult:
    """Return a result with the information of the complete output. The output of a retried task has nothing about its earlier attempts."""
    if not (output.tail or ended.command.warehouse):
        return result
    output.close()
    judged = judge_remote_command(ended.command, result, None if ended.state.retried else output.trail, ended.log)
    return replace(judged, reason=ended.mask(judged.reason)) if judged.reason else judged


def _find_table_results(ended: Ended, code: int, output: Output) -> Mapping[str, TableResult]:
    """Return the results of the tables of a load of several.

    Nothing is known if Cloud Run has run the task more than once: a later attempt does not report files that an earlier one has left.
    """
    is_known = not ended.state.retried or (ended.state.succeeded and ended.allow_task_retries)
    if len(ended.command.tables) < 2 or not is_known or not ended.tail_lines:
        return {}
    files = len(output.counters.files) if output.counters else None

    def has_enough(found: LoadLines) -> bool:
        return found.tried == files if code == 0 else found.progress == "complete"

    # The last lines may not contain everything about its tables, and followed lines arrive in any order.
    lines = fetch_load_lines(
        ended.connection, ended.project, ended.state.short_name, since=ended.since, has_enough=has_enough, settled=code != 0
    )
    return judge_output(ended.command, code, lines, output.counters)


def _fetch_exit_code(ended: Ended) -> int | None:
    """Return the exit code of the task's last attempt, 128 + n if signal n ended it; None if it is not known."""
    from google.cloud import run_v2

    def ask() -> int | None:
        request = run_v2.ListTasksRequest(parent=ended.state.name)
        for task in ended.connection.tasks.list_tasks(request=request, timeout=TIMEOUT):
            result = task.last_attempt_result
            if result.term_signal:
                return 128 + int(result.term_signal)
            if result.exit_code:
                return int(result.exit_code)
        return None

    try:
        code = call_until_answered(ask, doing="list the tasks of", resource=ended.state.name, log=ended.log, canceled=None, seconds=60.0)
    except StarlakeError as error:
        ended.log("debug", f"the exit code is unknown: {error}")
        code = None
    return code if code is not None else ended.state.exit_code


def _fetch_output(ended: Ended, has_enough: Callable[[Sequence[Line]], bool] = bool, *, whole: bool = False) -> Output:
    """Return the command's output: all of it if it was followed or is requested, otherwise its last lines, as far as they can be read."""
    if ended.followed is not None:
        return ended.followed
    if not ended.tail_lines:
        return ended.read_lines()
    state = ended.state
    count = None if whole else ended.tail_lines
    lines = fetch_last_lines(ended.connection, ended.project, state.short_name, count, since=ended.since, has_enough=has_enough)
    if isinstance(lines, str):
        ended.log("info" if not state.succeeded else "debug", f"no output of {state.short_name}: {lines}")
        return ended.read_lines()
    return ended.read_lines(line.text for line in lines)
