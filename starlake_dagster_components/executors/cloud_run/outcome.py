"""From a finished execution to the result of a command: success, failure with its reasons, or not ready."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...commands import Command
from ...errors import CommandError, StarlakeError
from ..base import CommandResult, Log
from . import sentinel
from .calls import persist
from .connection import Connection
from .finder import TIMEOUT
from .logs import last_lines
from .state import ExecutionState

NOT_READY_EXIT_CODE = 1
"""Starlake: PreLoadCmd: the exit code of "nothing to load", and of every exception too."""

_EXCEPTION = re.compile(
    r"^\s+at [\w.$<>]+\(|^Exception in thread|^Traceback \(most recent call last\)|^(?:[a-z]\w*\.)+\w*(?:Exception|Error)\b"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished execution and what is needed to judge it.

    Attributes:
        command: what ran.
        state: how the execution ended.
        connection, project: to ask for exit code and logs.
        sentinel: where a ``preload`` says "not ready"; None = by its exit code.
        lines: the last lines of output, where the logs were followed.
        tail_lines: how many lines to fetch; 0 = none.
        allow_task_retries: accept a load that succeeded only after a retry by Cloud Run.
        log: receives remarks.
        metadata: ids and links.
    """

    command: Command
    state: ExecutionState
    connection: Connection
    project: str
    sentinel: str | None
    lines: tuple[str, ...] | None
    tail_lines: int
    allow_task_retries: bool
    log: Log
    metadata: Mapping[str, Any]


def judge(ended: Ended) -> CommandResult:
    """Return the result of a command."""
    state = ended.state
    if state.succeeded:
        return _success(ended)
    if state.cancelled:
        reason = f"Cloud Run execution {state.short_name} was cancelled from outside ({state.message or state.reason})"
        return CommandResult(exit_code=1, reason=reason, tail=_tail(ended), metadata=ended.metadata)
    code = _exit_code(ended)
    tail = _tail(ended)
    if ended.command.verb == "preload" and ended.sentinel is None and code == NOT_READY_EXIT_CODE and not _exception(tail):
        ended.log(
            "info",
            "preload ended with exit code 1, which means not ready (Starlake ends so after an exception too; not_ready_folder makes it certain)",
        )
        return CommandResult(exit_code=code, not_ready=True, tail=tail, metadata=ended.metadata)
    what = f": {state.message}" if state.message else ""
    return CommandResult(
        exit_code=1 if code is None or code == 0 else code,
        reason=f"Cloud Run execution {state.short_name} failed ({state.reason or 'no reason given'}){what}",
        tail=tail,
        metadata=ended.metadata,
    )


def _success(ended: Ended) -> CommandResult:
    state = ended.state
    if ended.sentinel is not None and sentinel.exists(ended.sentinel, ended.connection):
        if sentinel.given(ended.command.arguments) is None:
            sentinel.remove(ended.sentinel, ended.connection)
        return CommandResult(exit_code=0, not_ready=True, tail=ended.lines or (), metadata=ended.metadata)
    if state.retried and ended.command.verb == "load" and not ended.allow_task_retries:
        return CommandResult(
            exit_code=1,
            reason=f"Cloud Run execution {state.short_name} succeeded only after Cloud Run had retried its task. The failed attempt may have "
            "left files in the ingesting area, which a further load does not see: look there, move them back to stage, and set "
            "--max-retries 0 on the job (or allow_task_retries: true)",
            tail=_tail(ended),
            metadata=ended.metadata,
        )
    return CommandResult(exit_code=0, tail=ended.lines or (), metadata=ended.metadata)


def _exit_code(ended: Ended) -> int | None:
    """Return the exit code of the task's last attempt, 128 + n when signal n ended it; None when nobody tells."""
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
        code = persist(ask, doing="list the tasks of", resource=ended.state.name, log=ended.log, cancelled=None, seconds=60.0)
    except (StarlakeError, CommandError) as error:
        ended.log("debug", f"the exit code is not known: {error}")
        code = None
    return code if code is not None else ended.state.exit_code


def _tail(ended: Ended) -> tuple[str, ...]:
    if ended.lines is not None:
        return ended.lines
    if not ended.tail_lines:
        return ()
    since = ended.state.created - 60.0 if ended.state.created else None
    lines = last_lines(ended.connection, ended.project, ended.state.short_name, ended.tail_lines, since=since)
    if isinstance(lines, str):
        ended.log("info", f"no output of {ended.state.short_name}: {lines}")
        return ()
    return lines


def _exception(tail: tuple[str, ...]) -> bool:
    return any(_EXCEPTION.search(line) for line in tail)
