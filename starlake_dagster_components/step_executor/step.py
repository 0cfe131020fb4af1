"""Run a step in a thread as Dagster's step processes do: resources, output, the step itself, and its hooks."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue
from typing import Any

import dagster as dg

from .._dagster import (
    CapturedLogContext,
    ContextCreationData,
    EngineEventData,
    ExecutionStep,
    KnownExecutionState,
    PlanExecutionContext,
    PlanOrchestrationContext,
    RetryMode,
    create_context_creation_data,
    create_execution_data,
    dagster_event_sequence_for_step,
    get_required_resource_keys_to_init,
    narrow_plan_to_step,
    resource_initialization_manager,
    run_hooks,
    serializable_error_info_from_exc_info,
)
from .captured import StepLogs
from .logs import STEP_THREAD, StepLogManager
from .output import redirect_prints
from .running import RunningStep


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of an attempt's thread. ``error`` is one outside of the step itself, or the one that the step's events already report."""

    error: BaseException | None = None


Inbox = SimpleQueue[tuple[RunningStep, dg.DagsterEvent | Ended]]


class StepRunner:
    """Runs the steps of one run. ``retry_mode`` says whether they may request a retry."""

    def __init__(self, plan_context: PlanOrchestrationContext, logs: StepLogs, retry_mode: RetryMode) -> None:
        self._context = plan_context
        self._logs = logs
        self._plan_data = plan_context.plan_data._replace(retry_mode=retry_mode.for_inner_plan())

    @cached_property
    def _creation(self) -> ContextCreationData:
        data = self._plan_data
        return create_context_creation_data(data.job, data.execution_plan, data.dagster_run.run_config, data.dagster_run, data.instance)

    def start(self, step: ExecutionStep, known_state: KnownExecutionState, inbox: Inbox) -> RunningStep:
        """Start a thread that runs one attempt of a step. ``inbox`` receives each event after it is stored, then :class:`Ended`."""
        self._creation  # noqa: B018 -- made once, here, not by the first threads at the same time
        running = RunningStep(self._context.run_id, step.key)
        # A daemon thread: a body that ignores its cancellation must not keep the process alive. The context is a copy, so that steps
        # see the user's context variables that are set around the run, as with the in-process executor.
        thread = threading.Thread(
            target=copy_context().run,
            args=(self._run, running, step, known_state, inbox),
            name=f"{STEP_THREAD}{step.key}",
            daemon=True,
        )
        thread.start()
        return running

    def _run(self, running: RunningStep, step: ExecutionStep, known_state: KnownExecutionState, inbox: Inbox) -> None:
        error: BaseException | None = None
        running.begin()
        try:
            for event in self._run_captured(running, step, known_state):
                if not running.abandoned:
                    inbox.put((running, event))
        except BaseException as raised:  # noqa: BLE001 -- the executor's thread decides what to do with it
            error = raised
        finally:
            running.end()
            inbox.put((running, Ended(error)))

    def _run_captured(self, running: RunningStep, step: ExecutionStep, known_state: KnownExecutionState) -> Iterator[dg.DagsterEvent]:
        if not self._logs.per_step:
            yield from self._run_step(running, step, known_state, None)
            return
        log_key = self._logs.build_log_key(running.run_id)
        running.output = self._logs.open(log_key)
        redirect_prints(running.output)
        try:
            yield from self._run_step(running, step, known_state, log_key)
        finally:
            redirect_prints(None)
            try:
                running.output.close()
            except Exception:  # noqa: BLE001 -- lost output does not fail a step; Dagster reports it in the same way
                yield dg.DagsterEvent.engine_event(
                    self._context.for_step(step),
                    "Exception while cleaning up compute log capture",
                    EngineEventData(error=serializable_error_info_from_exc_info(sys.exc_info())),
                )

    def _run_step(
        self, running: RunningStep, step: ExecutionStep, known_state: KnownExecutionState, log_key: Any
    ) -> Iterator[dg.DagsterEvent]:
        creation = self._creation
        log_manager = StepLogManager.create_for_step(self._context, running)
        plan = narrow_plan_to_step(self._plan_data.execution_plan, step)
        loop = _LazyLoop()
        resources = resource_initialization_manager(
            resource_defs=creation.job_def.get_required_resource_defs(),
            resource_configs=creation.resolved_run_config.resources,
            log_manager=log_manager,
            execution_plan=plan,
            dagster_run=self._plan_data.dagster_run,
            resource_keys_to_init=get_required_resource_keys_to_init(plan, creation.job_def),
            instance=self._plan_data.instance,
            emit_persistent_events=True,
            event_loop=loop,  # type: ignore[arg-type]
        )
        try:
            yield from resources.generate_setup_events()
            context = PlanExecutionContext(
                plan_data=self._plan_data,
                execution_data=create_execution_data(creation, resources.get_object()),
                log_manager=log_manager,
                output_capture=self._context.output_capture,
                event_loop=loop,  # type: ignore[arg-type]
            )
            if log_key is not None:
                yield dg.DagsterEvent.capture_logs(context, [step.key], log_key, CapturedLogContext(log_key))
            step_context = context.for_step(step, known_state)
            events = []
            for event in dagster_event_sequence_for_step(step_context):
                events.append(event)
                yield event
            running.in_hooks = True
            yield from run_hooks(step_context, events)
        finally:
            running.in_hooks = True  # let the teardown of resources finish
            yield from resources.generate_teardown_events()
            loop.close_if_used()


class _LazyLoop:
    """An asyncio event loop that is created on first use, because each costs three descriptors and few steps need one."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def __getattr__(self, name: str) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return getattr(self._loop, name)

    def close_if_used(self) -> None:
        """Close the loop if it was created."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
