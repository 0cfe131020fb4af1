"""Sensors: one per transform pipeline without a schedule; it starts the job when the job's inputs have been materialized."""

import warnings
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg

from ...pipelines.pipeline import TransformTrigger
from ...project.model import EMPTY

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .rule import DatasetTiming

MINIMUM_INTERVAL_SECONDS = 60
"""As in the sensors of generated DAGs: Starlake's guide "Customize Dagster DAGs"."""


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
    metadata: Mapping[str, Any] | None = None,
    minimum_interval_seconds: int = MINIMUM_INTERVAL_SECONDS,
    start_date: date | None = None,
) -> dg.MultiAssetSensorDefinition:
    """Return the sensor of a job. Starlake's guide "Customize Dagster DAGs": multi-asset sensor.

    All watched assets materialized since the last run (or whatever else the options ask for, see docs/triggers.md): one run is requested
    and everything that is new is consumed; otherwise the tick is skipped with a reason that names what was and what was not materialized.
    The run has the tags ``starlake/scheduled_date`` (the newest logical time among what it consumed), ``starlake/data_interval_start``
    (that of the last successful run of the job), ``starlake/data_interval_end`` and ``.dagster/starlake_triggered_by`` (what it consumed;
    hidden).

    Unlike a generated one, it consumes what it has seen, not what there is when it is done, so that nothing is lost between the two.

    Args:
        name: the sensor's name.
        job_name: the job that it starts.
        watched: dataset name -> asset key; the names are those that a triggering expression uses, and an asset may have several.
        trigger: the options of the pipeline; times in tags are in its time zone.
        timings: dataset name -> how often it is renewed, for the data cycle.
        default_status: whether it starts switched on.
        description: for people.
        tags: of the sensor.
        metadata: of the sensor.
        minimum_interval_seconds: between ticks.
        start_date: beginning of the data interval of the first run; None = 1970.

    Raises:
        InvalidTrigger: the triggering strategy cannot be read, or names a dataset that is not watched.
    """

    @cache
    def evaluation() -> "Evaluation":
        # Made by the first tick: what a plain trigger watches is known without its rule, which takes time where much is watched.
        from .evaluation import Evaluation

        return Evaluation(trigger, watched, timings, job_name, start_date)

    monitored = dict.fromkeys(watched.values() if trigger.plain else evaluation().keys.values())

    def evaluate(context: dg.MultiAssetSensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from ..masked import hide_in_tick

        return hide_in_tick(lambda: evaluation().tick(context))

    with warnings.catch_warnings():
        # Dagster recommends declarative automation for most uses; "a specific job must be targeted", as here, is none of them.
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
            metadata=metadata,
        )
