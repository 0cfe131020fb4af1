"""Execute every step of a run in a thread of the run's process.

Steps of this package wait for a command, and a waiting thread uses no CPU. Dagster's state machine (ActiveExecution) decides which
steps may start. Like step processes, the threads store their events themselves, and hand them to the executor, which yields them.
"""

import os
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from queue import Empty
from typing import Any

import dagster as dg

from .._dagster import (
    ActiveExecution,
    EngineEventData,
    ErrorSource,
    ExecutionPlan,
    InstanceConcurrencyContext,
    PlanOrchestrationContext,
    RetryMode,
    SerializableErrorInfo,
    StepDependencyConfig,
    StepFailureData,
    StepRetryData,
    serializable_error_info_from_exc_info,
)
from .captured import StepLogs
from .logs import PythonLogCapture
from .output import route_output
from .resumed import read_finished_steps
from .running import RunningStep
from .step import Ended, Inbox, StepRunner

POLL_SECONDS = 0.25
"""Time between two checks for signals and free pool slots while nothing else happens, in seconds."""


class StepThreadsExecutor(dg.Executor):
    """Runs each step of a run in a thread of its process, as its configuration says."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        if config["max_concurrent"] < 1:
            raise dg.DagsterInvariantViolationError(f"max_concurrent is {config['max_concurrent']}, expected 1 or more")
        self.max_concurrent: int = config["max_concurrent"]
        self.cancel_grace_seconds: float = config["cancel_grace_seconds"]
        self.tag_concurrency_limits = [dict(limit) for limit in config.get("tag_concurrency_limits") or ()]
        self._retries = RetryMode.from_config(config["retries"]) or RetryMode.ENABLED
        self._step_dependencies = StepDependencyConfig.from_config(config.get("step_dependency_config"))

    @property
    def retries(self) -> RetryMode:
        """The condition under which steps are retried."""
        return self._retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """The condition under which a step may start."""
        return self._step_dependencies

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[dg.DagsterEvent]:
        """Run the steps of a plan, and yield their events in the order of arrival. Those of one step are in the right order.

        Raises:
            DagsterExecutionInterruptedError: the run was canceled, and its steps have ended or used up their grace period.
        """
        yield from _Execution(self, plan_context, execution_plan).execute_steps()


class _Execution:
    """One execution of a plan."""

    def __init__(self, options: StepThreadsExecutor, plan_context: PlanOrchestrationContext, plan: ExecutionPlan) -> None:
        self._options = options
        self._context = plan_context
        self._plan = plan
        self._logs = StepLogs(plan_context.instance.compute_log_manager)
        self._runner = StepRunner(plan_context, self._logs, options.retries)
        self._inbox = Inbox()
        self._running: dict[str, RunningStep] = {}
        self._retries: dict[str, dg.DagsterEvent] = {}
        self._to_interrupt: list[RunningStep] = []
        self._active: ActiveExecution
        self._instance_limits: InstanceConcurrencyContext
        self._finished = read_finished_steps(plan_context)
        self._deadline: float | None = None
        """The time at which to give up on canceled steps; None if the run is not canceled."""

    def execute_steps(self) -> Iterator[dg.DagsterEvent]:
        """Run all steps and yield their events."""
        began, pid = time.monotonic(), os.getpid()
        data = EngineEventData.in_process(pid, self._plan.step_keys_to_execute)
        limit = f"at most {self._options.max_concurrent} at a time"
        yield self._build_engine_event(f"Executing steps in threads of one process (pid: {pid}), {limit}", data)
        with ExitStack() as stack:
            self._instance_limits = stack.enter_context(InstanceConcurrencyContext(self._context.instance, self._context.dagster_run))
            self._active = stack.enter_context(
                ActiveExecution(
                    self._plan,
                    retry_mode=self._options.retries,
                    tag_concurrency_limits=self._options.tag_concurrency_limits,
                    instance_concurrency_context=self._instance_limits,
                    step_dependency_config=self._options.step_dependency_config,
                )
            )
            captured = ExitStack()
            yield from self._capture(captured)
            try:
                yield from self._run_loop()
            except GeneratorExit:
                self._cancel()
                for _ in self._wait_for_end():
                    pass
                captured.close()
                raise
            except BaseException:
                yield from self._fail()
                yield from self._end_capture(captured)
                raise
            yield from self._end_capture(captured)
            if self._deadline is not None:
                raise dg.DagsterExecutionInterruptedError
        yield self._build_engine_event(f"Finished steps in threads (pid: {pid}) in {time.monotonic() - began:.1f}s", data)

    def _run_loop(self) -> Iterator[dg.DagsterEvent]:
        look_for_work, looked = True, time.monotonic()
        while self._running or (self._deadline is None and not self._active.is_complete):
            if self._active.check_for_interrupts() and self._deadline is None:
                self._active.mark_interrupted()
                self._cancel()
                message = "Received a termination signal: canceling the running steps"
                yield self._build_engine_event(message, EngineEventData.interrupted(list(self._running)))
            if self._deadline is not None:
                self._interrupt_steps()
                if self._running and time.monotonic() > self._deadline:
                    yield from self._abandon()
                    return
            elif look_for_work:
                yield from self._start_steps()
                looked = time.monotonic()
            changed = yield from self._receive()
            if changed:
                yield from self._active.plan_events_iterator(self._context)
            look_for_work = changed or (time.monotonic() - looked > POLL_SECONDS and self._is_waiting_for_time())
        if self._deadline is not None:
            yield self._build_engine_event("All steps have ended after being canceled", EngineEventData())

    def _start_steps(self) -> Iterator[dg.DagsterEvent]:
        while (free := self._options.max_concurrent - len(self._running)) > 0:
            steps = self._active.get_steps_to_execute(limit=free)
            yield from self._active.concurrency_event_iterator(self._context)
            if not steps:
                return
            replayed = False
            for step in steps:
                earlier = self._finished.get(step.key)
                if earlier:
                    replayed = True
                    for event in earlier:
                        if event.is_step_failure:
                            yield event
                        self._active.handle_event(event)
                else:
                    self._running[step.key] = self._runner.start(step, self._active.get_known_state(), self._inbox)
            if replayed:
                yield from self._active.plan_events_iterator(self._context)

    def _receive(self) -> Generator[dg.DagsterEvent, None, bool]:
        """Wait for an event and yield it. Return whether steps may have become ready or need to be skipped."""
        until_retry = self._active.sleep_interval()  # type: ignore[no-untyped-call]
        try:
            running, item = self._inbox.get(timeout=min(POLL_SECONDS, until_retry) if until_retry > 0 else POLL_SECONDS)
        except Empty:
            return self._is_waiting_for_time()
        changed = False
        while True:
            if isinstance(item, Ended):
                yield from self._handle_end(running, item)
                changed = True
            else:
                yield from self._handle_event(running, item)
                changed = changed or item.is_step_success or item.is_step_failure
            try:
                running, item = self._inbox.get_nowait()
            except Empty:
                return changed

    def _is_waiting_for_time(self) -> bool:
        """Return whether steps may become ready without an event: after the delay of a retry, or when another run frees a pool slot."""
        return self._active.sleep_interval() != 0 or self._instance_limits.has_pending_claims()  # type: ignore[no-untyped-call]

    def _handle_event(self, running: RunningStep, event: dg.DagsterEvent) -> Iterator[dg.DagsterEvent]:
        yield event
        if event.is_step_up_for_retry:
            # The attempt's thread still runs hooks and releases resources. The next attempt waits for that.
            running.settled = True
            self._retries[running.key] = event
            return
        self._active.handle_event(event)
        if event.event_type in (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED):
            running.started = True
        elif event.is_step_failure or event.is_step_success:
            running.settled = True
        elif event.is_resource_init_failure:
            error = event.engine_event_data.error
            assert error is not None
            yield from self._report_outside_failure(running, error)

    def _handle_end(self, running: RunningStep, ended: Ended) -> Iterator[dg.DagsterEvent]:
        self._running.pop(running.key, None)
        retry = self._retries.pop(running.key, None)
        if retry is not None and self._deadline is not None:
            # Dagster also applies retry policies to interrupted steps. Without this event, the UI would show the step as waiting forever.
            yield from self._report_canceled_step(running, "the run was canceled, so the step is not retried")
        elif retry is not None:
            self._active.handle_event(retry)
        elif not running.settled:
            yield from self._settle(running, ended.error)
        interrupted = (dg.DagsterExecutionInterruptedError, KeyboardInterrupt)
        if ended.error is not None and self._context.raise_on_error and not isinstance(ended.error, interrupted):
            raise ended.error

    def _settle(self, running: RunningStep, error: BaseException | None) -> Iterator[dg.DagsterEvent]:
        """Report an attempt that ended without an event that shows how."""
        if error is None:
            self._active.verify_complete(self._context, running.key)
        elif self._deadline is not None:
            if running.started:
                yield from self._report_canceled_step(running, "the step was canceled")
        else:
            assert error.__traceback__ is not None
            info = serializable_error_info_from_exc_info((type(error), error, error.__traceback__))
            yield dg.DagsterEvent.engine_event(
                self._context.for_step(self._active.get_step_by_key(running.key)),
                f"The thread of step {running.key} ended unexpectedly",
                EngineEventData.engine_error(info),
            )
            yield from self._report_outside_failure(running, info)

    def _report_outside_failure(self, running: RunningStep, error: SerializableErrorInfo) -> Iterator[dg.DagsterEvent]:
        """Report that a step failed outside of its body, as a failure or a retry."""
        running.settled = True
        context = self._context.for_step(self._active.get_step_by_key(running.key))
        policy = context.op_retry_policy
        attempts = self._active.get_known_state().get_retry_state().get_attempt_count(running.key)
        if policy and not self._options.retries.disabled and attempts < policy.max_retries:
            retry = StepRetryData(error, seconds_to_wait=policy.calculate_delay(attempts + 1))  # type: ignore[no-untyped-call]
            event = dg.DagsterEvent.step_retry_event(context, retry)
        else:
            failure = StepFailureData(error, user_failure_data=None)  # type: ignore[no-untyped-call]
            event = dg.DagsterEvent.step_failure_event(context, failure)
        yield event
        if event.is_step_up_for_retry and running.key in self._running:
            self._retries[running.key] = event
        else:
            self._active.handle_event(event)

    def _cancel(self) -> None:
        if self._deadline is not None:
            return
        self._deadline = time.monotonic() + self._options.cancel_grace_seconds
        self._to_interrupt = list(self._running.values())
        for running in self._to_interrupt:
            running.canceled.set()

    def _interrupt_steps(self) -> None:
        self._to_interrupt = [step for step in self._to_interrupt if step.key in self._running and not step.interrupt()]

    def _abandon(self) -> Iterator[dg.DagsterEvent]:
        """Report steps that did not end in time; their threads end with the process."""
        keys, grace = sorted(self._running), f"{self._options.cancel_grace_seconds:g} s"
        message = f"{len(keys)} step{'s' if len(keys) != 1 else ''} did not end within {grace} after being canceled"
        rest = f"and may have left processes running: {', '.join(keys)}"
        yield self._build_engine_event(f"{message} {rest}", EngineEventData.interrupted(keys))
        why = f"the step did not end within {grace} after it was canceled"
        for running in list(self._running.values()):
            running.abandoned = True
            if running.started and not running.settled:
                yield from self._report_canceled_step(running, why)
        self._running.clear()

    def _report_canceled_step(self, running: RunningStep, why: str) -> Iterator[dg.DagsterEvent]:
        error = SerializableErrorInfo(message=f"{why}\n", stack=[], cls_name="DagsterExecutionInterruptedError")
        event = dg.DagsterEvent.step_failure_event(
            self._context.for_step(self._active.get_step_by_key(running.key)),
            StepFailureData(error=error, user_failure_data=None, error_source=ErrorSource.INTERRUPT),  # type: ignore[no-untyped-call]
        )
        running.settled = True
        yield event
        self._active.handle_event(event)

    def _fail(self) -> Iterator[dg.DagsterEvent]:
        """Cancel the running steps because the executor itself cannot continue. Called while its exception is handled."""
        if not self._running:
            return
        error = serializable_error_info_from_exc_info(sys.exc_info())
        self._cancel()
        interrupted = {"steps_interrupted": dg.MetadataValue.text(str(list(self._running)))}
        data = EngineEventData(metadata=interrupted, error=error)
        yield self._build_engine_event("Unexpected exception while steps were running; canceling them", data)
        yield from self._wait_for_end()

    def _wait_for_end(self) -> Iterator[dg.DagsterEvent]:
        """Wait for canceled steps without the state machine, and yield their events."""
        assert self._deadline is not None
        while self._running and time.monotonic() <= self._deadline:
            self._interrupt_steps()
            try:
                running, item = self._inbox.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            if isinstance(item, Ended):
                self._running.pop(running.key, None)
            else:
                yield item

    def _capture(self, stack: ExitStack) -> Iterator[dg.DagsterEvent]:
        """Start capturing the printed output and log lines of steps."""
        stack.enter_context(PythonLogCapture(self._context))
        if self._logs.per_step:
            stack.enter_context(route_output())
            return
        log_key = self._logs.build_log_key(self._context.run_id)
        try:
            captured = stack.enter_context(self._context.instance.compute_log_manager.capture_logs(log_key))
            yield dg.DagsterEvent.capture_logs(self._context, self._plan.step_keys_to_execute, log_key, captured)
        except Exception:  # noqa: BLE001 -- lost output does not fail a run; Dagster reports it in the same way
            yield self._build_error_event("Exception while setting up compute log capture")

    def _end_capture(self, captured: ExitStack) -> Iterator[dg.DagsterEvent]:
        try:
            captured.close()
        except Exception:  # noqa: BLE001 -- as above
            yield self._build_error_event("Exception while cleaning up compute log capture")

    def _build_error_event(self, message: str) -> dg.DagsterEvent:
        """Return an event with the exception that is handled."""
        return self._build_engine_event(message, EngineEventData(error=serializable_error_info_from_exc_info(sys.exc_info())))

    def _build_engine_event(self, message: str, data: EngineEventData) -> dg.DagsterEvent:
        return dg.DagsterEvent.engine_event(self._context, message, data)
