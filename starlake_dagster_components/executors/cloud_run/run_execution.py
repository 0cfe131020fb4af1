"""Run one command on Cloud Run from its start to its end."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import dagster as dg

from ...commands import Command
from ...errors import CommandCanceled, CommandError, CommandTimeout, StarlakeError
from ..base import CommandResult, Invocation, Level
from ..starlake_output.process_output import Output
from . import sentinel
from .calls import QUOTA, Interrupted, call_until_answered, explain_failure, is_transient, iterate_delays, pause, read_status
from .connection import Access, connect
from .finder import TIMEOUT, find_finder
from .job_options import resolve_target
from .log_follower import find_follower
from .outcome import Ended, judge_execution
from .poller import Watch, watch_execution
from .request import CommandIds, build_arguments, build_environment, build_run_request, choose_sentinel, split_id
from .state import ExecutionState, read_state
from .takeover import History, Match, choose_execution

if TYPE_CHECKING:
    from .executor import CloudRunExecutor

START_CALL = 60.0
"""Timeout in seconds for the answer to one start."""
CANCEL_DELAY = 4.0
"""Maximum number of seconds between two tries to cancel. It is short, because the run waits for it."""
CLOCKS = 300.0
"""Maximum difference in seconds between this machine's clock and Cloud Run's."""

_ids = CommandIds()
_history = History()


def run_command(executor: "CloudRunExecutor", command: Command, invocation: Invocation) -> CommandResult:
    """Run a command as one execution; see :meth:`CloudRunExecutor.run`."""
    return _Run(executor, command, invocation).run()


class _Run:
    """One command of one step attempt."""

    def __init__(self, executor: "CloudRunExecutor", command: Command, invocation: Invocation) -> None:
        self.executor = executor
        self.invocation = invocation
        self.target = target = resolve_target(executor, command.options)
        endpoints = (executor.logging_endpoint, executor.storage_endpoint)
        self.connection = connect(
            Access(target.service_account, executor.api_endpoint, executor.insecure, executor.universe_domain, *endpoints)
        )
        self.project = target.project or self.connection.find_project()
        self.job = f"projects/{self.project}/locations/{target.region}/jobs/{target.job}"
        self.id = _ids.build_id(command, invocation)
        self.first_command = command
        self.command = command.number_attempt(invocation.attempt)
        self.in_doubt = False
        """A start has not been answered, so an unknown execution may exist."""
        self.looked = False
        """True if executions of earlier attempts have been looked for."""
        self.known: ExecutionState | None = None
        self.mask = command.mask(executor.env)
        self.output = Output(self._log_line, self.mask, self.invocation.log)
        self.severity: Level | None = None
        self.finder = find_finder(self.connection, self.job)

    def run(self) -> CommandResult:
        try:
            state = self._obtain_execution()
            self._announce_execution(state)
            state = self._follow_execution(state)
        except Interrupted:
            self._cancel_all()
            raise CommandCanceled(f"{self.command.verb} was canceled before it ran") from None
        except CommandError as error:
            hidden = self.mask(str(error))
            if hidden != str(error):
                raise type(error)(hidden, retry=error.retry) from None
            raise
        except StarlakeError:
            raise
        except BaseException:
            # The step's thread or process is being ended (by a signal or an interrupt). Its execution must not continue without it.
            self._cancel_all()
            raise
        result = self._build_result(state)
        _history.deliver(state.name)
        return result

    # ------------------------------------------------------------------------------------------------ start, or take over

    def _obtain_execution(self) -> ExecutionState:
        """Return the execution to follow: an existing one of this command, or a new one."""
        invocation = self.invocation
        matches = self._find_matches(invocation.canceled)
        self.looked = True
        chosen = self._choose_execution(matches)
        may_be_lost = invocation.attempt > 0 or invocation.earlier_runs
        if chosen is None and may_be_lost and not matches and not _ids.has_attempt(invocation, invocation.attempt - 1):
            # The earlier worker may have died between the start of an execution and its appearance in the API.
            self.in_doubt = True
            chosen = self._wait_for_execution(invocation.canceled)
            self.in_doubt = False
        return chosen or self._start_execution()

    def _find_matches(self, canceled: threading.Event | None) -> list[Match]:
        """Return all executions of this command, in this run and in those that it continues."""
        invocation = self.invocation
        families = [self.id.get_family(run_id) for run_id in (self.id.run_id, *invocation.earlier_runs)]
        since = invocation.since.timestamp() - CLOCKS if invocation.since else None
        return call_until_answered(
            lambda: self.finder.find(families, since),
            doing="list the executions of",
            resource=self.job,
            log=self.report,
            canceled=canceled,
            seconds=self.executor.start_timeout,
        )

    def _choose_execution(self, matches: Sequence[Match]) -> ExecutionState | None:
        chosen, others = choose_execution(
            matches, self.id, may_be_lost=lambda state: not _history.was_delivered(state.name), stale=self._is_stale
        )
        for other in others:
            self.report("warning", f"canceling Cloud Run execution {other.short_name}: another one of the same command exists")
            self._ask_to_cancel(other.name)
        if chosen:
            how = "using the result of the finished" if chosen.finished else "taking over the"
            self.report("info", f"{how} Cloud Run execution {chosen.short_name}, which was started for this step earlier")
        return chosen

    def _is_stale(self, state: ExecutionState) -> bool:
        """Return whether a success does not count for this attempt: a load that is not trusted, or a preload that was not ready."""
        if self.command.verb == "load":
            return bool(state.retried) and not self.executor.allow_task_retries
        place = choose_sentinel(self.executor, self.command, state.command_id)
        return place is not None and sentinel.has_sentinel(place, self.connection)

    def _wait_for_execution(self, canceled: threading.Event | None) -> ExecutionState | None:
        """Look for an execution that may be about to appear, until the time limit of the settings."""
        end = time.monotonic() + self.executor.start_settle
        step = min(2.0, self.executor.start_settle / 4)
        while True:
            chosen = self._choose_execution(self._find_matches(canceled))
            if chosen or time.monotonic() + step > end:
                return chosen
            pause(step, canceled)

    def _start_execution(self) -> ExecutionState:
        """Start an execution.

        A rejected start is repeated. A start without an answer may have been carried out, so it is repeated only if no execution appears.
        """
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        canceled = self.invocation.canceled
        request = build_run_request(
            self.job,
            build_arguments(self.executor, self.command, self.id.text),
            build_environment(self.executor, self.command, self.id.text),
            container=self.executor.container_name,
            task_timeout=self.executor.task_timeout,
        )
        delays = iterate_delays()
        end = time.monotonic() + self.executor.start_timeout
        while True:
            if canceled.is_set():
                raise Interrupted
            self.in_doubt = True
            problem: BaseException | None = None
            try:
                operation = self.connection.jobs.run_job(request=request, timeout=START_CALL)
                if operation.metadata is not None and operation.metadata.name:
                    return self._adopt(read_state(operation.metadata))
            except GoogleAuthError as error:
                self.in_doubt = False
                raise explain_failure(error, doing="start the job", resource=self.job) from error
            except exceptions.GoogleAPIError as error:
                problem = error
                if not is_transient(error):
                    self.in_doubt = False
                    raise explain_failure(error, doing="start the job", resource=self.job) from error
            if problem is not None and read_status(problem) in QUOTA:
                self.in_doubt = False
            else:
                found = self._look_for_unanswered(problem)
                if found:
                    return self._adopt(found)
                self.in_doubt = False
            delay = next(delays)
            if time.monotonic() + delay > end:
                raise CommandError(f"could not start the job {self.job} within {self.executor.start_timeout:g} seconds: {problem}")
            self.report(
                "debug", f"cannot start {self.job} yet ({read_status(problem) if problem else 'no name'}); retrying in {delay:.1f} s"
            )
            pause(delay, canceled)

    def _look_for_unanswered(self, problem: BaseException | None) -> ExecutionState | None:
        try:
            return self._wait_for_execution(None)
        except CommandError as error:
            raise CommandError(
                f"the request to start {self.job} got no answer ({problem}), and it is unknown whether an execution is running: {error}"
            ) from error

    def _adopt(self, state: ExecutionState) -> ExecutionState:
        self.known = state
        self.in_doubt = False
        return state

    # ------------------------------------------------------------------------------------------------ follow

    def _announce_execution(self, state: ExecutionState) -> None:
        """Report the ids and links first."""
        self.known = state
        self.invocation.report(self._build_metadata(state))
        self.report("info", f"Cloud Run execution {state.short_name} of {self.job}: {state.console}")
        if state.max_retries and not state.finished:
            self.report(
                "warning",
                f"Cloud Run retries a failing task of this job up to {state.max_retries} times, which can hide a failure, because a failed "
                f"load leaves its file where the next load does not look. Run gcloud run jobs update {self.target.job} --max-retries 0 "
                f"--region {self.target.region} --project {self.project}",
            )

    def _build_metadata(self, state: ExecutionState) -> Mapping[str, Any]:
        metadata: dict[str, Any] = {
            "starlake/cloud_run_execution": state.short_name,
            "starlake/cloud_run_console": dg.MetadataValue.url(state.console),
        }
        if state.log_uri:
            metadata["starlake/cloud_run_logs"] = dg.MetadataValue.url(state.log_uri)
        if state.retried:
            metadata["starlake/cloud_run_retried_tasks"] = state.retried
        return metadata

    def _follow_execution(self, state: ExecutionState) -> ExecutionState:
        """Wait for the end. Cancel the execution if the run is canceled or the time is up."""
        with ExitStack() as stack:
            if self.executor.logs == "follow":
                follow = find_follower(self.connection, self.project, self.executor.log_interval)
                settle = self.executor.log_settle
                stack.enter_context(
                    follow.follow_execution(state.short_name, self._take_line, since=state.created, settle=settle, report=self.report)
                )
            if state.finished:
                return state
            watch = Watch(state.name, self.target.interval, self.report)
            stack.enter_context(self.invocation.canceled.notify(watch.wake.set))
            group = stack.enter_context(watch_execution(self.connection, self.job, watch))
            deadline = self._compute_deadline(state)
            while not watch.is_over():
                watch.wake.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
                watch.wake.clear()
                if watch.is_over():
                    break
                if self.invocation.canceled.is_set():
                    self._cancel_execution(watch, group.poll_soon)
                    raise CommandCanceled(f"Cloud Run execution {state.short_name} was canceled with the run")
                if deadline is not None and time.monotonic() >= deadline:
                    self._cancel_execution(watch, group.poll_soon)
                    raise CommandTimeout(
                        f"Cloud Run execution {state.short_name} ran longer than {self.executor.timeout:g} s and was canceled"
                    )
            return self._read_end(watch)

    def _read_end(self, watch: Watch) -> ExecutionState:
        if watch.error is not None:
            error = watch.error
            if isinstance(error, CommandError) and not error.retry and not self._ask_to_cancel(watch.name):
                raise CommandError(f"{error}. {self._explain_may_run(watch.name)}", retry=False) from error
            raise error
        assert watch.state is not None
        return watch.state

    def _compute_deadline(self, state: ExecutionState) -> float | None:
        if self.executor.timeout is None:
            return None
        age = max(time.time() - state.created, 0.0) if state.created else 0.0
        return time.monotonic() + self.executor.timeout - age

    def report(self, level: Level, text: str) -> None:
        """Log a message of this executor."""
        self.invocation.log(level, self.mask(text))

    def _take_line(self, severity: Level | None, text: str) -> None:
        """Log a line of the command's output."""
        self.severity = severity
        self.output.feed("out", f"{text}\n".encode("utf-8", "backslashreplace"))

    def _log_line(self, level: Level, text: str) -> None:
        self.invocation.log_output(self.severity or level, text)

    # ------------------------------------------------------------------------------------------------ cancel

    def _cancel_execution(self, watch: Watch, poll_soon: Callable[[], None]) -> None:
        """Cancel the followed execution and wait for its end.

        Raises:
            CommandError: it may still run.
        """
        self.report("info", f"canceling Cloud Run execution {watch.name.rsplit('/', 1)[-1]}")
        end = time.monotonic() + self.executor.cancel_timeout
        asked = self._ask_to_cancel(watch.name)
        watch.interval = min(watch.interval, 2.0)
        while not watch.is_over() and asked and time.monotonic() < end:
            poll_soon()
            watch.wake.wait(min(30.0, max(end - time.monotonic(), 0.0)))
            watch.wake.clear()
        self.known = watch.state or self.known
        if watch.state is None or not watch.state.finished:
            raise CommandError(f"Cloud Run execution {watch.name} could not be canceled. {self._explain_may_run(watch.name)}", retry=False)

    def _ask_to_cancel(self, name: str) -> bool:
        """Ask the API to cancel an execution. Return whether it has accepted, or the execution has ended."""
        from google.api_core import exceptions
        from google.cloud import run_v2

        def ask() -> None:
            try:
                self.connection.executions.cancel_execution(request=run_v2.CancelExecutionRequest(name=name), timeout=TIMEOUT)
            except (exceptions.FailedPrecondition, exceptions.NotFound):
                return  # It has already ended.

        try:
            call_until_answered(
                ask,
                doing="cancel",
                resource=name,
                log=self.report,
                canceled=None,
                seconds=self.executor.cancel_timeout,
                longest_delay=CANCEL_DELAY,
            )
        except StarlakeError as error:
            self.report("warning", str(error))
            return False
        return True

    def _cancel_all(self) -> None:
        """Cancel all executions that this attempt or an earlier one may have started, known or not, and wait for their end."""
        state = self.known
        earlier = not self.looked and (self.invocation.attempt > 0 or bool(self.invocation.earlier_runs))
        if state is None and (self.in_doubt or earlier):
            try:
                state = self._wait_for_execution(None) if self.in_doubt else self._choose_execution(self._find_matches(None))
            except StarlakeError as error:
                raise CommandError(
                    f"the run was canceled, and it is unknown whether an execution of {self.job} is running for it: {error}", retry=False
                ) from error
        if state is None or state.finished:
            return
        watch = Watch(state.name, 2.0, self.report)
        with watch_execution(self.connection, self.job, watch) as group:
            self._cancel_execution(watch, group.poll_soon)

    def _explain_may_run(self, name: str) -> str:
        place = f"--region {self.target.region} --project {self.project}"
        return f"It may still be running. Run gcloud run jobs executions cancel {name.rsplit('/', 1)[-1]} {place}"

    # ------------------------------------------------------------------------------------------------ result

    def _name_command(self, state: ExecutionState) -> Command:
        """Return the command with the job id of the execution, which may be the id of an earlier attempt."""
        found = split_id(state.command_id)
        if found is None:
            return self.command
        family, attempt = found
        return self.first_command.number_attempt(attempt, run_id=self.id.run_id, earlier_run=family.partition("/")[0])

    def _build_result(self, state: ExecutionState) -> CommandResult:
        place = choose_sentinel(self.executor, self.command, state.command_id or self.id.text)
        ended = Ended(
            command=self._name_command(state),
            state=state,
            connection=self.connection,
            project=self.project,
            sentinel=place,
            followed=self.output if self.executor.logs == "follow" else None,
            tail_lines=self.executor.tail_lines if self.executor.logs != "none" else 0,
            mask=self.mask,
            allow_task_retries=self.executor.allow_task_retries,
            log=self.report,
            metadata=self._build_metadata(state),
        )
        return judge_execution(ended)
