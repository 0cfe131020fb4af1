"""Build the schedules of pipelines with a cron."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache, partial
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

    Args:
        name: name of the schedule.
        job_name: name of the job that it starts.
        cron: five fields, or a macro such as ``@daily``.
        timezone: IANA name; None = UTC.
        default_status: whether the schedule is initially running.
        description: description in the UI.
        tags: tags of the schedule and its runs.
        start_date: first day on which it starts runs, in its time zone.
        end_date: last day on which it starts runs, in its time zone.
        partitions: partitions of the job. A tick starts a run for the partition that ends with it. None = the job is not partitioned.
        loaded: the time at which the project was loaded; None = now.
        identity: distinguishes schedules with the same name in different projects; empty = the name.

    Raises:
        dagster.DagsterInvalidDefinitionError: Dagster does not accept the cron or the time zone.
    """
    return dg.ScheduleDefinition(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone=timezone or "UTC",
        execution_fn=partial(
            _evaluate_tick,
            _Ticks(
                cron,
                timezone,
                dict(tags or {}),
                start_date,
                end_date,
                partitions,
                loaded or datetime.now(ZoneInfo("UTC")),
                identity or name,
            ),
        ),
        default_status=default_status,
        description=description,
        tags=tags,
    )


@dataclass(frozen=True, slots=True)
class _Ticks:
    """Arguments of a schedule; see :func:`build_schedule`."""

    cron: str
    timezone: str | None
    tags: Mapping[str, str]
    start_date: date | None
    end_date: date | None
    partitions: dg.TimeWindowPartitionsDefinition | None
    loaded: datetime
    identity: str

    @property
    def written(self) -> str:
        """The cron and its time zone: the value of the tag :data:`CRON`."""
        return f"{self.cron} {self.timezone or 'UTC'}"


def _evaluate_tick(ticks: _Ticks, context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    start, tick = find_interval_before(ticks.cron, ticks.timezone, context.scheduled_execution_time)
    if ticks.start_date and tick.date() < ticks.start_date:
        return dg.SkipReason(f"{tick.isoformat()} is before the start date {ticks.start_date.isoformat()}")
    if ticks.end_date and tick.date() > ticks.end_date:
        return dg.SkipReason(f"{tick.isoformat()} is after the end date {ticks.end_date.isoformat()}")
    begin = start
    former = find_last_run(context, ticks.identity, tick)
    if former is not None and former.tags.get(CRON, ticks.written) != ticks.written:
        former_end = read_tagged_time(former.tags, INTERVAL_END)
        assert former_end is not None
        if tick < ticks.loaded:
            return dg.SkipReason(
                f"The cron has changed since the last run, from '{former.tags[CRON]}' to '{ticks.written}', and the project was loaded "
                f"with it only after {tick.isoformat()}. The data interval of the next run begins at {former_end.isoformat()}"
            )
        begin = former_end.astimezone(start.tzinfo)
    times = {**ticks.tags, **build_time_tags(tick, begin, tick), SCHEDULED_BY: ticks.identity, CRON: ticks.written}
    if ticks.partitions is None:
        return dg.RunRequest(tags=times)
    key = find_key_of_interval(ticks.partitions, start)
    if key is None:
        return dg.SkipReason(f"The interval from {start.isoformat()} to {tick.isoformat()} is not one of the job's partitions")
    # Dagster starts one run per run key of a schedule. The key contains the interval, because another cron may have the same partitions.
    return dg.RunRequest(run_key=f"partition-{start.isoformat()}-{tick.isoformat()}", partition_key=key, tags=times)


def find_last_run(context: dg.ScheduleEvaluationContext, identity: str, before: datetime) -> dg.DagsterRun | None:
    """Return the run that a schedule started for the tick before another one, whether or not it succeeded; None if there is none.

    ``identity`` is the value of the tag :data:`SCHEDULED_BY` of the schedule's runs.
    """
    try:
        instance = context.instance
    except dg.DagsterInvariantViolationError:
        # The tick is evaluated in a test, without an instance.
        return None
    found: tuple[datetime, dg.DagsterRun] | None = None
    for record in instance.get_run_records(dg.RunsFilter(tags={SCHEDULED_BY: identity}), limit=MAX_FORMER_RUNS):
        end = read_tagged_time(record.dagster_run.tags, INTERVAL_END)
        if end and end < before and (found is None or end > found[0]):
            found = end, record.dagster_run
    return found[1] if found else None


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
