"""A step that is retried continues the execution that its lost worker had started, or starts another one if that failed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import grpc
import pytest
from cloud_run_harness import EFFECT, SHELL, build_effect, connect_executor, list_effects
from cloud_run_server import CloudRunServer
from contract import Watched
from injected_faults import Fault
from waiting import wait_until

from starlake_dagster_components.errors import CommandCanceled
from starlake_dagster_components.executors.base import CommandResult, Invocation

WORKERS = """
import json, os, signal, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from types import SimpleNamespace
from cloud_run_harness import build_effect, connect_executor
from contract import Watched
from google.api_core import exceptions
from google.cloud import run_v2
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    work = json.loads(line)
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    command = build_effect(Path(work["effects"]), work["step"], LASTS=work["lasts"], CODE=work["code"], UNTIL=work["until"])
    invocation = Watched().invocation(run_id=work["run"], step_key=work["step"], attempt=work["attempt"])
    connect_executor(SimpleNamespace(address=work["address"])).run(command, invocation)
    os._exit(0)
"""
"""Starts a process for each line that it reads, as Dagster starts one for each step; only the imports are done beforehand."""


@pytest.fixture
def server() -> Iterator[CloudRunServer]:
    with CloudRunServer() as server:
        server.add_job(command=[*SHELL, EFFECT, "sh"])
        yield server


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    return tmp_path / "effects"


def run_of(effects: Path) -> str:
    """Return a run id for a test, because a process remembers the commands of each run."""
    return effects.parent.name


def build_invocation(effects: Path, watched: Watched | None = None, **changes: object) -> Invocation:
    return (watched or Watched()).invocation(**{"run_id": run_of(effects), **changes})


class Process:
    """A process that runs one command."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def is_running(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait(self) -> None:
        wait_until(lambda: not self.is_running())

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()


Worker = Callable[..., Process]


@pytest.fixture(scope="module")
def workers() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WORKERS, str(Path(__file__).parent), str(Path(__file__).parents[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    ) as process:
        yield process


@pytest.fixture
def worker(server: CloudRunServer, effects: Path, workers: subprocess.Popen[str]) -> Iterator[Worker]:
    """Return a function that starts processes that run one command, like step processes."""
    started: list[Process] = []

    def start(step: str = "orders", attempt: int = 0, lasts: float = 0.0, code: int = 0, until: Path | str = "") -> Process:
        work = {"address": server.address, "effects": str(effects), "run": run_of(effects), "step": step, "attempt": attempt}
        assert workers.stdin is not None
        assert workers.stdout is not None
        print(json.dumps({**work, "lasts": lasts, "code": code, "until": str(until)}), file=workers.stdin, flush=True)
        started.append(Process(int(workers.stdout.readline())))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def retry(server: CloudRunServer, effects: Path, *, attempt: int = 1, watched: Watched | None = None, settle: float = 0.6) -> CommandResult:
    """Run the command of ``worker`` again, in this process."""
    invocation = build_invocation(effects, watched, step_key="orders", attempt=attempt)
    return connect_executor(server, start_settle=settle).run(build_effect(effects, "orders"), invocation)


@pytest.fixture
def until(tmp_path: Path) -> Path:
    """A file that ends the command of a worker."""
    return tmp_path / "until"


def watch_for(text: str, until: Path) -> Watched:
    """Return an invocation that creates a file when a line contains the text."""
    return Watched(on_line=lambda line: until.touch() if text in line else None)


def test_the_next_attempt_takes_over_what_runs(server: CloudRunServer, effects: Path, worker: Worker, until: Path) -> None:
    process = worker(until=until)
    wait_until(lambda: list_effects(effects))
    process.kill()
    watched = watch_for("taking over", until)
    assert retry(server, effects, watched=watched).exit_code == 0
    assert list_effects(effects) == ["orders"]
    assert len(server.list_all()) == 1
    assert any("taking over" in text for text in watched.texts)
    assert watched.reported["starlake/cloud_run_execution"] == server.list_all()[0].short


def test_the_next_attempt_takes_the_result_of_what_succeeded_meanwhile(server: CloudRunServer, effects: Path, worker: Worker) -> None:
    process = worker(lasts=0.5)
    wait_until(lambda: list_effects(effects))
    process.kill()
    wait_until(lambda: not server.running)
    assert retry(server, effects).exit_code == 0
    assert list_effects(effects) == ["orders"]


def test_the_next_attempt_starts_another_execution_after_a_failed_one(server: CloudRunServer, effects: Path, worker: Worker) -> None:
    process = worker(lasts=0.1, code=4)
    wait_until(lambda: list_effects(effects))
    process.kill()
    wait_until(lambda: not server.running)
    assert retry(server, effects).exit_code == 0
    assert list_effects(effects) == ["orders", "orders"]


def test_a_repeated_attempt_takes_over_any_result(server: CloudRunServer, effects: Path, worker: Worker) -> None:
    process = worker(lasts=0.1, code=4)
    wait_until(lambda: list_effects(effects))
    process.kill()
    wait_until(lambda: not server.running)
    assert retry(server, effects, attempt=0).exit_code == 4
    assert list_effects(effects) == ["orders"]


def test_a_worker_that_died_while_it_was_starting_has_started_once(server: CloudRunServer, effects: Path, worker: Worker) -> None:
    """The request has been sent when its sender dies, and the API executes it a little later."""
    later = threading.Event()

    def execute_later(method: str, _: object) -> None:
        if method == "RunJob":
            later.wait(300)
        elif server.calls["RunJob"]:
            later.set()

    server.faults = execute_later
    process = worker()
    wait_until(lambda: server.calls["RunJob"])
    process.kill()
    assert not server.list_all()
    assert retry(server, effects, settle=60).exit_code == 0
    assert list_effects(effects) == ["orders"]
    assert server.calls["RunJob"] == 1


def test_a_worker_that_died_before_it_started_anything_has_started_nothing(server: CloudRunServer, effects: Path, worker: Worker) -> None:
    killed = threading.Event()
    server.faults = lambda method, request: None if killed.wait(300) else Fault()
    process = worker()
    wait_until(lambda: server.calls["ListExecutions"])
    process.kill()
    killed.set()
    assert retry(server, effects).exit_code == 0
    assert list_effects(effects) == ["orders"]


def test_an_attempt_after_one_that_ended_here_runs_the_command_again(server: CloudRunServer, effects: Path) -> None:
    """The step failed after its command had succeeded, and is retried."""
    executor = connect_executor(server)
    for attempt in range(2):
        executor.run(build_effect(effects), build_invocation(effects, step_key="again", attempt=attempt))
    assert list_effects(effects) == ["orders", "orders"]


def test_equal_commands_of_one_attempt_are_separate_executions(server: CloudRunServer, effects: Path) -> None:
    """A preload is repeated until files arrive."""
    executor = connect_executor(server)
    for _ in range(3):
        executor.run(build_effect(effects), build_invocation(effects, step_key="polling"))
    assert list_effects(effects) == ["orders"] * 3


def test_a_continued_run_takes_over_what_its_predecessor_left_running(
    server: CloudRunServer, effects: Path, worker: Worker, until: Path
) -> None:
    process = worker(until=until)
    wait_until(lambda: list_effects(effects))
    process.kill()
    run_id, watched = f"{run_of(effects)}-2", watch_for("taking over", until)
    continued = build_invocation(effects, watched, run_id=run_id, step_key="orders", earlier_runs=(run_of(effects),))
    assert connect_executor(server).run(build_effect(effects, "orders"), continued).exit_code == 0
    assert list_effects(effects) == ["orders"]


def test_an_unrelated_run_starts_its_own(server: CloudRunServer, effects: Path, worker: Worker) -> None:
    process = worker(lasts=0.1)
    process.wait()
    assert (
        connect_executor(server)
        .run(build_effect(effects), build_invocation(effects, run_id=f"{run_of(effects)}-2", step_key="orders"))
        .exit_code
        == 0
    )
    assert list_effects(effects) == ["orders", "orders"]


def test_canceling_the_retry_cancels_what_the_lost_worker_had_started(server: CloudRunServer, effects: Path, worker: Worker) -> None:
    process = worker(lasts=60)
    wait_until(lambda: list_effects(effects))
    process.kill()
    watched = Watched()
    watched.canceled.set()
    with pytest.raises(CommandCanceled):
        retry(server, effects, watched=watched)
    assert not server.running


def test_only_one_of_two_executions_of_a_command_continues(server: CloudRunServer, effects: Path, worker: Worker, until: Path) -> None:
    """The API executes a start long after all clients have given up."""
    process = worker(until=until)
    wait_until(lambda: list_effects(effects))
    process.kill()
    server.run_job(server.requests[0], None)
    wait_until(lambda: len(list_effects(effects)) == 2)
    watched = watch_for("taking over", until)
    assert retry(server, effects, watched=watched).exit_code == 0
    first, second = server.list_all()
    assert first.succeeded
    assert second.canceled.is_set()
    assert any(level == "warning" and second.short in text for level, text in watched.lines)


@pytest.mark.parametrize("shuffled", [False, True])
def test_an_execution_is_found_behind_many_others(effects: Path, shuffled: bool) -> None:
    with CloudRunServer(page_size=3, shuffled=shuffled) as server:
        server.add_job(command=[*SHELL, EFFECT, "sh"])
        lost = lambda method, request: Fault(code=grpc.StatusCode.UNAVAILABLE, lost=True) if method == "RunJob" else None  # noqa: E731
        server.faults = lost
        executor = connect_executor(server)
        for number in range(10):
            executor.run(build_effect(effects, f"t{number}"), build_invocation(effects, step_key=f"t{number}"))
        assert server.calls["RunJob"] == 10
        assert len(list_effects(effects)) == 10


def test_a_listing_ends_where_the_run_began(effects: Path) -> None:
    with CloudRunServer(page_size=5) as server:
        server.add_job(command=[*SHELL, EFFECT, "sh"])
        executor = connect_executor(server)
        for number in range(25):
            executor.run(build_effect(effects, f"t{number}"), build_invocation(effects, step_key=f"t{number}"))
        for execution in server.list_all():
            execution.created -= 7200
        before = server.calls["ListExecutions"]
        since = datetime.now(timezone.utc) - timedelta(hours=1)
        executor.run(build_effect(effects, "last"), build_invocation(effects, step_key="last", since=since))
        assert server.calls["ListExecutions"] - before == 1


def test_kills_at_odd_moments_run_every_command_once(server: CloudRunServer, effects: Path, worker: Worker) -> None:
    """Only a few kills are tested here; bench/cloud_run_faults.py has more."""
    server.faults = lambda method, request: Fault(before=0.1, after=0.15) if method == "RunJob" else None
    delays = (0.0, 0.03, 0.1, 0.2, 0.4, 0.7)
    for number, delay in enumerate(delays):
        process = worker(step=f"t{number}", lasts=0.5)
        time.sleep(delay)
        process.kill()
        command = build_effect(effects, f"t{number}", LASTS=0.5, CODE=0)
        result = connect_executor(server, start_settle=2.0).run(command, build_invocation(effects, step_key=f"t{number}", attempt=1))
        assert result.exit_code == 0
    assert sorted(list_effects(effects)) == [f"t{number}" for number in range(len(delays))]
