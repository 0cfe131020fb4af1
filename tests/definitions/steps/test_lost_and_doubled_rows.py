"""Loads that fail like those of the real Starlake, run through Dagster: retries, re-execution, checks, and batches."""

import re
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from starlake_playback import Program

from starlake_dagster_components import ShellExecutor
from starlake_dagster_components.cli.report import print_results
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.settings import Settings

pytestmark = pytest.mark.usefixtures("plain_environment")


class Case:
    """A copy of a project with recorded failures of the real Starlake, and a double of Starlake."""

    def __init__(self, source: Path, tmp_path: Path, *, audit: bool = True, batch: bool = False) -> None:
        self.root, self.database = tmp_path / "project", tmp_path / "project/datasets/duckdb.db"
        shutil.copytree(source, self.root)
        for path in self.root.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        dags = self.root / "metadata/dags/l.sl.yml"
        dags.write_text(
            dags.read_text().replace("pre_load_strategy: imported", "pre_load_strategy: imported, retries: '1', retry_delay: '0'")
        )
        if batch:
            dags.write_text(dags.read_text().replace("{{domain}}_{{table}}.py", "{{domain}}_all.py"))
        if not audit:
            application = self.root / "metadata/application.sl.yml"
            elsewhere = 'other: {type: jdbc, options: {url: "jdbc:postgresql://nowhere/audit", driver: org.postgresql.Driver}}'
            text = application.read_text().replace("audit: { sink: { connectionRef: duck } }", "audit: { sink: { connectionRef: other } }")
            application.write_text(text.replace("  connections:\n", f"  connections:\n    {elsewhere}\n"))
        self.program = Program(tmp_path / "bin", self.root, self.database, audit=audit)
        self.settings = Settings(executor=ShellExecutor(starlake_path=str(self.program.path)), batch=batch)

    def put(self, name: str, text: str) -> None:
        file = self.root / "incoming/d" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(self) -> "Run":
        (result,) = run_headless(self.root, self.settings)
        with dg.DagsterInstance.get() as instance:
            return Run(result, [e.dagster_event for e in instance.all_logs(result.run_id) if e.dagster_event])

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(f"select id from d.{table} order by all").fetchall()

    def files(self, area: str) -> list[str]:
        folder = self.root / "datasets" / area / "d"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    @property
    def loads(self) -> int:
        return sum(command.startswith("load") for command in self.program.commands)


class Run:
    """The events of a run."""

    def __init__(self, result: Any, events: list[dg.DagsterEvent]) -> None:
        self.success, self.events = result.success, events

    @property
    def checks(self) -> list[tuple[str, bool]]:
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        return [
            (e.asset_check_evaluation_data.check_name, e.asset_check_evaluation_data.passed) for e in self.events if e.event_type == kind
        ]

    @property
    def failure(self) -> str:
        (failure,) = [e.step_failure_data.user_failure_data for e in self.events if e.is_step_failure]
        assert failure
        return str(failure.description)

    def list_kinds(self) -> list[str]:
        return [e.event_type_value for e in self.events]


@pytest.mark.parametrize("audit", [True, False], ids=["duckdb", "elsewhere"])
@pytest.mark.parametrize("batch", [False, True], ids=["alone", "batch"])
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(["bad"], marks=pytest.mark.slow),
        ["good", "bad"],
        pytest.param(["bad", "good"], marks=pytest.mark.slow),
        pytest.param(["good", "bad", "good"], marks=pytest.mark.slow),
    ],
)
def test_a_failed_second_step_with_exit_code_0_loses_no_rows(
    shared: Path, tmp_path: Path, audit: bool, batch: bool, files: list[str]
) -> None:
    case = Case(shared / "cases/real/half0", tmp_path, audit=audit, batch=batch)
    case.program.double("native")
    for number, kind in enumerate(files):
        case.put(f"ev_{number}.csv", f"id,name\n{number},{'second' if kind == 'bad' else 'fine'}\n")
    bad = [f"ev_{n}.csv" for n, kind in enumerate(files) if kind == "bad"]
    good = [(str(n),) for n, kind in enumerate(files) if kind == "good"]
    for _ in range(2):
        run = case.run()
        assert not run.success, "also the next run tries the file that is not in the table"
        assert "Conversion Error" in run.failure
        assert case.rows("ev") == good
        assert case.files("stage") == bad
    case.put("../../datasets/stage/d/" + bad[0], "id,name\n7,mended\n")
    assert case.run().success
    assert case.rows("ev") == sorted([*good, ("7",)])
    assert (case.files("stage"), case.files("ingesting")) == ([], [])


@pytest.mark.parametrize("audit", [True, False], ids=["duckdb", "elsewhere"])
@pytest.mark.parametrize("batch", [False, True], ids=["alone", "batch"])
@pytest.mark.parametrize("loader", ["native", "spark"])
def test_a_failed_expectation_neither_loses_nor_duplicates_rows(
    shared: Path, tmp_path: Path, loader: Any, audit: bool, batch: bool
) -> None:
    case = Case(shared / "cases/real/sp0", tmp_path, audit=audit, batch=batch)
    for other in ("ups", "ovr"):
        if not batch:
            (case.root / f"metadata/load/d/{other}.sl.yml").unlink()
    case.program.double(loader, expectations={"app": "no_name('boom')"})
    case.put("app_3.csv", (shared / "cases/real/spdata/app_3.csv").read_text())
    run = case.run()
    assert not run.success
    assert re.search(r"expectations failed: no_name\('boom'\)", run.failure)
    assert [check for check in run.checks if check[0] != "rejected_rows"] == [("no_name_boom", False)]
    assert run.list_kinds().index("ASSET_CHECK_EVALUATION") < run.list_kinds().index("STEP_FAILURE")
    assert "STEP_UP_FOR_RETRY" not in run.list_kinds()
    assert case.loads == 1
    assert case.rows("app") == [("6",), ("7",)]
    assert (case.files("stage"), case.files("ingesting"), case.files("archive")) == ([], [], ["app_3.csv"])


def test_a_retry_without_files_still_fails(shared: Path, tmp_path: Path) -> None:
    """One table fails because of its expectation, another because the database is busy. Only the second is retried."""
    case = Case(shared / "cases/real/sp0", tmp_path, batch=True)
    case.program.double("native", expectations={"app": "no_name('boom')"})
    case.put("app_3.csv", (shared / "cases/real/spdata/app_3.csv").read_text())
    case.put("ups_1.json", "id,name\n1,busy\n")
    run = case.run()
    assert not run.success
    assert case.loads == 2
    assert "app: there is no new file, and the load of the last file failed after its rows were written: expectations failed" in run.failure
    assert "ups: " in run.failure
    materialized = [e.asset_key.to_user_string() for e in run.events if e.event_type_value == "ASSET_MATERIALIZATION" and e.asset_key]
    assert materialized == ["d", "d_ovr"]
    assert case.rows("app") == [("6",), ("7",)]
    assert case.files("stage") == ["ups_1.json"]


@pytest.mark.parametrize("batch", [False, True], ids=["alone", "batch"])
@pytest.mark.parametrize("setting", ["ignore", "warn", "block"])
def test_rejected_rows_are_reported(shared: Path, tmp_path: Path, setting: Any, batch: bool, capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(shared / "cases/real/sp0", tmp_path, batch=batch)
    for name in ("ups", "app"):
        (case.root / f"metadata/load/d/{name}.sl.yml").unlink()
    case.settings = case.settings.override(rejected_rows=setting)
    case.program.double("spark")
    case.put("ovr_1.psv", "id,mail\n1,reject\n2,reject\n")
    (result,) = run_headless(case.root, case.settings)
    with dg.DagsterInstance.get() as instance:
        logs = list(instance.all_logs(result.run_id))
    run = Run(result, [e.dagster_event for e in logs if e.dagster_event])
    warnings = [e.user_message for e in logs if e.level == 30]
    expected = (
        "d.ovr: rejected rows: 2 of 2, and the table is now empty because it was overwritten; their errors are in the table audit.rejected"
    )
    assert any(expected in warning for warning in warnings)
    assert run.success == (setting != "block")
    assert run.checks == ([] if setting == "ignore" else [("rejected_rows", False)])
    if setting == "block":
        assert "rejected rows: 2 of 2" in run.failure
    else:
        print_results([result])
        header, *lines = capsys.readouterr().out.splitlines()
        assert header.split() == ["job,", "asset", "result", "loaded", "rejected", "rows", "seconds"]
        assert ["d_ovr", "done", "0", "2", "0"] in [line.split()[:5] for line in lines]


def test_tables_of_the_native_loader_have_no_such_check(shared: Path, tmp_path: Path) -> None:
    case = Case(shared / "cases/real/half0", tmp_path)
    case.program.double("native")
    case.put("ev_1.csv", "id,name\n1,fine\n")
    assert case.run().checks == []
