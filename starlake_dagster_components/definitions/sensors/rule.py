"""Decide when a sensor starts a run, based on materializations, those that earlier runs consumed, and the pipeline's options."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as _timezone
from typing import NamedTuple

from ...errors import Severity, describe_unknown, join_names
from ...pipelines.pipeline import TransformTrigger
from ...pipelines.sensor_triggers import InvalidTrigger, Trigger, parse_trigger
from ...project.model import EMPTY

Interval = Callable[[str, str | None, datetime], tuple[datetime, datetime]]
"""A function such as :func:`~.cron_ticks.find_interval_before`."""

MAX_NAMED = 100
"""Maximum number of assets in a skip reason, which Dagster stores for every tick."""

SLOWER = 1.25
"""Factor by which a schedule's interval must exceed the data cycle to count as slower. The lengths of months differ by less."""


@dataclass(frozen=True, slots=True)
class DatasetTiming:
    """The schedule and freshness of a dataset, which show how often it is updated.

    Attributes:
        cron: schedule of the pipeline that updates it; None if the pipeline has no schedule.
        timezone: time zone of the schedule; None = UTC.
        freshness: ``freshness.error`` of the table or task: how late it may be.
    """

    cron: str | None = None
    timezone: str | None = None
    freshness: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Materialization:
    """The latest materialization of an asset.

    Attributes:
        timestamp: time when it was logged, in seconds since 1970.
        logical_time: the scheduled date of its run if known, or else the time when it was logged.
    """

    storage_id: int
    run_id: str
    timestamp: float
    logical_time: datetime


@dataclass(frozen=True, slots=True)
class Consumption:
    """The state of a sensor: the materializations that its runs have consumed.

    Attributes:
        storage_ids: asset -> storage ID of the last consumed materialization.
        watermark: time when the newest of all consumed materializations was logged, in seconds since 1970.
        last_run: time when the last run was requested.
    """

    storage_ids: Mapping[str, int] = EMPTY
    watermark: float = 0.0
    last_run: datetime | None = None

    def is_new(self, asset: str, materialization: Materialization) -> bool:
        """Return whether a materialization has not been consumed yet.

        Storage IDs usually increase, but SQLite reuses those of deleted runs. So a materialization that was logged after all consumed ones
        is new, regardless of its ID.
        """
        consumed = self.storage_ids.get(asset)
        return consumed is None or materialization.storage_id > consumed or materialization.timestamp > self.watermark

    def record(self, consumed: Mapping[str, Materialization], now: datetime) -> "Consumption":
        """Return the state after a run was requested that consumes the materializations in ``consumed``."""
        return Consumption(
            storage_ids={**self.storage_ids, **{asset: m.storage_id for asset, m in consumed.items()}},
            watermark=max([self.watermark, *(m.timestamp for m in consumed.values())]),
            last_run=now,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """The conditions under which a sensor starts a run.

    Attributes:
        trigger: the options of the pipeline.
        assets: the watched assets, in the order in which messages list them.
        strategy: the parsed ``trigger.strategy``, with assets as names.
        timings: asset -> how often it is updated, if known.
        cycles: crons and time zones of the data cycle, of which the most frequent applies; empty without a data cycle.
    """

    trigger: TransformTrigger
    assets: tuple[str, ...]
    strategy: Trigger
    timings: Mapping[str, DatasetTiming] = EMPTY
    cycles: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """A decision to start a run, which consumes all new materializations, whether or not the strategy needed them."""

    consumed: Mapping[str, Materialization]

    @property
    def logical_time(self) -> datetime:
        """The logical time of the run: the newest one of the consumed materializations."""
        return max(m.logical_time for m in self.consumed.values())


@dataclass(frozen=True, slots=True)
class Wait:
    """A decision not to start a run. Nothing is consumed, and the UI shows the reason."""

    reason: str


Decision = Start | Wait


def build_rule(trigger: TransformTrigger, watched: Mapping[str, str], timings: Mapping[str, DatasetTiming] = EMPTY) -> Rule:
    """Return the rule of a sensor.

    ``watched`` has the asset of each dataset name; an asset may have several names. ``timings`` has how often each dataset is updated.

    Raises:
        InvalidTrigger: the triggering strategy is invalid, or names a dataset that is not watched.
    """
    watched = drop_filtered_datasets(watched, trigger)
    by_asset = {asset: timings[name] for name, asset in watched.items() if name in timings}
    assets = tuple(dict.fromkeys(watched.values()))
    strategy = _resolve_strategy(parse_trigger(trigger.strategy or "all"), watched)
    return Rule(trigger, assets, strategy, by_asset, _find_cycles(trigger, assets, by_asset))


def drop_filtered_datasets(watched: Mapping[str, str], trigger: TransformTrigger) -> Mapping[str, str]:
    """Return the watched assets without the datasets that a template removes (``filtered_datasets``)."""
    names = {name.lower() for name in trigger.filtered_datasets}
    left_out = {asset for name, asset in watched.items() if name.lower() in names or asset.lower() in names}
    return {name: asset for name, asset in watched.items() if asset not in left_out}


class OptionProblem(NamedTuple):
    """A problem with an option of a DAG config."""

    severity: Severity
    option: str
    message: str


def find_trigger_problems(
    trigger: TransformTrigger, watched: Mapping[str, str], timings: Mapping[str, DatasetTiming] = EMPTY
) -> Iterator[OptionProblem]:
    """Yield the problems with a sensor's options that depend on the assets that it watches. See :func:`build_rule`."""
    try:
        rule = build_rule(trigger, watched, timings)
    except InvalidTrigger as error:
        option = "dataset_triggering_strategy"
        yield OptionProblem("error", option, f"option '{option}': {error}")
        return
    if trigger.data_cycle_enabled and not rule.cycles:
        unscheduled = sorted(set(rule.assets) - {a for a, t in rule.timings.items() if t.cron})
        text = (
            "option 'data_cycle_enabled' has no effect: 'data_cycle' is not set, and cannot be determined from the inputs of the job, "
            f"because {join_names(unscheduled, MAX_NAMED)} {'has' if len(unscheduled) == 1 else 'have'} no schedule"
        )
        yield OptionProblem("warning", "data_cycle_enabled", text)
    if trigger.optional_dataset_enabled and not rule.cycles:
        option = "optional_dataset_enabled"
        yield OptionProblem("warning", option, f"option '{option}' has no effect without a data cycle")


def decide_run(rule: Rule, latest: Mapping[str, Materialization], consumption: Consumption, now: datetime, interval: Interval) -> Decision:
    """Return :class:`Start` with all new materializations, or :class:`Wait` with a reason that is worded as in generated DAGs.

    ``latest`` has the latest materialization of each asset that has one. ``now`` has an offset.
    """
    new = {a: latest[a] for a in rule.assets if a in latest and consumption.is_new(a, latest[a])}
    if not new:
        return Wait("No materializations observed")
    cycle = _Cycle(rule, Start(new).logical_time, interval) if rule.cycles else None
    strategy = rule.strategy
    updated = {a: cycle.is_updated(a, latest.get(a), is_new=a in new) if cycle else a in new for a in rule.assets}
    if not (strategy.holds(updated.__getitem__, rule.assets) if cycle is None or strategy.every else all(updated.values())):
        missing = _format_names([a for a, is_updated in updated.items() if not is_updated])
        details = f" (data cycle: since {cycle.begin.isoformat()})" if cycle else ""
        if strategy.postfix and not cycle:
            details = f" (strategy: {rule.trigger.strategy.strip()})"
        return Wait(f"Observed materializations for {_format_names(list(new))}, but not for {missing}{details}")
    if consumption.last_run is not None:
        pause = consumption.last_run + rule.trigger.min_timedelta_between_runs - now
        if pause > timedelta():
            return Wait(
                f"Observed materializations for {_format_names(list(new))}, but the last run was requested at "
                f"{consumption.last_run.isoformat(timespec='seconds')}, so the next one can be requested in {pause.total_seconds():.0f} s "
                "(min_timedelta_between_runs)"
            )
    return Start(new)


class _Cycle:
    """The data cycle at a logical time. The rules are those of ``check_datasets_freshness`` in starlake-dagster."""

    def __init__(self, rule: Rule, logical_time: datetime, interval: Interval) -> None:
        self._rule = rule
        self._time = logical_time
        self._interval = interval
        intervals = [interval(cron, timezone, logical_time) for cron, timezone in rule.cycles]
        begin, end = min(intervals, key=lambda i: (i[1] - i[0], i[0].timestamp()))
        # Within one time zone, Python subtracts wall-clock times, so a day always has 24 hours.
        self._length = end - begin
        self.begin = begin.astimezone(_timezone.utc)

    def is_slow(self, asset: str) -> bool:
        """Return whether an asset has a schedule that updates it less often than the cycle."""
        timing = self._rule.timings.get(asset)
        return bool(timing and timing.cron) and self._find_own_interval(asset)[1] > self._length * SLOWER

    def is_optional(self, asset: str) -> bool:
        """Return whether the sensor does not wait for an asset: it may be missing in a cycle, and ``optional_dataset_enabled`` is set."""
        if not self._rule.trigger.optional_dataset_enabled:
            return False
        timing = self._rule.timings.get(asset, DatasetTiming())
        return self.is_slow(asset) if timing.cron else timing.freshness > self._length

    def is_updated(self, asset: str, materialization: Materialization | None, *, is_new: bool) -> bool:
        """Return whether an asset need not be materialized again. With the ``any`` strategy, the materialization may be consumed."""
        if self.is_optional(asset):
            return True
        return (is_new or not self._rule.strategy.every or self.is_slow(asset)) and self.contains(asset, materialization)

    def contains(self, asset: str, materialization: Materialization | None) -> bool:
        """Return whether a materialization belongs to the last complete interval of the asset's schedule (or of the cycle), or is later."""
        if materialization is None:
            return False
        timing = self._rule.timings.get(asset, DatasetTiming())
        begin, length = self._find_own_interval(asset) if timing.cron else (self.begin, timedelta())
        tolerance = timedelta()
        # An asset that is updated so rarely that it may miss a cycle may be early or late by its freshness.
        if self._rule.trigger.beyond_data_cycle_enabled and length + timing.freshness > self._length:
            tolerance = timing.freshness
        return begin - tolerance < materialization.logical_time <= self._time + tolerance

    def _find_own_interval(self, asset: str) -> tuple[datetime, timedelta]:
        timing = self._rule.timings[asset]
        begin, end = self._interval(timing.cron or "", timing.timezone, self._time)
        return begin.astimezone(_timezone.utc), end - begin


def _format_names(assets: list[str]) -> str:
    """Format a list as the sensors of generated DAGs do. A very long list ends with the number of the remaining names."""
    if len(assets) <= MAX_NAMED:
        return str(assets)
    return f"{assets[:MAX_NAMED]} and {len(assets) - MAX_NAMED} more"


def _resolve_strategy(strategy: Trigger, watched: Mapping[str, str]) -> Trigger:
    """Return a strategy with asset names instead of dataset names."""
    if not strategy.postfix:
        return strategy
    by_name = {**{asset.lower(): asset for asset in watched.values()}, **{name.lower(): asset for name, asset in watched.items()}}
    for name in strategy.names:
        if name.lower() not in by_name:
            raise InvalidTrigger(describe_unknown("dataset", name, watched))
    resolved = ((kind, (watched.get(text) or by_name[text.lower()]) if kind == "name" else text) for kind, text in strategy.postfix)
    return Trigger(postfix=tuple(resolved))


def _find_cycles(
    trigger: TransformTrigger, assets: tuple[str, ...], timings: Mapping[str, DatasetTiming]
) -> tuple[tuple[str, str | None], ...]:
    """Return the data cycle as in starlake-orchestration: the option, or else the schedules of the watched assets if each has one."""
    if not trigger.data_cycle_enabled:
        return ()
    if trigger.data_cycle:
        return ((trigger.data_cycle, trigger.timezone),)
    crons = [(t.cron, t.timezone) for a in assets if (t := timings.get(a)) and t.cron]
    return tuple(dict.fromkeys(crons)) if len(crons) == len(assets) else ()
