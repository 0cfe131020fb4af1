"""Report loads that found no file. As in Starlake, they succeed."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from ...executors.base import Counters
from ...pipelines.pipeline import Pipeline
from ...project.missing_files import find_missing_files
from ...project.model import Domain, Project, Table

NO_FILES = "starlake/no_files"
"""Metadata of a materialization: why the load found no file."""


def is_empty_load(counters: Counters | None) -> bool:
    """Return whether a load is known to have had no file."""
    return counters is not None and not counters.files and not counters.input


def report_empty_load(
    log: dg.DagsterLogManager, project: Project, table: Table, pipeline: Pipeline | None, counters: Counters | None
) -> dict[str, Any]:
    """Log that a load found no file, and why. Return metadata with the reason; none if the load had files or this is unknown.

    It is a warning if no pre-load checks for files, or if the folders indicate a mistake. With a pre-load, a table without a file is
    normal, because one file of the domain is enough to start its load.

    Args:
        log: log of the step.
        project: the project.
        table: the table that was loaded.
        pipeline: the pipeline for which it was loaded.
        counters: rows and files of the load, if known.
    """
    if not is_empty_load(counters):
        return {}
    pre_load = pipeline.pre_load.get(table.domain) if pipeline else None
    strategy = pre_load.strategy if pre_load else "none"
    missing = find_missing_files(project, table)
    where = pipeline.dag_config.origin.locate("options.pre_load_strategy") if pipeline else None
    text = missing.describe(strategy, where) if missing else f"no file matched {table.pattern}"
    suspicious = strategy == "none" or (missing is not None and missing.is_suspicious)
    (log.warning if suspicious else log.info)(f"{table.full_name}: nothing was loaded, because {text}")
    return {NO_FILES: text}


def report_empty_pre_load(
    context: dg.AssetExecutionContext, project: Project, domain: Domain, strategy: str, key: dg.AssetKey
) -> Iterator[dg.AssetObservation]:
    """Log why a pre-load found no file if its folder indicates a mistake, and yield an observation with the reason.

    Without a mistake, files have only not arrived yet, which is normal.

    Args:
        context: the step.
        project: the project.
        domain: the domain.
        strategy: its pre-load strategy.
        key: its asset key.
    """
    missing = next(filter(None, (find_missing_files(project, table) for table in domain.tables)), None)
    text = missing.describe_mistake(strategy, domain.origin.locate("metadata.directory")) if missing else None
    if text:
        context.log.warning(f"{domain.name}: {text}")
        yield dg.AssetObservation(key, description=text, metadata={NO_FILES: text})
