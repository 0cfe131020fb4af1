"""Decide when a sensor starts a run: a pure function of materializations, the consumption of earlier runs, and the pipeline's options."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as _timezone

from ...errors import Severity, describe_unknown
from ...pipelines.pipeline import TransformTrigger
from ...pipelines.sensor_triggers import InvalidTrigger, Trigger, parse_trigger
from ...project.model import EMPTY

Interval = Callable[[str, str | None, datetime], tuple[datetime, datetime]]
"""``(cron, time zone, moment)`` -> the last complete interval of the cron: see :func:`.ticks.interval_before`."""

MAX_NAMED = 100
"""Number of assets in a skip reason. A tick is stored, so the rest are counted."""

SLOWER = 1.25
"""A schedule is slower than the data cycle if its interval is longer by this factor. Months differ by less; hours and days do not."""


@dataclass(frozen=True, slots=True)
class DatasetTiming:
    """Interval at which a dataset is renewed, compared with the data cycle of the pipelines that read it.

    Attributes:
        cron: schedule of the pipeline that makes it; None if it has none.
        timezone: time zone of that schedule.
        freshness: ``freshness.error`` of the table or task: how late it may be.
    """

    cron: str | None = None
    timezone: str | None = None
    freshness: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Materialization:
    """The latest materialization of an asset.

    Attributes:
        storage_id: its id in the event log.
        run_id: the run that made it.
        timestamp: time when it was logged, in seconds since 1970.
        logical_time: the scheduled date of its run if known, else the time when it was logged.
    """

    storage_id: int
    run_id: str
    timestamp: float
    logical_time: datetime


@dataclass(frozen=True, slots=True)
class Consumption:
    """The materializations that the runs of a sensor have consumed: its only state.

    Attributes:
        storage_ids: asset -> id of the materialization that the last run consumed.
        watermark: time when the newest of all consumed materializations was logged.
        last_run: time when the last run was requested.
    """

    storage_ids: Mapping[str, int] = EMPTY
    watermark: float = 0.0
    last_run: datetime | None = None

    def is_new(self, asset: str, materialization: Materialization) -> bool:
        """Return whether no run has consumed a materialization.

        IDs grow, but SQLite reuses those of deleted runs. A materialization logged after everything that was ever consumed is therefore
        new, regardless of its ID.
        """
        consumed = self.storage_ids.get(asset)
        return consumed is None or materialization.storage_id > consumed or materialization.timestamp > self.watermark

    def record(self, consumed: Mapping[str, Materialization], now: datetime) -> "Consumption":
        """Return the memory after a run was requested for some materializations."""
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
        strategy: ``trigger.strategy``, parsed; its names are assets.
        timings: timings of the assets; assets without one are not scheduled.
        cycles: cron and time zone of the data cycle; the most frequent of several applies; empty without a data cycle.
    """

    trigger: TransformTrigger
    assets: tuple[str, ...]
    strategy: Trigger
    timings: Mapping[str, DatasetTiming] = EMPTY
    cycles: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """A decision to start a run.

    Attributes:
        consumed: the materializations that it consumes: all new ones, whether or not the strategy needed them.
    """

    consumed: Mapping[str, Materialization]

    @property
    def logical_time(self) -> datetime:
        """The newest logical time among them, which is that of the run."""
        return max(m.logical_time for m in self.consumed.values())


@dataclass(frozen=True, slots=True)
class Wait:
    """A decision not to start a run. Nothing is consumed; the UI shows the reason."""

    reason: str


Decision = Start | Wait


def build_rule(
    trigger: TransformTrigger,
    watched: Mapping[str, str],
    timings: Mapping[str, DatasetTiming] = EMPTY,
) -> Rule:
    """Return the rule of a sensor.

    Args:
        trigger: the options of the pipeline.
        watched: dataset name -> asset; an asset may have several names.
        timings: dataset name -> how often it is renewed.

    Raises:
        InvalidTrigger: the strategy is invalid, or names a dataset that is not watched.
    """
    waited = drop_filtered_datasets(watched, trigger)
    by_asset = {asset: timings[name] for name, asset in waited.items() if name in timings}
    assets = tuple(dict.fromkeys(waited.values()))
    return Rule(
        trigger=trigger,
        assets=assets,
        strategy=_resolve_strategy(parse_trigger(trigger.strategy or "all"), waited),
        timings=by_asset,
        cycles=_find_cycles(trigger, assets, by_asset),
    )


def drop_filtered_datasets(watched: Mapping[str, str], trigger: TransformTrigger) -> Mapping[str, str]:
    """Return the watched assets without the datasets that a template removes (``filtered_datasets``)."""
    names = {name.lower() for name in trigger.filtered_datasets}
    left_out = {asset for name, asset in watched.items() if name.lower() in names or asset.lower() in names}
    return {name: asset for name, asset in watched.items() if asset not in left_out}


@dataclass(frozen=True, slots=True)
class OptionProblem:
    """A problem with an option of a sensor."""

    severity: Severity
    option: str
    message: str


def find_trigger_problems(
    trigger: TransformTrigger, watched: Mapping[str, str], timings: Mapping[str, DatasetTiming] = EMPTY
) -> tuple[OptionProblem, ...]:
    """Return the problems with a sensor's options that depend on the assets that it watches.

    Args:
        trigger: the options of the pipeline.
        watched: dataset name -> asset; an asset may have several names.
        timings: dataset name -> how often it is renewed.
    """
    try:
        rule = build_rule(trigger, watched, timings)
    except InvalidTrigger as error:
        option = "dataset_triggering_strategy"
        return (OptionProblem("error", option, f"option '{option}': {error}"),)
    found = []
    if trigger.data_cycle_enabled and not rule.cycles:
        unscheduled = sorted(set(rule.assets) - {a for a, t in rule.timings.items() if t.cron})
        found.append(
            OptionProblem(
                "warning",
                "data_cycle_enabled",
                "option 'data_cycle_enabled': there is no 'data_cycle', and none follows from what the job reads, since "
                f"{_list_names(unscheduled)} {'has' if len(unscheduled) == 1 else 'have'} no schedule; the job starts as if it were off",
            )
        )
    if trigger.optional_dataset_enabled and not rule.cycles:
        option = "optional_dataset_enabled"
        found.append(
            OptionProblem("warning", option, f"option '{option}' has no effect without a data cycle: datasets are optional within one")
        )
    return tuple(found)


def decide_run(rule: Rule, latest: Mapping[str, Materialization], consumption: Consumption, now: datetime, interval: Interval) -> Decision:
    """Decide whether to start a run.

    Args:
        rule: the sensor's rule.
        latest: the latest materialization of each asset that has one.
        consumption: the consumption of earlier runs.
        now: the current time, with an offset.
        interval: arithmetic of crons.

    Returns:
        :class:`Start` with all new materializations, or :class:`Wait` with the reason, worded as in generated DAGs.
    """
    new = {a: latest[a] for a in rule.assets if a in latest and consumption.is_new(a, latest[a])}
    if not new:
        return Wait("No materializations observed")
    cycle = _Cycle(rule, Start(new).logical_time, interval) if rule.cycles else None
    if not _is_satisfied(rule, latest, new, cycle):
        return Wait(_describe_observed(rule, latest, new, cycle))
    if consumption.last_run is not None:
        pause = consumption.last_run + rule.trigger.min_timedelta_between_runs - now
        if pause > timedelta():
            return Wait(
                f"Observed materializations for {_format_names(list(new))}, but the last run was requested at "
                f"{consumption.last_run.isoformat(timespec='seconds')}: the next one in {pause.total_seconds():.0f} s at the earliest "
                "(min_timedelta_between_runs)"
            )
    return Start(new)


class _Cycle:
    """The data cycle of a run for a logical time, which decides on the materializations that belong to it. starlake-dagster:
    ``check_datasets_freshness``.
    """

    def __init__(self, rule: Rule, logical_time: datetime, interval: Interval) -> None:
        self._rule = rule
        self._time = logical_time
        self._interval = interval
        intervals = [interval(cron, timezone, logical_time) for cron, timezone in rule.cycles]
        begin, end = min(intervals, key=lambda i: (i[1] - i[0], i[0].timestamp()))
        # A difference within one zone is that of the wall clock: a day has 24 hours in every season.
        self._length = end - begin
        self.begin = begin.astimezone(_timezone.utc)

    def is_slow(self, asset: str) -> bool:
        """Return whether an asset is renewed by its own schedule, less often than the cycle."""
        timing = self._rule.timings.get(asset)
        return bool(timing and timing.cron) and self._find_own_interval(asset)[1] > self._length * SLOWER

    def is_optional(self, asset: str) -> bool:
        """Return whether an asset may be missing in a cycle, and options say not to wait for it."""
        if not self._rule.trigger.optional_dataset_enabled:
            return False
        timing = self._rule.timings.get(asset, DatasetTiming())
        return self.is_slow(asset) if timing.cron else timing.freshness > self._length

    def contains(self, asset: str, materialization: Materialization | None) -> bool:
        """Return whether a materialization is from the last complete interval (of the asset's own schedule or of the cycle) or later."""
        if materialization is None:
            return False
        timing = self._rule.timings.get(asset, DatasetTiming())
        begin, length = self._find_own_interval(asset) if timing.cron else (self.begin, timedelta())
        tolerance = timedelta()
        # An asset that is renewed so seldom that it may miss a cycle may be early or late by its freshness.
        if self._rule.trigger.beyond_data_cycle_enabled and length + timing.freshness > self._length:
            tolerance = timing.freshness
        return begin - tolerance < materialization.logical_time <= self._time + tolerance

    def _find_own_interval(self, asset: str) -> tuple[datetime, timedelta]:
        timing = self._rule.timings[asset]
        begin, end = self._interval(timing.cron or "", timing.timezone, self._time)
        return begin.astimezone(_timezone.utc), end - begin


def _is_satisfied(rule: Rule, latest: Mapping[str, Materialization], new: Mapping[str, Materialization], cycle: _Cycle | None) -> bool:
    if cycle is None:
        return rule.strategy.holds(new.__contains__, rule.assets)
    if rule.strategy.postfix or rule.strategy.every:
        return rule.strategy.holds(lambda a: cycle.is_optional(a) or _is_up_to_date(a, latest, new, cycle), rule.assets)
    return all(cycle.is_optional(a) or cycle.contains(a, latest.get(a)) for a in rule.assets)


def _is_up_to_date(asset: str, latest: Mapping[str, Materialization], new: Mapping[str, Materialization], cycle: _Cycle) -> bool:
    return (asset in new or cycle.is_slow(asset)) and cycle.contains(asset, latest.get(asset))


def _describe_observed(rule: Rule, latest: Mapping[str, Materialization], new: Mapping[str, Materialization], cycle: _Cycle | None) -> str:
    seen = list(new)
    if cycle is None:
        missing = [a for a in rule.assets if a not in new]
        text = f"Observed materializations for {_format_names(seen)}, but not for {_format_names(missing)}"
        return f"{text} (strategy: {rule.trigger.strategy.strip()})" if rule.strategy.postfix else text
    any_of = not rule.strategy.postfix and not rule.strategy.every
    missing = [
        a
        for a in rule.assets
        if not cycle.is_optional(a) and not (cycle.contains(a, latest.get(a)) if any_of else _is_up_to_date(a, latest, new, cycle))
    ]
    return (
        f"Observed materializations for {_format_names(seen)}, but not for {_format_names(missing)} (data cycle: "
        f"since {cycle.begin.isoformat()})"
    )


def _list_names(assets: list[str]) -> str:
    rest = len(assets) - MAX_NAMED
    return f"{', '.join(assets[:MAX_NAMED])}{f' and {rest} more' if rest > 0 else ''}"


def _format_names(assets: list[str]) -> str:
    """Format a list as in Python, like the sensors of generated DAGs. A very long list ends with a count."""
    if len(assets) <= MAX_NAMED:
        return str(assets)
    return f"{assets[:MAX_NAMED]} and {len(assets) - MAX_NAMED} more"


def _resolve_strategy(strategy: Trigger, watched: Mapping[str, str]) -> Trigger:
    """Return a strategy with assets instead of datasets as names."""
    if not strategy.postfix:
        return strategy
    by_name = {**{asset.lower(): asset for asset in watched.values()}, **{name.lower(): asset for name, asset in watched.items()}}
    for name in strategy.names:
        if name.lower() not in by_name:
            raise InvalidTrigger(describe_unknown("dataset", name, watched))
    return Trigger(
        postfix=tuple(
            (kind, watched.get(text) or by_name[text.lower()]) if kind == "name" else (kind, text) for kind, text in strategy.postfix
        )
    )


def _find_cycles(
    trigger: TransformTrigger, assets: tuple[str, ...], timings: Mapping[str, DatasetTiming]
) -> tuple[tuple[str, str | None], ...]:
    """Return the data cycle: the option, else the schedules of all watched assets if each has one (starlake-orchestration)."""
    if not trigger.data_cycle_enabled:
        return ()
    if trigger.data_cycle:
        return ((trigger.data_cycle, trigger.timezone),)
    crons = [(t.cron, t.timezone) for a in assets if (t := timings.get(a)) and t.cron]
    return tuple(dict.fromkeys(crons)) if len(crons) == len(assets) else ()
