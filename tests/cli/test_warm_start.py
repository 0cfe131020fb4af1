"""Code servers that are forked from a process in which everything is imported."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from starlake_dagster_components.cli import warm_start

pytestmark = pytest.mark.skipif(not warm_start.can_serve(), reason="needs fork and files that are passed through sockets")
WAIT = 600


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return warm_start.write_launcher(tmp_path, tmp_path / "warm.sock")


@pytest.fixture
def server(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-m", warm_start.__name__, "serve", str(tmp_path / "warm.sock")]) as process:
        while not (tmp_path / "warm.sock").exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield process
        process.terminate()


def run(program: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=WAIT, check=False, env={**os.environ, **environment}
    )


def list_children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def test_the_launcher_without_a_server_runs_python(program: Path) -> None:
    done = run(program, "-c", "import sys; print(sys.executable); sys.exit(3)")
    assert (done.stdout.strip(), done.returncode) == (sys.executable, 3)
    done = run(program, "-m", "dagster", "api", "grpc", "--help")
    assert "--socket" in done.stdout
    assert done.returncode == 0


@pytest.mark.slow
def test_a_forked_command_returns_its_output_and_exit_code(program: Path, server: "subprocess.Popen[bytes]") -> None:
    done = run(program, "-m", "dagster", "api", "grpc", "--help")
    assert "--socket" in done.stdout
    assert done.returncode == 0
    done = run(program, "-m", "dagster", "api", "grpc", "--no-such-option")
    assert "--no-such-option" in done.stderr
    assert done.returncode == 2
    assert list_children(server.pid) == []


@pytest.mark.slow
@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_forked_command_has_its_requesters_environment_and_ends_with_it(
    program: Path, server: "subprocess.Popen[bytes]", tmp_path: Path, end: str
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "location.py").write_text(
        "import os, dagster\nopen(os.environ['WRITTEN'], 'w').write(os.getcwd())\ndefs = dagster.Definitions()\n"
    )
    arguments = ["-m", "dagster", "api", "grpc", "--socket", str(tmp_path / "code.sock"), "-f", str(tmp_path / "location.py")]
    environment = {**os.environ, "WRITTEN": str(tmp_path / "written"), "DAGSTER_HOME": str(tmp_path / "home")}
    with subprocess.Popen([str(program), *arguments], env=environment, cwd=tmp_path) as requester:
        deadline = time.monotonic() + WAIT
        while not is_listening(tmp_path / "code.sock"):
            assert time.monotonic() < deadline
            assert requester.poll() is None
            time.sleep(0.05)
        assert (tmp_path / "written").read_text() == str(tmp_path)
        assert len(list_children(server.pid)) == 1
        getattr(requester, end)()
        requester.wait(WAIT)
        while list_children(server.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert server.poll() is None


def is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as attempt, contextlib.suppress(OSError):
        attempt.connect(str(path))
        return True
    return False
