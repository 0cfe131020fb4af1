"""Read Starlake's audit of a command from a warehouse."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...commands import Command
from ...warehouse.audit import Entry, WarehouseAudit, count_appended, read_audit
from ...warehouse.query import QueryFailed
from ..base import Log
from .audit_rows import AuditRow, ExpectationRow, build_audit_row, build_expectation_row, find_table

Rows = tuple[tuple[AuditRow, ...], tuple[ExpectationRow, ...], Mapping[str, int | None]]


def read_warehouse_rows(command: Command, warehouse: WarehouseAudit, log: Log) -> Rows:
    """Return audit rows, rows about expectations, and row counts of tables by logical name, by one query.

    If they cannot be read, there is a warning and the result is empty, because the command has already done its work.
    """
    try:
        steps, expectations, counted = read_audit(warehouse, expectations=bool(command.expectations))
    except QueryFailed as error:
        log(
            "warning",
            f"Starlake's audit of the command cannot be read from the connection '{warehouse.connection}', so counts and "
            f"results of expectations may be missing: {error}. To stop reading the audit, set warehouse_counts: off",
        )
        return (), (), {}
    except Exception as error:  # noqa: BLE001 -- counts are optional: no answer of a warehouse may fail the step
        log("warning", f"the audit table of connection '{warehouse.connection}' has an unexpected format: {type(error).__name__}: {error}")
        return (), (), {}
    names = [""] if len(command.tables) < 2 else [table.name for table in command.tables]
    counts: dict[str, int | None] = {names[index]: count for index, count in counted.items()}
    return tuple(_order_rows(command, steps)), tuple(map(build_expectation_row, expectations)), counts


def count_appended_rows(command: Command, log: Log, *, missing: int | None) -> Mapping[str, int]:
    """Return the row counts of tables in a warehouse to which a load only appends, without those that cannot be counted.

    They are by logical name, which is empty for a load of one table. ``missing`` are the rows of a table that the warehouse rejects: 0
    before a load, when it may not exist yet; None (unknown) afterward.
    """
    if command.warehouse is None:
        return {}
    try:
        counts = count_appended(command.warehouse)
    except Exception as error:  # noqa: BLE001 -- as above
        why = str(error) if isinstance(error, QueryFailed) else type(error).__name__
        log("info", f"rows of tables cannot be counted in the connection '{command.warehouse.connection}': {why}")
        return {}
    known = {name: missing if count is None else count for name, count in counts.items()}
    return {name if len(command.tables) > 1 else "": count for name, count in known.items() if count is not None}


Timed = tuple[Any, AuditRow]
"""The time at which a step began, and its row."""


def _order_rows(command: Command, steps: Iterable[Entry]) -> Iterator[AuditRow]:
    """Yield the audit rows of each table in the order in which they were written.

    A warehouse does not keep the order, and ``TIMESTAMP`` is the second in which a step began. So the two steps of a native load are
    matched by these rules: the second step begins after the first, the files of one table are loaded one after another, and a table does
    not grow if the second step of its load failed.
    """
    by_table: dict[tuple[str, str], list[Timed]] = {}
    for entry in steps:
        row = build_audit_row(entry)
        table = find_table(command.tables, row.domain, row.table)
        key = (table.domain, table.name) if table else (row.domain, row.table)
        by_table.setdefault(key, []).append((entry["TIMESTAMP"], row))
    for rows in by_table.values():
        # Only a native load has a second step. It does not know how many rows it rejected; the Spark loader does.
        native = [timed for timed in rows if timed[1].step == "LOAD" and timed[1].counts[2] < 0]
        yield from (row for _, row in rows if row.step == "LOAD" and row.counts[2] >= 0)
        for second in (timed for timed in rows if timed[1].step != "LOAD"):
            yield second[1]
            first = _find_load(native, second)
            if first is not None:
                native.remove(first)
                yield first[1]
        yield from (row for _, row in native)


def _find_load(loads: Sequence[Timed], second: Timed) -> Timed | None:
    """Return the load that a second step belongs to.

    It is the earliest remaining load. Among loads of the same second, it is one with the same growth of the table.
    """
    earlier = [load for load in loads if load[0] <= second[0]]
    first = [load for load in earlier if load[0] == earlier[0][0]]
    return next((load for load in first if (load[1].counts[0] > 0) == second[1].success), first[0] if first else None)
