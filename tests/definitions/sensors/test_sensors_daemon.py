"""Two levels of sensors behind a real daemon that is killed in the middle."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import dagster as dg
import pytest

pytestmark = pytest.mark.slow

LOCATION = """
import dagster as dg

from starlake_dagster_components.definitions.sensors.definition import build_sensor
from starlake_dagster_components.pipelines.pipeline import TransformTrigger


def made(name, *reads):
    @dg.asset(name=name, deps=reads)
    def make() -> None: ...

    return make


def sensor(job, **reads):
    watched = {f"d.{name}": dg.AssetKey(key) for name, key in reads.items()}
    return build_sensor(
        name=f"{job}_sensor", job_name=job, watched=watched, trigger=TransformTrigger(), minimum_interval_seconds=1
    )


middle, top = made("middle", "orders", "lines"), made("top", "orders", "middle")
defs = dg.Definitions(
    assets=[dg.AssetSpec("orders"), dg.AssetSpec("lines"), middle, top],
    jobs=[dg.define_asset_job("first", selection=[middle]), dg.define_asset_job("second", selection=[top])],
    sensors=[sensor("first", orders="orders", lines="lines"), sensor("second", orders="orders", middle="middle")],
    executor=dg.in_process_executor,
)
"""


def wait_for(what: str, condition: Callable[[], object], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the process ended while waiting for {what}"
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.05)


class Deployment:
    """A Dagster home, a code server that stays, and daemons that come and go."""

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
        """A daemon that is killed, not stopped, at the end of the block."""
        return self.process("dagster._daemon", "run", "-w", str(self.home / "workspace.yaml"))

    def materialize(self, *assets: str) -> None:
        for asset in assets:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(asset))

    def runs(self) -> list[dg.DagsterRun]:
        return [record.dagster_run for record in self.instance.get_run_records()]

    def last_ticks(self) -> dict[str, tuple[float, str]]:
        """Time and skip reason of the last finished tick of each sensor."""
        found = {}
        for state in self.instance.all_instigator_state():
            for tick in self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2):
                if tick.status.value == "SKIPPED":
                    found[state.instigator_name] = (tick.timestamp, tick.skip_reason or "")
                    break
        return found


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "location.py").write_text(LOCATION)
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    workspace = [{"grpc_server": {"host": "localhost", "port": port, "location_name": "location"}}]
    (tmp_path / "workspace.yaml").write_text(json.dumps({"load_from": workspace}))
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        deployment = Deployment(tmp_path, instance, environment)
        with deployment.process("dagster", "api", "grpc", "-f", "location.py", "-p", str(port), "--location-name", "location") as server:
            wait_for("the code server", lambda: "Started Dagster code server" in (tmp_path / "output.txt").read_text(), server)
            yield deployment


def test_a_daemon_that_is_killed(deployment: Deployment) -> None:
    with deployment.daemon() as daemon:
        deployment.materialize("orders")
        reason = "Observed materializations for ['orders'], but not for ['lines']"
        wait_for("partial progress", lambda: deployment.last_ticks().get("first_sensor", (0, ""))[1] == reason, daemon)
    deployment.materialize("lines")

    with deployment.daemon() as daemon:
        wait_for("the first run", deployment.runs, daemon)

    with deployment.daemon() as daemon:
        wait_for("the second job", lambda: any(r.job_name == "second" and r.is_finished for r in deployment.runs()), daemon)
        done = time.time()

        def at_rest() -> bool:
            ticks = deployment.last_ticks()
            return len(ticks) == 2 and all(when > done and why == "No materializations observed" for when, why in ticks.values())

        wait_for("rest", at_rest, daemon)

    runs = {run.job_name: run for run in deployment.runs()}
    assert Counter(run.job_name for run in deployment.runs()) == {"first": 1, "second": 1}
    assert all(run.is_success for run in runs.values())
    assert set(json.loads(runs["first"].tags[".dagster/starlake_triggered_by"])) == {"orders", "lines"}
    consumed = json.loads(runs["second"].tags[".dagster/starlake_triggered_by"])
    assert consumed["middle"][1] == runs["first"].run_id
    assert runs["first"].tags["dagster/sensor_name"] == "first_sensor"
    assert runs["second"].tags["starlake/data_interval_start"] == "1970-01-01T00:00:00+00:00"
