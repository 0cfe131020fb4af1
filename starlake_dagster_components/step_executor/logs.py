"""Log managers of steps that run in threads."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from .._dagster import DagsterLogHandler, DagsterLogManager, PlanOrchestrationContext, log_handlers_of
from .running import RunningStep

MAX_WRITERS = 8
"""Threads that store events at the same time. With PostgreSQL every stored event is a connection; hundreds of steps that start
together would exceed what a server allows."""

_writers = threading.BoundedSemaphore(MAX_WRITERS)
_capturing: ContextVar["StepLogManager | None"] = ContextVar("starlake_capturing", default=None)
_emitting: ContextVar[bool] = ContextVar("starlake_emitting", default=False)


class StepLogHandler(DagsterLogHandler):
    """Stores events and log lines of one step: one at a time, and never interrupted in between."""

    def __init__(self, metadata: Any, loggers: Sequence[logging.Logger], handlers: Sequence[logging.Handler], step: RunningStep) -> None:
        super().__init__(metadata=metadata, loggers=loggers, handlers=handlers)
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
    def of(cls, plan_context: PlanOrchestrationContext, step: RunningStep) -> "StepLogManager":
        """Return the log manager of a step, which writes where the run's log manager writes to."""
        loggers, handlers, managed = log_handlers_of(plan_context.log)
        handler = StepLogHandler(plan_context.log.metadata, loggers, handlers, step)
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
        loggers, handlers, self._managed = log_handlers_of(plan_context.log)
        self._of_run = DagsterLogHandler(metadata=plan_context.log.metadata, loggers=loggers, handlers=handlers)
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
