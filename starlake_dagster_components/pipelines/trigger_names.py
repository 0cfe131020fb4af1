"""Whether the names in a ``dataset_triggering_strategy`` expression are datasets that the pipeline waits for."""

from collections.abc import Iterable

from ..errors import Problem, unknown
from ..project.model import Project
from .model import Dependencies, Pipeline
from .triggers import parse_trigger


def check_triggers(project: Project, pipelines: Iterable[Pipeline], dependencies: Dependencies) -> list[Problem]:
    """Return an error for each name in a trigger expression that nothing upstream of the pipeline has."""
    problems = []
    for pipeline in pipelines:
        names = parse_trigger(pipeline.trigger.strategy).names
        if pipeline.kind != "transform" or not names:
            continue
        watched = watched_names(project, pipeline, dependencies)
        where = pipeline.dag_config.origin.at("options.dataset_triggering_strategy")
        known = {name for aliases in watched.values() for name in aliases}
        lower = {name.lower() for name in known}
        problems += [
            Problem(
                where,
                "error",
                f"option 'dataset_triggering_strategy': {unknown('dataset', name, known)}; {pipeline.name} does not wait for it",
            )
            for name in names
            if name.lower() not in lower
        ]
    return problems


def watched_names(project: Project, pipeline: Pipeline, dependencies: Dependencies) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what a transform pipeline can wait for: kind and logical name -> the names by which an expression may call it.

    All transitive dependencies except the pipeline's own tasks (seed: Multi Asset Sensor). A task goes by its full name and the table that
    it writes, a load table by its logical and final names; each also with ``_`` for the dot, as in asset keys. Case does not matter.
    """
    own = {t.full_name for t in pipeline.tasks}
    tasks = {t.full_name: t for t in project.tasks}
    tables = {t.full_name: t for t in project.tables}
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for task in pipeline.tasks:
        for d in dependencies.transitive(task.full_name):
            if not d.awaited or (d.kind == "task" and d.name in own):
                continue
            other = tables[d.name].final_full_name if d.kind == "table" else tasks[d.name].sink_name if d.kind == "task" else d.name
            names = dict.fromkeys((d.name, other))
            found[d.kind, d.name] = tuple(dict.fromkeys((*names, *(n.replace(".", "_") for n in names))))
    return found
