"""Report loads that found no files. As in Starlake, they succeed."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from ...executors.base import Counters
from ...pipelines.pipeline import Pipeline
from ...project.missing_files import find_missing_files
from ...project.model import Domain, Project, Table
from ..checks import build_asset_check_specs
from ..nodes import StarlakeNode
from .run_history import has_been_loaded_since

NO_FILES = "starlake/no_files"
"""Metadata of a materialization or observation: the reason why no files were found."""

MAX_HISTORY = 20
"""Number of past executions of a check to search for its last result."""

EVALUATED_IN = "starlake/evaluated_in_run"
"""Metadata of a repeated check result: the run that evaluated the check."""


def is_empty_load(counters: Counters | None) -> bool:
    """Return whether a load is known to have found no files."""
    return counters is not None and not counters.files and not counters.input


def find_last_row_count(instance: dg.DagsterInstance, key: dg.AssetKey) -> int | None:
    """Return the row count of a table's latest materialization; None if it is unknown, or a later load may have written rows.

    Dagster shows the row count of the latest materialization, and a load without files does not change the table.
    """
    latest = instance.get_latest_materialization_event(key)
    materialization = latest.asset_materialization if latest else None
    count = materialization.metadata.get("dagster/row_count") if materialization else None
    if latest is None or count is None or has_been_loaded_since(instance, key, latest.timestamp, latest.run_id):
        return None
    return int(str(count.value))


def report_empty_load(
    log: dg.DagsterLogManager, project: Project, table: Table, pipeline: Pipeline | None, counters: Counters | None
) -> dict[str, Any]:
    """If a load found no files, log the reason and return it as metadata. Otherwise, or if this is unknown, return no metadata.

    The message is a warning if there is no pre-load that checks for files, or if the folders indicate a mistake. With a pre-load, a table
    without files is normal, because one file of any table in the domain starts the load.
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
    """If the folder of a pre-load that found no files indicates a mistake, log a warning and yield an observation with the reason."""
    missing = next(filter(None, (find_missing_files(project, table) for table in domain.tables)), None)
    text = missing.describe_mistake(strategy, domain.origin.locate("metadata.directory")) if missing else None
    if text:
        context.log.warning(f"{domain.name}: {text}")
        yield dg.AssetObservation(key, description=text, metadata={NO_FILES: text})


def repeat_last_results(node: StarlakeNode, key: dg.AssetKey, instance: dg.DagsterInstance) -> Iterator[dg.AssetCheckResult]:
    """Yield the last result of each check again after a load without files, which did not change the table.

    Without a result, Dagster shows the planned checks of a run as not evaluated. This is also right if the table has been loaded since the
    last result, by a load whose check results are unknown. The failure of a blocking check becomes a warning, because this run did not load
    the rows.
    """
    for spec in build_asset_check_specs(node, key, node.settings):
        check = dg.AssetCheckKey(key, spec.name)
        for record in instance.event_log_storage.get_asset_check_execution_history(check, limit=MAX_HISTORY):
            event = record.event.dagster_event if record.event else None
            if record.event is None or event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                continue
            last = event.asset_check_evaluation_data
            if not has_been_loaded_since(instance, key, record.event.timestamp, record.run_id):
                yield dg.AssetCheckResult(
                    check_name=spec.name,
                    asset_key=key,
                    passed=last.passed,
                    severity=dg.AssetCheckSeverity.WARN if spec.blocking else last.severity,
                    description=last.description,
                    metadata={EVALUATED_IN: record.run_id, **last.metadata},
                )
            break


def report_last_results(node: StarlakeNode, key: dg.AssetKey, context: dg.AssetExecutionContext) -> None:
    """Report the last result of each check of a table that this run will skip, because the pre-load found nothing.

    Otherwise, Dagster would show the checks as skipped. The step of the pre-load cannot yield results of another step, so the results do
    not belong to the run. Checks that this run does not include are left alone.
    """
    for result in repeat_last_results(node, key, context.instance):
        check = dg.AssetCheckKey(key, str(result.check_name))
        newest = context.instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
        if newest and newest[0].run_id == context.run.run_id:
            context.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=key,
                    check_name=check.name,
                    passed=result.passed,
                    metadata=result.metadata,
                    severity=result.severity,
                    description=result.description,
                )
            )
