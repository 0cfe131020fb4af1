"""Explain why a job, asset, schedule, or sensor exists, with the file and line behind each fact."""

from collections.abc import Iterator, Sequence

import dagster as dg

from ...errors import Location, UnknownName
from ...pipelines.pipeline import Pipeline
from ...pipelines.waiting_files import WaitingFolder
from ...pipelines.without_job import explain_missing_job
from ...settings import Settings
from ..graph import AssetGraph, NodeId
from ..jobs import select_job_keys
from ..nodes import StarlakeNode
from ..sensors.file_sensor import describe_folder
from ..sensors.incoming import find_file_sensors, name_file_sensor
from ..sensors.watched import find_watched_assets, name_sensor
from .summary import get_executor_name

_STRATEGY = "options.pre_load_strategy"


def explain_name(graph: AssetGraph, settings: Settings, name: str) -> list[str]:
    """Return lines that explain the objects called ``name``.

    The name may be that of a job, ``<job>_schedule``, ``<job>_sensor``, ``<job>_files_sensor``, an asset key as shown in Dagster, or a
    Starlake name (``domain.table``).

    Raises:
        UnknownName: there is no such object.
    """
    jobs = {p.name: p for p in graph.plan.pipelines}
    schedules = {f"{p.name}_schedule": p for p in jobs.values() if p.schedule}
    sensors = {f"{p.name}_sensor": p for p in jobs.values() if find_watched_assets(graph, p, settings)}
    folders = {p.name: folders for p, folders in find_file_sensors(graph.plan, settings).folders}
    file_sensors = {name_file_sensor(jobs[job]): job for job in folders}
    nodes: dict[str, NodeId] = {}
    for node_id, spec in graph.specs.items():
        for known_as in (spec.key.to_user_string(), node_id[1], graph.nodes[node_id].name):
            nodes.setdefault(known_as, node_id)
    found = [
        *(_explain_job(graph, settings, jobs[name], folders.get(name, ())) if name in jobs else ()),
        *(_explain_schedule(settings, schedules[name]) if name in schedules else ()),
        *(_explain_sensor(graph, settings, sensors[name]) if name in sensors else ()),
        *(_explain_file_sensor(jobs[job], folders[job]) if (job := file_sensors.get(name)) else ()),
        *(_explain_asset(graph, nodes[name]) if name in nodes else ()),
    ]
    if not found:
        raise UnknownName(kind="job, asset, schedule, or sensor", name=name, known=[*jobs, *schedules, *sensors, *file_sensors, *nodes])
    return found


def _show_location(location: Location | None) -> str:
    return f"  [{location}]" if location else ""


def _show_key(pipeline: Pipeline, key: str = "") -> str:
    """Return the location of a key of the DAG config, or of the whole DAG config."""
    return _show_location(pipeline.dag_config.origin.locate(key))


def _explain_job(graph: AssetGraph, settings: Settings, pipeline: Pipeline, folders: Sequence[WaitingFolder]) -> Iterator[str]:
    """Yield lines that explain a job. ``folders`` are those that its file sensor watches; empty if it does not have one."""
    config = pipeline.dag_config
    yield f"job {pipeline.name}: {pipeline.kind} pipeline of the DAG config '{config.name}'{_show_key(pipeline)}"
    yield f"  file name {pipeline.filename}: rendered from '{config.filename}'{_show_key(pipeline, 'filename')}"
    template = f"the template '{config.template}'"
    by = f"the executor setting, which overrides {pipeline.executor} of {template}" if settings.executor else template
    yield f"  executor {get_executor_name(settings, pipeline)}: from {by}{_show_key(pipeline, 'template')}"
    yield from _explain_environment(graph, pipeline)
    if pipeline.run_dependencies_first:
        yield f"  runs everything upstream first: run_dependencies_first{_show_key(pipeline, 'options.run_dependencies_first')}"
    for domain, pre_load in pipeline.pre_load.items():
        yield f"  pre-load of {domain}: {pre_load.strategy}{_show_key(pipeline, _STRATEGY)}"
    yield from (f"  {line}" for line in _explain_schedule(settings, pipeline))
    if folders:
        yield from (f"  {line}" for line in _explain_file_sensor(pipeline, folders))
    for name in (*(t.full_name for t in pipeline.tables), *(t.full_name for t in pipeline.tasks)):
        yield f"  runs {name}: dagRef{_show_location(pipeline.dag_refs.get(name))}"
    own = set(graph.get_pipeline_keys(pipeline))
    for key in select_job_keys(graph, pipeline):
        if key not in own:
            yield f"  runs {key.to_user_string()} first: a task of this job reads it"


def _explain_environment(graph: AssetGraph, pipeline: Pipeline) -> Iterator[str]:
    environment = graph.plan.environments.get(pipeline.dag_config.name)
    if environment:
        yield f"  environment {environment.profile or 'without SL_ENV'}: sl_env_var{_show_location(environment.location)}"


def _explain_schedule(settings: Settings, pipeline: Pipeline) -> Iterator[str]:
    schedule = pipeline.schedule
    if schedule is None:
        return
    timezone = schedule.timezone or settings.timezone or "UTC"
    yield f"schedule {pipeline.name}_schedule: '{schedule.cron}' ({timezone}), named {schedule.name}{_show_location(schedule.location)}"
    if schedule.preset:
        yield f"  preset {schedule.name}{_show_location(schedule.preset)}"


def _explain_sensor(graph: AssetGraph, settings: Settings, pipeline: Pipeline) -> Iterator[str]:
    why = f"the job has neither a schedule nor run_dependencies_first; strategy {pipeline.trigger.strategy}"
    yield f"sensor {name_sensor(pipeline, settings)}: {why}"
    readers: dict[str, list[str]] = {}
    for task in pipeline.tasks:
        reads = graph.plan.dependencies
        for dependency in reads.get_transitive(task.full_name) if settings.watch == "transitive" else reads.get_direct(task.full_name):
            readers.setdefault(dependency.name, []).append(f"{task.full_name}{_show_location(dependency.location)}")
    for name, key in find_watched_assets(graph, pipeline, settings).items():
        yield f"  watches {key.to_user_string()}: upstream of {', '.join(readers[name])}"


def _explain_file_sensor(pipeline: Pipeline, folders: Sequence[WaitingFolder]) -> Iterator[str]:
    option = "options.pre_load_sensor"
    why = "the file_sensors setting" if pipeline.file_sensor is None else f"pre_load_sensor{_show_key(pipeline, option)}"
    yield f"sensor {name_file_sensor(pipeline)}: {why}"
    yield from (f"  waits for {describe_folder(folder)}" for folder in folders)


def _explain_asset(graph: AssetGraph, node_id: NodeId) -> Iterator[str]:
    node, spec = graph.nodes[node_id], graph.specs[node_id]
    described = f"pre-load of the domain {node.name}" if node.type == "domain" else f"{node.type} {node.name}"
    yield f"asset {spec.key.to_user_string()}: {described}{_show_location(node.location)}"
    if node.task and node.task.sql_file:
        yield f"  SQL{_show_location(Location(node.task.sql_file, node.task.sql_line))}"
    for pipeline in graph.plan.pipelines if node.load_domain else ():
        pre_load = pipeline.pre_load.get(node.load_domain.name) if node.load_domain else None
        if pre_load and pre_load.strategy != "none":
            job = f"DAG config '{pipeline.dag_config.name}', job {pipeline.name}"
            yield f"  strategy {pre_load.strategy}: {job}{_show_key(pipeline, _STRATEGY)}"
    if node.pipeline:
        yield from _explain_environment(graph, node.pipeline)
    if node.connection:
        yield f"  connection {node.connection.name}: {node.connection.engine}{_show_location(node.connection.origin.locate())}"
    yield from _explain_upstream(graph, node, spec)
    jobs = [p.name for p in graph.plan.pipelines if spec.key in select_job_keys(graph, p)]
    if jobs:
        yield f"  in the job{'' if len(jobs) == 1 else 's'} {', '.join(jobs)}"
    elif node.load_or_task:
        reason, location = explain_missing_job(graph.plan, node.load_or_task)
        yield f"  in no job: {reason}{_show_location(location)}"


def _explain_upstream(graph: AssetGraph, node: StarlakeNode, spec: dg.AssetSpec) -> Iterator[str]:
    shown = set()
    for d in node.dependencies:
        key = graph.keys[d.kind, d.name]
        shown.add(key)
        yield f"  after {key.to_user_string()} ({d.kind} {d.name}): {d.source}{_show_location(d.location)}"
    pre_load = graph.keys.get(("domain", node.table.domain)) if node.table else None
    for key in dict.fromkeys(d.asset_key for d in spec.deps):
        if key == pre_load and node.table and node.pipeline and node.table.domain in node.pipeline.pre_load:
            strategy = node.pipeline.pre_load[node.table.domain].strategy
            yield f"  after {key.to_user_string()}: pre-load of its domain, strategy {strategy}{_show_key(node.pipeline, _STRATEGY)}"
        elif key not in shown:
            yield f"  after {key.to_user_string()}: from the translation (or get_asset_spec)"
