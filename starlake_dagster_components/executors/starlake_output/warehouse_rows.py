"""Read Starlake's audit of a command from a warehouse."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...commands import Command
from ...warehouse.audit import AuditEntries, WarehouseAudit, count_appended, read_audit
from ...warehouse.query import QueryFailed
from ..outcomes import Log
from .audit_log import build_expectation_result
from .audit_rows import AuditRow, ExpectationRow, parse_file_names
from .table_files import find_table

Rows = tuple[tuple[AuditRow, ...], tuple[ExpectationRow, ...], Mapping[str, int | None]]


def read_warehouse_rows(command: Command, warehouse: WarehouseAudit, log: Log) -> Rows:
    """Return audit rows, rows about expectations, and row counts of tables by logical name, by one query.

    If they cannot be read, there is a warning and the result is empty, because the command has already done its work.
    """
    try:
        entries = read_audit(warehouse, expectations=bool(command.expectations))
    except QueryFailed as error:
        log(
            "warning",
            f"Starlake's audit of the command cannot be read from the connection '{warehouse.connection}', so that counts and "
            f"results of expectations may be missing: {error} (warehouse_counts: off turns this off)",
        )
        return (), (), {}
    except Exception as error:  # noqa: BLE001 -- counts are optional: no answer of a warehouse may fail the step
        log("warning", f"the audit in the connection '{warehouse.connection}' cannot be understood: {type(error).__name__}")
        return (), (), {}
    return _convert(command, entries)


def count_appended_rows(command: Command, log: Log, *, missing: int | None) -> Mapping[str, int]:
    """Return how many rows the tables in a warehouse have that a load only appends to, by logical name (of a load of one table: an empty
    name); nothing of those that cannot be counted.

    ``missing`` are the rows of a table that the warehouse rejects: 0 before a load, when it may not exist yet; None (unknown) afterward.
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


def _convert(command: Command, entries: AuditEntries) -> Rows:
    names = [""] if len(command.tables) < 2 else [table.name for table in command.tables]
    counts: dict[str, int | None] = {names[index]: count for index, count in entries.row_counts.items()}
    return tuple(_order_rows(command, entries.steps)), tuple(map(_build_expectation, entries.expectations)), counts


@dataclass(frozen=True, slots=True)
class _Timed:
    row: AuditRow
    time: Any

    @property
    def grew(self) -> bool:
        return self.row.counts[0] > 0


def _order_rows(command: Command, steps: Iterable[Mapping[str, Any]]) -> Iterator[AuditRow]:
    """Yield the audit rows of each table in the order in which they were written.

    A warehouse does not keep the order, and ``TIMESTAMP`` is the second in which a step began. So the two steps of a native load are
    matched by these rules: the second step begins after the first, the files of one table are loaded one after another, and a table does
    not grow if the second step of its load failed.
    """
    by_table: dict[Any, list[_Timed]] = {}
    for entry in steps:
        row = _build_row(entry)
        table = find_table(command.tables, row.domain, row.table)
        by_table.setdefault((table.domain, table.name) if table else (row.domain, row.table), []).append(_Timed(row, entry["time"]))
    for rows in by_table.values():
        yield from (timed.row for timed in rows if timed.row.step == "LOAD" and not _is_native(timed))
        loads = [timed for timed in rows if timed.row.step == "LOAD" and _is_native(timed)]
        for second in (timed for timed in rows if timed.row.step != "LOAD"):
            first = _find_load(loads, second)
            if first is not None:
                loads.remove(first)
            yield second.row
            if first is not None:
                yield first.row
        yield from (timed.row for timed in loads)


def _is_native(timed: _Timed) -> bool:
    """Return whether the load of a LOAD row had a second step.

    Only the native loader has one. It does not know how many rows it rejected; the Spark loader does.
    """
    return timed.row.counts[2] < 0


def _find_load(loads: Sequence[_Timed], second: _Timed) -> _Timed | None:
    """Return the load that a second step belongs to.

    It is the earliest remaining load. Among loads of the same second, it is one with the same growth of the table.
    """
    possible = [timed for timed in loads if timed.time <= second.time]
    first = [timed for timed in possible if timed.time == possible[0].time]
    return next((timed for timed in first if timed.grew == second.row.success), first[0] if first else None)


def _build_row(entry: Mapping[str, Any]) -> AuditRow:
    files = parse_file_names(entry["text"]) if entry["step"] == "LOAD" else ()
    read, accepted, rejected = (-1 if entry[name] is None else int(entry[name]) for name in ("count", "accepted", "rejected"))
    return AuditRow(
        entry["domain"] or "",
        entry["table"] or "",
        entry["step"],
        bool(entry["success"]),
        entry["message"] or "",
        files,
        (read, accepted, rejected),
    )


def _build_expectation(entry: Mapping[str, Any]) -> ExpectationRow:
    call, count = entry["step"] or "", entry["count"]
    result = build_expectation_result(call, bool(entry["success"]), None if count is None else int(count), entry["text"], entry["message"])
    return ExpectationRow(entry["domain"] or "", entry["table"] or "", call, entry["name"] or "", result)
