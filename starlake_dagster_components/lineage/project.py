"""Column lineage of a project: the columns of its tables and tasks, and the source columns of each."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import Location
from ..pipelines.table_names import ReferenceIndex
from ..project.model import Attribute, Project, Table, TableReference, Task, WriteStrategy
from ..project.sql.references import find_dialect, find_query_connection
from ..project.sql.sections import render_task
from ..project.templating import TemplateError
from .parsed_query import OutputColumn, SourceColumn, TableColumns, UnsupportedQuery
from .statement import find_columns

logger = logging.getLogger("starlake_dagster_components")

NodeId = tuple[str, str]
"""Kind and name: ``("table", "sales.orders")``, ``("task", "kpi.daily")``, ``("external", "erp.rates")``, or ``("file", pattern)``."""

_SQL_TYPES: Mapping[str, str] = {
    "string": "varchar",
    "long": "bigint",
    "int": "int",
    "short": "smallint",
    "byte": "tinyint",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
"""Starlake primitive type -> SQL type, for those that have about the same name in every warehouse."""

_SEPARATOR = "\n"


@dataclass(frozen=True, slots=True, order=True)
class ColumnSource:
    """A column of a table, task, external table, or file (see :data:`NodeId`)."""

    kind: str
    name: str
    column: str

    @property
    def text(self) -> str:
        """The full name, such as ``sales.orders.id``."""
        return f"{self.name}.{self.column}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or task.

    Attributes:
        name: its name in the database.
        type: SQL type in lower case; empty if unknown.
        sources: the columns that it is derived from, sorted; empty for a constant, None if unknown.
    """

    name: str
    type: str = ""
    sources: tuple[ColumnSource, ...] | None = ()


class ProjectColumns:
    """Finds the columns of the tables and tasks of a plan's project on demand, and caches them. It is thread-safe."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._index = ReferenceIndex(project)
        self._tables = {t.full_name: t for t in project.tables}
        self._tasks = {t.full_name: t for t in project.tasks}
        self._external = {t.final_full_name.lower(): t for d in project.external_domains for t in d.tables}
        self._known: dict[str, tuple[Column, ...] | UnsupportedQuery] = {}
        self._open: set[str] = set()
        # Several steps of a run may call this at the same time. Re-entrant, because finding columns is recursive.
        self._lock = threading.RLock()

    def get_task_columns(self, task: Task) -> tuple[Column, ...]:
        """Return the columns of the table that a task writes.

        Raises:
            UnsupportedQuery: the task's SQL cannot be analyzed.
        """
        with self._lock:
            found = self._known.get(task.full_name)
            if found is None:
                self._open.add(task.full_name)
                try:
                    found = self._resolve_columns(task)
                except UnsupportedQuery as error:
                    logger.debug("cannot find the columns of %s: %s", task.full_name, error)
                    found = error
                finally:
                    self._open.discard(task.full_name)
                self._known[task.full_name] = found
        if isinstance(found, UnsupportedQuery):
            raise UnsupportedQuery(str(found))
        return found

    def get_table_columns(self, table: Table) -> tuple[Column, ...]:
        """Return the columns of a table. Each is derived from a field of its files, or from the fields that its script uses."""
        attributes = [a for a in table.attributes if not a.ignore and a.name]
        own = [Column(a.final_name, self._find_type(a), self._find_file_fields(table, a)) for a in attributes]
        return (*own, *(Column(name, "timestamp") for name in self.list_history_columns(table.metadata.write_strategy)))

    def _resolve_columns(self, task: Task) -> tuple[Column, ...]:
        if task.sql_text is None or not task.parse_sql:
            raise UnsupportedQuery("the task has no SQL to analyze")
        try:
            part = render_task(self._project, task).sql
        except TemplateError as error:
            raise UnsupportedQuery(str(error)) from error
        if part is None:
            raise UnsupportedQuery("the task's SQL is empty")
        dialect = find_dialect(find_query_connection(self._project, task))
        outputs = find_columns(part.text, dialect, lambda parts: self._find_table(task, parts))
        columns = [self._build_column(task, output) for output in outputs]
        names = {c.name.lower() for c in columns}
        added = [name for name in self.list_history_columns(task.write_strategy) if name.lower() not in names]
        return (*columns, *(Column(name, "timestamp") for name in added))

    def _build_column(self, task: Task, output: OutputColumn) -> Column:
        declared = next((a for a in task.attributes if a.name.lower() == output.name.lower()), None)
        sources = None if output.sources is None else tuple(sorted({s for one in output.sources for s in _split_identity(one)}))
        return Column(output.name, (self._find_type(declared) if declared else "") or output.type, sources)

    def _find_table(self, task: Task, parts: tuple[str, ...]) -> tuple[str, TableColumns] | None:
        reference = TableReference(parts, task.origin.locate() if task.origin else Location(""))
        found = self._index.resolve(task, reference, [])
        if not found:
            # The task's own table, or an ambiguous name.
            return (f"task{_SEPARATOR}{task.full_name}", self._list_declared(task)) if parts[-1].lower() == task.table.lower() else None
        identity = _SEPARATOR.join(text for d in found for text in (d.kind, d.name))
        return identity, self._list_columns(found[0].kind, found[0].name)

    def _list_columns(self, kind: str, name: str) -> TableColumns:
        if kind in ("table", "external"):
            table = self._tables[name] if kind == "table" else self._external.get(name.lower())
            return {c.name: c.type for c in self.get_table_columns(table)} if table else {}
        task = self._tasks[name]
        if name in self._open:
            return self._list_declared(task)
        try:
            return {c.name: c.type for c in self.get_task_columns(task)}
        except UnsupportedQuery:
            return self._list_declared(task)

    def _list_declared(self, task: Task) -> TableColumns:
        return {a.final_name: self._find_type(a) for a in task.attributes if not a.ignore}

    def _find_type(self, attribute: Attribute) -> str:
        definition = self._project.types.get(attribute.type)
        if attribute.array or attribute.attributes or definition is None:
            return ""
        return _SQL_TYPES.get(definition.primitive, "")

    def _find_file_fields(self, table: Table, attribute: Attribute) -> tuple[ColumnSource, ...] | None:
        if not attribute.script:
            return (ColumnSource("file", table.pattern, attribute.name),)
        fields = {name: "" for a in table.attributes if not a.script for name in (a.name, a.final_name)}
        original = {a.final_name.lower(): a.name for a in table.attributes}
        dialect = find_dialect(self._project.find_connection(table))
        try:
            (output,) = find_columns(f"select {attribute.script} as c from fields", dialect, lambda _: ("fields", fields))
        except (UnsupportedQuery, ValueError):
            return None
        if output.sources is None:
            return None
        names = {original.get(s.column.lower(), s.column.split(".")[0]) for s in output.sources}
        return tuple(ColumnSource("file", table.pattern, name) for name in sorted(names))

    def list_history_columns(self, strategy: WriteStrategy | None) -> Sequence[str]:
        """Return the columns that Starlake adds to a table with the write strategy SCD2 (``JdbcStrategiesBuilder``)."""
        if strategy is None or strategy.type != "SCD2":
            return ()
        raw, variables = self._project.application.raw, self._project.variables
        start = strategy.start_ts or raw.get("scd2StartTimestamp") or variables.get("SL_SCD2_START_TIMESTAMP") or "sl_start_ts"
        end = strategy.end_ts or raw.get("scd2EndTimestamp") or variables.get("SL_SCD2_END_TIMESTAMP") or "sl_end_ts"
        return (str(start), str(end))


def _split_identity(source: SourceColumn) -> Iterator[ColumnSource]:
    """Yield the sources that an identity from :meth:`ProjectColumns._find_table` stands for: several if several tasks write the table."""
    parts = source.table.split(_SEPARATOR)
    if len(parts) == 1:
        yield ColumnSource("external", source.table, source.column)
    for kind, name in zip(parts[::2], parts[1::2], strict=False):
        yield ColumnSource(kind, name, source.column)


@dataclass(frozen=True, slots=True)
class NodeColumns:
    """The columns of a table or task. If they are unknown, ``reason`` explains why."""

    kind: str
    name: str
    columns: tuple[Column, ...]
    reason: str = ""


def list_node_columns(project: Project, names: Iterable[str] = ()) -> Iterator[NodeColumns]:
    """Yield the columns of all tables and tasks of a project, or of those with the given full names (in any case)."""
    columns = ProjectColumns(project)
    selected = {name.lower() for name in names}
    for table in project.tables:
        if not selected or selected & {table.full_name.lower(), table.final_full_name.lower()}:
            yield NodeColumns("table", table.full_name, columns.get_table_columns(table))
    for task in project.tasks:
        if not selected or task.full_name.lower() in selected:
            try:
                yield NodeColumns("task", task.full_name, columns.get_task_columns(task))
            except UnsupportedQuery as error:
                yield NodeColumns("task", task.full_name, (), str(error))
