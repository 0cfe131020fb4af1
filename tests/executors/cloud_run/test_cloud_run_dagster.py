"""A whole project through Dagster, in which each command is an execution of a Cloud Run job."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from cloud_run_harness import EFFECT, SHELL, connect_executor, list_effects
from cloud_run_server import CloudRunServer
from dagster_home import make_home
from waiting import wait_until

from starlake_dagster_components.cli.results import RunResult
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.settings import Settings

FILES = {
    "metadata/application.sl.yml": """
version: 1
application:
  connectionRef: duckdb
  loader: native
  connections:
    duckdb: {type: jdbc, options: {url: "jdbc:duckdb:{{SL_ROOT}}/datasets/shop.db", driver: org.duckdb.DuckDBDriver}}
""",
    "metadata/dags/loads.sl.yml": """
version: 1
dag:
  template: load/dagster__scheduled_table__cloud_run.py.j2
  filename: "load_{{domain}}.py"
  options:
    cloud_run_job_name: starlake
    pre_load_strategy: imported
""",
    "metadata/dags/tasks.sl.yml": """
version: 1
dag:
  template: transform/dagster__scheduled_task__cloud_run.py.j2
  filename: "{{domain}}_tasks.py"
  options: {cloud_run_job_name: starlake}
""",
    "metadata/load/sales/_config.sl.yml": """
version: 1
load:
  name: sales
  metadata: {directory: '{{SL_ROOT}}/datasets/incoming/sales', dagRef: loads}
""",
    "metadata/load/sales/orders.sl.yml": r"""
version: 1
table:
  name: orders
  pattern: "orders-.*\\.csv"
  metadata: {format: DSV, withHeader: true, separator: ";"}
  attributes: [{name: id, type: long}, {name: amount, type: double}]
""",
    "metadata/transform/kpi/total.sl.yml": "version: 1\ntask: {dagRef: tasks, writeStrategy: {type: OVERWRITE}}\n",
    "metadata/transform/kpi/total.sql": "SELECT sum(amount) AS total FROM sales.orders",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def server(project: Path) -> Iterator[CloudRunServer]:
    with CloudRunServer() as server:
        server.add_job(cwd=str(project))
        yield server


def list_results(runs: list[RunResult]) -> dict[str, str]:
    return {asset.key: asset.status for run in runs for asset in run.assets}


@pytest.mark.slow
def test_a_project_is_loaded_and_transformed(project: Path, server: CloudRunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(
        executor=connect_executor(server, job_name=None, root=str(project), logs="follow", not_ready_folder=str(project.parent))
    )

    nothing = run_headless(project, settings, job="load_sales")
    assert [run.success for run in nothing] == [True]
    assert list_results(nothing) == {"sales": "skipped", "sales_orders": "skipped"}

    incoming = project / "datasets" / "incoming" / "sales"
    incoming.mkdir(parents=True, exist_ok=True)
    (incoming / "orders-1.csv").write_text("id;amount\n1;2.5\n2;4\n", encoding="utf-8")
    runs = run_headless(project, settings)
    assert [run.error for run in runs] == [None, None]
    assert list_results(runs) == {"sales": "done", "sales_orders": "done", "kpi_total": "done"}
    assert next(a.loaded for run in runs for a in run.assets if a.key == "sales_orders") == 2
    assert [e.args[0] for e in server.list_all()] == ["preload", "preload", "stage", "load", "transform"]
    assert all(e.exit_code == 0 for e in server.list_all())
    with duckdb.connect(str(project / "datasets" / "shop.db"), read_only=True) as connection:
        assert connection.execute("SELECT total FROM kpi.total").fetchall() == [(6.5,)]


@pytest.mark.slow
def test_the_example_is_loaded_and_transformed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    example = Path(__file__).parents[3] / "examples" / "tallow_lane"
    root = tmp_path / "example"
    shutil.copytree(example / "metadata", root / "metadata")
    shutil.copytree(min(p for p in (example / "batches").iterdir() if p.is_dir()), root / "datasets")
    with CloudRunServer() as server:
        server.add_job(cwd=str(root))
        executor = connect_executor(server, root=str(root), logs="follow", not_ready_folder=str(tmp_path), poll_interval=0.2)
        runs = run_headless(root, Settings(executor=executor))
        assert {run.job: run.error for run in runs} == {run.job: None for run in runs}
        assert set(list_results(runs).values()) == {"done"}
        assert len(server.list_all()) == server.calls["RunJob"] > len(list_results(runs))


def write_tasks(root: Path, names: list[str]) -> None:
    """Write a project of tasks that read nothing."""
    for name in ("metadata/application.sl.yml", "metadata/dags/tasks.sl.yml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(FILES[name], encoding="utf-8")
    (root / "metadata/transform/kpi").mkdir(parents=True)
    for name in names:
        (root / f"metadata/transform/kpi/{name}.sql").write_text("SELECT 1 AS one", encoding="utf-8")
        (root / f"metadata/transform/kpi/{name}.sl.yml").write_text("version: 1\ntask: {dagRef: tasks}\n", encoding="utf-8")


def test_many_steps_of_one_run_wait_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    root, effects = tmp_path / "many", tmp_path / "effects"
    names = [f"t{number:02d}" for number in range(24)]
    write_tasks(root, names)
    with CloudRunServer() as server:
        server.add_job(command=[*SHELL, f'STEP="$3"; {EFFECT}', "sh"], environment={"EFFECTS": str(effects), "LASTS": "0.5"})
        (run,) = run_headless(root, Settings(executor=connect_executor(server), max_concurrent=6))
    assert run.success, run.error
    assert sorted(list_effects(effects)) == [f"kpi.{name}" for name in names]
    assert 1 < server.most_running <= 6


RUN = """
import os, sys
import dagster as dg
from cloud_run_harness import QUICK
from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.executors.cloud_run import CloudRunExecutor

def job():
    fields = {"project_id": "shop", "logs": "none", **QUICK}
    executor = CloudRunExecutor(api_endpoint=os.environ["ADDRESS"], insecure=True, **fields)
    return load_definitions_from_starlake_project(os.environ["PROJECT"], executor=executor, max_concurrent=3).resolve_job_def("kpi_tasks")

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        lost = sys.argv[1:] and instance.get_run_by_id(sys.argv[1])
        if lost:
            instance.report_run_failed(lost, "its process is gone")
        again = dg.ReexecutionOptions.from_failure(lost.run_id, instance) if lost else None
        result = dg.execute_job(dg.reconstructable(job), instance, reexecution_options=again, raise_on_error=False)
        print("success" if result.success else "failure")
"""


@pytest.mark.slow
def test_a_run_whose_process_died_is_continued_without_running_a_command_twice(tmp_path: Path) -> None:
    root, effects = tmp_path / "many", tmp_path / "effects"
    names = [f"t{number}" for number in range(6)]
    write_tasks(root, names)
    script = tmp_path / "run_it.py"
    script.write_text(RUN, encoding="utf-8")
    home = tmp_path / "home"
    make_home(home)
    with CloudRunServer() as server:
        server.add_job(command=[*SHELL, f'STEP="$3"; {EFFECT}', "sh"], environment={"EFFECTS": str(effects), "LASTS": "3"})
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "ADDRESS": server.address,
            "PROJECT": str(root),
            "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1]))),
            "GRPC_VERBOSITY": "NONE",
        }
        process = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_until(lambda: len(list_effects(effects)) >= 3)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with dg.DagsterInstance.from_config(str(home)) as instance:
            (lost,) = instance.get_run_ids()
        arguments = [sys.executable, str(script), lost]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.stdout == "success\n", done.stderr[-3000:]
    assert sorted(list_effects(effects)) == [f"kpi.{name}" for name in names]
