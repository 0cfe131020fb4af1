"""Find the assets that sensors watch, how often they are updated, and problems with the sensors' options."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from ...errors import Problem
from ...pipelines.pipeline import Pipeline
from ...settings import Settings
from ..dagster_limits import get_freshness
from ..graph import AssetGraph

if TYPE_CHECKING:
    from .rule import DatasetTiming


CONDITIONS_SENSOR = "starlake_conditions"
"""Name of the sensor that evaluates automation conditions, without the ``name_prefix`` setting."""


def name_sensor(pipeline: Pipeline, settings: Settings) -> str:
    """Return the name of the sensor that starts a pipeline's job."""
    return f"{settings.name_prefix}{CONDITIONS_SENSOR}" if settings.automation == "conditions" else f"{pipeline.name}_sensor"


def find_watched_assets(graph: AssetGraph, pipeline: Pipeline, settings: Settings) -> Mapping[str, dg.AssetKey]:
    """Return the assets that a pipeline's sensor watches: dataset name -> asset key; empty if it does not have a sensor.

    Transform pipelines without a schedule and without ``run_dependencies_first`` have a sensor (Starlake's guide "Customize Dagster DAGs").
    Datasets that a custom template removes (``filtered_datasets``) are not watched.
    """
    if pipeline.kind != "transform" or pipeline.schedule or pipeline.run_dependencies_first or settings.automation == "none":
        return {}
    found = graph.find_upstream(pipeline) if settings.watch == "transitive" else graph.find_inputs(pipeline)
    if not pipeline.trigger.filtered_datasets:
        return found
    from .rule import drop_filtered_datasets

    kept = drop_filtered_datasets({name: key.to_user_string() for name, key in found.items()}, pipeline.trigger)
    return {name: key for name, key in found.items() if name in kept}


def add_other_names(graph: AssetGraph, watched: Mapping[str, dg.AssetKey]) -> Mapping[str, dg.AssetKey]:
    """Return the watched assets by every name that a triggering strategy may use.

    These are the full names of a task and of its table, the logical and final names of a load table, and the asset key.
    """
    names = dict(watched)
    for key in watched.values():
        node = graph.by_key[key]
        others = [key.to_user_string(), node.name]
        if node.task:
            others.append(node.task.sink_name)
        for name in others:
            names.setdefault(name, key)
    return names


def find_timings(graph: AssetGraph, watched: Mapping[str, dg.AssetKey], settings: Settings) -> "Mapping[str, DatasetTiming]":
    """Return how often each watched dataset is updated: dataset name -> schedule of its job, and freshness."""
    from .rule import DatasetTiming

    found: dict[str, DatasetTiming] = {}
    for name, key in watched.items():
        node = graph.by_key[key]
        schedule = node.pipeline.schedule if node.pipeline else None
        freshness = get_freshness(node)
        late = freshness.error if freshness and freshness.error else timedelta()
        if schedule:
            found[name] = DatasetTiming(schedule.cron, schedule.timezone or settings.timezone, late)
        elif late:
            found[name] = DatasetTiming(freshness=late)
    return found


def find_sensor_problems(graph: AssetGraph, pipeline: Pipeline, settings: Settings) -> Iterator[Problem]:
    """Yield problems with the options of a pipeline's sensor, with file and line."""
    watched = find_watched_assets(graph, pipeline, settings)
    if watched and settings.automation == "conditions" and pipeline.name not in graph.partitions:
        from .conditions import find_idle_options

        yield from find_idle_options(pipeline)
    if not watched or pipeline.trigger.plain:
        return
    from .rule import find_trigger_problems

    names = {name: key.to_user_string() for name, key in add_other_names(graph, watched).items()}
    for found in find_trigger_problems(pipeline.trigger, names, find_timings(graph, watched, settings)):
        yield Problem(pipeline.dag_config.origin.locate(f"options.{found.option}"), found.severity, found.message)
