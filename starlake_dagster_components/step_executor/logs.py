"""Log managers of steps that run in threads."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from .._dagster import DagsterLogHandler, DagsterLogManager, PlanOrchestrationContext, get_log_handlers
from .running import RunningStep

Handler = TypeVar("Handler", bound=logging.Handler)

MAX_WRITERS = 8
"""Threads that store events at the same time. With PostgreSQL every stored event is a connection; hundreds of steps that start
together would exceed what a server allows."""


class _NoLock:
    """Stands in the place of a handler's lock.

    Python's logging holds a handler's lock while the handler works. A handler of Dagster's event log works with a database, whose
    library asks logging for loggers, which needs logging's own lock. Beginning a run configures logging, which holds that lock while it
    takes those of all handlers: if a step does so while another one stores an event, both wait for ever. The handlers concerned need no
    lock: those of a step have the step's own one, and the event log has its own.
    """

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        pass

    def _at_fork_reinit(self) -> None:
        pass


def _drop_lock(handler: Handler) -> Handler:
    handler.lock = _NoLock()  # type: ignore[assignment]
    return handler


_writers = threading.BoundedSemaphore(MAX_WRITERS)
_capturing: ContextVar["StepLogManager | None"] = ContextVar("starlake_capturing", default=None)
_emitting: ContextVar[bool] = ContextVar("starlake_emitting", default=False)


class StepLogHandler(DagsterLogHandler):
    """Stores events and log lines of one step: one at a time, and never interrupted in between."""

    def __init__(self, metadata: Any, loggers: Sequence[logging.Logger], handlers: Sequence[logging.Handler], step: RunningStep) -> None:
        super().__init__(metadata=metadata, loggers=loggers, handlers=handlers)
        _drop_lock(self)
        self._sinks = loggers, handlers
        self._step = step

    def with_tags(self, **new_tags: str) -> "StepLogHandler":
        """Return the handler with more metadata."""
        metadata: Mapping[str, Any] = {**self.metadata, **new_tags}
        return StepLogHandler(metadata, *self._sinks, self._step)

    def emit(self, record: logging.LogRecord) -> None:
        """Store an event or a line."""
        token = _emitting.set(True)
        try:
            with self._step.writing, _writers:
                super().emit(record)
        finally:
            _emitting.reset(token)


class StepLogManager(DagsterLogManager):
    """Says when a step's user code runs, and captures what that code logs with Python's ``logging``.

    Dagster's own captures by adding the step's handler to shared loggers, where the handlers of all steps would meet.
    """

    def __init__(self, handler: StepLogHandler, managed_loggers: Sequence[logging.Logger], level: int, step: RunningStep) -> None:
        super().__init__(dagster_handler=handler, level=level, managed_loggers=managed_loggers)
        self.handler = handler
        self._managed = managed_loggers
        self._step = step

    @classmethod
    def create_for_step(cls, plan_context: PlanOrchestrationContext, step: RunningStep) -> "StepLogManager":
        """Return the log manager of a step, which writes where the run's log manager writes to."""
        loggers, handlers, managed = get_log_handlers(plan_context.log)
        event_log = _drop_lock(plan_context.instance.get_event_log_handler())
        own = [event_log if isinstance(handler, type(event_log)) else handler for handler in handlers]
        handler = StepLogHandler(plan_context.log.metadata, loggers, own, step)
        return cls(handler, managed, plan_context.log.level, step)

    def with_tags(self, **new_tags: str) -> "StepLogManager":
        """Return the log manager with more metadata."""
        return StepLogManager(self.handler.with_tags(**new_tags), self._managed, self.level, self._step)

    def begin_python_log_capture(self) -> None:
        """User code begins."""
        self._step.enter_user_code()
        _capturing.set(self)

    def end_python_log_capture(self) -> None:
        """User code ends."""
        _capturing.set(None)
        self._step.leave_user_code()


class PythonLogCapture(logging.Handler):
    """Gives records of the loggers that Dagster captures to the step whose thread logs them.

    Threads that a step's body has started belong to no step that could be known; what they log belongs to the run.
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
        """Store a record, unless it is about storing one."""
        if _emitting.get():
            return False
        manager = _capturing.get()
        if manager is not None:
            return bool(manager.handler.handle(record))
        if record.thread == self._main or threading.current_thread().name.startswith(STEP_THREAD):
            return False
        return bool(self._of_run.handle(record))


STEP_THREAD = "step "
"""How names of threads that run steps begin."""
