"""The contract of executors, for cloud_run: with the exit code and with a sentinel as the sign of "not ready"."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_run_harness import CloudRunHarness
from cloud_run_server import CloudRunServer
from contract import ExecutorContract


@pytest.fixture
def server() -> Iterator[CloudRunServer]:
    with CloudRunServer() as server:
        yield server


class TestCloudRunContract(ExecutorContract):
    @pytest.fixture
    def harness(self, tmp_path: Path, server: CloudRunServer) -> CloudRunHarness:
        return CloudRunHarness(tmp_path, server)


class TestCloudRunWithSentinelContract(ExecutorContract):
    @pytest.fixture
    def harness(self, tmp_path: Path, server: CloudRunServer) -> CloudRunHarness:
        shared = tmp_path / "shared"
        shared.mkdir()
        return CloudRunHarness(tmp_path, server, not_ready_folder=str(shared))

    test_much_output_keeps_only_its_end = None  # type: ignore[assignment]  # The same as above, and it takes its time.
