"""Notify the body of a step that its run was canceled."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import dagster as dg

from ..cancellation_event import Canceled
from ..errors import CommandCanceled
from .definition import GRACE_SECONDS
from .output import LogCap
from .running import find_running_step, get_identity, has_retry_policy

T = TypeVar("T")

_POLL_SECONDS = 0.25
"""Signals may be delivered to any thread; the main thread notices them when it next wakes up."""

_events: "WeakValueDictionary[tuple[str, str], Canceled]" = WeakValueDictionary()
_interrupted_runs: set[str] = set()
"""Runs of this process that were canceled under Dagster's executors. Dagster's in-process executor continues such a run if the
interrupted step has a retry policy; commands that it starts then end at once."""


def get_cancellation(context: Any) -> Canceled:
    """Return the event of this attempt of a step (the context of an op or asset), which is set when its run is canceled.

    A body that requests the event must watch it: under this package's executor, it does not get a DagsterExecutionInterruptedError. Under
    Dagster's executors, only :func:`run_cancellable` sets the event, because the main thread gets that exception.
    """
    step = find_running_step(context)
    if step is not None:
        step.cooperative = True
        return step.canceled
    run_id, _ = identity = get_identity(context)
    event = _events.setdefault(identity, Canceled())
    if run_id in _interrupted_runs:
        event.set()
    return event


def run_cancellable(context: Any, call: Callable[[Canceled], T]) -> T:
    """Return the result of a long call that ends when the event of :func:`get_cancellation` is set.

    So canceling the run ends the call under every executor. Under this package's executor, it is called directly. Dagster's executors
    raise interrupts anywhere in the main thread, so there it is called in a separate thread while the main thread waits. It does not have
    to handle such exceptions.

    Raises:
        DagsterExecutionInterruptedError: the run was canceled; Dagster marks the step as interrupted.
        Failure: the run has already ended, and this process was left behind. The function is not called.
        Failure: the run was canceled, the step has a retry policy, and Dagster's executor would otherwise retry it.
        Exception: any exception of the call.
    """
    canceled = get_cancellation(context)
    if find_running_step(context) is None and threading.current_thread() is threading.main_thread():
        return _run_in_thread(context, call, canceled)
    try:
        return call(canceled)
    except CommandCanceled as error:
        if canceled.is_set():
            raise dg.DagsterExecutionInterruptedError(str(error)) from error
        raise


def _run_in_thread(context: Any, call: Callable[[Canceled], T], canceled: Canceled) -> T:
    """Call a function in a thread while the main thread waits for its result or for an interrupt."""
    _check_run_is_active(context)
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call(canceled))
        except BaseException as error:  # noqa: BLE001 -- raised again in the step's own thread
            result.set_exception(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), name=f"command of {get_identity(context)[1]}", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
        return result.result()
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt, CommandCanceled) as interrupt:
        if isinstance(interrupt, CommandCanceled) and not canceled.is_set():
            raise
        _interrupted_runs.add(get_identity(context)[0])
        canceled.set()
        thread.join(GRACE_SECONDS)
        if has_retry_policy(context):
            raise dg.Failure("the run was canceled", allow_retries=False) from interrupt
        if isinstance(interrupt, CommandCanceled):
            raise dg.DagsterExecutionInterruptedError(str(interrupt)) from interrupt
        raise


def _check_run_is_active(context: Any) -> None:
    """Raise an exception if the run has ended, and may have been re-executed by now, including this step.

    A step process that was just starting when the run's process was killed does not notice that.
    """
    run = context.instance.get_run_by_id(get_identity(context)[0])
    if run is not None and run.is_finished:
        reason = f"run {run.run_id} ended ({run.status.value}) before this step's process began its work; nothing was done"
        raise dg.Failure(reason, allow_retries=False)


def get_printer(context: Any) -> Callable[[str], None]:
    """Return a function that prints a line to the step's own output from any thread, unlike ``print``."""
    step = find_running_step(context)
    if step is None or step.output is None:
        return LogCap(print).write_line
    output = step.output
    return lambda line: output.write("stdout", f"{line}\n")
