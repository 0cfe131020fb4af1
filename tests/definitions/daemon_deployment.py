"""A real deployment: a Dagster home, a code server, and daemons that are started and killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import dagster as dg
from dagster_home import make_home
from free_port import find_free_port
from waiting import wait_until


class Deployment:
    """A Dagster home, a code server that keeps running, and daemons that are started and killed."""

    def __init__(self, home: Path, instance: dg.DagsterInstance, environment: dict[str, str]) -> None:
        self.home = home
        self.instance = instance
        self.environment = environment

    @contextmanager
    def process(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.home / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=self.home, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def daemon(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Run a daemon, and kill it at the end of the block."""
        return self.process("dagster._daemon", "run", "-w", str(self.home / "workspace.yaml"))

    def materialize(self, *assets: str) -> None:
        for asset in assets:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(asset))

    def runs(self) -> list[dg.DagsterRun]:
        return [record.dagster_run for record in self.instance.get_run_records()]

    def last_ticks(self) -> dict[str, tuple[float, str]]:
        """Return the time and skip reason of each sensor's last finished tick."""
        found = {}
        for state in self.instance.all_instigator_state():
            for tick in self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2):
                if tick.status.value == "SKIPPED":
                    found[state.instigator_name] = (tick.timestamp, tick.skip_reason or "")
                    break
        return found


@contextmanager
def run_deployment(home: Path, location: str) -> Iterator[Deployment]:
    """Start a code server, and stop it at the end of the block.

    Args:
        home: the home of Dagster: an empty folder, or one that does not exist.
        location: the Python code of the code location.
    """
    port = find_free_port()
    make_home(home)
    (home / "location.py").write_text(location)
    workspace = [{"grpc_server": {"host": "localhost", "port": port, "location_name": "location"}}]
    (home / "workspace.yaml").write_text(json.dumps({"load_from": workspace}))
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        deployment = Deployment(home, instance, environment)
        with deployment.process("dagster", "api", "grpc", "-f", "location.py", "-p", str(port), "--location-name", "location") as server:
            wait_until(lambda: "Started Dagster code server" in (home / "output.txt").read_text(), "the code server", process=server)
            yield deployment
