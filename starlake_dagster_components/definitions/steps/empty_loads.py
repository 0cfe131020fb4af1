"""Loads that found no file: they succeed, as Starlake's do, and say so."""

from typing import Any

import dagster as dg

from ...executors.base import Counters
from ...pipelines.pipeline import Pipeline
from ...project.missing_files import find_missing_files
from ...project.model import Project, Table

NO_FILES = "starlake/no_files"
"""Metadata of a materialization: why the load found no file."""


def is_empty_load(counters: Counters | None) -> bool:
    """Return whether it is known that a load had no file."""
    return counters is not None and not counters.files and not counters.input


def report_empty_load(
    log: dg.DagsterLogManager, project: Project, table: Table, pipeline: Pipeline | None, counters: Counters | None
) -> dict[str, Any]:
    """Log that a load found no file, and why; return the metadata that says it, none where the load had files or that is not known.

    It is a warning where no pre-load looks for files, or where the folders show a mistake. Behind a pre-load a table without a file is
    usual: one file of the domain is enough for its load to run.

    Args:
        log: of the step.
        project: the project.
        table: the table that was loaded.
        pipeline: the pipeline on whose behalf it was loaded.
        counters: rows and files of the load, where they are known.
    """
    if not is_empty_load(counters):
        return {}
    pre_load = pipeline.pre_load.get(table.domain) if pipeline else None
    strategy = pre_load.strategy if pre_load else "none"
    missing = find_missing_files(project, table)
    text = missing.describe(strategy) if missing else f"no file matched {table.pattern}"
    suspicious = strategy == "none" or (missing is not None and missing.is_suspicious)
    (log.warning if suspicious else log.info)(f"{table.full_name}: nothing was loaded: {text}")
    return {NO_FILES: text}
