"""Full disks: the message always names the path and says what to do."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.engine import run_command
from starlake_dagster_components.full_disk import explain_full_disk
from starlake_dagster_components.step_executor.output import FileOutput

full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a file system of a given size and returns its folder."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_other_errors_are_not_explained() -> None:
    assert explain_full_disk(OSError(errno.EACCES, "Permission denied", "/x")) is None
    assert explain_full_disk(ValueError("no space left on device")) is None


def test_a_full_disk_is_found_as_the_cause_of_an_exception() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/data/x.csv")
        except OSError as error:
            raise RuntimeError("it failed") from error
    except RuntimeError as error:
        explained = explain_full_disk(error)
    assert explained is not None
    assert explained.startswith("the disk is full: /data/x.csv; free some space")


@full_device
@pytest.mark.filterwarnings(
    "ignore:unclosed file <_io.* name='/dev/full':ResourceWarning"
)  # A file that cannot be flushed cannot be closed.
def test_a_log_that_cannot_be_written_does_not_end_the_step(caplog: pytest.LogCaptureFixture) -> None:
    output = FileOutput(lambda stream: nullcontext(open("/dev/full", "a", encoding="utf-8", buffering=1)), lambda: None)  # noqa: SIM115
    output.write("stdout", "a line\n")
    output.write("stdout", "another line\n")
    output.close()
    (said,) = [record.getMessage() for record in caplog.records if "is no longer kept" in record.getMessage()]
    assert said.startswith("the output of a step is no longer kept: the disk is full: /dev/full; free some space")


def test_the_embedded_engine_names_the_full_disk(mount: Callable[[str], Path], folder: ProjectFolder) -> None:
    root = folder.root
    (root / "datasets").symlink_to(mount("4m"))
    folder.write("metadata/transform/kpi/big.sql", "select i, sha256(i::varchar) as h from range(400000) t(i)\n")
    said: list[str] = []
    result = run_command(
        ["transform", "--name", "kpi.big"],
        environ={**os.environ, "SL_ROOT": str(root)},
        out=said.append,
        log=lambda level, line: said.append(line),
        canceled=Canceled(),
    )
    assert result.exit_code == 1
    assert result.reason is not None
    assert "the disk is full" in result.reason, result.reason
    assert "duckdb.db" in result.reason
    assert "free some space" in result.reason


@pytest.mark.slow
@pytest.mark.parametrize("size", ["80k", "500k"])
def test_the_command_line_has_no_traceback_when_the_folder_of_runs_is_full(
    size: str, mount: Callable[[str], Path], shop: ProjectFolder
) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-m", "starlake_dagster_components.cli", "run", str(shop.root), "--executor", "duckdb", "--select", "*"],
        env={**os.environ, "DAGSTER_HOME": str(mount(size)), "DAGSTER_DISABLE_TELEMETRY": "1", "SL_DAGSTER_CACHE": "off"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    assert "free some space" in done.stderr
