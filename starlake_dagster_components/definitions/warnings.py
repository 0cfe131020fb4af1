"""Log the warnings about a project when it is loaded, and add them to the metadata of assets and jobs."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
"""Metadata of an asset or job: the warnings about its files, one per line."""

STALE = "ERROR, using the last good plan"
"""Prefix of warnings about files with errors, whose tables and tasks come from the last plan without errors."""

BROKEN_KIND = "broken-file"
"""Kind that marks assets whose files have errors in the graph. Dagster shows at most three kinds of an asset."""

_logged: dict[tuple[str, str | None], frozenset[str]] = {}
"""Project and profile -> the warnings at the time when this process last loaded the project."""


def describe_assets_without_job(graph: AssetGraph) -> str | None:
    """Return a message about the tables and tasks that no job runs, with the reasons and advice; None if there are none."""
    plan = graph.plan
    tables_and_tasks = [(node_id, node.load_or_task) for node_id, node in graph.nodes.items()]
    without_pipeline = [(node_id, node) for node_id, node in tables_and_tasks if node and plan.find_pipeline(node) is None]
    if not without_pipeline:
        return None
    # Imported only if necessary.
    from ..pipelines.without_job import describe_missing_jobs
    from .jobs import select_job_keys

    run_first = {key for pipeline in plan.pipelines if pipeline.run_dependencies_first for key in select_job_keys(graph, pipeline)}
    nodes = [node for node_id, node in without_pipeline if graph.keys[node_id] not in run_first]
    return describe_missing_jobs(plan, nodes) if nodes else None


def log_warnings(project: Project, problems: Sequence[Problem]) -> None:
    """Log each warning as one line that begins with the path of the file.

    Warnings that were also found by the previous load in this process are not repeated: Dagster loads a code location twice when it starts.
    """
    key = (str(project.root), project.profile)
    paths = [(os.path.join(project.root, str(p.location)) if p.location else project.root, p) for p in problems if p.severity == "warning"]
    lines = dict.fromkeys(f"{path}: {' '.join(p.message.split())}" for path, p in paths)
    before = _logged.get(key, frozenset())
    _logged[key] = frozenset(lines)
    with _ensure_log_handler():
        for line in lines:
            if line not in before:
                logger.warning("%s", line)


def add_warnings(graph: AssetGraph, problems: Sequence[Problem]) -> AssetGraph:
    """Return the graph with the warnings about each node's files in the metadata of its spec."""
    by_file = _group_by_file(problems)
    if not by_file:
        return graph
    specs = dict(graph.specs)
    # Folders with an error in their ``_config`` file, which affects every table and task in the folder.
    stale = [file.rpartition("/") for file, about in by_file.items() if any(p.message.startswith(STALE) for p in about)]
    folders = {folder: f"{folder}{slash}{name}" for folder, slash, name in stale if name.startswith("_config.")}
    for node_id, node in graph.nodes.items():
        files = list(_list_files(node))
        above = [folders[folder] for folder in {file.rpartition("/")[0] for file in files} if folder in folders] if folders else []
        about = [p for file in dict.fromkeys((*files, *above, *_list_folders(files))) for p in by_file.get(file, ())]
        if about:
            spec = specs[node_id].replace_attributes(metadata={**specs[node_id].metadata, **_build_metadata(about)})
            specs[node_id] = _mark_stale(spec, [p for p in about if p.message.startswith(STALE)])
    return replace(graph, specs=specs)


def _mark_stale(spec: dg.AssetSpec, problems: Sequence[Problem]) -> dg.AssetSpec:
    """Return the spec with the errors at the top of its description, and with a kind that marks it in the graph."""
    if not problems:
        return spec
    lines = [f"**{STALE}**", *(f"`{p.location}`: {p.message[len(STALE) + 2 :]}" for p in problems)]
    kinds = sorted(spec.kinds, key=lambda kind: kind == "starlake")[:2]
    return spec.replace_attributes(description="\n\n".join(filter(None, (*lines, spec.description))), kinds={*kinds, BROKEN_KIND})


def collect_job_warnings(pipeline: Pipeline, problems: Sequence[Problem]) -> Mapping[str, dg.MetadataValue]:
    """Return the metadata of a job, with the warnings about its DAG config."""
    return _build_metadata(_group_by_file(problems).get(pipeline.dag_config.origin.file, ())) or EMPTY


@contextmanager
def _ensure_log_handler() -> Iterator[None]:
    """If logging is not configured, use Dagster's format. Python would print only the message, without the logger's name."""
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


def _list_folders(files: Iterable[str]) -> Iterator[str]:
    """Yield the folders that contain files, directly or indirectly. A folder that cannot be read affects everything in it."""
    for file in files:
        while file := file.rpartition("/")[0]:
            yield file


def _build_metadata(problems: Sequence[Problem]) -> dict[str, dg.MetadataValue]:
    lines = [f"{p.location}: {p.message}" for p in problems]
    return {WARNINGS: dg.MetadataValue.text("\n".join(lines))} if lines else {}
