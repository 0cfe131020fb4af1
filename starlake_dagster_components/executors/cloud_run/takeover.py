"""Which execution a step attempt goes on with: one that was started for it already, or a new one."""

import threading
from collections.abc import Callable, Sequence

from ..base import Invocation
from .request import CommandId
from .state import ExecutionState

Match = tuple[int, int, ExecutionState]
"""(0 = the run itself, 1.. = the runs it continues; attempt; state) of an execution of the same command of the same step."""


class History:
    """What this process knows of attempts that ended in it: those were not lost."""

    SIZE = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: dict[tuple[str, str, int], None] = {}
        self._delivered: dict[str, None] = {}

    def begin(self, invocation: Invocation) -> bool:
        """Note an attempt; return whether the one before it was made in this process."""
        with self._lock:
            self._attempts[(invocation.run_id, invocation.step_key, invocation.attempt)] = None
            _trim(self._attempts, self.SIZE)
            return (invocation.run_id, invocation.step_key, invocation.attempt - 1) in self._attempts

    def deliver(self, execution: str) -> None:
        """Note that the end of an execution was reported to its step."""
        with self._lock:
            self._delivered[execution] = None
            _trim(self._delivered, self.SIZE)

    def delivered(self, execution: str) -> bool:
        """Say whether the end of an execution was reported to its step in this process."""
        with self._lock:
            return execution in self._delivered


def _trim(known: dict[object, None] | dict[str, None] | dict[tuple[str, str, int], None], size: int) -> None:
    while len(known) > size:
        del known[next(iter(known))]  # type: ignore[arg-type]


def choose_execution(
    matches: Sequence[Match],
    command: CommandId,
    *,
    may_be_lost: Callable[[ExecutionState], bool],
    stale: Callable[[ExecutionState], bool],
) -> tuple[ExecutionState | None, Sequence[ExecutionState]]:
    """Return the execution to go on with, and others of the same command that should not run.

    The rules, in this order:

    1. An execution of this very attempt: its result is the attempt's, whatever it is. Never two executions for one step attempt.
    2. One of an earlier attempt that still runs: the worker that waited for it is gone.
    3. One of an earlier attempt that succeeded without its step having heard of it: the worker was lost.
    4. None: earlier ones failed or were cancelled, and this attempt is there to try again.

    Args:
        matches: all executions of this command of this step, oldest first.
        command: the id of this attempt's command.
        may_be_lost: whether the end of an execution may not have reached its step.
        stale: whether a success says nothing for this attempt (a ``preload`` that was not ready then).
    """
    exact = [state for run, attempt, state in matches if run == 0 and attempt == command.attempt]
    running = [state for _, _, state in matches if not state.finished]
    if exact:
        best = min(exact, key=lambda s: (s.finished, not s.succeeded, s.created))
        return best, [s for s in running if s.name != best.name]
    if running:
        return running[0], running[1:]
    nearest = sorted(matches, key=lambda match: (match[0], -match[2].created))
    for _, _, state in nearest:
        if state.succeeded and may_be_lost(state) and not stale(state):
            return state, ()
    return None, ()
