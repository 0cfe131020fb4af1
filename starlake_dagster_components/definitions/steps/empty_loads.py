"""Report loads that found no file. As in Starlake, they succeed."""

from typing import Any

import dagster as dg

from ...executors.base import Counters
from ...pipelines.pipeline import Pipeline
from ...project.missing_files import find_missing_files
from ...project.model import Project, Table

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
    text = missing.describe(strategy) if missing else f"no file matched {table.pattern}"
    suspicious = strategy == "none" or (missing is not None and missing.is_suspicious)
    (log.warning if suspicious else log.info)(f"{table.full_name}: nothing was loaded, because {text}")
    return {NO_FILES: text}
