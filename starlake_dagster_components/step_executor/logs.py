"""Log managers for steps that run in threads."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

from .._dagster import DagsterLogHandler, DagsterLogManager, PlanOrchestrationContext, get_log_handlers
from .running import RunningStep

Handler = TypeVar("Handler", bound=logging.Handler)

MAX_WRITERS = 8
"""Number of threads that store events at the same time. With PostgreSQL, every stored event is a connection, and hundreds of steps that
start together would exceed the server's limit."""


class _NoLock(nullcontext[None]):
    """Replaces a handler's lock with nothing.

    Python's logging holds a handler's lock while the handler works. A handler of Dagster's event log uses a database whose
    library asks logging for loggers, which needs logging's own lock. Starting a run configures logging, which holds that lock while it
    takes the locks of all handlers. If a step does so while another stores an event, both wait forever. These handlers need no
    lock: a step's handlers have the step's own lock, and the event log has its own.
    """

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""

    def _at_fork_reinit(self) -> None:
        pass


def _drop_lock(handler: Handler) -> Handler:
    handler.lock = _NoLock()  # type: ignore[assignment]
    return handler


_writers = threading.BoundedSemaphore(MAX_WRITERS)
_capturing: ContextVar["StepLogManager | None"] = ContextVar("starlake_capturing", default=None)
_emitting: ContextVar[bool] = ContextVar("starlake_emitting", default=False)


class StepLogHandler(DagsterLogHandler):
    """Stores the events and log lines of one step one at a time, without being interrupted."""

    def __init__(self, metadata: Any, loggers: Sequence[logging.Logger], handlers: Sequence[logging.Handler], step: RunningStep) -> None:
        super().__init__(metadata=metadata, loggers=loggers, handlers=handlers)
        _drop_lock(self)
        self._sinks = loggers, handlers
        self._step = step

    def with_tags(self, **new_tags: str) -> "StepLogHandler":
        """Return the handler with additional metadata."""
        metadata: Mapping[str, Any] = {**self.metadata, **new_tags}
        return StepLogHandler(metadata, *self._sinks, self._step)

    def emit(self, record: logging.LogRecord) -> None:
        """Store an event or a log line."""
        token = _emitting.set(True)
        try:
            with self._step.writing, _writers:
                super().emit(record)
        finally:
            _emitting.reset(token)


class StepLogManager(DagsterLogManager):
    """Tracks when a step's user code runs, and captures its log lines from Python's ``logging``.

    Dagster's own log manager adds the step's handler to shared loggers, which would mix the handlers of all steps.
    """

    def __init__(self, handler: StepLogHandler, managed_loggers: Sequence[logging.Logger], level: int, step: RunningStep) -> None:
        super().__init__(dagster_handler=handler, level=level, managed_loggers=managed_loggers)
        self.handler = handler
        self._managed = managed_loggers
        self._step = step

    @classmethod
    def create_for_step(cls, plan_context: PlanOrchestrationContext, step: RunningStep) -> "StepLogManager":
        """Return a step's log manager, which writes to the same places as the run's log manager."""
        loggers, handlers, managed = get_log_handlers(plan_context.log)
        event_log = _drop_lock(plan_context.instance.get_event_log_handler())
        own = [event_log if isinstance(handler, type(event_log)) else handler for handler in handlers]
        handler = StepLogHandler(plan_context.log.metadata, loggers, own, step)
        return cls(handler, managed, plan_context.log.level, step)

    def with_tags(self, **new_tags: str) -> "StepLogManager":
        """Return the log manager with additional metadata."""
        return StepLogManager(self.handler.with_tags(**new_tags), self._managed, self.level, self._step)

    def begin_python_log_capture(self) -> None:
        """Mark the beginning of user code."""
        self._step.enter_user_code()
        _capturing.set(self)

    def end_python_log_capture(self) -> None:
        """Mark the end of user code."""
        _capturing.set(None)
        self._step.leave_user_code()


class PythonLogCapture(logging.Handler):
    """Passes records of the loggers that Dagster captures to the step whose thread logs them.

    Threads started by a step's body cannot be attributed to a step, so their log lines belong to the run.
    """

    def __init__(self, plan_context: PlanOrchestrationContext) -> None:
        super().__init__()
        _drop_lock(self)
        loggers, handlers, self._managed = get_log_handlers(plan_context.log)
        event_log = type(plan_context.instance.get_event_log_handler())
        for handler in (*plan_context.log.handlers, *(h for h in handlers if isinstance(h, event_log))):
            _drop_lock(handler)
        self._of_run = _drop_lock(DagsterLogHandler(metadata=plan_context.log.metadata, loggers=loggers, handlers=handlers))
        self._main = threading.get_ident()

    def __enter__(self) -> "PythonLogCapture":
        for logger in self._managed:
            logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for logger in self._managed:
            logger.removeHandler(self)

    def handle(self, record: logging.LogRecord) -> bool:
        """Store a record, unless it is about storing records."""
        if _emitting.get():
            return False
        manager = _capturing.get()
        if manager is not None:
            return bool(manager.handler.handle(record))
        if record.thread == self._main or threading.current_thread().name.startswith(STEP_THREAD):
            return False
        return bool(self._of_run.handle(record))


STEP_THREAD = "step "
"""Prefix of the names of threads that run steps."""
