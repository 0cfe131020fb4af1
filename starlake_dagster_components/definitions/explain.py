"""Why a job, asset, schedule or sensor exists: the file and line behind each fact."""

from collections.abc import Iterator

from ..errors import Location, UnknownName
from ..pipelines.model import Pipeline
from .graph import AssetGraph, NodeId
from .jobs import job_keys
from .settings import Settings
from .watching import watched_by


def explain(graph: AssetGraph, settings: Settings, name: str) -> list[str]:
    """Return the lines that explain what has a name.

    Args:
        graph: the assets.
        settings: how they were made.
        name: a job, ``<job>_schedule``, ``<job>_sensor``, an asset key as Dagster shows it, or a Starlake name (``domain.table``).

    Raises:
        UnknownName: nothing has this name.
    """
    jobs = {p.name: p for p in graph.plan.pipelines}
    schedules = {f"{p.name}_schedule": p for p in jobs.values() if p.schedule}
    sensors = {f"{p.name}_sensor": p for p in jobs.values() if watched_by(graph, p, settings)}
    nodes: dict[str, NodeId] = {}
    for node_id, spec in graph.specs.items():
        for known_as in (spec.key.to_user_string(), node_id[1], graph.nodes[node_id].name):
            nodes.setdefault(known_as, node_id)
    found: list[str] = []
    if name in jobs:
        found += _job(graph, jobs[name])
    if name in schedules:
        found += _schedule(schedules[name])
    if name in sensors:
        found += _sensor(graph, settings, sensors[name])
    if name in nodes:
        found += _asset(graph, nodes[name])
    if not found:
        raise UnknownName(kind="job, asset, schedule or sensor", name=name, known=[*jobs, *schedules, *sensors, *nodes])
    return found


def _at(location: Location | None) -> str:
    return f"  [{location}]" if location else ""


def _job(graph: AssetGraph, pipeline: Pipeline) -> Iterator[str]:
    config = pipeline.dag_config
    yield f"job {pipeline.name}: {pipeline.kind} pipeline of the DAG config '{config.name}'{_at(config.origin.at())}"
    yield f"  file name {pipeline.filename}: rendered from '{config.filename}'{_at(config.origin.at('filename'))}"
    yield f"  executor {pipeline.executor}: from the template '{config.template}'{_at(config.origin.at('template'))}"
    if pipeline.run_dependencies_first:
        yield f"  runs everything upstream first: run_dependencies_first{_at(config.origin.at('options.run_dependencies_first'))}"
    for domain, pre_load in pipeline.pre_load.items():
        yield f"  pre-load of {domain}: {pre_load.strategy}{_at(config.origin.at('options.pre_load_strategy'))}"
    if pipeline.schedule:
        yield from (f"  {line}" for line in _schedule(pipeline))
    for name in (*(t.full_name for t in pipeline.tables), *(t.full_name for t in pipeline.tasks)):
        yield f"  runs {name}: dagRef{_at(pipeline.dag_refs.get(name))}"
    own = set(graph.keys_of(pipeline))
    for key in job_keys(graph, pipeline):
        if key not in own:
            yield f"  runs {key.to_user_string()} first: a task of this job reads it"


def _schedule(pipeline: Pipeline) -> Iterator[str]:
    schedule = pipeline.schedule
    if schedule is None:
        return
    yield f"schedule {pipeline.name}_schedule: '{schedule.cron}' ({schedule.timezone or 'UTC'}), named {schedule.name}{_at(schedule.location)}"
    if schedule.preset:
        yield f"  preset {schedule.name}{_at(schedule.preset)}"


def _sensor(graph: AssetGraph, settings: Settings, pipeline: Pipeline) -> Iterator[str]:
    yield f"sensor {pipeline.name}_sensor: the job has no schedule and not run_dependencies_first; strategy {pipeline.trigger.strategy}"
    readers: dict[str, list[str]] = {}
    for task in pipeline.tasks:
        reads = graph.plan.dependencies
        for dependency in reads.transitive(task.full_name) if settings.watch == "transitive" else reads.of(task.full_name):
            readers.setdefault(dependency.name, []).append(f"{task.full_name}{_at(dependency.location)}")
    for name, key in watched_by(graph, pipeline, settings).items():
        yield f"  watches {key.to_user_string()}: upstream of {', '.join(readers[name])}"


def _asset(graph: AssetGraph, node_id: NodeId) -> Iterator[str]:
    node, spec = graph.nodes[node_id], graph.specs[node_id]
    yield f"asset {spec.key.to_user_string()}: {node.type} {node.name}{_at(node.location)}"
    if node.task and node.task.sql_file:
        yield f"  SQL{_at(Location(node.task.sql_file, node.task.sql_line))}"
    for dependency in node.dependencies:
        key = graph.key(dependency.kind, dependency.name).to_user_string()
        yield f"  after {key} ({dependency.kind} {dependency.name}): {dependency.source}{_at(dependency.location)}"
    jobs = [p.name for p in graph.plan.pipelines if spec.key in job_keys(graph, p)]
    described = node.table or node.task
    if jobs:
        yield f"  in the jobs {', '.join(jobs)}"
    elif described:
        yield "  in no job: no dagRef, or its DAG config is for another orchestrator"
