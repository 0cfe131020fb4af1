"""Loads that fail with each executor: retries, and re-execution from failure."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from cloud_run_harness import connect_executor
from cloud_run_server import CloudRunServer, shorten_log_waits
from starlake_playback import Program

from starlake_dagster_components import DagsterShellExecutor, DuckDBExecutor, ShellExecutor
from starlake_dagster_components.cli.run import keep_definitions
from starlake_dagster_components.definitions.build import build_definitions
from starlake_dagster_components.executors.base import StarlakeExecutor
from starlake_dagster_components.settings import Settings

KINDS = ["shell", "dagster_shell", "cloud_run", "duckdb"]
FAILS_ON_ERROR = {"expectations: { active: true }": "expectations: { active: true, failOnError: true }", "SL_THIS": "sl_this"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudRunServer]:
    for name in ("SL_ENV", "SL_ROOT"):
        monkeypatch.delenv(name, raising=False)
    shorten_log_waits(monkeypatch)
    with CloudRunServer() as server:
        yield server


class Failing:
    """A project with one table whose loads fail, and an executor."""

    def __init__(self, shared: Path, tmp_path: Path, kind: str, server: CloudRunServer, **fields: Any) -> None:
        self.root, self.database = tmp_path / "project", tmp_path / "project/datasets/duckdb.db"
        shutil.copytree(shared / "cases/real/sp0", self.root)
        for path in self.root.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        for other in ("ups", "ovr"):
            (self.root / f"metadata/load/d/{other}.sl.yml").unlink()
        for name in ("dags/l.sl.yml", "application.sl.yml", "expectations/e.j2"):
            path = self.root / "metadata" / name
            text = path.read_text().replace("pre_load_strategy: imported", "pre_load_strategy: imported, retries: '1', retry_delay: '0'")
            for before, after in FAILS_ON_ERROR.items():
                text = text.replace(before, after)
            path.write_text(text)
        self.program = Program(tmp_path / "bin", self.root, self.database, audit=kind != "cloud_run")
        starlake = str(self.program.path)
        server.add_job(command=[starlake])
        executors: dict[str, StarlakeExecutor] = {
            "shell": ShellExecutor(starlake_path=starlake),
            "dagster_shell": DagsterShellExecutor(starlake_path=starlake),
            "cloud_run": connect_executor(server, **{"logs": "tail", **fields}),
            "duckdb": DuckDBExecutor(),
        }
        self.settings = Settings(executor=executors[kind])

    def put(self, name: str, text: str) -> None:
        file = self.root / "incoming/d" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(self, instance: dg.DagsterInstance, again: "dg.ExecuteInProcessResult | Any" = None) -> Any:
        """Run the job of the table, or re-execute it from failure."""
        built = build_definitions(self.root, self.settings)
        with keep_definitions(built, self.settings) as token:
            job = dg.build_reconstructable_job(
                "starlake_dagster_components.cli.run", "rebuild", reconstructable_kwargs={"token": token, "job": "d_app"}
            )
            options: dict[str, Any] = {"reexecution_options": dg.ReexecutionOptions.from_failure(again.run_id, instance)} if again else {}
            with dg.execute_job(job, instance, raise_on_error=False, **options) as result:
                return result

    def rows(self) -> list[Any]:
        if not self.database.exists():
            return []
        with duckdb.connect(str(self.database), read_only=True) as connection:
            found = connection.execute("select 1 from information_schema.tables where table_schema = 'd' and table_name = 'app'").fetchall()
            return connection.execute("select id::varchar from d.app order by all").fetchall() if found else []

    @property
    def loads(self) -> int:
        return sum(command.startswith("load") for command in self.program.commands)


def list_event_kinds(result: Any) -> list[str]:
    return [event.event_type_value for event in result.all_events]


def describe_failure(result: Any) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loader", ["native", "spark"])
def test_a_failed_expectation_is_reported_by_every_executor(
    shared: Path, tmp_path: Path, instance: dg.DagsterInstance, server: CloudRunServer, kind: str, loader: Any
) -> None:
    if kind == "duckdb" and loader == "spark":
        pytest.skip("the engine has one loader")
    case = Failing(shared, tmp_path, kind, server)
    case.program.double(loader, expectations={"app": "no_name('boom')"})
    case.put("app_3.csv", (shared / "cases/real/spdata/app_3.csv").read_text())
    first = case.run(instance)
    rows = case.rows()
    assert not first.success
    assert "STEP_UP_FOR_RETRY" not in list_event_kinds(first)
    checks = [e.asset_check_evaluation_data for e in first.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert [(c.check_name, c.passed) for c in checks if c.check_name != "rejected_rows"] == [("no_name_boom", False)]
    # The engine evaluates them before it commits.
    assert rows == ([] if kind == "duckdb" else [("6",), ("7",)])
    again = case.run(instance, first)
    assert not again.success, "nothing has changed"
    assert case.rows() == rows
    if kind != "duckdb":
        assert "the load of the last file failed after its rows were written" in describe_failure(again)
        assert case.loads == 2
    case.put("app_4.csv", "id,name,d\n9,fine,2026-01-01\n")
    if kind != "duckdb":
        case.program.double(loader)
        assert case.run(instance).success, "a new file is loaded"
        assert case.rows() == [*rows, ("9",)]


@pytest.mark.parametrize("fields", [{}, {"logs": "follow"}, {"logs": "none"}], ids=["tail", "follow", "none"])
@pytest.mark.parametrize("loader", ["native", "spark"])
def test_a_cloud_run_load_that_leaves_a_file_fails(
    shared: Path, tmp_path: Path, instance: dg.DagsterInstance, server: CloudRunServer, loader: Any, fields: dict[str, Any]
) -> None:
    """Files there cannot be restored. A retry or re-execution finds no file, and does not succeed."""
    case = Failing(shared, tmp_path, "cloud_run", server, **fields)
    case.program.double(loader)
    case.put("app_1.csv", "id,name,d\n1,first,2026-01-01\n")
    first = case.run(instance)
    assert not first.success
    # Without the log, the connection may have failed.
    assert case.loads == (2 if fields.get("logs") == "none" else 1)
    assert "move it back to the stage folder" in describe_failure(first)
    again = case.run(instance, first)
    assert not again.success
    assert case.rows() == []
    left = case.root / "datasets/ingesting/d/app_1.csv"
    left.rename(case.root / "datasets/stage/d/app_1.csv")
    (case.root / "datasets/stage/d/app_1.csv").write_text("id,name,d\n1,mended,2026-01-01\n")
    mended = case.run(instance, again)
    if fields.get("logs") != "none":
        assert mended.success
    assert case.rows() == [("1",)]


def test_a_failed_second_step_on_cloud_run_fails_despite_exit_code_0(
    shared: Path, tmp_path: Path, instance: dg.DagsterInstance, server: CloudRunServer
) -> None:
    case = Failing(shared, tmp_path, "cloud_run", server)
    case.program.double("native")
    case.put("app_1.csv", "id,name,d\n1,second,2026-01-01\n")
    first = case.run(instance)
    assert not first.success
    assert "app_1.csv" in describe_failure(first)
