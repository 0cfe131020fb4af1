"""Fixtures of the tests of the step executor: a real instance in a folder, and runs in separate processes."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster_home import make_home

HERE = Path(__file__).resolve().parent


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the bodies of steps record their executions."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("STEP_JOBS_FOLDER", str(folder))
    # for processes: this folder has the jobs; Dagster looks in the working directory
    monkeypatch.chdir(HERE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME, with pools that are limited per step."""
    folder = make_home(
        tmp_path / "home",
        "telemetry:\n  enabled: false\n"
        "concurrency:\n  pools:\n    granularity: op\n"
        "run_coordinator:\n  module: dagster.core.run_coordinator\n  class: DefaultRunCoordinator\n",
    )
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


@pytest.fixture
def instance(home: Path, work: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        yield found


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(home: Path, work: Path, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts Python code in a separate process, which is killed at the end of the test with its descendants."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str) -> "subprocess.Popen[bytes]":
        with (tmp_path / "output").open("ab") as output:
            process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output, start_new_session=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
