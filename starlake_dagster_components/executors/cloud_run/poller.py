"""Poll all executions that this process waits for, with one poller per job.

A waiting step sleeps on an event, and one listing has the states of all executions. So hundreds of steps need one call per interval.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import CommandError, StarlakeError
from ..base import Log
from .calls import explain_failure, is_transient, read_status, summarize_error
from .connection import Connection
from .finder import TIMEOUT, list_pages
from .shared import share_in_process
from .state import ExecutionState, read_message, read_state

FEW = 3
"""Maximum number of executions that are queried individually. More executions are queried by listing the job."""
APPEARS_WITHIN = 120.0
"""Seconds after its start during which an execution may be unknown to the API."""
SILENCE = 3600.0
"""Seconds without any answer after which an execution counts as lost."""
LONGEST_INTERVAL = 120.0
DENIED = 300.0
"""Seconds for which PERMISSION_DENIED counts as temporary, because a changed policy takes minutes to take effect everywhere."""


class Watch:
    """One execution that a step waits for.

    Attributes:
        wake: set when there is something to handle: the end, an error, or the run's cancellation.
        state: the latest known state.
        error: why it can no longer be followed.
    """

    def __init__(self, name: str, interval: float, log: Log) -> None:
        self.name = name
        self.interval = interval
        self.log = log
        self.wake = threading.Event()
        self.state: ExecutionState | None = None
        self.error: StarlakeError | None = None
        self.began = time.monotonic()
        self.answered = self.began

    def is_over(self) -> bool:
        """Return whether there is nothing left to wait for."""
        return self.error is not None or (self.state is not None and self.state.finished)

    def record_state(self, state: ExecutionState) -> None:
        """Record the latest state, and wake the step if the execution has ended."""
        before = self.state
        self.state = state
        self.answered = time.monotonic()
        if state.running and not (before and before.running) and not state.finished:
            self.log("debug", f"Cloud Run execution {state.short_name} is running")
        if state.finished:
            self.wake.set()

    def fail(self, error: StarlakeError) -> None:
        """Record that the execution can no longer be followed."""
        self.error = error
        self.wake.set()


class Group:
    """The executions of one job that this process waits for, and the thread that polls them."""

    def __init__(self, connection: Connection, job: str) -> None:
        self._connection = connection
        self._job = job
        self._condition = threading.Condition()
        self._watches: list[Watch] = []
        self._due = 0.0
        self._failures = 0
        self._denied_since: float | None = None
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        """Poll an execution from now on."""
        with self._condition:
            self._watches.append(watch)
            self._due = min(self._due, self._choose_time(watch.interval)) if len(self._watches) > 1 else self._choose_time(watch.interval)
            if self._thread is None:
                name = f"cloud-run-poller-{self._job.rsplit('/', 1)[-1]}"
                self._thread = threading.Thread(target=self._poll_until_removed, daemon=True, name=name)
                self._thread.start()
            self._condition.notify()

    def remove(self, watch: Watch) -> None:
        """Stop polling an execution."""
        with self._condition:
            self._watches.remove(watch)
            self._condition.notify()

    def poll_soon(self) -> None:
        """Poll again soon, because an execution is about to end."""
        with self._condition:
            self._due = min(self._due, time.monotonic() + 0.5)
            self._condition.notify()

    def _choose_time(self, interval: float) -> float:
        return time.monotonic() + interval * random.uniform(0.8, 1.2)

    def _poll_until_removed(self) -> None:
        while True:
            with self._condition:
                while self._watches and (wait := self._due - time.monotonic()) > 0:
                    self._condition.wait(wait)
                watches = [w for w in self._watches if not w.is_over()]
                if not self._watches:
                    self._thread = None
                    return
                # If all have ended, their threads are about to remove them.
                self._due = self._choose_time(min((w.interval for w in watches), default=1.0))
            if watches:
                self._check_executions(watches)

    def _check_executions(self, watches: list[Watch]) -> None:
        from google.api_core import exceptions

        try:
            states = self._fetch_states(watches)
        except exceptions.GoogleAPIError as error:
            self._record_failure(watches, error)
            return
        except Exception as error:  # noqa: BLE001 -- if the poller died, every step would wait forever
            for watch in watches:
                watch.fail(explain_failure(error, doing="follow", resource=watch.name))
            return
        self._failures, self._denied_since = 0, None
        for watch in watches:
            state = states.get(watch.name)
            if isinstance(state, ExecutionState):
                watch.record_state(state)
            elif state is not None and (watch.state is not None or time.monotonic() - watch.began >= APPEARS_WITHIN):
                watch.fail(CommandError(f"the execution {watch.name} no longer exists (was it deleted?): {summarize_error(state)}"))

    def _fetch_states(self, watches: list[Watch]) -> dict[str, ExecutionState | BaseException]:
        """Return the state of every execution, or why it has none (NOT_FOUND)."""
        from google.api_core import exceptions
        from google.cloud import run_v2

        found: dict[str, ExecutionState | BaseException] = {}
        missing = {w.name for w in watches}
        if len(missing) > FEW:
            for page in list_pages(self._connection, self._job, max(100, 2 * len(missing))):
                before = len(missing)
                for message in page:
                    if message.name in missing:
                        missing.discard(message.name)
                        found[message.name] = read_message(message)
                # Another page is worth it only if it finds more executions than single calls would.
                if len(missing) <= FEW or before - len(missing) <= 1:
                    break
        for name in missing:
            try:
                found[name] = read_state(
                    self._connection.executions.get_execution(request=run_v2.GetExecutionRequest(name=name), timeout=TIMEOUT)
                )
            except exceptions.NotFound as error:
                found[name] = error
        return found

    def _record_failure(self, watches: list[Watch], error: BaseException) -> None:
        if not is_transient(error) and not self._may_pass(error):
            self._denied_since = None
            for watch in watches:
                watch.fail(explain_failure(error, doing="follow", resource=watch.name))
            return
        self._failures += 1
        interval = min((w.interval for w in watches), default=1.0)
        delay = min(interval * 2 ** min(self._failures, 10), max(interval, LONGEST_INTERVAL))
        now = time.monotonic()
        with self._condition:
            self._due = self._choose_time(delay)
        for watch in watches:
            if now - watch.answered > SILENCE:
                why = f"Cloud Run has not reported the state of {watch.name} for {SILENCE:g} s: {summarize_error(error)}"
                watch.fail(CommandError(why))
            elif self._failures in (3, 10) or (self._failures == 1 and self._denied_since is not None):
                watch.log("warning", f"Cloud Run does not report the state of {watch.name}: {summarize_error(error)}; retrying")

    def _may_pass(self, error: BaseException) -> bool:
        """Return whether a rejected query was allowed before, or may be allowed soon. If so, the executions are not given up yet."""
        if read_status(error) != "PERMISSION_DENIED":
            return False
        self._denied_since = self._denied_since or time.monotonic()
        return time.monotonic() - self._denied_since < DENIED


@share_in_process
def find_group(connection: Connection, job: str) -> Group:
    """Return the executions of a job that this process waits for."""
    return Group(connection, job)


@contextmanager
def watch_execution(connection: Connection, job: str, watch: Watch) -> Iterator[Group]:
    """Poll an execution while the block runs."""
    group = find_group(connection, job)
    group.add(watch)
    try:
        yield group
    finally:
        group.remove(watch)
