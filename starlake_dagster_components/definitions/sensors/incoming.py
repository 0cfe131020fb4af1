"""Which load jobs have a file sensor, and the assets that stand for the files that wait for their domains."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import dagster as dg

from ...pipelines.pipeline import Pipeline
from ...pipelines.waiting_files import WaitingFolder, list_waiting_folders
from ...settings import Settings
from ..graph import AssetGraph, NodeId
from ..jobs import build_job_tags
from ..names import make_op_name
from .file_sensor import MINIMUM_INTERVAL_SECONDS, build_file_sensor, build_incoming_asset


def has_file_sensor(pipeline: Pipeline, settings: Settings) -> bool:
    """Tell whether files that arrive start the job of a pipeline: the option ``pre_load_sensor``, else the setting ``file_sensors``."""
    if pipeline.kind != "load" or not any(pre_load.strategy != "none" for pre_load in pipeline.pre_load.values()):
        return False
    return settings.file_sensors == "on" if pipeline.file_sensor is None else pipeline.file_sensor


def add_incoming_assets(graph: AssetGraph, settings: Settings) -> AssetGraph:
    """Return the graph with the pre-load of each domain that a file sensor watches downstream of the asset ``<domain>/incoming``."""
    keys = _find_incoming_keys(graph, settings)
    if not keys:
        return graph
    specs: dict[NodeId, dg.AssetSpec] = dict(graph.specs)
    for domain, key in keys.items():
        spec = specs["domain", domain]
        specs["domain", domain] = spec.replace_attributes(deps=[*spec.deps, dg.AssetDep(key)])
    return replace(graph, specs=specs)


def build_file_sensors(graph: AssetGraph, settings: Settings) -> Iterator[dg.SensorDefinition]:
    """Yield the file sensor of each load job that has one."""
    keys = _find_incoming_keys(graph, settings)
    for pipeline in graph.plan.pipelines:
        folders = _list_folders(graph, pipeline, settings)
        if folders:
            interval = pipeline.file_sensor_interval
            yield build_file_sensor(
                name=f"{pipeline.name}_files_sensor",
                job_name=pipeline.name,
                folders=folders,
                incoming=keys,
                default_status=dg.DefaultSensorStatus[settings.default_status],
                description=f"Starts {pipeline.name} when its files have arrived.",
                tags=build_job_tags(pipeline),
                minimum_interval_seconds=int(interval.total_seconds()) if interval else MINIMUM_INTERVAL_SECONDS,
            )


def build_incoming_assets(graph: AssetGraph, settings: Settings) -> Iterator[dg.AssetsDefinition]:
    """Yield the observable asset of each domain that a file sensor watches."""
    taken = frozenset(pipeline.name for pipeline in graph.plan.pipelines)
    for domain, folder in _find_watched_domains(graph, settings).items():
        spec = graph.specs["domain", domain]
        key = _make_incoming_key(spec.key)
        yield build_incoming_asset(folder, key, group_name=spec.group_name, op_name=make_op_name(key, taken))


def _find_incoming_keys(graph: AssetGraph, settings: Settings) -> Mapping[str, dg.AssetKey]:
    return {domain: _make_incoming_key(graph.get_key("domain", domain)) for domain in _find_watched_domains(graph, settings)}


def _make_incoming_key(domain: dg.AssetKey) -> dg.AssetKey:
    return dg.AssetKey([*domain.path, "incoming"])


def _find_watched_domains(graph: AssetGraph, settings: Settings) -> Mapping[str, WaitingFolder]:
    """Return the domains that file sensors watch, each with all its tables that wait in the same folder."""
    found: dict[str, WaitingFolder] = {}
    for pipeline in graph.plan.pipelines:
        for folder in _list_folders(graph, pipeline, settings):
            known = found.setdefault(folder.domain, folder)
            if known.path == folder.path:
                tables = tuple(dict.fromkeys((*known.tables, *folder.tables)))
                found[folder.domain] = replace(known, tables=tables)
    return found


def _list_folders(graph: AssetGraph, pipeline: Pipeline, settings: Settings) -> tuple[WaitingFolder, ...]:
    return list_waiting_folders(graph.plan.project, pipeline) if has_file_sensor(pipeline, settings) else ()
