"""deploy/docker-compose.yaml: a schedule, a sensor and a load run through its services, which share a PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml
from compose_services import COMPOSE, Services
from markdown_blocks import REPOSITORY, read_blocks

from starlake_dagster_components.cache import open_cache
from starlake_dagster_components.pipelines.plan_loading import Loaded, load_plan

RUNS = "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """The services with the tutorial's project, whose load runs every minute."""
    started = Services(tmp_path)
    project = started.home / "project"
    for block in read_blocks(REPOSITORY / "docs/tutorial.md"):
        if block.title.startswith("shop/"):
            path = project / block.title.removeprefix("shop/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text.replace('"30 6 * * *"', '"* * * * *"'), encoding="utf-8")
    yield started
    started.end()


@pytest.mark.slow
def test_a_tick_of_the_schedule_loads_files_and_the_sensor_follows(services: Services) -> None:
    services.start()

    def list_done(job: str, tag: str) -> list[str]:
        runs = services.query(RUNS)["runsOrError"]["results"]
        failed = [run for run in runs if run["status"] == "FAILURE"]
        assert not failed, f"{failed}\n{services.read_logs()}"
        return [run["status"] for run in runs if run["jobName"] == job and any(t["key"] == tag for t in run["tags"])]

    services.wait(lambda: "SUCCESS" in list_done("load_shop", "dagster/schedule_name"), "a run of the schedule")
    services.wait(lambda: "SUCCESS" in list_done("kpi_tasks", "dagster/sensor_name"), "a run of the sensor")
    with duckdb.connect(str(services.home / "project/datasets/warehouse.db"), read_only=True) as database:
        assert database.execute("SELECT count(*), sum(amount) FROM shop.orders").fetchone() == (4, 24.0)
        assert database.execute("SELECT sum(orders) FROM kpi.daily").fetchone() == (4,)
    assert list((services.home / "storage/compute_logs").rglob("*.err")), "the web server finds no output of steps"


def test_every_path_of_a_volume_exists_in_the_image() -> None:
    image = (REPOSITORY / "deploy/Dockerfile").read_text(encoding="utf-8")
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    mounted = {volume.split(":")[1] for name, service in services.items() if name != "postgres" for volume in service.get("volumes", ())}
    assert mounted
    assert {path for path in mounted if path not in image} == set()


def test_the_code_location_uses_the_plan_in_the_image(tmp_path: Path) -> None:
    """The plan depends on the variables of Starlake. An empty one differs from one that is not set."""
    code = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["code"]
    given = {name: value for name, value in code["environment"].items() if value is not None}

    def load(environ: dict[str, str]) -> Loaded:
        return load_plan(REPOSITORY / "examples/tallow_lane", environ=environ, cache=open_cache(str(tmp_path), environ))

    load({}).keep()
    assert load(given).from_cache
    assert not load({**given, "SL_ENV": ""}).from_cache
    taken_from_shell = {name for name, value in code["environment"].items() if value is None}
    assert taken_from_shell == {name for name, value in code["build"]["args"].items() if value is None} == {"SL_ENV"}
