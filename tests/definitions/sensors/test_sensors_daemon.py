"""Two levels of sensors in a real daemon that is killed in the middle."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_deployment import Deployment, run_deployment
from waiting import wait_until

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


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with run_deployment(tmp_path, LOCATION) as deployment:
        yield deployment


def test_a_killed_daemon_loses_no_materialization(deployment: Deployment) -> None:
    with deployment.daemon() as daemon:
        deployment.materialize("orders")
        reason = "Observed materializations for ['orders'], but not for ['lines']"
        wait_until(lambda: deployment.last_ticks().get("first_sensor", (0, ""))[1] == reason, "partial progress", process=daemon)
    deployment.materialize("lines")

    with deployment.daemon() as daemon:
        wait_until(deployment.runs, "the first run", process=daemon)

    with deployment.daemon() as daemon:
        wait_until(lambda: any(r.job_name == "second" and r.is_finished for r in deployment.runs()), "the second job", process=daemon)
        done = time.time()

        def is_at_rest() -> bool:
            ticks = deployment.last_ticks()
            return len(ticks) == 2 and all(when > done and why == "No materializations observed" for when, why in ticks.values())

        wait_until(is_at_rest, "rest", process=daemon)

    runs = {run.job_name: run for run in deployment.runs()}
    assert Counter(run.job_name for run in deployment.runs()) == {"first": 1, "second": 1}
    assert all(run.is_success for run in runs.values())
    assert set(json.loads(runs["first"].tags[".dagster/starlake_triggered_by"])) == {"orders", "lines"}
    consumed = json.loads(runs["second"].tags[".dagster/starlake_triggered_by"])
    assert consumed["middle"][1] == runs["first"].run_id
    assert runs["first"].tags["dagster/sensor_name"] == "first_sensor"
    assert runs["second"].tags["starlake/data_interval_start"] == "1970-01-01T00:00:00+00:00"
