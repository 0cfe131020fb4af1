"""Choose the execution with which a step attempt continues: an existing one, or a new one."""

import threading
from collections.abc import Callable, Sequence

from .request import CommandId
from .state import ExecutionState

Match = tuple[int, int, ExecutionState]
"""An execution of the same command of the same step: (0 = the run itself, 1.. = the runs that it continues; attempt; state)."""


class History:
    """The executions whose end this process has reported to a step."""

    SIZE = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delivered: dict[str, None] = {}

    def deliver(self, execution: str) -> None:
        """Record that the end of an execution was reported to its step."""
        with self._lock:
            self._delivered[execution] = None
            while len(self._delivered) > self.SIZE:
                del self._delivered[next(iter(self._delivered))]

    def was_delivered(self, execution: str) -> bool:
        """Return whether the end of an execution was reported to its step."""
        with self._lock:
            return execution in self._delivered


def choose_execution(
    matches: Sequence[Match], command: CommandId, *, may_be_lost: Callable[[ExecutionState], bool], stale: Callable[[ExecutionState], bool]
) -> tuple[ExecutionState | None, Sequence[ExecutionState]]:
    """Return the execution to continue with, and others of the same command that should not run.

    The rules, in this order:

    1. An execution of this attempt. Its result is the result of the attempt, because an attempt never has two executions.
    2. A running execution of an earlier attempt, whose worker is gone.
    3. A successful execution of an earlier attempt whose success was not reported to the step, because the worker was lost.
    4. None: earlier executions failed or were canceled, and this attempt starts a new one.

    Args:
        matches: all executions of this command of this step, oldest first.
        command: the id of this attempt's command.
        may_be_lost: whether the end of an execution may not have reached its step.
        stale: whether a success does not count for this attempt (a ``preload`` that was not ready).
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
