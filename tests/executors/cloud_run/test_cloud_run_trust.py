"""Requests that Google's services reject, and how they are handled: quotas, missing objects, changing permissions, other clouds."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cloud_run_harness import SHELL, build_effect, connect_executor, list_effects
from cloud_run_server import CloudRunServer, shorten_log_waits
from contract import Watched, build_command
from injected_faults import Fault
from pydantic import ValidationError
from test_cloud_run_access import Bucket
from waiting import wait_until

from starlake_dagster_components.errors import CommandError
from starlake_dagster_components.executors.base import CommandResult
from starlake_dagster_components.executors.cloud_run import CloudRunExecutor, log_queries, log_reader, poller
from starlake_dagster_components.executors.cloud_run.connection import Access, Connection

SUMMARY = 'IngestionCounters:{"inputCount":3,"acceptedCount":2,"rejectedCount":1,"paths":["gs://b/a.csv"],"jobid":",r"}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudRunServer]:
    shorten_log_waits(monkeypatch, gathering=0.2)
    with CloudRunServer() as server:
        yield server


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    return tmp_path / "effects"


def run_together(server: CloudRunServer, count: int, **fields: Any) -> tuple[list[CommandResult], list[Watched]]:
    """Run loads that end at about the same time."""
    executor = connect_executor(server, **fields)
    watched = [Watched() for _ in range(count)]
    results: dict[int, CommandResult] = {}

    def run(number: int) -> None:
        invocation = watched[number].invocation(run_id=server.address, step_key=f"load{number}")
        results[number] = executor.run(build_command(verb="load", arguments=("--tables", f"t{number}")), invocation)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(count)], watched


@pytest.mark.parametrize("logs", ["tail", "follow"])
def test_loads_that_end_together_share_queries_and_lose_no_counts(server: CloudRunServer, tmp_path: Path, logs: str) -> None:
    """Cloud Logging allows 60 queries a minute, and rejects some of them."""
    go = tmp_path / "go"
    server.add_job(command=[*SHELL, f"until [ -e {go} ]; do sleep 0.2; done; echo '{SUMMARY}'", "sh"])
    rejected = iter([True, False, True, True])
    asked: list[int] = []
    """Number of executions in each query."""

    def reject(method: str, request: Any) -> Fault | None:
        if method != "ListLogEntries":
            return None
        asked.append(request.filter.count("execution_name"))
        return Fault(code=grpc.StatusCode.RESOURCE_EXHAUSTED) if next(rejected, False) else None

    server.faults = reject

    def end_together() -> None:
        wait_until(lambda: server.most_running == 25)
        go.touch()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(end_together)
        results, _ = run_together(server, 25, logs=logs, log_interval=1.0, log_settle=0.5)
    assert [result.counters and result.counters.input for result in results] == [3] * 25
    # One by one, each query would be for one execution. How many end at the same moment depends on the machine.
    assert sum(asked) / len(asked) >= 2


def test_a_hundred_loads_with_a_quota_of_sixty_queries_a_minute(server: CloudRunServer) -> None:
    server.add_job(command=[*SHELL, f"echo '{SUMMARY}'", "sh"])
    answered: list[float] = []
    lock = threading.Lock()

    def reject(method: str, _: object) -> Fault | None:
        with lock:
            now = time.monotonic()
            if method != "ListLogEntries" or sum(now - moment < 60 for moment in answered) < 60:
                answered.extend([now] * (method == "ListLogEntries"))
                return None
            return Fault(code=grpc.StatusCode.RESOURCE_EXHAUSTED)

    server.faults = reject
    results, watched = run_together(server, 100, logs="tail")
    for result, one in zip(results, watched, strict=True):
        said = any("the row counts of" in text for level, text in one.lines if level == "warning")
        assert said or (result.counters is not None and result.counters.input == 3)


def test_counts_that_cannot_be_read_are_reported_as_missing(server: CloudRunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "PATIENCE", 0.5)
    server.add_job(command=[*SHELL, f"echo '{SUMMARY}'", "sh"])
    server.faults = lambda method, request: Fault(code=grpc.StatusCode.RESOURCE_EXHAUSTED) if method == "ListLogEntries" else None
    (result,), (watched,) = run_together(server, 1, logs="tail")
    assert (result.exit_code, result.counters) == (0, None)
    (warning,) = [text for level, text in watched.lines if level == "warning"]
    assert "the row counts of starlake-" in warning
    assert "RESOURCE_EXHAUSTED" in warning


def test_queries_wait_for_their_quota_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queries, "MINUTE", 0.3)
    pace = log_queries.Pace(3)
    began = time.monotonic()
    for _ in range(7):
        pace.wait()
    assert time.monotonic() - began >= 0.6
    log_queries.Pace().wait()


# ------------------------------------------------------------------------------------------------------------- storage


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    bucket = Bucket()
    yield bucket
    bucket.server.shutdown()
    bucket.server.server_close()


def run_preload(server: CloudRunServer, bucket: Bucket, step: str) -> CommandResult:
    server.add_job(command=[*SHELL, "exit 0", "sh"])
    executor = connect_executor(server, not_ready_folder="gs://lake/sentinels", storage_endpoint=f"127.0.0.1:{bucket.server.server_port}")
    return executor.run(build_command(verb="preload"), Watched().invocation(run_id=server.address, step_key=step))


def test_an_absent_sentinel_is_read_without_the_right_to_list(server: CloudRunServer, bucket: Bucket) -> None:
    """In this case, storage answers 403 for missing objects."""
    bucket.answers = [403]
    bucket.permissions = ["storage.objects.get"]
    assert not run_preload(server, bucket, "sales").not_ready
    assert "testPermissions" in bucket.calls[1][1]
    bucket.answers = [200]
    assert run_preload(server, bucket, "other").not_ready


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ([], "lacks storage.objects.get"),
        (["storage.objects.get", "storage.objects.list"], "it is not known whether"),
        (None, r"storage\.objects\.list"),
    ],
)
def test_missing_permissions_are_reported(server: CloudRunServer, bucket: Bucket, permissions: list[str] | None, expected: str) -> None:
    bucket.answers = [403]
    bucket.permissions = permissions
    with pytest.raises(CommandError, match=expected) as raised:
        run_preload(server, bucket, "sales")
    assert not raised.value.retry


# --------------------------------------------------------------------------------------------------------- permissions


def test_a_briefly_missing_permission_does_not_end_the_execution(server: CloudRunServer, effects: Path) -> None:
    server.add_job(command=[*SHELL, 'echo "$STEP" >> "$EFFECTS"; sleep 2', "sh"])
    denied = iter([True, True, False, True])
    server.faults = lambda method, request: (
        Fault(code=grpc.StatusCode.PERMISSION_DENIED) if method == "GetExecution" and next(denied, False) else None
    )
    watched = Watched()
    result = connect_executor(server).run(build_effect(effects), watched.invocation(run_id=server.address))
    assert result.exit_code == 0
    assert list_effects(effects) == ["orders"]
    assert server.calls["CancelExecution"] == 0
    assert any("PERMISSION_DENIED" in text and "retrying" in text for text in watched.texts)


def test_a_permanently_missing_permission_is_an_error(server: CloudRunServer, effects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "DENIED", 0.5)
    server.add_job(command=[*SHELL, "sleep 60", "sh"])
    server.faults = lambda method, request: Fault(code=grpc.StatusCode.PERMISSION_DENIED) if method == "GetExecution" else None
    with pytest.raises(CommandError, match="not allowed to follow"):
        connect_executor(server).run(build_effect(effects), Watched().invocation(run_id=server.address))
    wait_until(lambda: not server.running)


# --------------------------------------------------------------------------------------------------------- other clouds


def test_endpoints_follow_the_domain_and_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.credentials import AnonymousCredentials

    class Credentials(AnonymousCredentials):
        universe_domain = "apis-example.goog"

    def connect(**fields: Any) -> Connection:
        connection = Connection(Access(**fields))
        connection._credentials = Credentials()  # type: ignore[no-untyped-call]
        return connection

    other = connect(universe_domain="apis-example.goog")
    assert other.jobs.transport.host == "run.apis-example.goog:443"
    assert other.logs.transport.host == "logging.apis-example.goog:443"
    assert other.access.storage_address == "storage.apis-example.goog"
    given = connect(
        universe_domain="apis-example.goog", api_endpoint="run-1:443", logging_endpoint="logs-1:443", storage_endpoint="storage-1:443"
    )
    assert given.executions.transport.host == "run-1:443"
    assert given.logs.transport.host == "logs-1:443"
    assert given.access.storage_address == "storage-1:443"
    assert Access().storage_address == "storage.googleapis.com"


def test_logs_may_have_a_separate_endpoint(server: CloudRunServer) -> None:
    with CloudRunServer() as empty:
        server.add_job(command=[*SHELL, f"echo '{SUMMARY}'", "sh"])
        (result,), _ = run_together(server, 1, logs="tail", logging_endpoint=empty.address)
        assert result.counters is None
        assert (server.calls["ListLogEntries"], empty.calls["ListLogEntries"] > 0) == (0, True)


@pytest.mark.parametrize(("seconds", "fits"), [(604_800, True), (604_801, False), (0, False)])
def test_task_timeout_is_limited_to_a_week(seconds: float, fits: bool) -> None:
    if fits:
        assert CloudRunExecutor(task_timeout=seconds).task_timeout == seconds
    else:
        with pytest.raises(ValidationError, match="task_timeout"):
            CloudRunExecutor(task_timeout=seconds)
