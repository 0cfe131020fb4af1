"""Read the audit of a command from a warehouse, in one query. The tables are defined in Starlake's ``reference-engines.conf``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..project.model import Project, Table, Task
from ..project.sinks import find_written_table
from .address import Address, find_address
from .query import TableMissing, run_query

WarehouseCounts = Literal["off", "audit", "tables"]
"""The data to read from a warehouse after a command: nothing, the audit tables, or also the row counts of tables."""


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


def find_warehouse_audit(
    project: Project, job_id: str, nodes: Sequence[Table | Task], appended: Sequence[Table], counts: WarehouseCounts
) -> WarehouseAudit | None:
    """Return the audit of a command; None if it is turned off, or is not in a warehouse that can be read.

    Args:
        project: the project.
        job_id: ``JOBID`` of the command's rows.
        nodes: the tables and tasks that the command writes. They are counted if all of them have the connection of the audit.
        appended: those to which a load only appends rows. They are counted if they have the connection of the audit.
        counts: the ``warehouse_counts`` setting.
    """
    application = project.application
    connection = application.audit_connection
    address = find_address(connection) if connection and application.audit_active and counts != "off" else None
    if connection is None or address is None:
        return None
    here = {node.full_name for node in nodes if (found := project.find_connection(node)) and found.name == connection.name}
    return WarehouseAudit(
        connection.name,
        address,
        application.audit_domain,
        job_id,
        tuple(map(find_written_table, nodes)) if counts == "tables" and len(here) == len(nodes) else (),
        tuple((table.name, *find_written_table(table)) for table in appended if table.full_name in here),
    )


Entry = Mapping[str, Any]
"""A row of an audit table: the name of each column in upper case -> its value."""


def read_audit(audit: WarehouseAudit, *, expectations: bool) -> tuple[Sequence[Entry], Sequence[Entry], Mapping[int, int]]:
    """Return the audit rows of a command and the row counts of tables, by one query.

    Args:
        audit: the audit.
        expectations: whether the command may have evaluated expectations. Their audit table exists only after the first one.

    Returns:
        The rows of ``audit.audit`` in the order in which the steps began, the rows of ``audit.expectations`` in the order in which they
        were evaluated, and index in ``WarehouseAudit.counted`` -> number of rows in the table.

    Raises:
        QueryFailed: the audit cannot be read.
    """
    parameters = {"job": audit.job_id}
    try:
        rows = run_query(audit.address, _build_statement(audit, expectations=expectations), parameters)
    except TableMissing:
        if not expectations:
            raise
        rows = run_query(audit.address, _build_statement(audit, expectations=False), parameters)
    return (
        _select_entries(rows, "audit", _AUDIT),
        _select_entries(rows, "expectation", _EXPECTATIONS),
        {int(row[8]): int(row[7]) for row in rows if row[0] == "rows"},
    )


def _select_entries(rows: Sequence[Sequence[Any]], kind: str, columns: Sequence[str]) -> list[Entry]:
    """Return the rows of a kind, ordered by their times. Rows without a time come first."""
    entries = [dict(zip(columns, row[1:], strict=True)) for row in rows if row[0] == kind]
    return sorted(entries, key=lambda entry: (entry["TIMESTAMP"] is not None, entry["TIMESTAMP"] or 0))


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


_AUDIT = ("DOMAIN", "SCHEMA", "STEP", "SUCCESS", "MESSAGE", "PATHS", "COUNT", "COUNTACCEPTED", "COUNTREJECTED", "TIMESTAMP", "STEP")
_EXPECTATIONS = ("DOMAIN", "SCHEMA", "PARAMS", "SUCCESS", "EXCEPTION", "SQL", "COUNT", "", "", "TIMESTAMP", "NAME")
"""Columns of both tables for a union, with matching types. Empty = 0. ``audit`` does not have a name, so its step is selected twice."""


def _build_statement(audit: WarehouseAudit, *, expectations: bool) -> str:
    """Return the query, a union of the audit's steps, its expectations, and row counts. The first column is the kind of a row.

    Column names are unquoted, so that each warehouse applies its own case, and qualified, so that none of them is read as a keyword.
    """
    tables = [("audit", "audit", _AUDIT), *([("expectation", "expectations", _EXPECTATIONS)] if expectations else [])]
    selects = []
    for kind, table, columns in tables:
        shown = ", ".join(f"t.{name}" if name else "0" for name in columns)
        selects.append(f"SELECT '{kind}', {shown} FROM {audit.address.quote_name(audit.schema)}.{table} t WHERE t.JOBID = :job")
    for index, written in enumerate(audit.counted):
        counted = audit.address.quote_name(*written)
        selects.append(f"SELECT 'rows', '', '', '', TRUE, '', '', count(*), {index}, 0, NULL, '' FROM {counted}")
    return " UNION ALL ".join(selects)
