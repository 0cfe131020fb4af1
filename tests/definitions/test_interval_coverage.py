"""Whatever happens to a schedule and its runs, each moment is in the interval of exactly one successful run."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster_home import open_instance
from hypothesis import given, settings
from hypothesis import strategies as st

from starlake_dagster_components.definitions.partitions import PARTITION, RANGE_END, RANGE_START, find_interval_of_run
from starlake_dagster_components.definitions.partitions import build_partitions as build_pipeline_partitions
from starlake_dagster_components.definitions.schedules import build_schedule
from starlake_dagster_components.pipelines.pipeline import Pipeline, Schedule
from starlake_dagster_components.project.model import DagConfig, Origin
from starlake_dagster_components.settings import Settings

UTC = timezone.utc
Interval = tuple[datetime, datetime]


@dataclass(frozen=True)
class Cron:
    """A cron, and the days and local times of its ticks."""

    text: str
    times: tuple[time, ...] = (time(0),)
    weekdays: tuple[int, ...] = tuple(range(7))
    day: int = 0
    """Day of the month; 0 = any."""
    minutes: tuple[int, ...] = ()
    """For ticks in every hour: their minutes."""

    def list_ticks(self, zone: ZoneInfo, first: date, days: int) -> list[datetime]:
        """Return the ticks of some days in UTC. An ambiguous time is the later one, and a skipped time is the end of the gap."""
        found: set[datetime] = set()
        for day in (first + timedelta(days=n) for n in range(days)):
            if day.weekday() not in self.weekdays or (self.day and day.day != self.day):
                continue
            if self.minutes:
                begin, end = (datetime.combine(day + timedelta(days=n), time(), zone).astimezone(UTC) for n in (0, 1))
                hours = range(int((end - begin).total_seconds() / 3600))
                found.update(begin + timedelta(hours=n, minutes=minute) for n in hours for minute in self.minutes)
                continue
            found.update(place(datetime.combine(day, at), zone) for at in self.times)
        return sorted(found)


def place(local: datetime, zone: ZoneInfo) -> datetime:
    moment = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while moment.astimezone(zone).replace(tzinfo=None, fold=0) != local:
        # A time that the clock skips becomes the first minute after the gap.
        local += timedelta(minutes=1)
        moment = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return moment


CRONS = (
    Cron("0 * * * *", minutes=(0,)),
    Cron("*/20 * * * *", minutes=(0, 20, 40)),
    Cron("@daily"),
    Cron("0 0 * * *"),
    Cron("30 1 * * *", times=(time(1, 30),)),
    Cron("30 2 * * *", times=(time(2, 30),)),
    Cron("0 2,14 * * *", times=(time(2), time(14))),
    Cron("0 3 * * 1-5", times=(time(3),), weekdays=(0, 1, 2, 3, 4)),
    Cron("0 0 * * 1", weekdays=(0,)),
    Cron("15 2 1 * *", times=(time(2, 15),), day=1),
    Cron("@monthly", day=1),
)
ZONES = ("UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Sydney")
BEGINNING = date(2023, 12, 1)
STARTS = st.sampled_from(
    [datetime(2024, 1, 10, 7, 5), datetime(2024, 3, 9, 3), datetime(2024, 3, 30, 12), datetime(2024, 10, 26, 22), datetime(2024, 11, 2, 18)]
)
EVENTS = st.lists(
    st.one_of(
        st.just(("tick", 1)),
        st.just(("tick", 1)),
        st.just(("failing tick", 1)),
        st.tuples(st.just("down"), st.integers(2, 6)),
        st.just(("restart", 0)),
        st.just(("re-execute", 0)),
        st.just(("backfill", 0)),
        st.just(("single-run backfill", 0)),
        st.tuples(st.just("edit"), st.integers(0, len(CRONS) - 1)),
    ),
    min_size=3,
    max_size=14,
)


@dataclass
class Run:
    interval: Interval
    tags: Mapping[str, str]
    succeeded: bool


class World:
    """A schedule and its runs, with a simulated daemon and simulated users. Only the code of this package is real."""

    def __init__(self, instance: dg.DagsterInstance, cron: Cron, zone: str, now: datetime) -> None:
        self.instance, self.zone, self.now = instance, zone, now.replace(tzinfo=UTC)
        self.identity = str(uuid.uuid4())
        self.runs: list[Run] = []
        self.run_keys: set[str] = set()
        self.use(cron)

    def use(self, cron: Cron) -> None:
        """Load the project with a cron."""
        self.cron = cron
        schedule = Schedule("s", cron.text, timezone=self.zone)
        dag = DagConfig("d", "", "", origin=Origin("d.sl.yml", 0))
        pipeline = Pipeline(
            name="job", kind="transform", dag_config=dag, executor="shell", filename="j.py", schedule=schedule, start_date=BEGINNING
        )
        self.windows = build_pipeline_partitions(pipeline, Settings())
        spec = dg.AssetSpec("asset", partitions_def=self.windows)
        assets = dg.multi_asset(name="asset", specs=[spec])(lambda: None)
        self.schedule = build_schedule(
            name="job_schedule",
            job_name="job",
            cron=cron.text,
            timezone=self.zone,
            partitions=self.windows,
            loaded=self.now,
            identity=self.identity,
        )
        job = dg.define_asset_job("job", selection="asset")
        self.repository = dg.Definitions(assets=[assets], jobs=[job], schedules=[self.schedule]).get_repository_def()
        self.ticks = cron.list_ticks(ZoneInfo(self.zone), self.now.date() - timedelta(days=35), 60 if cron.minutes else 450)

    def find_next_ticks(self, count: int) -> list[datetime]:
        return [tick for tick in self.ticks if tick > self.now][:count]

    def evaluate(self, tick: datetime, *, succeeds: bool = True) -> None:
        with dg.build_schedule_context(self.instance, scheduled_execution_time=tick, repository_def=self.repository) as context:
            data = self.schedule.evaluate_tick(context)
        for request in data.run_requests or ():
            # Dagster's scheduler does not start a second run with the same run key.
            if request.run_key not in self.run_keys:
                self.run_keys.add(str(request.run_key))
                self.start(dict(request.tags), succeeds=succeeds)

    def start(self, tags: dict[str, str], *, succeeds: bool = True) -> None:
        interval = find_interval_of_run(tags, self.windows)
        assert interval is not None
        self.instance.add_run(dg.DagsterRun(job_name="job", run_id=str(uuid.uuid4()), tags=tags))
        self.runs.append(Run((interval[0].astimezone(UTC), interval[1].astimezone(UTC)), tags, succeeds))

    def apply(self, event: str, number: int) -> None:
        if event in ("tick", "failing tick", "down"):
            # After a pause, Dagster's scheduler evaluates only the last tick.
            for tick in self.find_next_ticks(number)[-1:]:
                self.now = tick
                self.evaluate(tick, succeeds=event != "failing tick")
        elif event == "restart" and self.now in self.ticks:
            # A daemon that is killed evaluates its last tick again.
            self.evaluate(self.now)
        elif event == "re-execute":
            self.re_execute()
        elif "backfill" in event:
            self.backfill(single_run=event.startswith("single"))
        elif event == "edit":
            self.repair()
            self.now += timedelta(minutes=7)
            self.use(CRONS[number])

    def re_execute(self) -> None:
        for run in self.runs:
            run.succeeded = True

    def find_beginning(self) -> datetime:
        return min((run.interval[0] for run in self.runs), default=self.now)

    def list_missing(self) -> list[Interval]:
        """Return the intervals of the model, since the first run, that have ended and had no run."""
        done = [run.interval for run in self.runs]
        begin = self.find_beginning()
        pairs = [(a, b) for a, b in pairwise(self.ticks) if a >= begin and b <= self.now]
        return [(a, b) for a, b in pairs if not any(start < b and a < end for start, end in done)]

    def backfill(self, *, single_run: bool) -> None:
        """Start runs for the missing partitions, as users would."""
        keys = {}
        if not self.list_missing():
            return
        for key in self.windows.get_partition_keys_in_time_window(dg.TimeWindow(self.find_beginning(), self.now)):
            window = self.windows.time_window_for_partition_key(key)
            keys[window.start.astimezone(UTC), window.end.astimezone(UTC)] = key
        ranges: list[list[Interval]] = []
        for interval in self.list_missing():
            assert interval in keys, "an interval of the model has no partition"
            if single_run and ranges and ranges[-1][-1][1] == interval[0]:
                ranges[-1].append(interval)
            else:
                ranges.append([interval])
        for found in ranges:
            first, last = keys[found[0]], keys[found[-1]]
            self.start({PARTITION: first} if first == last else {RANGE_START: first, RANGE_END: last})

    def repair(self) -> None:
        self.re_execute()
        self.backfill(single_run=False)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance for all examples, each of which has its own schedule."""
    with open_instance(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.mark.slow
@settings(max_examples=10)
@given(cron=st.sampled_from(CRONS), zone=st.sampled_from(ZONES), start=STARTS, events=EVENTS)
def test_each_moment_is_in_one_interval(
    instance: dg.DagsterInstance, cron: Cron, zone: str, start: datetime, events: list[tuple[str, int]]
) -> None:
    world = World(instance, cron, zone, start)
    for event, number in events:
        world.apply(event, number)
    world.repair()
    intervals = sorted(run.interval for run in world.runs if run.succeeded)
    joints = [(a, b) for (_, a), (b, _) in pairwise(intervals)]
    assert all(a == b for a, b in joints), f"gaps or doubles: {[joint for joint in joints if joint[0] != joint[1]]}"
