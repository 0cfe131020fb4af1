"""Report loads that found no files. As in Starlake, they succeed."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from ...executors.base import Counters
from ...pipelines.pipeline import Pipeline
from ...project.missing_files import find_missing_files
from ...project.model import Domain, Project, Table

NO_FILES = "starlake/no_files"
"""Metadata of a materialization or observation: the reason why no files were found."""


def is_empty_load(counters: Counters | None) -> bool:
    """Return whether a load is known to have found no files."""
    return counters is not None and not counters.files and not counters.input


def report_empty_load(
    log: dg.DagsterLogManager, project: Project, table: Table, pipeline: Pipeline | None, counters: Counters | None
) -> dict[str, Any]:
    """If a load found no files, log the reason and return it as metadata. Otherwise, or if this is unknown, return no metadata.

    The message is a warning if there is no pre-load that checks for files, or if the folders indicate a mistake. With a pre-load, a table
    without files is normal, because one file of any table in the domain starts the load.

    Args:
        log: log of the step.
        project: the project.
        table: the table that was loaded.
        pipeline: the pipeline for which it was loaded.
        counters: the counts of the load; None = unknown.
    """
    if not is_empty_load(counters):
        return {}
    pre_load = pipeline.pre_load.get(table.domain) if pipeline else None
    strategy = pre_load.strategy if pre_load else "none"
    missing = find_missing_files(project, table)
    location = pipeline.dag_config.origin.locate("options.pre_load_strategy") if pipeline else None
    text = missing.describe(strategy, location) if missing else f"no file matched {table.pattern}"
    suspicious = strategy == "none" or (missing is not None and missing.is_suspicious)
    (log.warning if suspicious else log.info)(f"{table.full_name}: nothing was loaded, because {text}")
    return {NO_FILES: text}


def report_empty_pre_load(
    context: dg.AssetExecutionContext, project: Project, domain: Domain, strategy: str, key: dg.AssetKey
) -> Iterator[dg.AssetObservation]:
    """If the folder of a pre-load that found no files indicates a mistake, log a warning and yield an observation with the reason.

    Args:
        context: the step.
        project: the project.
        domain: the domain.
        strategy: its pre-load strategy.
        key: asset key of the pre-load.
    """
    missing = next(filter(None, (find_missing_files(project, table) for table in domain.tables)), None)
    text = missing.describe_mistake(strategy, domain.origin.locate("metadata.directory")) if missing else None
    if text:
        context.log.warning(f"{domain.name}: {text}")
        yield dg.AssetObservation(key, description=text, metadata={NO_FILES: text})
