"""Build sensors: one per transform pipeline without a schedule. It starts the job when the job's inputs have been materialized."""

import warnings
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from ...pipelines.pipeline import TransformTrigger
from ...project.model import EMPTY

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .rule import DatasetTiming

MINIMUM_INTERVAL_SECONDS = 60
"""The same as in the sensors of generated DAGs (Starlake's guide "Customize Dagster DAGs")."""


def build_sensor(
    *,
    name: str,
    job_name: str,
    watched: Mapping[str, dg.AssetKey],
    trigger: TransformTrigger,
    timings: "Mapping[str, DatasetTiming]" = EMPTY,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    minimum_interval_seconds: int = MINIMUM_INTERVAL_SECONDS,
    start_date: date | None = None,
    partitions: dg.TimeWindowPartitionsDefinition | None = None,
) -> dg.MultiAssetSensorDefinition:
    """Return the sensor of a job. Starlake's guide "Customize Dagster DAGs": multi-asset sensor.

    If all watched assets have been materialized since the last run (or according to the options, see docs/triggers.md), one run is
    requested and all new materializations are consumed. Otherwise, the tick is skipped with a reason that names the assets with and without
    one. The run has the tags ``starlake/scheduled_date`` (the newest logical time among the consumed ones),
    ``starlake/data_interval_start`` (that of the last successful run of the job), ``starlake/data_interval_end``, and
    ``.dagster/starlake_triggered_by`` (the consumed ones; hidden).

    Unlike a generated sensor, it consumes what it has seen, not what exists when it finishes, so that nothing in between is lost.

    Args:
        name: the sensor's name.
        job_name: the job that the sensor starts.
        watched: dataset name -> asset key. The names are those of triggering expressions; an asset may have several.
        trigger: the options of the pipeline. Times in tags are in its time zone.
        timings: dataset name -> how often it is renewed, for the data cycle.
        default_status: whether the sensor is initially on.
        description: description in the UI.
        tags: tags of the sensor.
        minimum_interval_seconds: time between ticks.
        start_date: start of the first run's data interval; None = 1970.
        partitions: partitions of the job; a run is for the last one that is complete at its logical time. None = the job has none.

    Raises:
        InvalidTrigger: the triggering strategy is invalid, or names a dataset that is not watched.
    """

    @cache
    def get_evaluation() -> "Evaluation":
        # Created by the first tick. A plain trigger's assets are known without its rule, which takes time if there are many.
        from .evaluation import Evaluation

        return Evaluation(trigger, watched, timings, job_name, start_date, partitions)

    monitored = dict.fromkeys(watched.values() if trigger.plain else get_evaluation().keys.values())

    def evaluate(context: dg.MultiAssetSensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from ..masked import hide_in_tick

        return hide_in_tick(lambda: get_evaluation().evaluate(context))

    with warnings.catch_warnings():
        # Dagster recommends declarative automation for most uses, but not if "a specific job must be targeted", as here.
        warnings.simplefilter("ignore", dg.SupersessionWarning)
        return dg.MultiAssetSensorDefinition(
            name=name,
            job_name=job_name,
            monitored_assets=list(monitored),
            asset_materialization_fn=evaluate,
            minimum_interval_seconds=minimum_interval_seconds,
            description=description,
            default_status=default_status,
            tags=tags,
        )
