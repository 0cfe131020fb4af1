"""Read sample rows (setting ``samples``): the first rows of a table, rows that violate an expectation, and rejected rows.

Failures are only logged, because the command has succeeded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from ...commands import Audit, Command
from ...errors import CommandTimeout
from ...executors.base import Counters, ExpectationResult
from ...executors.starlake_output.audit import quote_names
from ...lineage.project import ProjectColumns
from ...locks import lock_database
from ...project.model import Connection, Project, Table, Task
from ...project.sinks import find_duckdb_file, find_materialization, find_written_table
from ...settings.samples import Samples
from ...warehouse.address import find_address, quote_name
from ...warehouse.columns import read_columns as read_warehouse_columns
from ...warehouse.query import QueryFailed, run_query
from .private_columns import HiddenColumns, PrivateColumns

HIDDEN = "\\*\\*\\*"
"""A hidden value, in Markdown."""
LONGEST = 100
"""Maximum number of characters of a value to show."""
VIOLATING = 20
"""Maximum number of rows to show that violate an expectation."""
_DUCKDB_COLUMNS = (
    "SELECT column_name, data_type FROM information_schema.columns WHERE table_catalog = current_database() "
    "AND lower(table_schema) = lower($schema) AND lower(table_name) = lower($table) ORDER BY ordinal_position"
)
WAIT = 5.0
"""Seconds to wait for another command that writes the same DuckDB file."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a query: column names, and rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class TableRows:
    """Reads rows of the tables that steps have written, and hides the values of private columns."""

    def __init__(self, project: Project, columns: ProjectColumns, samples: Samples) -> None:
        self._project = project
        self._samples = samples
        self._private = PrivateColumns(project, columns, samples.mask)

    def build_sample(self, log: dg.DagsterLogManager, node: Table | Task, command: Command, counters: Counters | None) -> dict[str, Any]:
        """Return the metadata ``starlake/sample`` and ``starlake/rejected_sample`` of a materialization, as far as rows can be shown."""
        metadata = {}
        is_view = isinstance(node, Task) and find_materialization(node) != "TABLE"
        hidden = self._private.find(node)
        if hidden is None:
            log.info("no rows are shown: the SQL cannot be analyzed, so columns that are derived from columns with privacy are unknown")
        elif not is_view and (counters is None or counters.files):
            connection = self._project.find_connection(node)
            found = self._read_rows(log, connection, self._select_table(node, connection))
            if found is not None:
                metadata["starlake/sample"] = dg.MetadataValue.md(self._format_masked_rows(found, hidden))
        if counters is not None and counters.rejected:
            rejected = self._read_rejected(log, node, command)
            if rejected:
                metadata["starlake/rejected_sample"] = dg.MetadataValue.md(rejected)
        return metadata

    def show_violations(self, log: dg.DagsterLogManager, node: Table | Task, result: ExpectationResult) -> str | None:
        """Return the first rows that violate an expectation, as a Markdown table; None if there are none, or they cannot be read."""
        columns = self._private.find(node)
        if result.success or not result.sql or not result.violations or columns is None:
            return None
        connection = self._project.find_connection(node)
        hidden = columns.private | self._private.declared
        query = build_violations_query(result.sql, connection.engine if connection else "", hidden, VIOLATING)
        if query is None:
            log.debug(
                f"the rows that violate {result.expect} are not shown: its query does not only count rows, or may show private columns"
            )
            return None
        sql, derived = query
        found = self._read_rows(log, connection, sql)
        return self._format_masked_rows(found, HiddenColumns(hidden | derived)) if found and found.rows else None

    def _select_table(self, node: Table | Task, connection: Connection | None) -> str:
        names = find_written_table(node)
        if connection is not None and connection.duckdb_path is not None:
            qualified = quote_names(*names)
        else:
            address = find_address(connection) if connection is not None else None
            qualified = address.quote_name(*names) if address is not None else ".".join(map(quote_name, names))
        return f"SELECT * FROM {qualified} LIMIT {self._samples.rows}"

    def _read_rejected(self, log: dg.DagsterLogManager, node: Table | Task, command: Command) -> str | None:
        audit = command.audit or command.warehouse
        if audit is None:
            return None
        schema = quote_name(audit.schema) if isinstance(audit, Audit) else audit.address.quote_name(audit.schema)
        job = audit.job_id.replace("'", "''")
        statement = f"SELECT t.ERROR, t.PATH FROM {schema}.rejected t WHERE t.JOBID = '{job}' LIMIT {self._samples.rows}"
        found = self._read_rows(log, self._project.application.audit_connection, statement)
        if found is None or not found.rows:
            return None
        private = self._private.find_names(node)
        # Error messages contain values, so those that mention a private column are hidden.
        rows = [(HIDDEN if any(name in str(row[0]).lower() for name in private) else row[0], *row[1:]) for row in found.rows]
        return format_rows(("error", "path"), rows)

    def _format_masked_rows(self, found: Rows, hidden: HiddenColumns) -> str:
        masked = [hidden.is_hidden(name) or self._private.is_masked(name) for name in found.columns]
        rows = [[HIDDEN if mask and value is not None else value for mask, value in zip(masked, row, strict=True)] for row in found.rows]
        return format_rows(found.columns, rows)

    def _read_rows(self, log: dg.DagsterLogManager, connection: Connection | None, statement: str) -> Rows | None:
        database = find_duckdb_file(self._project, connection)
        address = find_address(connection) if connection else None
        try:
            if database and Path(database).is_file():
                return _read_duckdb(database, statement)
            found = run_query(address, statement) if address else None
            return None if found is None else Rows(tuple(found[0]._fields) if found else (), tuple(map(tuple, found)))
        except (QueryFailed, CommandTimeout) as error:
            log.info(f"no rows can be shown: {error}")
        except Exception as error:  # noqa: BLE001 -- sample rows are optional, and the command has succeeded
            log.info(f"no rows can be shown: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
        return None


def _read_duckdb(database: str, statement: str, parameters: Mapping[str, str] | None = None) -> Rows:
    import duckdb

    with lock_database(database, seconds=WAIT), duckdb.connect(database, read_only=True) as connection:
        cursor = connection.execute(statement, dict(parameters) if parameters else None)
        return Rows(tuple(column[0] for column in cursor.description), tuple(cursor.fetchall()))


def read_columns(log: dg.DagsterLogManager, project: Project, node: Table | Task, *, warehouses: bool) -> Mapping[str, str]:
    """Return the actual columns of a node's table, name -> type in lower case; empty if they cannot be read.

    ``warehouses``: whether to query warehouses in addition to DuckDB files.
    """
    connection = project.find_connection(node)
    schema, name = find_written_table(node)
    database = find_duckdb_file(project, connection)
    address = find_address(connection) if connection and warehouses else None
    try:
        if database:
            parameters = {"schema": schema, "table": name}
            return {str(column): str(kind).lower() for column, kind in _read_duckdb(database, _DUCKDB_COLUMNS, parameters).rows}
        return read_warehouse_columns(address, schema, name) if address else {}
    except Exception as error:  # noqa: BLE001 -- columns are optional, and the command has succeeded
        log.info(f"the columns of {schema}.{name} cannot be read: {error}")
        return {}


def build_violations_query(sql: str, engine: str, private: frozenset[str], limit: int) -> tuple[str, frozenset[str]] | None:
    """Return a query for at most ``limit`` rows that an expectation counts, and its columns that are derived from private ones.

    The result is None if the expectation is not a plain count of rows, or has columns that may be private. ``sql`` is its query, such as
    ``SELECT count(*) FROM ... WHERE ...``. ``engine`` is that of the connection. The names of private columns are in lower case.
    """
    import sqlglot
    from sqlglot import exp

    dialect = engine if engine in ("bigquery", "snowflake", "redshift", "postgres", "mysql") else "duckdb"
    try:
        tree = sqlglot.parse_one(sql, dialect=dialect)
    except sqlglot.errors.SqlglotError:
        return None
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1:
        return None
    counted = tree.expressions[0].unalias()
    is_count = isinstance(counted, exp.Count) and isinstance(counted.this, (exp.Star, exp.Literal)) and not counted.expressions
    if not is_count or any(tree.args.get(part) for part in ("group", "having", "distinct", "qualify", "limit")):
        return None
    tables = {t.alias_or_name.lower() for t in tree.find_all(exp.Table, exp.Subquery, exp.CTE)}

    def is_private(part: Any) -> bool:
        # A table's name as a value is a whole row.
        return any(column.name.lower() in private or column.name.lower() in tables for column in part.find_all(exp.Column))

    inner = [item for query in tree.find_all(exp.Select) if query is not tree for item in query.expressions]
    unnamed = [item for item in inner if not isinstance(item, (exp.Alias, exp.Column, exp.Star))]
    renamed = [alias for alias in tree.find_all(exp.TableAlias) if alias.columns]
    if private and (any(map(is_private, unnamed)) or renamed):
        # The databases name these columns in different ways.
        return None
    derived = {alias.alias.lower() for alias in tree.find_all(exp.Alias) if is_private(alias.this)}
    tree.set("expressions", [exp.Star()])
    return tree.limit(limit).sql(dialect=dialect), frozenset(derived)


def format_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as a Markdown table, with long values shortened and special characters escaped, except in :data:`HIDDEN`."""
    if not columns:
        return "no rows"
    lines = [map(_escape, columns), ["---"] * len(columns), *(map(_escape, row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escape(value: Any) -> str:
    if value is None or value is HIDDEN:
        return value or ""
    text = " ".join(str(value).split())
    text = f"{text[:LONGEST]}..." if len(text) > LONGEST else text
    for sign, safe in (("\\", "\\\\"), ("|", "\\|"), ("`", "\\`"), ("*", "\\*"), ("_", "\\_"), ("<", "&lt;"), ("[", "\\[")):
        text = text.replace(sign, safe)
    return text
