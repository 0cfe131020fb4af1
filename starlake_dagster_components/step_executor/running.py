"""Represent an attempt of a step in a thread of the run's process, and register all attempts."""

import ctypes
import threading
from typing import Any

import dagster as dg

from ..cancellation_event import Canceled
from .output import FileOutput


class RunningStep:
    """One attempt of a step.

    Attributes:
        run_id: Dagster's run.
        key: Dagster's step key.
        canceled: set when the run is canceled.
        cooperative: whether the body has requested ``canceled``; if not, it is interrupted as in a separate process.
        output: receives the step's printed output.
        started: whether an event shows that the step has started.
        settled: whether an event shows how the attempt ended.
        abandoned: whether the executor has stopped waiting for it.
    """

    def __init__(self, run_id: str, key: str) -> None:
        self.run_id = run_id
        self.key = key
        self.canceled = Canceled()
        self.cooperative = False
        self.output: FileOutput | None = None
        self.started = False
        self.settled = False
        self.abandoned = False
        self.writing = threading.RLock()
        """Held while an event or log line is stored, so that an interrupt cannot leave a storage lock behind."""
        self.in_hooks = False
        self._in_user_code = False
        self._entered = False
        self._interrupted = False
        self._thread: int | None = None

    def begin(self) -> None:
        """Register the calling thread as the one that runs this attempt."""
        self._thread = threading.get_ident()
        _RUNNING[self.run_id, self.key] = self

    def end(self) -> None:
        """Unregister the attempt's thread, which is about to end."""
        if _RUNNING.get((self.run_id, self.key)) is self:
            del _RUNNING[self.run_id, self.key]

    def enter_user_code(self) -> None:
        """Mark that user code is about to run. Raise DagsterExecutionInterruptedError if the run was canceled before."""
        with self.writing:
            first, self._entered = not self._entered, True
            if self.canceled.is_set() and not self.in_hooks and (first or not (self.cooperative or self._interrupted)):
                self._interrupted = True
                raise dg.DagsterExecutionInterruptedError
            self._in_user_code = True

    def leave_user_code(self) -> None:
        """Mark that Dagster's code is running again."""
        with self.writing:
            self._in_user_code = False

    def interrupt(self) -> bool:
        """Raise DagsterExecutionInterruptedError in the body, like a signal in a step's own process.

        Only a body that has not requested ``canceled`` gets it, once, and only while it runs its own code. A body that waits inside
        a C function gets it when the function returns.

        Returns:
            False if the thread was storing an event the whole time. Try again then.
        """
        if not self.writing.acquire(timeout=0.5):
            return False
        try:
            if self._in_user_code and not (self.cooperative or self.in_hooks or self._interrupted) and self._thread is not None:
                self._interrupted = True
                exception = ctypes.py_object(dg.DagsterExecutionInterruptedError)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), exception)
        finally:
            self.writing.release()
        return True


_RUNNING: dict[tuple[str, str], RunningStep] = {}


def _get_step_context(context: Any) -> Any:
    """Return Dagster's own context of the step; None for a context that was built for a test."""
    try:
        return context.get_step_execution_context()
    except dg.DagsterError:
        return None


def get_identity(context: Any) -> tuple[str, str]:
    """Return the run ID and step key of an op's or asset's context. A context that was built for a test has no key."""
    step_context = _get_step_context(context)
    if step_context is None:
        return str(getattr(context, "op_execution_context", context).run_id), ""
    return str(step_context.run_id), str(step_context.step.key)


def has_retry_policy(context: Any) -> bool:
    """Return whether Dagster retries the step of a context when it fails."""
    step_context = _get_step_context(context)
    return step_context is not None and step_context.op_retry_policy is not None


def find_running_step(context: Any) -> RunningStep | None:
    """Return the attempt that a context belongs to; None if it does not run in a thread of this package's executor."""
    return _RUNNING.get(get_identity(context))
