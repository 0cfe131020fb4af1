"""Evaluate a tick of a sensor: read materializations, apply the rule, and request a run. Imported by the first tick."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from ...pipelines.pipeline import TransformTrigger
from ..partitions import PARTITION, describe_range, find_last_partition
from ..steps.run_options import build_option_tags, declares_union, is_dry_run, read_carrier
from ..steps.run_tags import INTERVAL_END, SCHEDULED_DATE, TRIGGERED_BY, build_time_tags, format_triggered_by, parse_time, read_tagged_time
from .cron_ticks import find_interval_before
from .cursor import read_cursor, write_cursor
from .rule import Consumption, DatasetTiming, Materialization, Rule, Wait, build_rule, decide_run

MAX_FORMER_RUNS = 20
"""Number of successful runs of the job to search for the one before a logical time."""

MAX_EARLIER = 10_000
"""Maximum number of materializations whose options are merged (``SUPERSEDED_MATERIALIZATIONS_LIMIT`` in starlake-dagster)."""

UTC = ZoneInfo("UTC")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a sensor. Its attributes are the arguments of :func:`build_sensor`."""

    trigger: TransformTrigger
    watched: Mapping[str, dg.AssetKey]
    timings: Mapping[str, DatasetTiming]
    job_name: str
    start_date: date | None
    partitions: dg.TimeWindowPartitionsDefinition | None = None

    @cached_property
    def rule(self) -> Rule:
        """The sensor's rule.

        Raises:
            InvalidTrigger: the triggering strategy is invalid, or names a dataset that is not watched.
        """
        return build_rule(self.trigger, {dataset: key.to_user_string() for dataset, key in self.watched.items()}, self.timings)

    @cached_property
    def keys(self) -> Mapping[str, dg.AssetKey]:
        """Asset name in the rule -> asset key."""
        by_name = {key.to_user_string(): key for key in self.watched.values()}
        return {asset: by_name[asset] for asset in self.rule.assets}

    def evaluate(self, context: dg.MultiAssetSensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Evaluate a tick, with two database queries (three if a run starts) regardless of the number of assets and the history."""
        now = datetime.now(UTC)
        consumption = read_cursor(context.cursor, self.keys)
        events = self._find_latest(context.instance)
        latest = {name: Materialization(e.storage_id, e.run_id, e.timestamp, _read_logical_time(e)) for name, e in events.items()}
        decision = decide_run(self.rule, latest, consumption, now, find_interval_before)
        if isinstance(decision, Wait):
            return dg.SkipReason(decision.reason)
        if self.partitions is not None and find_last_partition(self.partitions, decision.logical_time) is None:
            # Nothing is consumed, so the new materializations start a run once there is a partition.
            moment = decision.logical_time.isoformat()
            return dg.SkipReason(f"The job has no partition that is complete at {moment}: {describe_range(self.partitions)}")
        # Collected before anything is consumed, because contradictory options make the tick fail.
        options = self._collect_options(context.instance, {name: events[name] for name in decision.consumed}, consumption)
        # Dagster's advance_cursor reads each asset's history, and advance_all_cursors would consume materializations that were not read.
        context.update_cursor(write_cursor(consumption.record(decision.consumed, now), self.keys))
        newest_first = sorted(decision.consumed.items(), key=lambda item: -item[1].storage_id)
        origin = context.code_location_origin
        tags = {
            **self._build_time_tags(context.instance, decision.logical_time, origin.location_name if origin else None),
            TRIGGERED_BY: format_triggered_by((asset, m.storage_id, m.run_id) for asset, m in newest_first),
            **options,
        }
        return dg.RunRequest(run_key=_make_run_key(decision.consumed), partition_key=tags.pop(PARTITION, None), tags=tags)

    def _find_latest(self, instance: dg.DagsterInstance) -> dict[str, dg.EventLogRecord]:
        """Return the latest materialization of each asset that has one, ignoring those of dry runs (``dry_run``)."""
        found = {}
        for record in instance.get_asset_records(list(self.keys.values())):
            key, event = record.asset_entry.asset_key, record.asset_entry.last_materialization_record
            while event is not None and is_dry_run(event.asset_materialization):
                earlier = dg.AssetRecordsFilter(asset_key=key, before_storage_id=event.storage_id)
                event = next(iter(instance.fetch_materializations(earlier, limit=1).records), None)
            if event is not None:
                found[key.to_user_string()] = event
        return found

    def _collect_options(
        self, instance: dg.DagsterInstance, consumed: Mapping[str, dg.EventLogRecord], consumption: Consumption
    ) -> dict[str, str]:
        """Return the options that consumed materializations pass on to the run, as tags of the run.

        The rules are those of ``collect_sl_options_with_merge`` in starlake-dagster.

        Raises:
            InvalidRunOptions: the options contradict each other.
        """
        carriers = [read_carrier(event.asset_materialization) for event in consumed.values() if event.asset_materialization]
        if declares_union(carriers):
            for name, event in consumed.items():
                earlier = dg.AssetRecordsFilter(
                    asset_key=self.keys[name], after_storage_id=consumption.storage_ids.get(name, 0), before_storage_id=event.storage_id
                )
                records = instance.fetch_materializations(earlier, limit=MAX_EARLIER).records
                found = (record.asset_materialization for record in records)
                carriers += [read_carrier(m, latest=False) for m in found if m is not None and not is_dry_run(m)]
        return build_option_tags(carriers)

    def build_tags_of_latest(self, run: dg.DagsterRun, instance: dg.DagsterInstance) -> dict[str, str]:
        """Return the tags with dates and options for a run that consumes the latest materializations of all watched assets."""
        events = self._find_latest(instance)
        if not events:
            return {}
        logical_time = max(_read_logical_time(event) for event in events.values())
        options = self._collect_options(instance, events, Consumption({name: event.storage_id for name, event in events.items()}))
        return {**self._build_time_tags(instance, logical_time, _find_location(run)), **options}

    def _build_time_tags(self, instance: dg.DagsterInstance, end: datetime, location: str | None) -> dict[str, str]:
        zone = ZoneInfo(self.trigger.timezone or "UTC")
        found = find_last_partition(self.partitions, end) if self.partitions is not None else None
        if found:
            key, window = found
            return {**build_time_tags(end.astimezone(zone), window.start, window.end), PARTITION: key}
        first = datetime.combine(self.start_date, time(), zone) if self.start_date else _BEGINNING
        begin = self._find_former_time(instance, end, location) or (first if first < end else _BEGINNING)
        return build_time_tags(end.astimezone(zone), begin.astimezone(zone), end.astimezone(zone))

    def _find_former_time(self, instance: dg.DagsterInstance, before: datetime, location: str | None) -> datetime | None:
        """Return the newest logical time, before another one, of the job's successful runs, like ``get_previous_partition`` of Starlake."""
        succeeded = dg.RunsFilter(job_name=self.job_name, statuses=[dg.DagsterRunStatus.SUCCESS])
        times = []
        for record in instance.get_run_records(succeeded, limit=MAX_FORMER_RUNS):
            run = record.dagster_run
            moment = read_tagged_time(run.tags, INTERVAL_END) or read_tagged_time(run.tags, SCHEDULED_DATE)
            # Another code location may have a job with the same name.
            if moment and moment < before and (location is None or _find_location(run) in (None, location)):
                times.append(moment)
        return max(times, default=None)


def _read_logical_time(event: dg.EventLogRecord) -> datetime:
    """Return the logical time of a materialization, in UTC.

    This is the scheduled date in its metadata, as written by this package or starlake-dagster, or else the end of the data interval in its
    tags, or else a partition key that is a time, or else the time when it was logged.
    """
    materialization = event.asset_materialization
    if materialization is not None:
        tags = materialization.tags or {}
        found = [materialization.metadata.get(name) for name in (SCHEDULED_DATE, "sl_scheduled_date")]
        scheduled: list[Any] = [value.value for value in found if value is not None]
        for text in (*scheduled, tags.get("sl_data_interval_end"), materialization.partition):
            if isinstance(text, (int, float)) and not isinstance(text, bool):
                return datetime.fromtimestamp(text, UTC)
            moment = parse_time(text) if isinstance(text, str) else None
            if moment:
                return moment.astimezone(UTC)
    return datetime.fromtimestamp(event.timestamp, UTC)


def _make_run_key(consumed: Mapping[str, Materialization]) -> str:
    """Return a run key that identifies the consumed materializations, so that Dagster does not start a second run for them.

    It includes timestamps, because SQLite reuses the storage IDs of deleted runs.
    """
    text = "\n".join(f"{asset}={m.storage_id}@{m.timestamp!r}" for asset, m in sorted(consumed.items()))
    return f"starlake-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _find_location(run: dg.DagsterRun) -> str | None:
    """Return the name of a run's code location; None if unknown."""
    origin = run.remote_job_origin
    return origin.repository_origin.code_location_origin.location_name if origin else None
