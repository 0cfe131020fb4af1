"""Show warnings in the log when a project is loaded, and in Dagster on the assets and jobs that they are about."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg

from ..errors import Problem
from ..pipelines.pipeline import Pipeline
from ..project.model import EMPTY, Project
from .graph import AssetGraph
from .nodes import StarlakeNode

logger = logging.getLogger("starlake_dagster_components")

WARNINGS = "starlake/warnings"
"""Metadata of an asset or job: the warnings about the project's files, one per line."""

STALE = "ERROR, using the last good plan"
"""Prefix of warnings about files whose tables, tasks, and domains are those of the last plan without errors."""

BROKEN_KIND = "broken-file"
"""Kind of these assets, which makes them visible in the graph. Dagster shows up to three kinds."""

_logged: dict[tuple[str, str | None], frozenset[str]] = {}
"""Project and profile -> the warnings that were logged when this process last loaded it."""


def describe_assets_without_job(graph: AssetGraph) -> str | None:
    """Return a sentence about the tables and tasks that no job runs: why, and what to change. Return None if there are none."""
    plan = graph.plan
    described = {node_id: node.table or node.task for node_id, node in graph.nodes.items()}
    loose = [(node_id, node) for node_id, node in described.items() if node and plan.find_pipeline(node) is None]
    if not loose:
        return None
    # Imported only if something has no job.
    from ..pipelines.without_job import describe_missing_jobs
    from .jobs import select_job_keys

    made = {key for pipeline in plan.pipelines if pipeline.run_dependencies_first for key in select_job_keys(graph, pipeline)}
    nodes = [node for node_id, node in loose if graph.keys[node_id] not in made]
    return describe_missing_jobs(plan, nodes) if nodes else None


def log_warnings(project: Project, problems: Sequence[Problem]) -> None:
    """Log each warning on one line that begins with the project's folder and the file.

    When it starts, Dagster builds the definitions of a code location twice. Warnings of the last build are not logged again.
    """
    about = (str(project.root), project.profile)
    lines = dict.fromkeys(_format_line(project, p) for p in problems if p.severity == "warning")
    before = _logged.get(about, frozenset())
    _logged[about] = frozenset(lines)
    with _ensure_log_handler():
        for line in lines:
            if line not in before:
                logger.warning("%s", line)


def add_warnings(graph: AssetGraph, problems: Sequence[Problem]) -> AssetGraph:
    """Return the graph with the warnings about the files of each table, task, or domain as metadata of its spec."""
    by_file = _group_by_file(problems)
    if not by_file:
        return graph
    specs = dict(graph.specs)
    folders = _find_stale_folders(by_file)
    for node_id, node in graph.nodes.items():
        files = list(_list_files(node))
        above = [folders[folder] for folder in {file.rpartition("/")[0] for file in files} if folder in folders] if folders else []
        about = [p for file in dict.fromkeys((*files, *above)) for p in by_file.get(file, ())]
        if about:
            spec = specs[node_id]
            spec = spec.replace_attributes(metadata={**spec.metadata, **_build_metadata(about)})
            specs[node_id] = _mark_stale(spec, [p for p in about if p.message.startswith(STALE)])
    return replace(graph, specs=specs)


def _find_stale_folders(by_file: Mapping[str, Sequence[Problem]]) -> Mapping[str, str]:
    """Return the folders whose ``_config`` is broken, each with that file, because it affects every table and task of the folder."""
    broken = [file for file, problems in by_file.items() if any(p.message.startswith(STALE) for p in problems)]
    return {folder: file for file in broken for folder, _, name in [file.rpartition("/")] if name.startswith("_config.")}


def _mark_stale(spec: dg.AssetSpec, problems: Sequence[Problem]) -> dg.AssetSpec:
    """Return the spec with its files' errors at the top of its page, and with a kind that the graph shows."""
    if not problems:
        return spec
    lines = [f"**{STALE}**", *(f"`{p.location}`: {p.message[len(STALE) + 2 :]}" for p in problems)]
    kinds = sorted(spec.kinds, key=lambda kind: kind == "starlake")[:2]
    return spec.replace_attributes(
        description="\n\n".join(filter(None, (*lines, spec.description))),
        kinds={*kinds, BROKEN_KIND},
    )


def collect_job_warnings(pipeline: Pipeline, problems: Sequence[Problem]) -> Mapping[str, dg.MetadataValue]:
    """Return the warnings about the DAG config of a job as metadata."""
    return _build_metadata(_group_by_file(problems).get(pipeline.dag_config.origin.file, ())) or EMPTY


def _format_line(project: Project, problem: Problem) -> str:
    where = problem.location
    place = os.path.join(project.root, str(where)) if where else str(project.root)
    return f"{place}: {' '.join(problem.message.split())}"


@contextmanager
def _ensure_log_handler() -> Iterator[None]:
    """If logging is not configured, log in Dagster's format. Python would write the bare message, without the logger's name."""
    if logger.hasHandlers():
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s", "%Y-%m-%d %H:%M:%S %z"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _group_by_file(problems: Sequence[Problem]) -> Mapping[str, Sequence[Problem]]:
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.severity == "warning" and problem.location:
            found.setdefault(problem.location.file, []).append(problem)
    return found


def _list_files(node: StarlakeNode) -> Iterator[str]:
    files = [node.origin.file if node.origin else None]
    if node.task:
        files += [node.task.sql_file, node.task.python_file]
    yield from dict.fromkeys(file for file in files if file)


def _build_metadata(problems: Sequence[Problem]) -> dict[str, dg.MetadataValue]:
    lines = [f"{p.location}: {p.message}" for p in problems]
    return {WARNINGS: dg.MetadataValue.text("\n".join(lines))} if lines else {}
