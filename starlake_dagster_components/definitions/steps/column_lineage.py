"""Column metadata of materializations: the lineage of a task's columns, and a table's actual columns. Imported by the first transform."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ...lineage.parsed_query import UnsupportedQuery
from ...lineage.project import ProjectColumns
from ...project.model import Task
from ..columns import build_inferred_schema
from ..graph import AssetGraph


def build_column_metadata(log: dg.DagsterLogManager, graph: AssetGraph, columns: ProjectColumns, task: Task) -> dict[str, Any]:
    """Return ``dagster/column_lineage`` of a task, and ``dagster/column_schema`` if its YAML does not declare columns.

    If the SQL cannot be analyzed, there is no metadata, and a debug message.
    """
    try:
        found = columns.get_task_columns(task)
    except Exception as error:  # noqa: BLE001 -- lineage is optional, and the command has succeeded
        reason = str(error) if isinstance(error, UnsupportedQuery) else f"{type(error).__name__}: {error}"
        log.debug(f"no column lineage of {task.full_name}: {reason}")
        return {}
    metadata: dict[str, Any] = {}
    lineage: dict[str, list[dg.TableColumnDep]] = {}
    for column in found:
        if column.sources is not None:
            keys = ((graph.keys.get((source.kind, source.name)), source.column) for source in column.sources)
            lineage[column.name] = [dg.TableColumnDep(key, name) for key, name in keys if key is not None]
    if lineage:
        metadata["dagster/column_lineage"] = dg.TableColumnLineage(deps_by_column=lineage)
    schema = build_inferred_schema((c.name, c.type) for c in found) if not task.attributes else None
    return {**metadata, "dagster/column_schema": schema} if schema else metadata


def build_actual_columns(context: dg.AssetExecutionContext, key: dg.AssetKey, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return ``dagster/column_schema`` with a table's actual columns, and ``starlake/columns_changed`` if they have changed.

    ``columns`` has the type of each actual column; empty if unknown.
    """
    if not columns:
        return {}
    metadata: dict[str, Any] = {"dagster/column_schema": dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])}
    latest = context.instance.get_latest_materialization_event(key)
    before = latest.asset_materialization.metadata.get("dagster/column_schema") if latest and latest.asset_materialization else None
    if before is not None and isinstance(before.value, dg.TableSchema):
        changes = describe_changes({column.name: column.type for column in before.value.columns}, columns)
        if changes:
            metadata["starlake/columns_changed"] = changes
    return metadata


def describe_changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return the changes of columns, such as ``added: c (bigint); removed: b; changed: a (integer -> bigint)``; empty if there are none."""
    added = [f"{name} ({kind})" for name, kind in now.items() if name not in before]
    removed = [name for name in before if name not in now]
    # Columns that were inferred from SQL may have no type.
    changed = [
        f"{name} ({before[name]} -> {kind})" for name, kind in now.items() if name in before and before[name] not in (kind, "unknown")
    ]
    parts = (("added", added), ("removed", removed), ("changed", changed))
    return "; ".join(f"{change}: {', '.join(names)}" for change, names in parts if names)
