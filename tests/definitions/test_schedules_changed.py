"""After a cron is changed, the first run begins where the last one ended, and past ticks start nothing."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster_home import open_instance

from starlake_dagster_components.definitions.schedules import build_schedule

PARIS = ZoneInfo("Europe/Paris")


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(tmp_path) as found:
        yield found


@dg.job(name="load")
def load() -> None: ...


def evaluate(
    instance: dg.DagsterInstance, cron: str, tick: str, loaded: str, *, identity: str = "", hold: bool = False
) -> tuple[str, str] | str:
    """Evaluate a tick, and store the run that it requests. Return its interval, or the reason why there is no run."""
    schedule = build_schedule(
        name="load_schedule", job_name="load", cron=cron, timezone="Europe/Paris", loaded=parse_time(loaded), identity=identity
    )
    with dg.build_schedule_context(instance, scheduled_execution_time=parse_time(tick)) as context:
        data = schedule.evaluate_tick(context)
    if not data.run_requests:
        return data.skip_message or ""
    tags = data.run_requests[0].tags
    if not hold:
        instance.create_run_for_job(load, tags=tags)
    return tags["starlake/data_interval_start"][:16], tags["starlake/data_interval_end"][:16]


@pytest.mark.parametrize(
    ("before", "last", "after", "first", "interval"),
    [
        ("40 5 * * *", "2026-01-05T05:40", "50 5 * * *", "2026-01-06T05:50", ("2026-01-05T05:40", "2026-01-06T05:50")),
        ("0 0 * * *", "2026-01-07T00:00", "0 0 * * 0", "2026-01-11T00:00", ("2026-01-07T00:00", "2026-01-11T00:00")),
        ("0 0 * * *", "2026-01-07T00:00", "0 * * * *", "2026-01-07T11:00", ("2026-01-07T00:00", "2026-01-07T11:00")),
        ("@daily", "2026-01-07T00:00", "0 0 * * *", "2026-01-08T00:00", ("2026-01-07T00:00", "2026-01-08T00:00")),
    ],
)
def test_the_first_run_of_a_changed_cron_continues_the_last_interval(
    instance: dg.DagsterInstance, before: str, last: str, after: str, first: str, interval: tuple[str, str]
) -> None:
    evaluate(instance, before, last, loaded="2026-01-01T00:00")
    changed = (parse_time(last) + timedelta(hours=1)).isoformat()[:16]
    assert evaluate(instance, after, first, loaded=changed, hold=True) == interval
    # A tick that is evaluated twice gives the same interval, even if its run already exists.
    assert evaluate(instance, after, first, loaded=changed) == interval
    assert evaluate(instance, after, first, loaded=changed, hold=True) == interval


def test_further_runs_have_the_intervals_of_the_cron(instance: dg.DagsterInstance) -> None:
    evaluate(instance, "40 5 * * *", "2026-01-05T05:40", loaded="2026-01-01T00:00")
    evaluate(instance, "50 5 * * *", "2026-01-06T05:50", loaded="2026-01-05T07:14")
    # After a pause, the days between are shown as missing.
    assert evaluate(instance, "50 5 * * *", "2026-01-09T05:50", loaded="2026-01-09T06:00") == ("2026-01-08T05:50", "2026-01-09T05:50")


def test_a_tick_before_the_change_starts_nothing(instance: dg.DagsterInstance) -> None:
    evaluate(instance, "40 5 * * *", "2026-01-05T05:40", loaded="2026-01-01T00:00")
    assert evaluate(instance, "50 5 * * *", "2026-01-05T05:50", loaded="2026-01-05T06:14") == (
        "The cron has changed since the last run, from '40 5 * * * Europe/Paris' to '50 5 * * * Europe/Paris', and the project was loaded "
        "with it only after 2026-01-05T05:50:00+01:00. The data interval of the next run begins at 2026-01-05T05:40:00+01:00"
    )
    assert evaluate(instance, "50 5 * * *", "2026-01-06T05:50", loaded="2026-01-05T06:14") == ("2026-01-05T05:40", "2026-01-06T05:50")


def test_a_late_tick_of_a_cron_that_was_not_changed_starts_a_run(instance: dg.DagsterInstance) -> None:
    evaluate(instance, "40 5 * * *", "2026-01-05T05:40", loaded="2026-01-01T00:00")
    assert evaluate(instance, "40 5 * * *", "2026-01-06T05:40", loaded="2026-01-06T08:00") == ("2026-01-05T05:40", "2026-01-06T05:40")


def test_schedules_of_other_projects_are_ignored(instance: dg.DagsterInstance) -> None:
    evaluate(instance, "40 5 * * *", "2026-01-05T05:40", loaded="2026-01-01T00:00", identity="north")
    found = evaluate(instance, "50 5 * * *", "2026-01-06T05:50", loaded="2026-01-01T00:00", identity="south")
    assert found == ("2026-01-05T05:50", "2026-01-06T05:50")
