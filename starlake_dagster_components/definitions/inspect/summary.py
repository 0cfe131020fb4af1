"""The definitions as plain data, for ``sl-dagster list``."""

from collections.abc import Sequence
from typing import Any

from ...errors import Problem
from ...pipelines.pipeline import Pipeline
from ...settings import Settings
from ..graph import AssetGraph
from ..jobs import select_job_keys
from ..sensors.definition import MINIMUM_INTERVAL_SECONDS
from ..sensors.incoming import find_file_sensors, get_interval, name_file_sensor
from ..sensors.watched import find_watched_assets, name_sensor


def summarize_project(graph: AssetGraph, settings: Settings, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return ``{"jobs": [...], "assets": [...], "problems": [...]}`` with plain values, asset keys as user strings, and sorted lists.

    The format is stable, and documented in docs/command_line.md.
    """
    file_sensors = {
        pipeline.name: {
            "name": name_file_sensor(pipeline),
            "folders": sorted({folder.path for folder in folders}),
            "minimum_interval_seconds": get_interval(pipeline),
        }
        for pipeline, folders in find_file_sensors(graph.plan, settings).folders
    }
    return {
        "jobs": [
            {**_summarize_job(graph, settings, p), "file_sensor": file_sensors.get(p.name)}
            for p in sorted(graph.plan.pipelines, key=lambda p: p.name)
        ],
        "assets": sorted((_summarize_asset(graph, node_id) for node_id in graph.specs), key=lambda a: (a["key"], a["kind"])),
        "problems": [
            {
                "severity": p.severity,
                "file": p.location.file if p.location else None,
                "line": (p.location.line or None) if p.location else None,
                "message": p.message,
            }
            for p in problems
        ],
    }


def get_executor_name(settings: Settings, pipeline: Pipeline) -> str:
    """Return the type of the executor of a pipeline's commands, or its class name if it has no type."""
    executor = settings.get_executor(pipeline)
    return pipeline.executor if executor is None else str(getattr(executor, "type", type(executor).__name__))


def _summarize_job(graph: AssetGraph, settings: Settings, pipeline: Pipeline) -> dict[str, Any]:
    schedule, watched = pipeline.schedule, find_watched_assets(graph, pipeline, settings)
    timezone = (schedule.timezone if schedule else None) or settings.timezone or "UTC"
    sensor = {
        "name": name_sensor(pipeline, settings),
        "assets": sorted({key.to_user_string() for key in watched.values()}),
        "minimum_interval_seconds": MINIMUM_INTERVAL_SECONDS,
        "strategy": pipeline.trigger.strategy,
    }
    return {
        "name": pipeline.name,
        "kind": pipeline.kind,
        "dag_config": pipeline.dag_config.name,
        "executor": get_executor_name(settings, pipeline),
        "assets": sorted(key.to_user_string() for key in select_job_keys(graph, pipeline)),
        "schedule": {"name": f"{pipeline.name}_schedule", "cron": schedule.cron, "timezone": timezone} if schedule else None,
        "sensor": sensor if watched else None,
    }


def _summarize_asset(graph: AssetGraph, node_id: tuple[str, str]) -> dict[str, Any]:
    spec = graph.specs[node_id]
    node = graph.nodes[node_id]
    return {
        "key": spec.key.to_user_string(),
        "kind": node.type,
        "name": node.name,
        "deps": sorted(d.asset_key.to_user_string() for d in spec.deps),
        "source": str(node.location) if node.location else None,
        "executable": node.type != "external",
    }
