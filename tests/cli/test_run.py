import io
import json
import os
import pty
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster_home import make_home
from project_folder import ProjectFolder
from rich.console import Console

from starlake_dagster_components import CommandResult
from starlake_dagster_components.cli import main
from starlake_dagster_components.cli.dates import RunDates
from starlake_dagster_components.cli.progress import LineProgress, Progress
from starlake_dagster_components.cli.report import RunTable, print_results
from starlake_dagster_components.cli.results import AssetResult, RunResult, RunState
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.errors import InvalidSetting, StarlakeError, UnknownName
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.testing import RecordingExecutor


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


def list_outcomes(results: list[RunResult]) -> dict[str, str]:
    return {a.key: a.status for r in results for a in r.assets}


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("group:nope", "selection 'group:nope' matches no asset"),
        ("key:kpi_dayly", "selection 'key:kpi_dayly' matches no asset (did you mean 'kpi_daily'?)"),
        ("", "selection '' is empty"),
        (" ", "selection ' ' is empty"),
        ("kpi_dayly", "selection 'kpi_dayly' names no asset (did you mean 'kpi_daily'?)"),
        ("+kpi.daily", "selection '+kpi.daily' names no asset (did you mean 'kpi_daily'?)"),
        ("group:(", "Dagster does not understand the selection 'group:('"),
        ("column:id", "Dagster does not understand the selection 'column:id'"),
        ("elsewhere_rates", "selection 'elsewhere_rates' matches only tables that are created outside of this project: elsewhere_rates"),
    ],
)
def test_an_empty_selection_runs_nothing(shop: ProjectFolder, selection: str, message: str) -> None:
    executor = RecordingExecutor()
    with pytest.raises(InvalidSetting) as caught:
        run_headless(shop.root, Settings(executor=executor), selection=selection)
    assert str(caught.value).startswith(message)
    assert not executor.commands


def test_external_assets_are_left_out_of_a_selection(shop: ProjectFolder) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (result,) = run_headless(shop.root, Settings(executor=RecordingExecutor()), selection="*")
    assert [w for w in caught if issubclass(w.category, dg.BetaWarning)] == []
    assert list_outcomes([result]) == dict.fromkeys(["shop", "shop_orders", "shop_items", "kpi_daily", "kpi_top"], "done")


def test_a_job_may_be_called_selection(shop: ProjectFolder) -> None:
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text()
    shop.write("metadata/dags/transforms.sl.yml", config.replace("{{domain}}_tasks", "selection"))
    settings = Settings(executor=RecordingExecutor())
    assert list_outcomes(run_headless(shop.root, settings, selection="shop_orders")) == {"shop_orders": "done"}
    assert list_outcomes(run_headless(shop.root, settings, job="selection")) == {"kpi_daily": "done", "kpi_top": "done"}


@pytest.mark.parametrize("given", [{"job": "shop_tables", "selection": "kpi_daily"}, {"job": "", "selection": ""}])
def test_a_job_and_a_selection_cannot_be_combined(shop: ProjectFolder, given: dict[str, str]) -> None:
    with pytest.raises(InvalidSetting, match="a job or a selection, not both"):
        run_headless(shop.root, Settings(executor=RecordingExecutor()), **given)  # type: ignore[arg-type]


def test_an_invalid_date_starts_nothing(shop: ProjectFolder) -> None:
    executor = RecordingExecutor()
    with pytest.raises(
        InvalidSetting, match=r"scheduled_date: 'tomorrow' is not an ISO 8601 time \(expected a time such as 2026-01-31T00:00:00\)"
    ):
        run_headless(shop.root, Settings(executor=executor), dates=RunDates("tomorrow"))
    with pytest.raises(InvalidSetting, match="scheduled_date: ''"):
        run_headless(shop.root, Settings(executor=executor), dates=RunDates(""))
    assert not executor.commands
    run_headless(shop.root, Settings(executor=executor), job="shop_tables", dates=RunDates("2026-01-31"))
    assert all("2026-01-31" in " ".join(c.argv) for c in executor.commands if c.verb == "load")


def test_an_unknown_job_proposes_one(shop: ProjectFolder) -> None:
    with pytest.raises(UnknownName, match="did you mean 'shop_tables'"):
        run_headless(shop.root, Settings(executor=RecordingExecutor()), job="shop_table")


def test_assets_after_a_failure_are_reported_as_not_run(shop: ProjectFolder) -> None:
    executor = RecordingExecutor().on("transform", "kpi.daily", CommandResult(exit_code=1, reason="one\ntwo"))
    (result,) = run_headless(shop.root, Settings(executor=executor), job="kpi_tasks")
    assert list_outcomes([result]) == {"kpi_daily": "failed", "kpi_top": "not run"}
    assert result.assets[0].error
    assert result.assets[0].error == "one\ntwo\ntransform failed with exit code 1 (executor recording)"
    executor = RecordingExecutor().on("preload", "shop", CommandResult(exit_code=1))
    (result,) = run_headless(shop.root, Settings(executor=executor), job="shop_tables")
    assert list_outcomes([result]) == {"shop": "failed", "shop_orders": "not run", "shop_items": "not run"}


def test_an_exception_of_an_executor_is_shown_unchanged(shop: ProjectFolder) -> None:
    executor = RecordingExecutor().on("transform", "kpi.daily", ZeroDivisionError("nothing to divide by"))
    (result,) = run_headless(shop.root, Settings(executor=executor), job="kpi_tasks")
    assert "nothing to divide by" in (result.assets[0].error or "")


def test_a_project_without_jobs_is_an_error_with_advice(shop: ProjectFolder) -> None:
    application = (shop.root / "metadata/application.sl.yml").read_text()
    shop.write("metadata/application.sl.yml", application.partition("  dagRef:")[0])
    with pytest.raises(StarlakeError) as caught:
        run_headless(shop.root, Settings(executor=RecordingExecutor()))
    assert str(caught.value) == (
        f"{shop.root} has no jobs to run: 4 assets have no job: "
        "shop.items, shop.orders: no dagRef; set it to 'loads' in metadata/application.sl.yml (dagRef.load); "
        "kpi.daily, kpi.top: no dagRef; set it to 'transforms' in metadata/application.sl.yml (dagRef.transform); "
        "select assets instead (--select '*' for all of them)"
    )
    (result,) = run_headless(shop.root, Settings(executor=RecordingExecutor()), selection="shop_orders")
    assert result.success


def test_assets_without_job_are_reported(shop: ProjectFolder) -> None:
    application = (shop.root / "metadata/application.sl.yml").read_text()
    shop.write("metadata/application.sl.yml", application.replace("    transform: transforms\n", ""))
    told: list[str] = []
    run_headless(shop.root, Settings(executor=RecordingExecutor()), report=told.append)
    (line,) = told
    assert line.startswith("2 assets have no job: kpi.daily, kpi.top: no dagRef; set it to 'transforms' in ")
    assert line.endswith("; use --select to run them")
    run_headless(shop.root, Settings(executor=RecordingExecutor()), job="shop_tables", report=told.append)
    assert len(told) == 1


LONG = "load failed with exit code 1: /a/very/long/path/to/a/file/that/nobody/wants/to/see/cut/in/two/orders_20260101.csv: " + "x " * 60
RESULTS = [
    RunResult(
        "load_desk_before_opening",
        "1",
        False,
        3.25,
        (
            AssetResult("desk", "done", seconds=0.4),
            AssetResult("desk_members", "failed", error=f"{LONG}\n  second [line]"),
            AssetResult("catalogue_item_categories_of_old", "done", 2392, 12392, 1.5),
            AssetResult("desk_visits", "not run"),
        ),
    ),
    RunResult("core_tasks", "2", False, 0.1, (AssetResult("core_item", "not run"),), "the run could not start"),
]


@pytest.mark.parametrize("columns", [None, 80, 60])
def test_results_are_readable_at_any_width(columns: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(RESULTS, width=columns)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    table = lines[: lines.index("")] if "" in lines else lines
    assert all(len(line) <= (columns or 200) for line in table), table
    rows = [line.split() for line in table]
    assert ["load_desk_before_opening", "failed", "3.25"] in rows
    assert ["desk_members", "failed"] in rows
    assert ["desk_visits", "not", "run"] in rows
    assert ["catalogue_item_categories_of_old", "done", "12392", "2392", "1.50"] in rows or columns == 60
    assert f"desk_members (job load_desk_before_opening) failed: {LONG.strip()}" in lines
    assert "    second [line]" in lines
    assert "job core_tasks failed: the run could not start" in lines
    assert lines[-1] == "2 jobs, 2 failed. 5 assets: 2 done, 1 failed, 2 not run"


def test_results_of_a_successful_run_end_with_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    print_results([RunResult("j", "1", True, 1.0, (AssetResult("a", "done"), AssetResult("b", "skipped")))])
    assert capsys.readouterr().out.splitlines()[-1] == "1 job. 2 assets: 1 done, 1 skipped"


def test_runs_are_stored_in_dagster_home(
    shop: ProjectFolder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(make_home(tmp_path_factory.mktemp("home"))))
    (result,) = run_headless(shop.root, Settings(executor=RecordingExecutor()), job="kpi_tasks")
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(result.run_id)
    assert run
    assert run.status == dg.DagsterRunStatus.SUCCESS
    # As the pages of `sl-dagster dev` look for the runs of a job, and for those of the timeline.
    assert run.tags[".dagster/repository"] == f"__repository__@{shop.root.name}"
    assert run.remote_job_origin
    assert run.remote_job_origin.job_name == "kpi_tasks"
    assert run.remote_job_origin.location_name == shop.root.name


def test_assets_downstream_of_a_failed_one_do_not_run_in_later_jobs_either(shop: ProjectFolder) -> None:
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text()
    shop.write("metadata/dags/transforms.sl.yml", config.replace("{{domain}}_tasks", "{{domain}}_{{table}}"))
    shop.write("metadata/transform/kpi/labels.sql", "select label from shop.items\n")
    executor = RecordingExecutor().on("load", "orders", CommandResult(1, reason="bad file"))
    results = run_headless(shop.root, Settings(executor=executor))
    assert list_outcomes(results) == {
        "shop": "done",
        "shop_items": "done",
        "shop_orders": "failed",
        "kpi_daily": "not run",
        "kpi_labels": "done",
        "kpi_top": "not run",
    }
    assert [c.shown.split()[2:] for c in executor.commands if c.verb == "transform"] == [["--name", "kpi.labels"]]
    errors = {r.job: r.error for r in results if r.error}
    assert errors["kpi_daily"] == "none of its assets can run: kpi_daily needs shop_orders"
    assert errors["kpi_top"] == "none of its assets can run: kpi_top needs kpi_daily"


class Listener(Progress):
    """Records its calls."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.ended: list[tuple[str, str, str]] = []
        self.results: list[RunResult] = []

    def plan_jobs(self, jobs: Sequence[str]) -> None:
        self.jobs = list(jobs)

    def report_job(self, job: str, state: RunState, ended: Sequence[AssetResult]) -> None:
        self.ended += [(job, asset.key, asset.status) for asset in ended]

    def end_job(self, result: RunResult) -> None:
        self.results.append(result)


class Unreadable(Progress):
    """Fails like a database on a full disk."""

    def report_job(self, job: str, state: RunState, ended: Sequence[AssetResult]) -> None:
        raise OSError(28, "No space left on device")


def test_a_run_continues_when_its_progress_cannot_be_read(
    shop: ProjectFolder, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    results = run_headless(shop.root, Settings(executor=RecordingExecutor()), job="shop_tables", progress=Unreadable())
    assert set(list_outcomes(results).values()) == {"done"}
    assert [r.getMessage() for r in caplog.records if "no longer shown" in r.getMessage()] == [
        "the progress of shop_tables is no longer shown: the disk is full; free some space, or choose another disk, and run it again"
    ]
    assert "No space left on device" not in capfd.readouterr().err


@pytest.mark.parametrize("batch", [False, True])
def test_progress_reports_each_asset_once(shop: ProjectFolder, batch: bool) -> None:
    executor = RecordingExecutor().on("load", "orders", CommandResult(exit_code=1, reason="a bad row"))
    listener = Listener()
    results = run_headless(shop.root, Settings(executor=executor, batch=batch), progress=listener)
    assert listener.jobs == ["shop_tables", "kpi_tasks"]
    assert listener.results == results
    expected = [(r.job, a.key, a.status) for r in results for a in r.assets if a.status != "not run"]
    assert sorted(listener.ended) == sorted(expected)
    assert ("shop_tables", "shop_orders", "failed") in listener.ended


def test_progress_lines_name_the_asset_and_its_result(shop: ProjectFolder, capsys: pytest.CaptureFixture[str]) -> None:
    executor = RecordingExecutor().on("load", "orders", CommandResult(exit_code=1, reason="a bad row\nmore"))
    run_headless(shop.root, Settings(executor=executor), job="shop_tables", progress=LineProgress())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "running 1 job: shop_tables"
    assert {line.partition(": ")[0] for line in lines[1:]} == {f"shop_tables {number}/3" for number in (1, 2, 3)}
    assert any("shop_orders failed" in line and line.endswith(": a bad row") for line in lines)
    assert any("shop_items done" in line for line in lines)


@pytest.mark.parametrize("height", [10, 40])
def test_the_live_table_fits_the_terminal(height: int) -> None:
    state = RunState()
    state.planned = {f"s{n}": [f"asset_{n}"] for n in range(100)}
    state.finished = {f"s{n}": [AssetResult(f"asset_{n}", "failed" if n == 3 else "done", seconds=1)] for n in range(50)}
    state.running = {"s50": None, "s51": None}
    table = RunTable(RESULTS * 10, ["now", *(f"later_{n}" for n in range(30))], ("now", state, 3.0))
    output = io.StringIO()
    Console(width=80, height=height, file=output).print(table)
    lines = output.getvalue().splitlines()
    assert len(lines) <= height
    rows = [line.split() for line in lines]
    assert ["now", "50/100", "running", "3.00"] in rows
    assert ["asset_50", "running"] in rows
    if height > 10:
        assert ["asset_3", "failed", "1.00"] in rows


def test_a_terminal_shows_a_live_table_and_then_the_results(shop: ProjectFolder) -> None:
    command = [
        sys.executable,
        "-m",
        "starlake_dagster_components.cli",
        "run",
        str(shop.root),
        "--executor",
        "duckdb",
        "--job",
        "shop_tables",
    ]
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, command, {**os.environ, "TERM": "xterm", "COLUMNS": "90", "LINES": "30"})
    output = b""
    with suppress(OSError):  # a terminal whose program has ended raises OSError
        while data := os.read(terminal, 65536):
            output += data
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, output.decode()
    text = output.decode()
    assert text.startswith("reading ")
    assert "waiting" in text
    assert text.rstrip().endswith("1 job. 3 assets: 3 skipped")


def test_results_are_printed_as_json(shop: ProjectFolder) -> None:
    done = CliRunner().invoke(main, ["run", str(shop.root), "--executor", "duckdb", "--format", "json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["success"] is False
    assert [job["job"] for job in found["jobs"]] == ["shop_tables", "kpi_tasks"]
    (failed,) = [asset for asset in found["jobs"][1]["assets"] if asset["status"] == "failed"]
    assert failed["error"]
    assert "kpi_tasks 1/2: kpi_daily failed" in done.stderr


def test_quiet_prints_failures_only(shop: ProjectFolder) -> None:
    done = CliRunner().invoke(main, ["run", str(shop.root), "--executor", "duckdb", "--job", "shop_tables", "--quiet"])
    assert (done.exit_code, done.output) == (0, "")
    done = CliRunner().invoke(main, ["run", str(shop.root), "--executor", "duckdb", "--job", "kpi_tasks", "-q"])
    assert done.exit_code == 1
    assert done.output.startswith("kpi_daily (job kpi_tasks) failed: ")


def test_quiet_hides_warnings_about_the_project(shop: ProjectFolder) -> None:
    config = shop.root / "metadata/dags/loads.sl.yml"
    config.write_text(config.read_text().replace("tags: nightly", "ack_wait_timeout: 60"))
    options = [str(shop.root), "--executor", "duckdb", "--job", "shop_tables"]
    command = [sys.executable, "-m", "starlake_dagster_components.cli", "run", *options]
    assert "option 'ack_wait_timeout'" in subprocess.run(command, capture_output=True, text=True).stderr
    done = subprocess.run([*command, "--quiet"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
