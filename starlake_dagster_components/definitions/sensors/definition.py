"""Build the sensors of transform pipelines without a schedule, which start a job when its inputs have been materialized."""

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
"""The interval of sensors in generated DAGs (Starlake's guide "Customize Dagster DAGs")."""

_DEFAULTS: Mapping[str, Any] = {"minimum_interval_seconds": MINIMUM_INTERVAL_SECONDS, "default_status": dg.DefaultSensorStatus.RUNNING}


def build_sensor(
    *,
    name: str,
    job_name: str,
    watched: Mapping[str, dg.AssetKey],
    trigger: TransformTrigger,
    timings: "Mapping[str, DatasetTiming]" = EMPTY,
    start_date: date | None = None,
    partitions: dg.TimeWindowPartitionsDefinition | None = None,
    **options: Any,
) -> dg.MultiAssetSensorDefinition:
    """Return the sensor of a job: a multi-asset sensor, as in Starlake's guide "Customize Dagster DAGs".

    If all watched assets have been materialized since the last run (or according to the options, see docs/triggers.md), a tick requests a
    run and consumes all new materializations. Otherwise, it is skipped, and the reason names the assets with and without a new
    materialization. The run has the tags ``starlake/scheduled_date`` (the newest logical time of the consumed materializations),
    ``starlake/data_interval_start`` (the logical time of the job's last successful run), ``starlake/data_interval_end``, and
    ``.dagster/starlake_triggered_by`` (the consumed materializations; hidden in the UI).

    A tick consumes only the materializations that it has read. A sensor that Starlake generates also consumes those that arrive
    before the tick ends, so they are lost.

    ``watched`` has the asset key of each dataset, by the names in triggering strategies; an asset may have several. ``timings`` has how
    often each dataset is updated, for the data cycle. Times in tags are in the time zone of ``trigger``. The data interval of the first run
    starts at ``start_date`` (None = 1970). If the job has ``partitions``, a run is for the last one that is complete at its logical time.
    ``options`` are further arguments of :class:`dagster.MultiAssetSensorDefinition`.

    Raises:
        InvalidTrigger: the triggering strategy is invalid, or names a dataset that is not watched.
    """

    @cache
    def get_evaluation() -> "Evaluation":
        # Usually first called by the first tick, because building a rule takes time if there are many assets.
        from .evaluation import Evaluation

        return Evaluation(trigger, watched, timings, job_name, start_date, partitions)

    monitored = dict.fromkeys(watched.values() if trigger.plain else get_evaluation().keys.values())

    def evaluate(context: dg.MultiAssetSensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from ..masked import hide_in_tick

        return hide_in_tick(lambda: get_evaluation().evaluate(context))

    with warnings.catch_warnings():
        # Dagster recommends declarative automation instead, except if "a specific job must be targeted", as here.
        warnings.simplefilter("ignore", dg.SupersessionWarning)
        return dg.MultiAssetSensorDefinition(
            name=name, job_name=job_name, monitored_assets=list(monitored), asset_materialization_fn=evaluate, **{**_DEFAULTS, **options}
        )
