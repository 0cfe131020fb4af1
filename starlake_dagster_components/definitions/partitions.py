"""Partitions of tasks by the cron of their job's schedule, and the data intervals of runs."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime, time, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

import dagster as dg

from ..pipelines.pipeline import Pipeline
from ..project.model import Task
from ..project.sql.intervals import find_task_interval_variables
from ..settings import Settings
from .steps.run_tags import INTERVAL_END, INTERVAL_START, SCHEDULED_DATE, read_tagged_time

PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

_AT_MIDNIGHT = ("@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")


def is_partitioned(task: Task, pipeline: Pipeline | None, settings: Settings) -> bool:
    """Return whether a task is partitioned: its job has a schedule, and the ``partitions`` setting includes the task.

    Loads are never partitioned, because they load all waiting files, whatever the date.
    """
    if settings.partitions == "off" or pipeline is None or pipeline.schedule is None:
        return False
    return settings.partitions == "scheduled" or bool(find_task_interval_variables(task))


def build_partitions(pipeline: Pipeline, settings: Settings) -> dg.TimeWindowPartitionsDefinition:
    """Return the partitions of a job with a schedule: one per interval of its cron.

    The first and last days are the options ``start_date`` (or else the ``partitions_start`` setting) and ``end_date`` of the DAG config.
    """
    schedule = pipeline.schedule
    assert schedule is not None
    start = pipeline.start_date or (date.fromisoformat(settings.partitions_start) if settings.partitions_start else None)
    # By default, January 1 of last year, which keeps the number of partitions low and changes only once a year.
    start = start or date(datetime.now(timezone.utc).year - 1, 1, 1)
    return _build_windows(schedule.cron, schedule.timezone or settings.timezone or "UTC", start, pipeline.end_date)


@lru_cache(maxsize=1024)
def _build_windows(cron: str, zone: str, start: date, end: date | None) -> dg.TimeWindowPartitionsDefinition:
    midnight = cron.strip().lower() in _AT_MIDNIGHT or cron.split()[:2] == ["0", "0"]
    return dg.TimeWindowPartitionsDefinition(
        start=datetime.combine(start, time()),
        # Exclusive: the beginning of the next day.
        end=datetime.combine(date.fromordinal(end.toordinal() + 1), time()) if end else None,
        fmt="%Y-%m-%d" if midnight else "%Y-%m-%d-%H:%M",
        cron_schedule=cron,
        timezone=zone,
    )


def find_key_of_interval(windows: dg.TimeWindowPartitionsDefinition, start: datetime) -> str | None:
    """Return the key of the partition that begins at a time; None if there is none (for example, before the first day)."""
    local = start.astimezone(ZoneInfo(windows.timezone))
    key = local.strftime(windows.fmt)
    for candidate in (key, f"{key}{local.strftime('%z')}"):
        with suppress(ValueError, dg.DagsterError):
            # Timestamps are compared, because local times are ambiguous when clocks are set back.
            begins = windows.time_window_for_partition_key(candidate).start.timestamp() == start.timestamp()
            if begins and windows.has_partition_key(candidate):
                return candidate
    return None


def find_last_partition(windows: dg.TimeWindowPartitionsDefinition, moment: datetime) -> tuple[str, dg.TimeWindow] | None:
    """Return the key and interval of the last partition that is complete at a time; None if there is none."""
    window = windows.get_prev_partition_window(moment, respect_bounds=False)
    key = find_key_of_interval(windows, window.start) if window else None
    return (key, window) if key and window else None


def describe_range(windows: dg.TimeWindowPartitionsDefinition) -> str:
    """Return a message about the first and the last partition of a job."""
    first, last = windows.get_first_partition_key(), windows.get_last_partition_key()
    return f"its partitions range from {first} to {last}" if first and last else "none of its partitions is complete"


def choose_partition(run: dg.DagsterRun, job: dg.JobDefinition, instance: dg.DagsterInstance) -> dict[str, str]:
    """Return the tags that assign partitions to a run that was started without any; empty if it has some, or its job is not partitioned.

    They assign the partitions of the run's data interval, if it consists of whole partitions. A run without an interval gets the last
    partition that is complete at ``starlake/scheduled_date`` (default: now), because Dagster does not run partitioned assets that depend on
    each other without a partition.
    """
    windows, tags = job.partitions_def, run.tags
    if not isinstance(windows, dg.TimeWindowPartitionsDefinition) or is_for_partitions(tags):
        return {}
    if INTERVAL_START in tags or INTERVAL_END in tags:
        start, end = (read_tagged_time(tags, name) for name in (INTERVAL_START, INTERVAL_END))
        return find_partitions_of_interval(windows, start, end) if start and end else {}
    moment = read_tagged_time(tags, SCHEDULED_DATE) or datetime.now(timezone.utc)
    found = find_last_partition(windows, moment)
    return {PARTITION: found[0]} if found else {}


def find_partitions_of_interval(windows: dg.TimeWindowPartitionsDefinition, start: datetime, end: datetime) -> dict[str, str]:
    """Return the tags that assign the partitions of an interval to a run; empty if the interval does not consist of whole partitions."""
    first, found = find_key_of_interval(windows, start), find_last_partition(windows, end)
    if first is None or found is None:
        return {}
    last, window = found
    if window.end.timestamp() != end.timestamp() or window.start.timestamp() < start.timestamp():
        return {}
    return {PARTITION: first} if first == last else {RANGE_START: first, RANGE_END: last}


def is_for_partitions(tags: Mapping[str, str]) -> bool:
    """Return whether Dagster launched a run for a partition or a range of partitions."""
    return bool(tags.get(PARTITION) or tags.get(RANGE_START))


def find_interval_of_run(tags: Mapping[str, str], windows: dg.TimeWindowPartitionsDefinition) -> tuple[datetime, datetime] | None:
    """Return the data interval of a run that Dagster launched for a partition or a range of partitions; None for other runs.

    It is the interval of the partitions. But if the run's tags have an interval with the same end, it is the tagged one.

    Raises:
        ValueError: a key is not one of the partitions, for example because the cron has changed.
    """
    first = tags.get(RANGE_START) or tags.get(PARTITION)
    last = tags.get(RANGE_END) or tags.get(PARTITION)
    if not first or not last:
        return None
    start, end = windows.time_window_for_partition_key(first).start, windows.time_window_for_partition_key(last).end
    tagged_start, tagged_end = (read_tagged_time(tags, name) for name in (INTERVAL_START, INTERVAL_END))
    # After its cron has changed, a schedule starts the interval of its next run where that of the last run ended.
    return (tagged_start, end) if tagged_start and tagged_end and tagged_end.timestamp() == end.timestamp() else (start, end)
