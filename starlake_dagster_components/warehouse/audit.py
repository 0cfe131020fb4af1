"""Read the audit of a command from a warehouse other than a DuckDB file, in one query.

Starlake: reference-engines.conf (audit, expectations).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..project.model import Application, Project, Table, Task
from ..project.sinks import find_written_table
from .address import Address, find_address
from .query import TableMissing, run_query

WarehouseCounts = Literal["off", "audit", "tables"]
"""The part of a warehouse that is read after a command: nothing, its audit tables, or also the row counts of tables."""

AUDIT, EXPECTATION, ROWS = "audit", "expectation", "rows"


@dataclass(frozen=True, slots=True)
class WarehouseAudit:
    """The audit tables in which Starlake records the results of commands.

    Attributes:
        connection: name of the connection in the project.
        address: how it is reached.
        schema: of the audit tables (``audit``).
        job_id: the ``JOBID`` of the command's rows.
        counted: schema and name of the tables whose rows are counted in the same query.
        appended: logical name, schema and name of the tables that a load only appends to: their growth is the number of loaded rows.
    """

    connection: str
    address: Address = field(repr=False)
    schema: str
    job_id: str
    counted: tuple[tuple[str, str], ...] = ()
    appended: tuple[tuple[str, str, str], ...] = ()


def find_warehouse_audit(application: Application, job_id: str) -> WarehouseAudit | None:
    """Return where the audit of a project's commands is; None where it is not in a warehouse that can be read."""
    connection = application.audit_connection
    address = find_address(connection) if connection and application.audit_active else None
    return WarehouseAudit(connection.name, address, application.audit_domain, job_id) if connection and address else None


def count_tables(
    warehouse: WarehouseAudit | None, kind: WarehouseCounts, project: Project, nodes: Sequence[Table | Task]
) -> WarehouseAudit | None:
    """Return the audit with the tables whose rows are counted by the query that reads it: those of the same connection.

    Args:
        warehouse: where the audit is; None stays None.
        kind: what to read from a warehouse.
        project: the project.
        nodes: what the command writes.
    """
    connections = [project.find_connection(node) for node in nodes]
    if warehouse is None or kind != "tables" or not all(c and c.name == warehouse.connection for c in connections):
        return warehouse
    return replace(warehouse, counted=tuple(map(find_written_table, nodes)))


def watch_appended(warehouse: WarehouseAudit | None, project: Project, tables: Sequence[Table]) -> WarehouseAudit | None:
    """Return the audit with the tables whose growth is the number of rows that a load wrote: those of the same connection.

    Args:
        warehouse: where the audit is; None stays None.
        project: the project.
        tables: those that the load only appends to.
    """
    if warehouse is None:
        return None
    connections = [(table, project.find_connection(table)) for table in tables]
    there = [table for table, connection in connections if connection is not None and connection.name == warehouse.connection]
    return replace(warehouse, appended=tuple((table.name, *find_written_table(table)) for table in there))


@dataclass(frozen=True, slots=True)
class AuditEntries:
    """Audit rows of a command.

    Attributes:
        steps: rows of ``audit.audit`` by the second in which the steps began, the values by the names of :data:`COLUMNS`.
        expectations: rows of ``audit.expectations`` by the second in which they were evaluated.
        row_counts: how many rows the counted tables have, by their place in ``counted``.
    """

    steps: Sequence[Mapping[str, Any]] = ()
    expectations: Sequence[Mapping[str, Any]] = ()
    row_counts: Mapping[int, int] = field(default_factory=dict)


def read_audit(audit: WarehouseAudit, *, expectations: bool) -> AuditEntries:
    """Return what the audit says about a command, by one query.

    Args:
        audit: where it is.
        expectations: whether the command evaluated any; their table exists since the first one.

    Raises:
        QueryFailed: it cannot be read.
    """
    parameters = {"job": audit.job_id}
    try:
        rows = run_query(audit.address, build_statement(audit, expectations=expectations), parameters)
    except TableMissing:
        if not expectations:
            raise
        rows = run_query(audit.address, build_statement(audit, expectations=False), parameters)
    entries = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return AuditEntries(
        sorted((e for e in entries if e["kind"] == AUDIT), key=_get_time),
        sorted((e for e in entries if e["kind"] == EXPECTATION), key=_get_time),
        {int(e["accepted"]): int(e["count"]) for e in entries if e["kind"] == ROWS},
    )


COUNT_SECONDS = 20.0
"""Seconds that counting the rows of tables may take: a load waits for it."""


def count_appended(audit: WarehouseAudit) -> Mapping[str, int | None]:
    """Return how many rows the tables have that a load only appends to, by logical name; None for a table that the warehouse refuses.

    Raises:
        QueryFailed: the warehouse does not answer.
    """
    if not audit.appended:
        return {}
    selects = {
        name: f"SELECT {index}, count(*) FROM {audit.address.quote_name(schema, table)}"
        for index, (name, schema, table) in enumerate(audit.appended)
    }
    names = list(selects)
    try:
        rows = run_query(audit.address, " UNION ALL ".join(selects.values()), seconds=COUNT_SECONDS)
    except TableMissing:
        return {name: _count_one(audit, select) for name, select in selects.items()}
    return {names[int(index)]: int(count) for index, count in rows}


def _count_one(audit: WarehouseAudit, select: str) -> int | None:
    try:
        return int(run_query(audit.address, select, seconds=COUNT_SECONDS)[0][1])
    except TableMissing:
        return None


COLUMNS = ("kind", "domain", "table", "step", "success", "message", "text", "count", "accepted", "rejected", "duration", "time", "name")
"""The columns of the query.

Of an expectation ``step`` is its call and ``text`` its SQL; of the step of a load ``text`` is the list of its files.
"""


def build_statement(audit: WarehouseAudit, *, expectations: bool) -> str:
    """Return the query: rows of the audit, of the expectations, and row counts, one below the other.

    Names of columns are written without quotes and after the name of their table: so each warehouse finds them in its own case, and none
    takes them for keywords.
    """
    return " UNION ALL ".join(_list_selects(audit, expectations=expectations))


def _list_selects(audit: WarehouseAudit, *, expectations: bool) -> Iterator[str]:
    schema = audit.address.quote_name(audit.schema)
    counts = ("COUNT", "COUNTACCEPTED", "COUNTREJECTED")
    steps = ("DOMAIN", "SCHEMA", "STEP", "SUCCESS", "MESSAGE", "PATHS", *counts, "DURATION", "TIMESTAMP", "STEP")
    yield f"SELECT '{AUDIT}', {_list_columns(steps)} FROM {schema}.audit t WHERE t.JOBID = :job"
    if expectations:
        before = ("DOMAIN", "SCHEMA", "PARAMS", "SUCCESS", "EXCEPTION", "SQL", "COUNT")
        yield (
            f"SELECT '{EXPECTATION}', {_list_columns(before)}, 0, 0, 0, {_list_columns(('TIMESTAMP', 'NAME'))} "
            f"FROM {schema}.expectations t WHERE t.JOBID = :job"
        )
    for index, (domain, table) in enumerate(audit.counted):
        name = audit.address.quote_name(domain, table)
        yield f"SELECT '{ROWS}', '', '', '', TRUE, '', '', count(*), {index}, 0, 0, NULL, '' FROM {name}"


def _list_columns(names: Sequence[str]) -> str:
    return ", ".join(f"t.{name}" for name in names)


def _get_time(entry: Mapping[str, Any]) -> tuple[bool, Any]:
    return (entry["time"] is not None, entry["time"] or 0)
