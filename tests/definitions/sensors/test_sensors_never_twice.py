"""No run starts twice, and none is lost, in random graphs of jobs with random materializations and ticks, and a daemon that dies anywhere.

Each sequence runs twice: with our sensors and a daemon that dies, and with a small model in which nothing dies, and which counts
materializations instead of reading an event log.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, Protocol

import dagster as dg
import pytest
from dagster_home import open_instance
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from starlake_dagster_components.definitions.sensors.cron_ticks import find_interval_before
from starlake_dagster_components.definitions.sensors.cursor import read_cursor, write_cursor
from starlake_dagster_components.definitions.sensors.definition import build_sensor
from starlake_dagster_components.definitions.sensors.rule import Materialization, Start, build_rule, decide_run
from starlake_dagster_components.pipelines.pipeline import TransformTrigger

Death = Literal["none", "evaluated", "reserved", "created"]
"""Moments at which the daemon dies in a tick: never, after the evaluation, after writing the run requests, after creating the run."""


@dataclass(frozen=True)
class Job:
    """A job: the assets that its sensor watches, its rule, and the assets that it materializes. Assets are numbers."""

    watches: tuple[int, ...]
    strategy: str
    makes: tuple[int, ...]

    def holds(self, new: Callable[[int], bool]) -> bool:
        """Return whether the strategy holds, in another implementation."""
        if self.strategy in ("all", "any"):
            return (all if self.strategy == "all" else any)(new(a) for a in self.watches)
        text = self.strategy.replace("(", " ( ").replace(")", " ) ")
        return bool(eval(" ".join(str(new(int(w[3:]))) if w.startswith("d.t") else w for w in text.split())))


Request = tuple[str, dict[str, int]]
"""Run key, and asset -> storage id of what the run consumes."""


class Backend(Protocol):
    """A place that stores materializations and evaluates sensors."""

    def materialize(self, asset: int) -> int:
        """Store a materialization. Return its storage id."""

    def evaluate(self, job: int, cursor: str | None) -> tuple[Request | None, str | None]:
        """Evaluate a sensor. Return its requests and the new cursor."""


@dataclass
class Daemon:
    """A model of Dagster's sensor daemon. It writes the requests and the new cursor into the tick before it creates runs, and resumes an
    unfinished tick. A run whose key exists is not created again."""

    backend: Backend
    cursors: dict[int, str | None] = field(default_factory=dict)
    unfinished: dict[int, tuple[Request, str | None]] = field(default_factory=dict)
    runs: list[tuple[int, Request]] = field(default_factory=list)

    def tick(self, job: int, death: Death = "none") -> None:
        if job in self.unfinished:
            request, cursor = self.unfinished[job]
            if death in ("evaluated", "reserved"):
                return
        else:
            found, cursor = self.backend.evaluate(job, self.cursors.get(job))
            if death == "evaluated":
                return
            if found is None:
                self.cursors[job] = cursor
                return
            request = found
            self.unfinished[job] = (request, cursor)
            if death == "reserved":
                return
        if not any(j == job and r[0] == request[0] for j, r in self.runs):
            self.runs.append((job, request))
        if death == "created":
            return
        del self.unfinished[job]
        self.cursors[job] = cursor


@dataclass
class Model:
    """The model, without ids, cursors, and deaths."""

    jobs: tuple[Job, ...]
    made: Counter[int] = field(default_factory=Counter)
    consumed: Counter[tuple[int, int]] = field(default_factory=Counter)

    def evaluate(self, number: int) -> dict[int, int] | None:
        """Return asset -> number of the materialization that a run of the job consumes now; None if no run starts."""
        job = self.jobs[number]
        new = {a: self.made[a] for a in job.watches if self.made[a] > self.consumed[number, a]}
        if not new or not job.holds(new.__contains__):
            return None
        for asset, count in new.items():
            self.consumed[number, asset] = count
        return new


@dataclass(frozen=True)
class Play:
    """A graph of jobs and its events: ``("materialize", asset)``, ``("tick", job, death)``, or ``("finish", n)`` for the n-th run."""

    jobs: tuple[Job, ...]
    sources: int
    actions: tuple[tuple[object, ...], ...]


@st.composite
def plays(draw: st.DrawFn, actions: int) -> Play:
    sources = draw(st.integers(1, 4))
    jobs: list[Job] = []
    assets = sources
    for _ in range(draw(st.integers(1, 4))):
        watches = tuple(draw(st.lists(st.integers(0, assets - 1), min_size=1, max_size=4, unique=True)))
        names = [f"d.t{a}" for a in watches]
        strategy = draw(st.sampled_from(["all", "all", "any", f"{names[0]} and ({' or '.join(names)})", " or ".join(names)]))
        makes = tuple(range(assets, assets + draw(st.integers(1, 2))))
        assets = makes[-1] + 1
        jobs.append(Job(watches, strategy, makes))
    numbers = st.integers(0, len(jobs) - 1)
    deaths: st.SearchStrategy[Death] = st.sampled_from(["none", "none", "evaluated", "reserved", "created"])
    action = st.one_of(
        st.tuples(st.just("materialize"), st.integers(0, sources - 1)),
        st.tuples(st.just("tick"), numbers, deaths),
        st.tuples(st.just("finish"), st.integers(0, 30)),
    )
    return Play(tuple(jobs), sources, tuple(draw(st.lists(action, max_size=actions))))


def perform(play: Play, backend: Backend) -> None:
    daemon, model = Daemon(backend), Model(play.jobs)
    nth: dict[tuple[int, int], int] = {}
    expected: list[tuple[int, dict[int, int]]] = []
    finished: set[int] = set()

    def materialize(asset: int) -> None:
        model.made[asset] += 1
        nth[asset, backend.materialize(asset)] = model.made[asset]

    def tick(job: int, death: Death = "none") -> None:
        # The model decides if the sensor is evaluated and the daemon lives long enough to store the decision.
        if job not in daemon.unfinished and death != "evaluated":
            run = model.evaluate(job)
            if run:
                expected.append((job, run))
        daemon.tick(job, death)

    def finish(number: int) -> None:
        if number < len(daemon.runs) and number not in finished:
            finished.add(number)
            for asset in play.jobs[daemon.runs[number][0]].makes:
                materialize(asset)

    for kind, *arguments in play.actions:
        {"materialize": materialize, "tick": tick, "finish": finish}[str(kind)](*arguments)  # type: ignore[operator]
    # While the daemon lives, all jobs finish, because they do not form a cycle.
    while True:
        for job in range(len(play.jobs)):
            tick(job)
            tick(job)
        for number in range(len(daemon.runs)):
            finish(number)
        if not daemon.unfinished and len(finished) == len(daemon.runs) and not any(_is_due(model, play, j) for j in range(len(play.jobs))):
            break

    found = [(job, {int(a[3:]): nth[int(a[3:]), i] for a, i in consumed.items()}) for job, (_, consumed) in daemon.runs]
    assert sorted(found, key=_order) == sorted(expected, key=_order)
    # No run starts twice, regardless of the model.
    once = Counter((job, asset, count) for job, run in found for asset, count in run.items())
    assert not [what for what, times in once.items() if times > 1]
    # No run is lost: nothing is left that would start one.
    for number, each in enumerate(play.jobs):
        left = {a for a in each.watches if model.made[a] > max((r[a] for j, r in found if j == number and a in r), default=0)}
        assert not (left and each.holds(left.__contains__))


def _order(run: tuple[int, dict[int, int]]) -> tuple[int, list[tuple[int, int]]]:
    return run[0], sorted(run[1].items())


def _is_due(model: Model, play: Play, number: int) -> bool:
    job = play.jobs[number]
    new = {a for a in job.watches if model.made[a] > model.consumed[number, a]}
    return bool(new) and job.holds(new.__contains__)


class Decisions:
    """The decisions alone, with a list in place of the event log."""

    def __init__(self, jobs: tuple[Job, ...]) -> None:
        self._ids = itertools.count(1)
        self._latest: dict[str, Materialization] = {}
        self._keys = [{f"d_t{a}": dg.AssetKey(f"d_t{a}") for a in job.watches} for job in jobs]
        self._rules = [build_rule(TransformTrigger(job.strategy), {f"d.t{a}": f"d_t{a}" for a in job.watches}) for job in jobs]

    def materialize(self, asset: int) -> int:
        number = next(self._ids)
        moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
        self._latest[f"d_t{asset}"] = Materialization(number, "run", 1.7e9 + number * 0.37, moment)
        return number

    def evaluate(self, job: int, cursor: str | None) -> tuple[Request | None, str | None]:
        keys = self._keys[job]
        latest = {a: m for a, m in self._latest.items() if a in keys}
        consumption = read_cursor(cursor, keys)
        decision = decide_run(self._rules[job], latest, consumption, datetime.now(timezone.utc), find_interval_before)
        if not isinstance(decision, Start):
            return None, cursor
        consumed = {a: m.storage_id for a, m in decision.consumed.items()}
        after = consumption.record(decision.consumed, datetime.now(timezone.utc))
        return (json.dumps(consumed, sort_keys=True), consumed), write_cursor(after, keys)


class Instance:
    """Real sensors and a real event log. Each sequence has its own asset keys, so that all can use one instance."""

    plays = itertools.count()

    def __init__(self, instance: dg.DagsterInstance, jobs: tuple[Job, ...]) -> None:
        self._instance = instance
        self._prefix = f"p{next(Instance.plays)}"
        self._watched = [{f"d.t{a}": self._key(a) for a in job.watches} for job in jobs]
        self._sensors = [
            build_sensor(name=f"s{i}", job_name=f"j{i}", watched=self._watched[i], trigger=TransformTrigger(job.strategy))
            for i, job in enumerate(jobs)
        ]
        self._repository = dg.Definitions().get_repository_def()

    def _key(self, asset: int) -> dg.AssetKey:
        return dg.AssetKey([self._prefix, f"d_t{asset}"])

    def materialize(self, asset: int) -> int:
        key = self._key(asset)
        self._instance.report_runless_asset_event(dg.AssetMaterialization(key))
        record = self._instance.get_asset_records([key])[0].asset_entry.last_materialization_record
        assert record is not None
        return record.storage_id

    def evaluate(self, job: int, cursor: str | None) -> tuple[Request | None, str | None]:
        with dg.build_multi_asset_sensor_context(
            monitored_assets=list(self._watched[job].values()), instance=self._instance, cursor=cursor, repository_def=self._repository
        ) as context:
            result = self._sensors[job](context)
            cursor = context.cursor
        if not isinstance(result, dg.RunRequest):
            return None, cursor
        assert result.run_key is not None
        consumed = json.loads(result.tags[".dagster/starlake_triggered_by"])
        return (result.run_key, {key.removeprefix(f"{self._prefix}/"): entry[0] for key, entry in consumed.items()}), cursor


@pytest.fixture(scope="module", params=["memory", pytest.param("disk", marks=pytest.mark.slow)])
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder: Path = tmp_path_factory.mktemp("instance")
    with dg.DagsterInstance.ephemeral() if request.param == "memory" else open_instance(folder) as instance:
        yield instance


@given(plays(actions=80))
@settings(max_examples=300, deadline=None)
def test_decisions_never_consume_a_materialization_twice(play: Play) -> None:
    perform(play, Decisions(play.jobs))


@given(play=plays(actions=25))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_sensors_never_consume_a_materialization_twice(instance: dg.DagsterInstance, play: Play) -> None:
    perform(play, Instance(instance, play.jobs))
