"""Schedules: one per pipeline with a cron."""

from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache, partial

import dagster as dg

from ..errors import Problem
from ..pipelines.pipeline import Pipeline
from .partitions import find_key_of_interval
from .sensors.cron_ticks import find_interval_before
from .steps.run_tags import build_time_tags


def build_schedule(
    *,
    name: str,
    job_name: str,
    cron: str,
    timezone: str | None = None,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.RUNNING,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    partitions: dg.TimeWindowPartitionsDefinition | None = None,
) -> dg.ScheduleDefinition:
    """Return a schedule that gives each run the time of its tick.

    Runs get the tags ``starlake/scheduled_date`` (the tick, whenever the run really starts), ``starlake/data_interval_start`` (the tick
    before) and ``starlake/data_interval_end`` (the tick), ISO 8601 in the schedule's time zone. starlake-dagster:
    ``sl_cron_start_end_dates``, which takes the time at which the run was launched instead of the tick.

    Args:
        name: the schedule's name.
        job_name: the job that it starts.
        cron: five fields or a macro.
        timezone: IANA name; None = UTC.
        default_status: whether it starts switched on.
        description: for people.
        tags: of the schedule and its runs.
        start_date: first day with a tick, in the time zone; ticks before are skipped.
        end_date: last day with a tick, in the time zone; ticks after are skipped.
        partitions: of the job; a tick starts the run of the partition whose interval it ends. None = the job has no partitions.

    Raises:
        dagster.DagsterInvalidDefinitionError: Dagster cannot follow the cron or does not know the time zone.
    """
    return dg.ScheduleDefinition(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone=timezone or "UTC",
        execution_fn=partial(_evaluate_tick, cron, timezone, dict(tags or {}), start_date, end_date, partitions),
        default_status=default_status,
        description=description,
        tags=tags,
    )


def _evaluate_tick(
    cron: str,
    timezone: str | None,
    tags: Mapping[str, str],
    start_date: date | None,
    end_date: date | None,
    partitions: dg.TimeWindowPartitionsDefinition | None,
    context: dg.ScheduleEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    start, tick = find_interval_before(cron, timezone, context.scheduled_execution_time)
    if start_date and tick.date() < start_date:
        return dg.SkipReason(f"{tick.isoformat()} is before the start date {start_date.isoformat()}")
    if end_date and tick.date() > end_date:
        return dg.SkipReason(f"{tick.isoformat()} is after the end date {end_date.isoformat()}")
    times = {**tags, **build_time_tags(tick, start, tick)}
    if partitions is None:
        return dg.RunRequest(tags=times)
    key = find_key_of_interval(partitions, start)
    if key is None:
        return dg.SkipReason(f"The interval from {start.isoformat()} to {tick.isoformat()} is not one of the job's partitions")
    # Dagster starts no second run of this schedule for the same key.
    return dg.RunRequest(run_key=f"partition-{key}", partition_key=key, tags=times)


def find_cron_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """Yield an error for each cron of a pipeline that Dagster rejects; planning has reported values out of range before."""
    schedule, trigger = pipeline.schedule, pipeline.trigger
    crons = [(schedule.cron, schedule.preset or schedule.location)] if schedule else []
    if trigger.data_cycle:
        crons.append((trigger.data_cycle, pipeline.dag_config.origin.at("options.data_cycle")))
    for cron, where in crons:
        if not _is_accepted(cron):
            yield Problem(where, "error", f"Dagster does not accept the cron '{cron}'")


@lru_cache(maxsize=256)
def _is_accepted(cron: str) -> bool:
    try:
        dg.ScheduleDefinition(job_name="any", cron_schedule=cron)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True
