"""Read Starlake's audit of a command.

The exit code is not enough: the second step of a native load can fail with exit code 0 and the file archived, so that its rows are lost.
Only the audit row of the step TRANSFORM has ``SUCCESS = false``. Starlake: reference-engines.conf (audit, expectations), IngestionAudit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ...commands import Audit, Command, LoadTable, Target
from ..base import CommandResult, Counters, ExpectationResult, Log, TableResult
from .audit_rows import AuditRow, ExpectationRow, FileLoad, build_audit_row, build_expectation_row, find_table, pair_steps
from .log_levels import shorten_exception
from .process_output import OutputTrail, drop_growth, parse_count
from .warehouse_rows import Rows, read_warehouse_rows


@dataclass(frozen=True, slots=True)
class Findings:
    """The audit of a command, or of one of its tables, after its end.

    Attributes:
        rows: its audit rows, oldest first.
        expectations: the results of its expectations.
        row_count: rows of the table that it wrote, if it wrote one table.
        tables: the same for each table of a load of several tables, by logical name.
    """

    rows: tuple[AuditRow, ...] = ()
    expectations: tuple[ExpectationResult, ...] = ()
    row_count: int | None = None
    tables: "Mapping[str, Findings]" = field(default_factory=dict)

    @property
    def failure(self) -> str | None:
        """The database's error, and the step that failed with it, regardless of the exit code; None if no step failed."""
        failed = [r for r in self.rows if not r.success]
        if not failed:
            return None
        first = failed[0]
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        step = "the second step of the load" if first.step == "TRANSFORM" and self.loads else f"step {first.step}"
        return f"{shorten_exception(first.message)} (according to Starlake's audit, {step} of {first.domain}.{first.table} failed{more})"

    @property
    def loads(self) -> list[FileLoad]:
        """The loads of files, in the order of their audit rows."""
        return pair_steps(self.rows)[0]

    @property
    def unfinished(self) -> list[AuditRow]:
        """TRANSFORM rows of loads that were ended before Starlake wrote their LOAD row."""
        return pair_steps(self.rows)[1]

    def count_rows(self, table: LoadTable) -> Counters | None:
        """Return the row counts of the loads of a table; None without audit rows. The sums are those that Starlake prints."""
        loads = self.loads
        if not loads:
            return None
        loaded = [load.load for load in loads if load.in_table]
        read, accepted, rejected = (parse_count(sum(row.counts[i] for row in loaded)) for i in range(3))
        return drop_growth(Counters(read, accepted, rejected, tuple(name for row in loaded for name in row.files)), [table])


Result = TypeVar("Result", CommandResult, TableResult)


def complete_result(command: Command, result: CommandResult, findings: Findings) -> CommandResult:
    """Add the audit's information to a result: counts, the table's rows, and results of expectations. The result takes precedence."""
    is_single = command.verb == "load" and len(command.tables) == 1
    return add_findings(result, findings, findings.count_rows(command.tables[0]) if is_single else None)


def add_findings(result: Result, findings: Findings, noted: Counters | None) -> Result:
    """Add the audit's information to the result of a command or table. ``noted`` are the counts; None = unknown."""
    known = counters = result.counters or noted
    if known is not None and noted is not None:
        counters = Counters(
            noted.input if known.input is None else known.input,
            noted.accepted if known.accepted is None else known.accepted,
            noted.rejected if known.rejected is None else known.rejected,
            known.files or noted.files,
        )
    row_count = findings.row_count if result.row_count is None else result.row_count
    return replace(result, counters=counters, row_count=row_count, expectations=result.expectations or findings.expectations)


def read_findings(command: Command, log: Log, trail: OutputTrail | None = None) -> Findings:
    """Return Starlake's audit of a command that has ended, and the row counts of its tables.

    The audit is read from its DuckDB file or its warehouse. If it cannot be read (no driver, no access), the rows are taken from the log.
    ``trail`` is the information in the output of the command.

    Call it while holding the locks of the command's databases.
    """
    rows, expectations, counts = _read_databases(command, log)
    if command.warehouse is not None:
        rows, expectations, counted = read_warehouse_rows(command, command.warehouse, log)
        counts = {**counts, **counted}
    if trail is not None:
        rows = rows or tuple(trail.rows)
        expectations = expectations or tuple(trail.expectations)
    logical = [(row, find_table(command.tables, row.domain, row.table)) for row in rows]
    rows = tuple(replace(row, domain=table.domain, table=table.name) if table else row for row, table in logical)
    several = command.tables if len(command.tables) > 1 else ()
    return Findings(
        rows,
        _take_last_results(expectations, command.expectations),
        None if several else next(iter(counts.values()), None),
        {t.name: _select_findings(t, command.tables, rows, expectations, counts.get(t.name)) for t in several},
    )


def count_rows_of_tables(command: Command, log: Log) -> Mapping[str, int]:
    """Return the row counts of a load's tables in DuckDB files by logical name (empty for one table), without unreadable tables.

    Call it while holding the locks of the command's databases.
    """
    targets = _list_targets(command)
    missing = {name: 0 for name, target in targets.items() if not Path(target.database).exists()}
    counts = _read_databases(replace(command, audit=None), log)[2]
    return {**missing, **{name: count or 0 for name, count in counts.items()}}


def _read_databases(command: Command, log: Log) -> Rows:
    """Return audit rows, rows about expectations, and the row counts of tables by logical name."""
    rows: tuple[AuditRow, ...] = ()
    expectations: tuple[ExpectationRow, ...] = ()
    counts: dict[str, int | None] = {}
    try:
        import duckdb
    except ImportError:
        return rows, expectations, counts
    names: dict[Target, list[str]] = {}
    for name, target in _list_targets(command).items():
        names.setdefault(target, []).append(name)
    by_database: dict[str, list[Audit | Target]] = {}
    for wanted in (command.audit, *names):
        if wanted is not None and Path(wanted.database).is_file():
            by_database.setdefault(wanted.database, []).append(wanted)
    for database, wants in by_database.items():
        try:
            with duckdb.connect(database, read_only=True) as connection:
                for want in wants:
                    if isinstance(want, Audit):
                        rows = tuple(map(build_audit_row, _read_rows(connection, want, "audit")))
                        if command.expectations:
                            expectations = tuple(map(build_expectation_row, _read_rows(connection, want, "expectations")))
                    else:
                        counts.update(dict.fromkeys(names[want], _count_rows(connection, want)))
        except duckdb.Error as error:
            log("info", f"cannot read Starlake's audit of the command in {database}: {str(error).splitlines()[0]}")
    return rows, expectations, counts


def _list_targets(command: Command) -> dict[str, Target]:
    """Return the tables whose rows are to be counted, by logical name."""
    if command.target is not None:
        return {"": command.target}
    return {t.name: t.target for t in command.tables if t.target is not None}


def _select_findings(
    table: LoadTable, tables: Sequence[LoadTable], rows: Sequence[AuditRow], expectations: Sequence[ExpectationRow], count: int | None
) -> Findings:
    return Findings(
        tuple(row for row in rows if (row.domain, row.table) == (table.domain, table.name)),
        _take_last_results([e for e in expectations if find_table(tables, e.domain, e.table) is table], table.expectations),
        count,
    )


def _read_rows(connection: Any, audit: Audit, table: str) -> list[dict[str, Any]]:
    """Return the rows of an audit table for a command, oldest first. The names of columns are in upper case."""
    if not _has_table(connection, audit.schema, table):
        return []
    result = connection.execute(f"SELECT * FROM {quote_names(audit.schema, table)} WHERE JOBID = ? ORDER BY rowid", [audit.job_id])
    names = [column[0].upper() for column in result.description]
    return [dict(zip(names, values, strict=True)) for values in result.fetchall()]


def _take_last_results(rows: Sequence[ExpectationRow], declared: Sequence[str]) -> tuple[ExpectationResult, ...]:
    """Return the last result of each expectation, with its name in the project. A load evaluates expectations twice per file."""
    as_written = {_normalize_call(call): call for call in declared}
    results: dict[str, ExpectationResult] = {}
    for row in rows:
        call = as_written.get(_normalize_call(row.call)) or as_written.get(_normalize_call(row.name)) or row.call
        results[call] = replace(row.result, expect=call)
    return tuple(results.values())


def _normalize_call(call: str) -> str:
    """Return a call as written in the audit, where Starlake replaces single quotes."""
    return call.replace("'", '"').strip().removeprefix("{{").removesuffix("}}").strip()


def _count_rows(connection: Any, target: Target) -> int | None:
    # Counting a view would run its query.
    if not _has_table(connection, target.schema, target.table):
        return None
    return int(connection.execute(f"SELECT count(*) FROM {quote_names(target.schema, target.table)}").fetchone()[0])


def _has_table(connection: Any, schema: str, table: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM information_schema.tables "
        "WHERE table_catalog = current_database() AND table_type = 'BASE TABLE' AND lower(table_schema) = lower(?) AND "
        "lower(table_name) = lower(?) LIMIT 1",
        [schema, table],
    )
    return found.fetchone() is not None


def quote_names(*names: str) -> str:
    """Return a qualified name for DuckDB, with quoted parts."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
