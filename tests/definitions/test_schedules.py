"""Schedules give runs the time of their tick."""

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from starlake_dagster_components.definitions.schedules import build_schedule, find_cron_problems
from starlake_dagster_components.definitions.sensors.cron_ticks import find_interval_before
from starlake_dagster_components.errors import Location
from starlake_dagster_components.pipelines.pipeline import Pipeline, Schedule, TransformTrigger
from starlake_dagster_components.project.model import DagConfig, Origin

CRONS = [
    "0 * * * *",
    "*/20 * * * *",
    "0 0 * * *",
    "30 1 * * *",
    "30 2 * * *",
    "0 0 * * 1",
    "15 2 1 * *",
    "0 3 * * 1-5",
    "0 2,14 * * *",
    "@daily",
]
ZONES = ["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Sydney"]
CHANGES = [
    datetime(2026, 3, 7),
    datetime(2026, 3, 28),
    datetime(2026, 4, 4),
    datetime(2026, 10, 3),
    datetime(2026, 10, 24),
    datetime(2026, 10, 31),
]


def evaluate_tags(schedule: dg.ScheduleDefinition, tick: datetime) -> dict[str, str]:
    data = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=tick))
    assert data.run_requests is not None
    assert len(data.run_requests) == 1
    return {name: value for name, value in data.run_requests[0].tags.items() if not name.startswith(("dagster/", ".dagster/"))}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", CRONS)
def test_intervals_have_no_gaps_when_the_clock_changes(cron: str, zone: str) -> None:
    for start in CHANGES:
        begin = start.replace(tzinfo=ZoneInfo(zone)).timestamp()
        ticks = schedule_execution_time_iterator(begin, cron, zone)
        for before, tick in pairwise(next(ticks) for _ in range(30)):
            moment = tick.astimezone(timezone.utc)
            for later in (moment, moment + timedelta(seconds=40)):
                found = find_interval_before(cron, zone, later)
                assert [t.timestamp() for t in found] == [before.timestamp(), tick.timestamp()]


def test_runs_of_a_schedule_have_its_tags_and_dates() -> None:
    schedule = build_schedule(name="load_schedule", job_name="load", cron="0 2 * * *", timezone="Europe/Paris", tags={"team": "sales"})
    assert evaluate_tags(schedule, datetime(2026, 1, 5, 2, tzinfo=ZoneInfo("Europe/Paris"))) == {
        "team": "sales",
        "starlake/scheduled_date": "2026-01-05T02:00:00+01:00",
        "starlake/data_interval_start": "2026-01-04T02:00:00+01:00",
        "starlake/data_interval_end": "2026-01-05T02:00:00+01:00",
    }
    assert schedule.execution_timezone == "Europe/Paris"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_schedule_without_a_time_zone_is_in_utc() -> None:
    schedule = build_schedule(name="s", job_name="load", cron="@hourly")
    assert schedule.execution_timezone == "UTC"
    assert (
        evaluate_tags(schedule, datetime(2026, 1, 5, 0, tzinfo=timezone.utc))["starlake/data_interval_start"] == "2026-01-04T23:00:00+00:00"
    )


def test_an_interval_covers_a_day_of_23_hours() -> None:
    schedule = build_schedule(name="s", job_name="load", cron="0 0 * * *", timezone="Europe/Paris")
    tags = evaluate_tags(schedule, datetime(2026, 3, 30, tzinfo=ZoneInfo("Europe/Paris")))
    assert tags["starlake/data_interval_start"] == "2026-03-29T00:00:00+01:00"
    assert tags["starlake/data_interval_end"] == "2026-03-30T00:00:00+02:00"


def test_ticks_outside_of_start_and_end_date_are_skipped() -> None:
    schedule = build_schedule(
        name="s", job_name="load", cron="0 0 * * *", timezone="Asia/Tokyo", start_date=date(2026, 1, 5), end_date=date(2026, 1, 6)
    )
    tokyo = ZoneInfo("Asia/Tokyo")
    skipped = {}
    for day in (4, 5, 6, 7):
        data = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=datetime(2026, 1, day, tzinfo=tokyo)))
        skipped[day] = data.skip_message
    assert skipped == {
        4: "2026-01-04T00:00:00+09:00 is before the start date 2026-01-05",
        5: None,
        6: None,
        7: "2026-01-07T00:00:00+09:00 is after the end date 2026-01-06",
    }


def test_the_setting_chooses_whether_schedules_are_off_by_default() -> None:
    schedule = build_schedule(name="s", job_name="load", cron="0 0 * * *", default_status=dg.DefaultScheduleStatus.STOPPED)
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_dagster_rejects_crons_that_it_does_not_support() -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError):
        build_schedule(name="s", job_name="load", cron="0 0 1 * * ?")
    with pytest.raises(dg.DagsterInvalidDefinitionError):
        build_schedule(name="s", job_name="load", cron="0 0 * * *", timezone="Europe/Atlantis")


def test_a_schedule_can_be_part_of_definitions() -> None:
    @dg.asset
    def orders() -> None: ...

    definitions = dg.Definitions(
        assets=[orders],
        jobs=[dg.define_asset_job("load", selection=[orders])],
        schedules=[build_schedule(name="load_schedule", job_name="load", cron="0 0 * * *")],
    )
    assert definitions.resolve_schedule_def("load_schedule").job_name == "load"


@pytest.mark.parametrize(
    ("crons", "rejected"),
    [
        (("0 0 * * fri,mon#2", None), ["metadata/load/a/x.sl.yml:2: Dagster does not accept the cron '0 0 * * fri,mon#2'"]),
        (("0 0 * * *", "0 0 * * fri,mon#2"), ["d.sl.yml: Dagster does not accept the cron '0 0 * * fri,mon#2'"]),
        (("@daily", "0 0 * * 1#1"), []),
    ],
)
def test_crons_that_only_dagster_rejects_are_reported(crons: tuple[str, str | None], rejected: list[str]) -> None:
    pipeline = Pipeline(
        name="load",
        kind="load",
        dag_config=DagConfig("d", "", "", origin=Origin("d.sl.yml", 0)),
        executor="shell",
        filename="load.py",
        schedule=Schedule("s", crons[0], location=Location("metadata/load/a/x.sl.yml", 2)),
        trigger=TransformTrigger(data_cycle=crons[1]),
    )
    assert [str(problem) for problem in find_cron_problems(pipeline)] == rejected
