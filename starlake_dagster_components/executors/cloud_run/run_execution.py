"""Runs one command on Cloud Run from its start to its end."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import dagster as dg

from ...commands import Command
from ...errors import CommandCancelled, CommandError, CommandTimeout, StarlakeError
from ..base import CommandResult, Invocation, Level
from ..starlake_output.process_output import Output
from . import sentinel
from .calls import QUOTA, Backoff, Interrupted, explain, passes, pause, persist, status
from .cloud_logging import follower
from .connection import Access, Connection, connect
from .container import arguments_of, environment_of, sentinel_of
from .finder import TIMEOUT, Finder
from .job_options import Target, resolve
from .outcome import Ended, judge
from .poller import Watch, poller
from .request import CommandIds, run_job_request
from .state import ExecutionState, read_state
from .takeover import History, Match, choose

if TYPE_CHECKING:
    from .executor import CloudRunExecutor

POLL_INTERVAL = 10.0
START_CALL = 60.0
"""Seconds that one start may take to be answered."""
CANCEL_DELAY = 4.0
"""Seconds between two tries to cancel: whoever ends a run does not wait long for it."""
CLOCKS = 300.0
"""Seconds by which the clocks here and there may differ."""

_ids = CommandIds()
_history = History()
_finders: dict[tuple[Connection, str], Finder] = {}
_finders_lock = threading.Lock()


def run_command(executor: "CloudRunExecutor", command: Command, invocation: Invocation) -> CommandResult:
    """Run a command as one execution; see :meth:`CloudRunExecutor.run`."""
    target = resolve(executor.given, command.options, default_interval=POLL_INTERVAL)
    connection = connect(Access(target.service_account, executor.api_endpoint, executor.insecure))
    project = target.project or connection.project()
    return _Run(executor, command, invocation, target, connection, project).run()


class _Run:
    """One command of one step attempt."""

    def __init__(
        self,
        executor: "CloudRunExecutor",
        command: Command,
        invocation: Invocation,
        target: Target,
        connection: Connection,
        project: str,
    ) -> None:
        self.executor = executor
        self.command = command
        self.invocation = invocation
        self.target = target
        self.connection = connection
        self.project = project
        self.job = f"projects/{project}/locations/{target.region}/jobs/{target.job}"
        self.id = _ids.next(command, invocation)
        self.in_doubt = False
        """A start was asked for and not answered: an execution may exist that nobody here knows."""
        self.looked = False
        """Executions of earlier attempts have been looked for."""
        self.known: ExecutionState | None = None
        self.mask = command.mask(executor.env)
        self.output = Output(self._log_line, self.mask)
        self.severity: Level | None = None
        with _finders_lock:
            self.finder = _finders.setdefault((connection, self.job), Finder(connection, self.job))

    def run(self) -> CommandResult:
        attempted_here = _history.begin(self.invocation)
        try:
            state = self._obtain(attempted_here)
            self._announce(state)
            state = self._follow(state)
        except Interrupted:
            self._leave_nothing()
            raise CommandCancelled(f"{self.command.verb} was cancelled before it ran") from None
        except CommandError as error:
            hidden = self.mask(str(error))
            if hidden != str(error):
                raise type(error)(hidden, retry=error.retry) from None
            raise
        except StarlakeError:
            raise
        except BaseException:
            # The step's thread or process is being torn down (a signal, an interrupt): what it started must not go on without it.
            self._leave_nothing()
            raise
        result = self._result(state)
        _history.deliver(state.name)
        return result

    # ------------------------------------------------------------------------------------------------ start, or take over

    def _obtain(self, attempted_here: bool) -> ExecutionState:
        """Return the execution to follow: one that exists for this command already, or a new one."""
        invocation = self.invocation
        matches = self._find(invocation.cancelled)
        self.looked = True
        chosen = self._choose(matches)
        lost_before_answer = (
            (invocation.attempt > 0 or invocation.earlier_runs)
            and not matches
            and not attempted_here
            and not invocation.earlier_attempts_ended
        )
        if chosen is None and lost_before_answer:
            # The earlier worker may have died between asking for an execution and its appearance.
            self.in_doubt = True
            chosen = self._look_out(invocation.cancelled)
            self.in_doubt = False
        return chosen or self._start()

    def _find(self, cancelled: threading.Event | None) -> list[Match]:
        """Return all executions of this command, in this run and in those that it continues."""
        invocation = self.invocation
        families = [self.id.family(run_id) for run_id in (self.id.run_id, *invocation.earlier_runs)]
        since = invocation.since.timestamp() - CLOCKS if invocation.since else None
        return persist(
            lambda: self.finder.find(families, since),
            doing="list the executions of",
            resource=self.job,
            log=self.say,
            cancelled=cancelled,
            seconds=self.executor.start_timeout,
        )

    def _choose(self, matches: Sequence[Match]) -> ExecutionState | None:
        chosen, others = choose(
            matches,
            self.id,
            may_be_lost=lambda state: not self.invocation.earlier_attempts_ended and not _history.delivered(state.name),
            stale=self._says_nothing,
        )
        for other in others:
            self.say("warning", f"cancelling Cloud Run execution {other.short_name}: a second one of the same command")
            self._ask_to_cancel(other.name)
        if chosen:
            how = "taking over the" if not chosen.finished else "taking the result of the finished"
            self.say("info", f"{how} Cloud Run execution {chosen.short_name} that was started for this step before")
        return chosen

    def _says_nothing(self, state: ExecutionState) -> bool:
        """Say whether a success is none for this attempt: a load that is not trusted, or a preload that was not ready then."""
        if self.command.verb == "load":
            return bool(state.retried) and not self.executor.allow_task_retries
        place = sentinel_of(self.executor, self.command, state.command_id)
        return place is not None and sentinel.exists(place, self.connection)

    def _look_out(self, cancelled: threading.Event | None) -> ExecutionState | None:
        """Look for an execution that may be about to appear, for as long as the settings say."""
        end = time.monotonic() + self.executor.start_settle
        step = min(2.0, self.executor.start_settle / 4)
        while True:
            chosen = self._choose(self._find(cancelled))
            if chosen or time.monotonic() + step > end:
                return chosen
            pause(step, cancelled)

    def _start(self) -> ExecutionState:
        """Start an execution.

        A refused start is repeated. One without an answer may have been carried out: then the execution is looked for, and only when
        it does not appear the start is repeated.
        """
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        cancelled = self.invocation.cancelled
        request = run_job_request(
            self.job,
            arguments_of(self.executor, self.command, self.id.text),
            environment_of(self.executor, self.command, self.id.text),
            container=self.executor.container_name,
            task_timeout=self.executor.task_timeout,
        )
        backoff = Backoff()
        end = time.monotonic() + self.executor.start_timeout
        while True:
            if cancelled.is_set():
                raise Interrupted
            self.in_doubt = True
            problem: BaseException | None = None
            try:
                operation = self.connection.jobs.run_job(request=request, timeout=START_CALL)
                if operation.metadata is not None and operation.metadata.name:
                    return self._mine(read_state(operation.metadata))
            except GoogleAuthError as error:
                self.in_doubt = False
                raise explain(error, doing="start the job", resource=self.job) from error
            except exceptions.GoogleAPIError as error:
                problem = error
                if not passes(error):
                    self.in_doubt = False
                    raise explain(error, doing="start the job", resource=self.job) from error
            if problem is not None and status(problem) in QUOTA:
                self.in_doubt = False
            else:
                found = self._look_for_unanswered(problem)
                if found:
                    return self._mine(found)
                self.in_doubt = False
            delay = backoff.delay()
            if time.monotonic() + delay > end:
                raise CommandError(f"cannot start the job {self.job} for {self.executor.start_timeout:g} s: {problem}")
            self.say("debug", f"cannot start {self.job} yet ({status(problem) if problem else 'no name'}); again in {delay:.1f} s")
            pause(delay, cancelled)

    def _look_for_unanswered(self, problem: BaseException | None) -> ExecutionState | None:
        try:
            return self._look_out(None)
        except CommandError as error:
            raise CommandError(
                f"the start of {self.job} was not answered ({problem}), and it is not known whether an execution runs: {error}"
            ) from error

    def _mine(self, state: ExecutionState) -> ExecutionState:
        self.known = state
        self.in_doubt = False
        return state

    # ------------------------------------------------------------------------------------------------ follow

    def _announce(self, state: ExecutionState) -> None:
        """Tell ids and links before anything else happens."""
        self.known = state
        self.invocation.report(self._metadata(state))
        self.say("info", f"Cloud Run execution {state.short_name} of {self.job}: {state.console}")
        if state.max_retries and not state.finished:
            self.say(
                "warning",
                f"Cloud Run runs a failing task of this job up to {state.max_retries} more times, which can hide a failure (a failed load "
                f"leaves its file where the next one does not look): gcloud run jobs update {self.target.job} --max-retries 0 "
                f"--region {self.target.region} --project {self.project}",
            )

    def _metadata(self, state: ExecutionState) -> Mapping[str, Any]:
        metadata: dict[str, Any] = {
            "starlake/cloud_run_execution": state.short_name,
            "starlake/cloud_run_console": dg.MetadataValue.url(state.console),
        }
        if state.log_uri:
            metadata["starlake/cloud_run_logs"] = dg.MetadataValue.url(state.log_uri)
        if state.retried:
            metadata["starlake/cloud_run_retried_tasks"] = state.retried
        return metadata

    def _follow(self, state: ExecutionState) -> ExecutionState:
        """Wait for the end; cancel when the run is cancelled or the time is up."""
        with ExitStack() as stack:
            if self.executor.logs == "follow":
                follow = follower(self.connection, self.project, self.executor.log_interval)
                settle = self.executor.log_settle
                stack.enter_context(follow.following(state.short_name, self._line, since=state.created, settle=settle))
            if state.finished:
                return state
            watch = Watch(state.name, self.target.interval, self.say)
            stack.enter_context(self.invocation.cancelled.calling(watch.wake.set))
            group = stack.enter_context(poller().watching(self.connection, self.job, watch))
            deadline = self._deadline(state)
            while not watch.is_over():
                watch.wake.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
                watch.wake.clear()
                if watch.is_over():
                    break
                if self.invocation.cancelled.is_set():
                    self._cancel(watch, group.hurry)
                    raise CommandCancelled(f"Cloud Run execution {state.short_name} was cancelled with the run")
                if deadline is not None and time.monotonic() >= deadline:
                    self._cancel(watch, group.hurry)
                    raise CommandTimeout(
                        f"Cloud Run execution {state.short_name} ran longer than {self.executor.timeout:g} s and was cancelled"
                    )
            return self._over(watch)

    def _over(self, watch: Watch) -> ExecutionState:
        if watch.error is not None:
            error = watch.error
            if isinstance(error, CommandError) and not error.retry and not self._ask_to_cancel(watch.name):
                raise CommandError(f"{error}. {self._may_still_run(watch.name)}", retry=False) from error
            raise error
        assert watch.state is not None
        return watch.state

    def _deadline(self, state: ExecutionState) -> float | None:
        if self.executor.timeout is None:
            return None
        age = max(time.time() - state.created, 0.0) if state.created else 0.0
        return time.monotonic() + self.executor.timeout - age

    def say(self, level: Level, text: str) -> None:
        """Log a remark of our own."""
        self.invocation.log(level, self.mask(text))

    def _line(self, severity: Level | None, text: str) -> None:
        """Take a line of the command's output."""
        self.severity = severity
        self.output.feed("out", f"{text}\n".encode("utf-8", "backslashreplace"))

    def _log_line(self, level: Level, text: str) -> None:
        self.invocation.log(self.severity or level, text)

    # ------------------------------------------------------------------------------------------------ cancel

    def _cancel(self, watch: Watch, hurry: Callable[[], None]) -> None:
        """Cancel the followed execution and wait for its end.

        Raises:
            CommandError: it may still run.
        """
        self.say("info", f"cancelling Cloud Run execution {watch.name.rsplit('/', 1)[-1]}")
        end = time.monotonic() + self.executor.cancel_timeout
        asked = self._ask_to_cancel(watch.name)
        watch.interval = min(watch.interval, 2.0)
        while not watch.is_over() and asked and time.monotonic() < end:
            hurry()
            watch.wake.wait(min(30.0, max(end - time.monotonic(), 0.0)))
            watch.wake.clear()
        self.known = watch.state or self.known
        if watch.state is None or not watch.state.finished:
            raise CommandError(f"Cloud Run execution {watch.name} could not be cancelled. {self._may_still_run(watch.name)}", retry=False)

    def _ask_to_cancel(self, name: str) -> bool:
        """Ask the API to cancel an execution; return whether it was heard (or the execution is over)."""
        from google.api_core import exceptions
        from google.cloud import run_v2

        def ask() -> None:
            try:
                self.connection.executions.cancel_execution(request=run_v2.CancelExecutionRequest(name=name), timeout=TIMEOUT)
            except (exceptions.FailedPrecondition, exceptions.NotFound):
                return  # It is over already.

        try:
            persist(
                ask,
                doing="cancel",
                resource=name,
                log=self.say,
                cancelled=None,
                seconds=self.executor.cancel_timeout,
                longest_delay=CANCEL_DELAY,
            )
        except StarlakeError as error:
            self.say("warning", str(error))
            return False
        return True

    def _leave_nothing(self) -> None:
        """Cancel what this command may have started, known or not, in this attempt or in an earlier one, and wait for its end."""
        state = self.known
        earlier = not self.looked and (self.invocation.attempt > 0 or bool(self.invocation.earlier_runs))
        if state is None and (self.in_doubt or earlier):
            try:
                state = self._look_out(None) if self.in_doubt else self._choose(self._find(None))
            except StarlakeError as error:
                raise CommandError(
                    f"the run was cancelled, and it is not known whether an execution of {self.job} runs for it: {error}",
                    retry=False,
                ) from error
        if state is None or state.finished:
            return
        watch = Watch(state.name, 2.0, self.say)
        polls = poller()
        with polls.watching(self.connection, self.job, watch) as group:
            self._cancel(watch, group.hurry)

    def _may_still_run(self, name: str) -> str:
        return f"It may still run: gcloud run jobs executions cancel {name.rsplit('/', 1)[-1]} --region {self.target.region} --project {self.project}"

    # ------------------------------------------------------------------------------------------------ result

    def _result(self, state: ExecutionState) -> CommandResult:
        place = sentinel_of(self.executor, self.command, state.command_id or self.id.text)
        ended = Ended(
            command=self.command,
            state=state,
            connection=self.connection,
            project=self.project,
            sentinel=place,
            followed=self.output if self.executor.logs == "follow" else None,
            tail_lines=self.executor.tail_lines if self.executor.logs != "none" else 0,
            mask=self.mask,
            allow_task_retries=self.executor.allow_task_retries,
            log=self.say,
            metadata=self._metadata(state),
        )
        return judge(ended)
