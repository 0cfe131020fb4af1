"""Serve a Cloud Run API on loopback: Jobs, Executions, Tasks, long-running operations, and Cloud Logging, with the SDK's messages.

An execution really runs its command as a process. Faults (delays, lost answers, rejected calls) are injected per call.
"""

# mypy: disable-error-code="assignment"

import bisect
import contextlib
import heapq
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import grpc
import pytest
from google.cloud import run_v2
from google.cloud.logging_v2.types import ListLogEntriesRequest, ListLogEntriesResponse
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2
from injected_faults import Fault, Faults

from starlake_dagster_components.executors.cloud_run import final_lines, log_queries, log_reader

Condition = run_v2.Condition
ENGINE = (sys.executable, "-m", "starlake_dagster_components.engine")


@dataclass
class ServedJob:
    """A job: its container, and the settings that callers cannot override."""

    name: str
    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    max_retries: int = 0
    timeout: float = 600.0


class Execution:
    """An execution: a process, with its attempts."""

    def __init__(self, server: "CloudRunServer", job: ServedJob, request: Any, created: float) -> None:
        self.server = server
        self.job = job
        self.name = f"{job.name}/executions/{job.name.rsplit('/', 1)[-1]}-{uuid.uuid4().hex[:8]}"
        self.operation = f"{job.name.split('/jobs/')[0]}/operations/{uuid.uuid4()}"
        self.created = created
        self.started: float | None = None
        self.completed: float | None = None
        override = request.overrides.container_overrides[0] if request.overrides.container_overrides else None
        self.args = tuple(override.args) if override and override.args else (() if override and override.clear_args else job.args)
        self.environment = {**job.environment, **({e.name: e.value for e in override.env} if override else {})}
        seconds = request.overrides.timeout.total_seconds() if request.overrides.timeout else 0.0
        self.timeout = seconds or job.timeout
        self.task_count = request.overrides.task_count or 1
        self.exit_code: int | None = None
        self.term_signal: int | None = None
        self.attempts = 0
        self.canceled = threading.Event()
        self.timed_out = False
        self.deleted = False
        self.done = threading.Event()
        self.lines: list[tuple[float, str]] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.lock = threading.Lock()

    @property
    def running(self) -> bool:
        return not self.done.is_set()

    def run(self) -> None:
        try:
            if self.canceled.wait(self.server.start_delay):
                return
            for attempt in range(self.job.max_retries + 1):
                self.attempts = attempt + 1
                self._attempt()
                if self.exit_code == 0 or self.canceled.is_set():
                    return
        finally:
            self.completed = time.time()
            # Before clients see the end, and start the next one.
            self.server.record_end(self)
            self.done.set()

    def _attempt(self) -> None:
        with self.lock:
            if self.canceled.is_set():
                return
            self.started = self.started or time.time()
            try:
                self.process = subprocess.Popen(
                    [*self.job.command, *self.args],
                    env={"PATH": os.environ.get("PATH", ""), **self.environment},
                    cwd=self.job.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                self.lines.append((time.time(), str(error)))
                self.exit_code = 127
                return
            finally:
                self.server.record_start(self)
        timer = threading.Timer(self.timeout, self._time_out)
        timer.daemon = True
        timer.start()
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for raw in output:
                self.lines.append((time.time(), raw.decode(errors="replace").rstrip("\r\n")))
        code = self.process.wait()
        timer.cancel()
        self.exit_code, self.term_signal = (code, None) if code >= 0 else (None, -code)

    def _time_out(self) -> None:
        self.timed_out = True
        self.kill(signal.SIGKILL)

    def cancel(self) -> None:
        self.canceled.set()
        self.kill(signal.SIGTERM)
        killer = threading.Timer(self.server.grace, self.kill, [signal.SIGKILL])
        killer.daemon = True
        killer.start()

    def kill(self, which: int) -> None:
        with self.lock:
            if self.process and self.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, which)

    @property
    def succeeded(self) -> bool:
        return self.done.is_set() and not self.canceled.is_set() and self.exit_code == 0

    def build_message(self) -> Any:
        done = self.done.is_set()
        canceled = self.canceled.is_set()
        now = datetime.now(timezone.utc)
        completed = Condition(type_="Completed", last_transition_time=now)
        if not done:
            completed.state = Condition.State.CONDITION_RECONCILING
            if canceled:
                completed.execution_reason = Condition.ExecutionReason.CANCELLING
        elif self.succeeded:
            completed.state = Condition.State.CONDITION_SUCCEEDED
            completed.message = "Execution completed successfully in 1s."
        else:
            completed.state = Condition.State.CONDITION_FAILED
            completed.execution_reason = Condition.ExecutionReason.CANCELLED if canceled else Condition.ExecutionReason.NON_ZERO_EXIT_CODE
            what = "The configured timeout was reached." if self.timed_out else "The container exited with an error."
            completed.message = "Execution was canceled." if canceled else f"Task {self.short}-task0 failed with message: {what}"
        execution = run_v2.Execution(
            name=self.name,
            uid=str(uuid.uuid5(uuid.NAMESPACE_URL, self.name)),
            job=self.job.name.rsplit("/", 1)[-1],
            create_time=datetime.fromtimestamp(self.created, timezone.utc),
            update_time=now,
            parallelism=1,
            task_count=self.task_count,
            running_count=int(not done and self.started is not None),
            succeeded_count=int(self.succeeded),
            failed_count=int(done and not canceled and not self.succeeded),
            cancelled_count=int(done and canceled),
            retried_count=int(self.attempts > 1),
            reconciling=not done,
            log_uri=f"https://console.cloud.google.com/logs/viewer?execution={self.short}",
            conditions=[completed, Condition(type_="ResourcesAvailable", state=Condition.State.CONDITION_SUCCEEDED)],
            template=run_v2.TaskTemplate(
                containers=[
                    run_v2.Container(
                        name="main",
                        image="starlake",
                        command=list(self.job.command),
                        args=list(self.args),
                        env=[run_v2.EnvVar(name=k, value=v) for k, v in self.environment.items()],
                    )
                ],
                max_retries=self.job.max_retries,
            ),
        )
        if self.started:
            execution.start_time = datetime.fromtimestamp(self.started, timezone.utc)
        if done and self.completed:
            execution.completion_time = datetime.fromtimestamp(self.completed, timezone.utc)
        return execution

    @property
    def short(self) -> str:
        return self.name.rsplit("/", 1)[-1]

    def build_operation(self) -> operations_pb2.Operation:
        message = run_v2.Execution.pb(self.build_message())
        metadata = any_pb2.Any()
        metadata.Pack(message)
        operation = operations_pb2.Operation(name=self.operation, metadata=metadata, done=self.done.is_set())
        if self.done.is_set():
            operation.response.Pack(message)
        return operation

    def build_task(self) -> Any:
        result = run_v2.TaskAttemptResult()
        if self.exit_code is not None:
            result.exit_code = self.exit_code
        if self.term_signal is not None:
            result.term_signal = self.term_signal
        return run_v2.Task(
            name=f"{self.name}/tasks/{self.short}-task0",
            execution=self.name,
            retried=max(self.attempts - 1, 0),
            last_attempt_result=result,
        )


def shorten_log_waits(monkeypatch: pytest.MonkeyPatch, gathering: float = 0.05) -> None:
    """Shorten the pauses between reads of the log to fractions of a second.

    Args:
        monkeypatch: undoes it after the test.
        gathering: seconds for which the shared reader gathers requests into one query.
    """
    monkeypatch.setattr(final_lines, "LATE_LINES", (0.0, 0.1, 0.1))
    for module in (log_queries, log_reader):
        monkeypatch.setattr(module, "PAUSE", 0.1)
    monkeypatch.setattr(log_reader, "GATHERING", gathering)


class CloudRunServer:
    """Serves jobs on ``127.0.0.1``; use as a context manager.

    Attributes:
        address: ``host:port`` for ``api_endpoint``.
        faults: returns the fault of a call.
        calls: number of calls of each method.
        requests: all RunJobRequests that were received.
        most_running: maximum number of executions that ran at the same time.
    """

    _used_ports: set[int] = set()
    """A process shares connections and their state by address, and they outlive the test. So each server has an address of its own."""

    def __init__(
        self,
        *,
        faults: Faults | None = None,
        start_delay: float = 0.0,
        grace: float = 2.0,
        page_size: int = 100,
        shuffled: bool = False,
        workers: int = 48,
    ) -> None:
        self.faults = faults
        self.start_delay = start_delay
        self.grace = grace
        self.page_size = page_size
        self.shuffled = shuffled
        self.jobs: dict[str, ServedJob] = {}
        self.executions: dict[str, Execution] = {}
        self.calls: Counter[str] = Counter()
        self.requests: list[Any] = []
        self.running_now = 0
        self.most_running = 0
        self._lock = threading.Lock()
        self._grpc, port = self._bind_server(workers)
        self._grpc.add_generic_rpc_handlers(self._build_handlers())
        self.address = f"127.0.0.1:{port}"

    @classmethod
    def _bind_server(cls, workers: int) -> tuple[grpc.Server, int]:
        while True:
            server = grpc.server(ThreadPoolExecutor(workers, thread_name_prefix="cloud-run-server"))
            port = int(server.add_insecure_port("127.0.0.1:0"))
            if port not in cls._used_ports:
                cls._used_ports.add(port)
                return server, port
            server.stop(None)

    def __enter__(self) -> "CloudRunServer":
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(None).wait(5)
        for execution in list(self.executions.values()):
            if execution.running:
                execution.canceled.set()
                execution.kill(signal.SIGKILL)
                execution.done.wait(5)

    def add_job(
        self,
        name: str = "starlake",
        *,
        command: Sequence[str] = ENGINE,
        args: Sequence[str] = (),
        project: str = "shop",
        region: str = "europe-west1",
        environment: Mapping[str, str] | None = None,
        cwd: str | None = None,
        max_retries: int = 0,
        timeout: float = 600.0,
    ) -> ServedJob:
        """Create a job and return it."""
        full = f"projects/{project}/locations/{region}/jobs/{name}"
        self.jobs[full] = ServedJob(full, tuple(command), tuple(args), dict(environment or {}), cwd, max_retries, timeout)
        return self.jobs[full]

    def find_executions(self, variable: str, value: str) -> list[Execution]:
        """Return the executions whose environment has a value, oldest first."""
        return [e for e in self.list_all() if e.environment.get(variable) == value]

    def list_all(self) -> list[Execution]:
        with self._lock:
            return sorted(self.executions.values(), key=lambda e: e.created)

    @property
    def running(self) -> list[Execution]:
        return [e for e in self.list_all() if e.running]

    def record_start(self, execution: Execution) -> None:
        if execution.attempts == 1:
            with self._lock:
                self.running_now += 1
                self.most_running = max(self.most_running, self.running_now)

    def record_end(self, execution: Execution) -> None:
        if execution.attempts:
            with self._lock:
                self.running_now -= 1

    # ------------------------------------------------------------------------------------------------ methods of the API

    def run_job(self, request: Any, context: grpc.ServicerContext) -> operations_pb2.Operation:
        job = self._find_job(request.name, context)
        with self._lock:
            self.requests.append(request)
            execution = Execution(self, job, request, time.time())
            self.executions[execution.name] = execution
        threading.Thread(target=execution.run, daemon=True, name=execution.short).start()
        return execution.build_operation()

    def get_job(self, request: Any, context: grpc.ServicerContext) -> Any:
        job = self._find_job(request.name, context)
        template = run_v2.TaskTemplate(max_retries=job.max_retries, containers=[run_v2.Container(name="main", command=list(job.command))])
        return run_v2.Job(name=job.name, template=run_v2.ExecutionTemplate(template=template, task_count=1))

    def get_execution(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._find_execution(request.name, context).build_message()

    def list_executions(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._find_job(request.parent, context)
        found = [e for e in reversed(self.list_all()) if e.job.name == request.parent and not e.deleted]
        if self.shuffled:
            random.Random(7).shuffle(found)
        offset = int(request.page_token or 0)
        size = min(request.page_size or self.page_size, self.page_size)
        more = str(offset + size) if offset + size < len(found) else ""
        return run_v2.ListExecutionsResponse(executions=[e.build_message() for e in found[offset : offset + size]], next_page_token=more)

    def cancel_execution(self, request: Any, context: grpc.ServicerContext) -> operations_pb2.Operation:
        execution = self._find_execution(request.name, context)
        if not execution.running:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{execution.name} has already finished")
        execution.cancel()
        return execution.build_operation()

    def list_tasks(self, request: Any, context: grpc.ServicerContext) -> Any:
        return run_v2.ListTasksResponse(tasks=[self._find_execution(request.parent, context).build_task()])

    def get_operation(self, request: Any, context: grpc.ServicerContext) -> operations_pb2.Operation:
        for execution in self.list_all():
            if execution.operation == request.name:
                return execution.build_operation()
        context.abort(grpc.StatusCode.NOT_FOUND, f"no operation {request.name}")
        raise AssertionError

    def list_log_entries(self, request: Any, context: grpc.ServicerContext) -> Any:
        names = set(re.findall(r'execution_name"\s*=\s*"([^"]+)"', request.filter))
        since = re.search(r'timestamp\s*>=\s*"([^"]+)"', request.filter)
        start = datetime.fromisoformat(since.group(1).replace("Z", "+00:00")).timestamp() if since else 0.0
        chosen = [e for e in self.list_all() if e.short in names]
        wanted = re.search(r'textPayload=~"([^"]+)"', request.filter)
        offset, size = int(request.page_token or 0), request.page_size or 1000
        newest_first = "desc" in request.order_by
        page, total = self._list_lines(chosen, start, offset, size, newest_first)
        # Raw messages are used, because wrapped ones take most of the time of a test with much output.
        answer = ListLogEntriesResponse.pb(ListLogEntriesResponse())
        for at, execution, n, line in page:
            if wanted and not re.search(wanted.group(1), line):
                continue
            entry = answer.entries.add(
                log_name="projects/shop/logs/run.googleapis.com%2Fstdout", text_payload=line, insert_id=f"{execution.short}-{n:08d}"
            )
            entry.timestamp.FromNanoseconds(int(at * 1e9))
            entry.labels["run.googleapis.com/execution_name"] = execution.short
        answer.next_page_token = str(offset + size) if offset + size < total else ""
        return answer

    @staticmethod
    def _list_lines(
        executions: Sequence[Execution], start: float, offset: int, size: int, newest_first: bool
    ) -> tuple[list[tuple[float, Execution, int, str]], int]:
        """Return one page of the lines of some executions, and how many there are in all."""
        if len(executions) == 1 and not newest_first:
            (execution,) = executions
            lines = execution.lines
            first = bisect.bisect_left(lines, start, key=lambda line: line[0])
            total = len(lines) - first
            begin = first + offset
            return [(at, execution, n, line) for n, (at, line) in enumerate(lines[begin : begin + size], start=begin)], total
        each = [[(at, e, n, line) for n, (at, line) in enumerate(e.lines[:]) if at >= start] for e in executions]
        found = list(heapq.merge(*each, key=lambda item: item[0]))
        if newest_first:
            found.reverse()
        return found[offset : offset + size], len(found)

    def _find_job(self, name: str, context: grpc.ServicerContext) -> ServedJob:
        if name not in self.jobs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource '{name.rsplit('/', 1)[-1]}' of kind 'JOB' does not exist.")
        return self.jobs[name]

    def _find_execution(self, name: str, context: grpc.ServicerContext) -> Execution:
        execution = self.executions.get(name)
        if execution is None or execution.deleted:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource '{name.rsplit('/', 1)[-1]}' of kind 'EXECUTION' does not exist.")
        assert execution is not None
        return execution

    def _build_handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        def build_method(name: str, run: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
            def handle(message: Any, context: grpc.ServicerContext) -> Any:
                with self._lock:
                    self.calls[name] += 1
                fault = self.faults(name, message) if self.faults else None
                fault = fault or Fault()
                time.sleep(fault.before)
                if fault.code and not fault.lost:
                    context.abort(fault.code, fault.message)
                answer = run(message, context)
                time.sleep(fault.after)
                if fault.code:
                    context.abort(fault.code, fault.message)
                return answer

            read = request.deserialize if hasattr(request, "deserialize") else request.FromString
            write = response.serialize if hasattr(response, "serialize") else response.SerializeToString
            return grpc.unary_unary_rpc_method_handler(handle, request_deserializer=read, response_serializer=write)

        operation = operations_pb2.Operation
        services = {
            "google.cloud.run.v2.Jobs": {
                "RunJob": build_method("RunJob", self.run_job, run_v2.RunJobRequest, operation),
                "GetJob": build_method("GetJob", self.get_job, run_v2.GetJobRequest, run_v2.Job),
            },
            "google.cloud.run.v2.Executions": {
                "GetExecution": build_method("GetExecution", self.get_execution, run_v2.GetExecutionRequest, run_v2.Execution),
                "ListExecutions": build_method(
                    "ListExecutions", self.list_executions, run_v2.ListExecutionsRequest, run_v2.ListExecutionsResponse
                ),
                "CancelExecution": build_method("CancelExecution", self.cancel_execution, run_v2.CancelExecutionRequest, operation),
            },
            "google.cloud.run.v2.Tasks": {
                "ListTasks": build_method("ListTasks", self.list_tasks, run_v2.ListTasksRequest, run_v2.ListTasksResponse),
            },
            "google.longrunning.Operations": {
                "GetOperation": build_method("GetOperation", self.get_operation, operations_pb2.GetOperationRequest, operation),
                "CancelOperation": build_method(
                    "CancelOperation", lambda r, c: empty_pb2.Empty(), operations_pb2.CancelOperationRequest, empty_pb2.Empty
                ),
            },
            "google.logging.v2.LoggingServiceV2": {
                "ListLogEntries": build_method("ListLogEntries", self.list_log_entries, ListLogEntriesRequest, ListLogEntriesResponse),
            },
        }
        return tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())
