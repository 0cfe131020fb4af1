"""Read the audit of a command from a warehouse, in one query. The tables are defined in Starlake's ``reference-engines.conf``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..project.model import Application, Project, Table, Task
from ..project.sinks import find_written_table
from .address import Address, find_address
from .query import TableMissing, run_query

WarehouseCounts = Literal["off", "audit", "tables"]
"""The data to read from a warehouse after a command: nothing, the audit tables, or also the row counts of tables."""

AUDIT, EXPECTATION, ROWS = "audit", "expectation", "rows"


@dataclass(frozen=True, slots=True)
class WarehouseAudit:
    """The audit of a command in a warehouse, and the tables to count.

    Attributes:
        connection: name of the connection in the project.
        address: its address.
        schema: schema of the audit tables (usually ``audit``).
        job_id: ``JOBID`` of the command's rows.
        counted: schema and name of each table whose rows the query that reads the audit also counts.
        appended: logical name, schema, and name of each table that a load only appends to, so that its growth is the number of loaded rows.
    """

    connection: str
    address: Address = field(repr=False)
    schema: str
    job_id: str
    counted: tuple[tuple[str, str], ...] = ()
    appended: tuple[tuple[str, str, str], ...] = ()


def find_warehouse_audit(application: Application, job_id: str) -> WarehouseAudit | None:
    """Return the audit of a project's commands; None if it is turned off, or is not in a warehouse that can be read."""
    connection = application.audit_connection
    address = find_address(connection) if connection and application.audit_active else None
    return WarehouseAudit(connection.name, address, application.audit_domain, job_id) if connection and address else None


def add_counted_tables(
    warehouse: WarehouseAudit | None, kind: WarehouseCounts, project: Project, nodes: Sequence[Table | Task]
) -> WarehouseAudit | None:
    """Return the audit with ``counted`` set, if the setting asks for it and all tables have the connection of the audit.

    Args:
        warehouse: the audit; None stays None.
        kind: the setting ``warehouse_counts``.
        project: the project.
        nodes: the tables and tasks that the command writes.
    """
    connections = [project.find_connection(node) for node in nodes]
    if warehouse is None or kind != "tables" or not all(c and c.name == warehouse.connection for c in connections):
        return warehouse
    return replace(warehouse, counted=tuple(map(find_written_table, nodes)))


def add_appended_tables(warehouse: WarehouseAudit | None, project: Project, tables: Sequence[Table]) -> WarehouseAudit | None:
    """Return the audit with ``appended`` set to those tables that have the connection of the audit.

    Args:
        warehouse: the audit; None stays None.
        project: the project.
        tables: the tables that the load only appends to.
    """
    if warehouse is None:
        return None
    connections = ((table, project.find_connection(table)) for table in tables)
    same = (table for table, connection in connections if connection is not None and connection.name == warehouse.connection)
    return replace(warehouse, appended=tuple((table.name, *find_written_table(table)) for table in same))


@dataclass(frozen=True, slots=True)
class AuditEntries:
    """The audit rows of a command. Each is a mapping with the keys of :data:`COLUMNS`.

    Attributes:
        steps: rows of ``audit.audit``, ordered by the time at which the steps began.
        expectations: rows of ``audit.expectations``, ordered by the time at which they were evaluated.
        row_counts: index in ``WarehouseAudit.counted`` -> number of rows in the table.
    """

    steps: Sequence[Mapping[str, Any]] = ()
    expectations: Sequence[Mapping[str, Any]] = ()
    row_counts: Mapping[int, int] = field(default_factory=dict)


def read_audit(audit: WarehouseAudit, *, expectations: bool) -> AuditEntries:
    """Return the audit rows of a command.

    Args:
        audit: the audit.
        expectations: whether the command may have evaluated expectations. Their audit table exists only after the first one.

    Raises:
        QueryFailed: the audit cannot be read.
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
"""Time limit for counting the rows of tables, because a load waits for the result."""


def count_appended(audit: WarehouseAudit) -> Mapping[str, int | None]:
    """Return the number of rows in each table of ``audit.appended``, by logical name; None if the warehouse rejects the query.

    Raises:
        QueryFailed: the warehouse does not respond.
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

For an expectation, ``step`` is the call and ``text`` the SQL. For a load, ``text`` is the list of files.
"""


def build_statement(audit: WarehouseAudit, *, expectations: bool) -> str:
    """Return the query, a union of the audit's steps, its expectations, and row counts.

    Column names are unquoted, so that each warehouse applies its own case, and qualified, so that none of them is read as a keyword.
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
