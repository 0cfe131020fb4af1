"""``sl-dagster run`` for dates, intervals, and ranges of partitions."""

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster_home import make_home
from project_folder import ProjectFolder

from starlake_dagster_components.cli.dates import RunDates
from starlake_dagster_components.cli.main import main
from starlake_dagster_components.cli.results import RunResult
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.errors import InvalidSetting
from starlake_dagster_components.executors.base import CommandResult
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.testing import RecordingExecutor

SQL = "select * from shop.orders where id >= '{{sl_data_interval_start}}' and id < '{{sl_data_interval_end}}'\n"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def incremental(shop: ProjectFolder) -> ProjectFolder:
    """The shop with a daily incremental task, and a task whose job starts when that is materialized."""
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text()
    dag = config.replace("{{domain}}_tasks", "{{schedule}}_tasks")
    shop.write("metadata/dags/transforms.sl.yml", f'{dag}  options:\n    start_date: "2026-03-01"\n    SL_TIMEZONE: Europe/Paris\n')
    shop.write("metadata/transform/kpi/daily.sql", SQL)
    shop.write("metadata/transform/kpi/daily.sl.yml", "version: 1\ntask:\n  schedule: daily\n")
    return shop


@pytest.fixture
def two_crons(incremental: ProjectFolder) -> ProjectFolder:
    """The same with an hourly incremental task, too."""
    incremental.write("metadata/transform/kpi/top.sql", SQL.replace("shop.orders", "kpi.daily"))
    incremental.write("metadata/transform/kpi/top.sl.yml", "version: 1\ntask:\n  schedule: hourly\n")
    return incremental


def run(folder: ProjectFolder, dates: RunDates, executor: RecordingExecutor | None = None, **more: object) -> list[RunResult]:
    return run_headless(folder.root, Settings(executor=executor or RecordingExecutor(), cache="off"), dates=dates, **more)  # type: ignore[arg-type]


def list_lines(executor: RecordingExecutor, name: str) -> list[str]:
    return [line for c in executor.commands if name in (line := " ".join(c.argv))]


def test_a_range_starts_one_run_per_partition(incremental: ProjectFolder) -> None:
    executor = RecordingExecutor()
    results = run(incremental, RunDates(first="2026-03-28", last="2026-03-30"), executor, job="daily_tasks")
    assert [(r.job, r.partition, r.success) for r in results] == [
        ("daily_tasks", day, True) for day in ("2026-03-28", "2026-03-29", "2026-03-30")
    ]
    lines = list_lines(executor, "kpi.daily")
    assert "sl_data_interval_start=2026-03-28T23:00:00,sl_data_interval_end=2026-03-29T22:00:00" in lines[1]
    assert "--scheduledDate 2026-03-29T22:00:00" in lines[1]


def test_single_run_covers_the_whole_range(incremental: ProjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(make_home(tmp_path / "home")))
    executor = RecordingExecutor()
    (result,) = run(incremental, RunDates(first="2026-03-28", last="2026-03-30", single_run=True), executor, job="daily_tasks")
    assert result.label == "daily_tasks 2026-03-28...2026-03-30"
    (line,) = list_lines(executor, "kpi.daily")
    assert "sl_data_interval_start=2026-03-27T23:00:00,sl_data_interval_end=2026-03-30T22:00:00" in line
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("kpi_daily")) == {"2026-03-28", "2026-03-29", "2026-03-30"}


def test_a_range_without_a_job_runs_all_jobs(incremental: ProjectFolder) -> None:
    executor = RecordingExecutor()
    results = run(incremental, RunDates(first="2026-03-28", last="2026-03-29"), executor)
    assert [r.label for r in results] == ["shop_tables", "daily_tasks 2026-03-28", "daily_tasks 2026-03-29", "none_tasks"]
    # Files are loaded once, whatever the range is; the job without a schedule gets the range.
    assert not any("scheduledDate" in line for line in list_lines(executor, "load "))
    (line,) = list_lines(executor, "kpi.top")
    assert "sl_data_interval_start=2026-03-27T23:00:00,sl_data_interval_end=2026-03-29T22:00:00" in line


def test_a_range_may_have_times(two_crons: ProjectFolder) -> None:
    dates = RunDates(first="2026-03-29T01:00", last="2026-03-29T04:00")
    assert [r.partition for r in run(two_crons, dates, job="hourly_tasks")] == ["2026-03-29-01:00", "2026-03-29-03:00"]
    # The hour that the clock repeats.
    dates = RunDates(first="2025-10-26T00:00Z", last="2025-10-26T02:00+00:00")
    with pytest.raises(
        InvalidSetting, match=r"hourly_tasks has no partition from 2025-10-26T00:00Z to .*: its partitions range from 2026-03-01-00:00"
    ):
        run(two_crons, dates, job="hourly_tasks")
    assert [
        r.partition for r in run(two_crons, RunDates(first="2026-10-25T00:00Z", last="2026-10-25T02:00+00:00"), job="hourly_tasks")
    ] == [
        "2026-10-25-02:00",
        "2026-10-25-02:00+0100",
    ]


def test_a_failed_partition_stops_only_downstream_jobs(incremental: ProjectFolder) -> None:
    executor = RecordingExecutor().on("transform", "kpi.daily", CommandResult(exit_code=1), CommandResult(0))
    results = run(incremental, RunDates(first="2026-03-28", last="2026-03-29"), executor)
    assert [(r.label, r.success) for r in results][1:] == [
        ("daily_tasks 2026-03-28", False),
        ("daily_tasks 2026-03-29", True),
        ("none_tasks", False),
    ]
    assert results[-1].error == "none of its assets can run: kpi_top needs kpi_daily"


def test_assets_with_different_partitions_cannot_be_selected_together(two_crons: ProjectFolder) -> None:
    executor = RecordingExecutor()
    (result,) = run(two_crons, RunDates(), executor, selection="key:kpi_daily or key:kpi_top")
    assert result.success
    assert len(executor.commands) == 2
    with pytest.raises(InvalidSetting, match="--from: kpi_daily and kpi_top have different partitions; select assets of one job"):
        run(two_crons, RunDates(first="2026-03-28", last="2026-03-29"), selection="key:kpi_daily or key:kpi_top")
    results = run(two_crons, RunDates(first="2026-03-28", last="2026-03-29"), selection="key:kpi_daily or key:shop_orders")
    assert [r.label for r in results] == ["selection 2026-03-28", "selection 2026-03-29"]


@pytest.fixture
def chained(two_crons: ProjectFolder) -> ProjectFolder:
    """A daily incremental task, and one that reads it, in one job."""
    return two_crons.write("metadata/transform/kpi/top.sl.yml", "version: 1\ntask:\n  schedule: daily\n")


def find_yesterday() -> str:
    return (datetime.now(ZoneInfo("Europe/Paris")) - timedelta(days=1)).date().isoformat()


def test_a_run_without_a_date_is_for_the_last_partition(chained: ProjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(make_home(tmp_path / "home")))
    executor = RecordingExecutor()
    before = find_yesterday()
    (result,) = run(chained, RunDates(), executor, job="daily_tasks")
    possible = {before, find_yesterday()}  # midnight may have passed
    assert result.success
    (dated,) = run(chained, RunDates(scheduled_date="2026-03-30T12:00"), executor, job="daily_tasks")
    assert dated.success
    assert "--scheduledDate 2026-03-30T12:00:00" in list_lines(executor, "kpi.top")[1]
    assert "sl_data_interval_start=2026-03-28T23:00:00,sl_data_interval_end=2026-03-29T22:00:00" in list_lines(executor, "kpi.top")[1]
    with dg.DagsterInstance.get() as instance:
        stored = instance.get_run_by_id(result.run_id)
        assert stored is not None
        yesterday = stored.tags["dagster/partition"]
        assert yesterday in possible
        for key in ("kpi_daily", "kpi_top"):
            assert instance.get_materialized_partitions(dg.AssetKey(key)) == {yesterday, "2026-03-29"}


@pytest.mark.parametrize(
    ("start", "end", "partitions"),
    [
        ("2026-03-28T23:00", "2026-03-29T22:00", {"2026-03-29"}),
        ("2026-03-27T23:00", "2026-03-29T22:00", {"2026-03-28", "2026-03-29"}),
        ("2026-03-28", "2026-03-29T22:00", set()),
        ("2026-03-28T23:00", "2026-03-30", set()),
    ],
)
def test_an_interval_of_whole_partitions_materializes_them(
    chained: ProjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, end: str, partitions: set[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(make_home(tmp_path / "home")))
    executor = RecordingExecutor()
    (result,) = run(chained, RunDates(interval_start=start, interval_end=end), executor, job="daily_tasks")
    assert result.success
    for line in list_lines(executor, "transform"):
        assert f"sl_data_interval_start={start[:10]}" in line
        assert f"sl_data_interval_end={end[:10]}" in line
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("kpi_top")) == partitions


def test_an_interval_applies_to_all_runs(incremental: ProjectFolder) -> None:
    executor = RecordingExecutor()
    run(incremental, RunDates(interval_start="2026-01-01", interval_end="2026-02-01T00:00+01:00"), executor)
    for name in ("kpi.daily", "kpi.top"):
        (line,) = list_lines(executor, name)
        assert "sl_data_interval_start=2026-01-01T00:00:00,sl_data_interval_end=2026-01-31T23:00:00" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "2026-01-01"], "--from: a range needs both ends; add --to"),
        (["--to", "2026-01-01"], "--to: a range needs both ends; add --from"),
        (["--interval-end", "2026-01-01"], "--interval-end: a data interval needs both ends; add --interval-start"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], "--to: '2026-01-01' is not after --from '2026-01-02'"),
        (["--from", "yesterday", "--to", "2026-01-01"], "--from: 'yesterday' is not an ISO 8601 time"),
        (["--interval-start", "2026-01-02", "--interval-end", "2026-01-02"], "--interval-end: '2026-01-02' is not after"),
        (["--single-run"], "--single-run requires a range; add --from and --to"),
        (
            ["--from", "2026-01-01", "--to", "2026-01-01", "--scheduled-date", "2026-01-01"],
            "--from: the runs of a range get their dates from it; remove the other dates",
        ),
        (["--scheduled-date", "now"], "--scheduled-date: 'now' is not an ISO 8601 time"),
        (["--job", "daily_tasks", "--from", "2025-01-01", "--to", "2025-01-02"], "--from: daily_tasks has no partition from 2025-01-01"),
        (["--select", "kpi_daily", "--from", "2025-01-01", "--to", "2025-01-02"], "--from: the selection has no partition from 2025-01-01"),
    ],
)
def test_invalid_combinations_of_dates_are_errors(incremental: ProjectFolder, options: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["run", str(incremental.root), "--quiet", *options])
    assert result.exit_code == 1
    assert message in result.output
