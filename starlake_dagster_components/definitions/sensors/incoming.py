"""Find the load jobs that have a file sensor, and build the sensors and the assets that represent waiting files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import dagster as dg

from ...pipelines.pipeline import Pipeline, Plan
from ...pipelines.waiting_files import WaitingFolder, list_waiting_folders
from ...settings import Settings
from ..graph import AssetGraph, NodeId
from ..jobs import build_job_tags
from ..names import build_op_name
from .file_sensor import MINIMUM_INTERVAL_SECONDS, build_file_sensor, build_incoming_asset, describe_folder


@dataclass(frozen=True, slots=True)
class FileSensors:
    """The load jobs that have a file sensor, with the folders in which their files wait.

    ``domains`` has the folder of each domain by logical name, with the tables of all these jobs.
    """

    folders: tuple[tuple[Pipeline, tuple[WaitingFolder, ...]], ...]
    domains: Mapping[str, WaitingFolder]


def find_file_sensors(plan: Plan, settings: Settings) -> FileSensors:
    """Return the load jobs of a plan that have a file sensor, and the folders that they watch."""
    loads = [p for p in plan.pipelines if p.kind == "load" and any(pre_load.strategy != "none" for pre_load in p.pre_load.values())]
    # The ``pre_load_sensor`` option overrides the setting.
    chosen = [p for p in loads if (settings.file_sensors == "on" if p.file_sensor is None else p.file_sensor)]
    watching = [(p, list_waiting_folders(plan.project, p)) for p in chosen]
    domains: dict[str, WaitingFolder] = {}
    for _, folders in watching:
        for folder in folders:
            known = domains.setdefault(folder.domain, folder)
            if known.path == folder.path:
                domains[folder.domain] = replace(known, tables=tuple(dict.fromkeys((*known.tables, *folder.tables))))
    return FileSensors(tuple((pipeline, folders) for pipeline, folders in watching if folders), domains)


def name_file_sensor(pipeline: Pipeline) -> str:
    """Return the name of the file sensor of a pipeline's job."""
    return f"{pipeline.name}_files_sensor"


def get_interval(pipeline: Pipeline) -> int:
    """Return the seconds between two ticks of the file sensor of a pipeline's job."""
    return int(pipeline.file_sensor_interval.total_seconds()) if pipeline.file_sensor_interval else MINIMUM_INTERVAL_SECONDS


def add_incoming_assets(graph: AssetGraph, found: FileSensors) -> AssetGraph:
    """Return the graph with the asset ``<domain>/incoming`` upstream of the pre-load of each domain that a file sensor watches."""
    if not found.domains:
        return graph
    specs: dict[NodeId, dg.AssetSpec] = dict(graph.specs)
    for domain in found.domains:
        spec = specs["domain", domain]
        specs["domain", domain] = spec.replace_attributes(deps=[*spec.deps, dg.AssetDep(_make_incoming_key(spec.key))])
    return replace(graph, specs=specs)


def build_file_sensors(graph: AssetGraph, found: FileSensors, settings: Settings) -> Iterator[dg.SensorDefinition]:
    """Yield the file sensors of load jobs."""
    keys = {domain: _make_incoming_key(graph.keys["domain", domain]) for domain in found.domains}
    for pipeline, folders in found.folders:
        yield build_file_sensor(
            name=name_file_sensor(pipeline),
            job_name=pipeline.name,
            folders=folders,
            incoming=keys,
            default_status=dg.DefaultSensorStatus[settings.default_status],
            description=f"Starts {pipeline.name} when its files have arrived: {'; '.join(map(describe_folder, folders))}",
            tags=build_job_tags(pipeline),
            minimum_interval_seconds=get_interval(pipeline),
        )


def build_incoming_assets(graph: AssetGraph, found: FileSensors) -> Iterator[dg.AssetsDefinition]:
    """Yield the observable assets of the domains that file sensors watch."""
    taken = frozenset(pipeline.name for pipeline in graph.plan.pipelines)
    for domain, folder in found.domains.items():
        spec = graph.specs["domain", domain]
        key = _make_incoming_key(spec.key)
        yield build_incoming_asset(folder, key, group_name=spec.group_name, op_name=build_op_name(key, taken))


def _make_incoming_key(domain: dg.AssetKey) -> dg.AssetKey:
    return dg.AssetKey([*domain.path, "incoming"])
