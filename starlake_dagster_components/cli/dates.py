"""The dates of ``sl-dagster run``, and the runs that they result in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from ..definitions.build import Built
from ..definitions.partitions import PARTITION, RANGE_END, RANGE_START, describe_range, find_partitions_of_interval
from ..definitions.steps.run_tags import INTERVAL_END, INTERVAL_START, SCHEDULED_DATE, build_time_tags, parse_time
from ..errors import InvalidSetting, join_with
from ..pipelines.pipeline import Pipeline
from ..project.model import EMPTY
from ..settings import Settings


@dataclass(frozen=True, slots=True)
class RunDates:
    """The requested dates, in ISO 8601 as written by the user; None if not given.

    Attributes:
        scheduled_date: logical date of all runs.
        interval_start, interval_end: data interval of all runs.
        first, last: first and last day of a range, or the times at which it begins and ends.
        single_run: whether each job has one run for the range instead of one per partition.
    """

    scheduled_date: str | None = None
    interval_start: str | None = None
    interval_end: str | None = None
    first: str | None = None
    last: str | None = None
    single_run: bool = False

    def check(self) -> None:
        """Check that the dates are valid and can be combined.

        Raises:
            InvalidSetting: a date is invalid, or the dates cannot be combined; the message begins with the option.
        """
        for name in ("scheduled_date", "interval_start", "interval_end"):
            self._find_moment(name)
        for ends, name in ((("interval_start", "interval_end"), "data interval"), (("first", "last"), "range")):
            given, missing = ([n for n in ends if (getattr(self, n) is None) is absent] for absent in (False, True))
            if given and missing:
                raise InvalidSetting(f"{_OPTIONS[given[0]]}: a {name} needs both ends; add {_OPTIONS[missing[0]]}")
        if self.first is not None and (self.scheduled_date is not None or self.interval_start is not None):
            raise InvalidSetting(f"{_OPTIONS['first']}: the runs of a range get their dates from it; remove the other dates")
        if self.single_run and self.first is None:
            raise InvalidSetting("--single-run requires a range; add --from and --to")
        start, end = self._find_moment("interval_start"), self._find_moment("interval_end")
        if start and end and start >= end:
            raise InvalidSetting(f"--interval-end: '{self.interval_end}' is not after --interval-start '{self.interval_start}'")
        if self.first is not None:
            self.find_range("UTC")

    def _find_moment(self, name: str) -> datetime | None:
        text = getattr(self, name)
        return None if text is None else _parse_moment(name, text)

    def build_tags(self) -> dict[str, str]:
        """Return the tags that all runs get if no range was given."""
        given = {SCHEDULED_DATE: self.scheduled_date, INTERVAL_START: self.interval_start, INTERVAL_END: self.interval_end}
        return {name: value.strip() for name, value in given.items() if value is not None}

    def fits_partitions(self, built: Built, selection: str | None) -> bool:
        """Return whether the runs can be runs of partitions.

        A data interval must consist of whole partitions of each asset, and selected assets must have the same partitions.
        """
        kinds = {spec.partitions_def for spec in built.graph.specs.values() if spec.partitions_def is not None}
        start, end = self._find_moment("interval_start"), self._find_moment("interval_end")
        if start and end:
            return all(isinstance(k, dg.TimeWindowPartitionsDefinition) and find_partitions_of_interval(k, start, end) for k in kinds)
        return selection is None or self.first is not None or len(kinds) <= 1

    def find_range(self, zone: str) -> tuple[datetime, datetime]:
        """Return the start of the range and its exclusive end. ``zone`` is the time zone of days, and of times without an offset.

        Raises:
            InvalidSetting: one of them is not a date, or the end is not after the start.
        """
        start, end = _localize(self.first or "", "first", zone), _localize(self.last or "", "last", zone)
        if end <= start:
            raise InvalidSetting(f"--to: '{self.last}' is not after --from '{self.first}'")
        return start, end


_OPTIONS = {
    "scheduled_date": "scheduled_date",
    "interval_start": "--interval-start",
    "interval_end": "--interval-end",
    "first": "--from",
    "last": "--to",
}
"""Field -> its name in messages."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run to be launched, with its dates as tags.

    ``partition`` is the key of its partition, or ``FIRST...LAST`` for a range; empty if it has none.
    """

    job: str
    tags: Mapping[str, str] = EMPTY
    partition: str = ""

    @property
    def label(self) -> str:
        """The job's name, followed by the partition if there is one."""
        return f"{self.job} {self.partition}".rstrip()


def plan_job_runs(
    built: Built, settings: Settings, dates: RunDates, jobs: Sequence[str], report: Callable[[str], None] | None
) -> list[PlannedRun]:
    """Return the runs of jobs: one per job, or one per partition of a range.

    A job with partitions has a run for each partition that begins in the range, or one run for all of them (``single_run``). Another
    transform job has one run, with the range as its data interval. Another load job has one run without dates: it loads the files that are
    waiting. ``report`` receives a message about each job without a partition in the range.

    Raises:
        InvalidSetting: none of the jobs has a run.
    """
    if dates.first is None:
        return [PlannedRun(job, dates.build_tags()) for job in jobs]
    pipelines = {pipeline.name: pipeline for pipeline in built.plan.pipelines}
    planned: list[PlannedRun] = []
    for job in jobs:
        runs = list(_plan_range(built, pipelines[job], settings, dates))
        if not runs:
            text = f"{job} has no partition from {dates.first} to {dates.last}: {describe_range(built.graph.partitions[job])}"
            if len(jobs) == 1:
                raise InvalidSetting(f"--from: {text}")
            if report:
                report(text)
        planned += runs
    if not planned:
        raise InvalidSetting(f"--from: no job has a partition from {dates.first} to {dates.last}")
    return planned


def _plan_range(built: Built, pipeline: Pipeline, settings: Settings, dates: RunDates) -> Iterator[PlannedRun]:
    partitions = built.graph.partitions.get(pipeline.name)
    if partitions is not None:
        yield from _split_range(pipeline.name, partitions, dates)
    elif pipeline.kind == "load":
        yield PlannedRun(pipeline.name)
    else:
        schedule = pipeline.schedule
        zone = (schedule.timezone if schedule else pipeline.trigger.timezone) or settings.timezone or "UTC"
        start, end = dates.find_range(zone)
        yield PlannedRun(pipeline.name, build_time_tags(end, start, end))


def plan_selection_runs(built: Built, dates: RunDates, name: str, keys: Sequence[dg.AssetKey]) -> list[PlannedRun]:
    """Return the runs of the ``name`` job for the selected assets: one run, or one per partition of the date range.

    Raises:
        InvalidSetting: the assets have different partitions, or none in the range.
    """
    if dates.first is None:
        return [PlannedRun(name, dates.build_tags())]
    graph = built.definitions.resolve_asset_graph()
    kinds: dict[dg.PartitionsDefinition[str], str] = {}
    for key in keys:
        partitions = graph.get(key).partitions_def
        if partitions is not None:
            kinds.setdefault(partitions, key.to_user_string())
    if len(kinds) > 1:
        raise InvalidSetting(f"--from: {join_with('and', list(kinds.values()))} have different partitions; select assets of one job")
    partitions = next(iter(kinds), None)
    if partitions is None:
        start, end = dates.find_range("UTC")
        return [PlannedRun(name, build_time_tags(end, start, end))]
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        raise InvalidSetting(f"--from: the partitions of {next(iter(kinds.values()))} are not intervals")
    runs = list(_split_range(name, partitions, dates))
    if not runs:
        raise InvalidSetting(f"--from: the selection has no partition from {dates.first} to {dates.last}: {describe_range(partitions)}")
    return runs


def _split_range(job: str, windows: dg.TimeWindowPartitionsDefinition, dates: RunDates) -> Iterator[PlannedRun]:
    start, end = dates.find_range(windows.timezone)
    # Dagster also lists partitions before the first one.
    listed = filter(windows.has_partition_key, windows.get_partition_keys_in_time_window(dg.TimeWindow(start, end)))
    keys = [key for key in listed if start <= windows.time_window_for_partition_key(key).start < end]
    if keys and dates.single_run:
        yield PlannedRun(job, {RANGE_START: keys[0], RANGE_END: keys[-1]}, f"{keys[0]}...{keys[-1]}")
    elif not dates.single_run:
        yield from (PlannedRun(job, {PARTITION: key}, key) for key in keys)


def _parse_moment(name: str, text: str) -> datetime:
    moment = parse_time(text)
    if moment is None:
        raise InvalidSetting(f"{_OPTIONS[name]}: '{text}' is not an ISO 8601 time (expected a time such as 2026-01-31T00:00:00)")
    return moment


def _localize(text: str, name: str, zone: str) -> datetime:
    """Return the start of a day (of the next day, for ``last``) or a time, in a time zone unless the time has an offset."""
    text = text.strip()
    moment = _parse_moment(name, text)
    if len(text) == len("2026-01-31"):
        return (moment + timedelta(days=name == "last")).replace(tzinfo=ZoneInfo(zone))
    has_offset = text.endswith("Z") or "+" in text or "-" in text[len("2026-01-31") :] or "_" in text
    return moment if has_offset else moment.replace(tzinfo=ZoneInfo(zone))
