"""Build the schedules of pipelines with a cron."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import dagster as dg

from ..errors import Problem
from ..pipelines.pipeline import Pipeline
from .partitions import find_key_of_interval
from .sensors.cron_ticks import find_interval_before
from .steps.run_tags import INTERVAL_END, build_time_tags, read_tagged_time

MAX_FORMER_RUNS = 10
"""Number of recent runs to search for the one of the previous tick. Re-executions of earlier ticks may be more recent."""

SCHEDULED_BY = ".dagster/starlake_schedule"
"""Tag with the identity of the schedule that started a run. Dagster's UI hides tags with this prefix."""
CRON = ".dagster/starlake_cron"
"""Tag with the cron and time zone of the schedule that started a run."""


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
    loaded: datetime | None = None,
    identity: str = "",
) -> dg.ScheduleDefinition:
    """Return a schedule that passes the time of its tick to each run.

    Runs get the tags ``starlake/scheduled_date`` (the tick, regardless of when the run starts), ``starlake/data_interval_start`` (the
    previous tick), and ``starlake/data_interval_end`` (the tick), in ISO 8601 and the schedule's time zone. They correspond to
    ``sl_cron_start_end_dates`` of starlake-dagster, which uses the launch time of the run instead of the tick.

    ``cron`` is five fields, or a macro such as ``@daily``. ``timezone`` is an IANA name (None = UTC). Runs also get the ``tags``.
    ``start_date`` and ``end_date`` are the first and last days with runs, in the time zone. If the job has ``partitions``, a tick starts a
    run for the partition that ends with it. ``loaded`` is the time at which the project was loaded (None = now). ``identity`` distinguishes
    schedules with the same name in different projects (empty = the name).

    Raises:
        dagster.DagsterInvalidDefinitionError: Dagster does not accept the cron or the time zone.
    """
    loaded, identity = loaded or datetime.now(ZoneInfo("UTC")), identity or name
    cron_and_zone = f"{cron} {timezone or 'UTC'}"

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        start, tick = find_interval_before(cron, timezone, context.scheduled_execution_time)
        if start_date and tick.date() < start_date:
            return dg.SkipReason(f"{tick.isoformat()} is before the start date {start_date.isoformat()}")
        if end_date and tick.date() > end_date:
            return dg.SkipReason(f"{tick.isoformat()} is after the end date {end_date.isoformat()}")
        begin = start
        former = _find_last_run(context, identity, tick)
        if former is not None and former.tags.get(CRON, cron_and_zone) != cron_and_zone:
            former_end = read_tagged_time(former.tags, INTERVAL_END)
            assert former_end is not None
            if tick < loaded:
                return dg.SkipReason(
                    f"The cron has changed since the last run, from '{former.tags[CRON]}' to '{cron_and_zone}', and the project was loaded "
                    f"with it only after {tick.isoformat()}. The data interval of the next run begins at {former_end.isoformat()}"
                )
            begin = former_end.astimezone(start.tzinfo)
        run_tags = {**(tags or {}), **build_time_tags(tick, begin, tick), SCHEDULED_BY: identity, CRON: cron_and_zone}
        if partitions is None:
            return dg.RunRequest(tags=run_tags)
        key = find_key_of_interval(partitions, start)
        if key is None:
            return dg.SkipReason(f"The interval from {start.isoformat()} to {tick.isoformat()} is not one of the job's partitions")
        # Dagster starts one run per run key of a schedule. The interval is part of it, because another cron may have the same partitions.
        return dg.RunRequest(run_key=f"partition-{start.isoformat()}-{tick.isoformat()}", partition_key=key, tags=run_tags)

    return dg.ScheduleDefinition(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone=timezone or "UTC",
        execution_fn=evaluate,
        default_status=default_status,
        description=description,
        tags=tags,
    )


def _find_last_run(context: dg.ScheduleEvaluationContext, identity: str, before: datetime) -> dg.DagsterRun | None:
    """Return the run that a schedule started for the tick before another one, whether or not it succeeded; None if there is none."""
    try:
        instance = context.instance
    except dg.DagsterInvariantViolationError:
        # The tick is evaluated in a test, without an instance.
        return None
    records = instance.get_run_records(dg.RunsFilter(tags={SCHEDULED_BY: identity}), limit=MAX_FORMER_RUNS)
    runs = [(end, r.dagster_run) for r in records if (end := read_tagged_time(r.dagster_run.tags, INTERVAL_END)) and end < before]
    return max(runs, key=lambda run: run[0], default=(None, None))[1]


def find_cron_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """Yield an error for each cron of a pipeline that Dagster rejects. Planning has already reported values that are out of range."""
    schedule, trigger = pipeline.schedule, pipeline.trigger
    crons = [(schedule.cron, schedule.preset or schedule.location)] if schedule else []
    if trigger.data_cycle:
        crons.append((trigger.data_cycle, pipeline.dag_config.origin.locate("options.data_cycle")))
    for cron, location in crons:
        if not _is_accepted(cron):
            yield Problem(location, "error", f"Dagster does not accept the cron '{cron}'")


@lru_cache(maxsize=256)
def _is_accepted(cron: str) -> bool:
    try:
        dg.ScheduleDefinition(job_name="any", cron_schedule=cron)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True
