"""Sample rows and actual columns of the tables that steps write. The code that reads them is imported when it is first needed."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from ...commands import Command
from ...executors.base import Counters, ExpectationResult
from ...project.model import Table, Task
from ...settings import Settings
from ..checks import DECLARED_SCHEMA, has_schema_check
from ..graph import AssetGraph
from ..nodes import StarlakeNode

if TYPE_CHECKING:
    from ...lineage.project import ProjectColumns
    from .table_rows import TableRows


class RowsOfSteps:
    """Reads sample rows and columns of the tables that the steps of a project write, according to the settings."""

    def __init__(self, graph: AssetGraph, settings: Settings) -> None:
        self._project = graph.plan.project
        self._samples = settings.samples

    @cached_property
    def columns(self) -> "ProjectColumns":
        """The columns of the project's tables and tasks, with their sources."""
        from ...lineage.project import ProjectColumns

        return ProjectColumns(self._project)

    @cached_property
    def _rows(self) -> "TableRows":
        from .table_rows import TableRows

        return TableRows(self._project, self.columns, self._samples)

    def check_columns(self, context: dg.AssetExecutionContext, node: StarlakeNode, key: dg.AssetKey) -> list[dg.AssetCheckResult]:
        """Return the result of the ``declared_schema`` check; empty if it is not selected, or the table cannot be read."""
        described, check = node.load_or_task, dg.AssetCheckKey(key, DECLARED_SCHEMA)
        if described is None or not has_schema_check(node, node.settings) or check not in context.selected_asset_check_keys:
            return []
        from .declared_schema import build_schema_check_result
        from .table_rows import read_columns

        actual = read_columns(context.log, node.project, described, warehouses=True)
        found = build_schema_check_result(node.project, described, key, actual)
        return [found] if found else []

    def build_sample(
        self, context: dg.AssetExecutionContext, node: Table | Task, command: Command, counters: Counters | None
    ) -> dict[str, Any]:
        """Return metadata with sample rows of the table that a command has written; empty if the ``samples`` setting is off."""
        return self._rows.build_sample(context.log, node, command, counters) if self._samples.rows else {}

    def show(self, context: dg.AssetExecutionContext, node: Table | Task) -> Callable[[ExpectationResult], str | None]:
        """Return a function that returns the rows that violate an expectation of a table or task, in Markdown, or None."""
        if not self._samples.rows:
            return lambda result: None
        return lambda result: self._rows.show_violations(context.log, node, result)
