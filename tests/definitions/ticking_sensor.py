"""A sensor on two assets, between whose ticks the cursor is kept."""

from collections.abc import Mapping

import dagster as dg

from starlake_dagster_components.definitions.sensors.definition import build_sensor
from starlake_dagster_components.pipelines.pipeline import TransformTrigger

ORDERS, LINES = dg.AssetKey("sales_orders"), dg.AssetKey(["sales", "lines"])
WATCHED = {"sales.orders": ORDERS, "sales.lines": LINES}


class Ticking:
    """A sensor between whose ticks the cursor is kept, as the daemon keeps it."""

    def __init__(self, instance: dg.DagsterInstance, sensor: dg.MultiAssetSensorDefinition, watched: Mapping[str, dg.AssetKey] = WATCHED):
        self.instance = instance
        self.sensor = sensor
        self.keys = list(dict.fromkeys(watched.values()))
        self.repository = dg.Definitions(
            assets=[dg.AssetsDefinition(specs=[dg.AssetSpec("report")])], jobs=[dg.define_asset_job("reports", selection="report")]
        ).get_repository_def()
        self.cursor: str | None = None

    def tick(self, *, keep: bool = True) -> dg.RunRequest | dg.SkipReason:
        with dg.build_multi_asset_sensor_context(
            monitored_assets=self.keys, instance=self.instance, cursor=self.cursor, repository_def=self.repository
        ) as context:
            result = self.sensor(context)
            if keep:
                self.cursor = context.cursor
        assert isinstance(result, (dg.RunRequest, dg.SkipReason))
        return result

    def expect_skip(self) -> str | None:
        result = self.tick()
        assert isinstance(result, dg.SkipReason), result
        return result.skip_message

    def expect_run(self) -> dg.RunRequest:
        result = self.tick()
        assert isinstance(result, dg.RunRequest), result
        return result


def build_reports_sensor(watched: Mapping[str, dg.AssetKey] = WATCHED, **arguments: object) -> dg.MultiAssetSensorDefinition:
    options = {"trigger": TransformTrigger(), **arguments}
    return build_sensor(name="reports_sensor", job_name="reports", watched=watched, **options)  # type: ignore[arg-type]


def materialize(instance: dg.DagsterInstance, *keys: dg.AssetKey, **arguments: object) -> None:
    for key in keys:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, **arguments))  # type: ignore[arg-type]
