"""What Starlake itself noted about a command, where it notes it in a DuckDB file.

Its exit code does not tell everything: the second half of a native load can fail with exit code 0 and the file archived, its rows lost. Only the audit
row of step TRANSFORM says ``SUCCESS = false``. Starlake: reference-engines.conf (audit, expectations), IngestionAudit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...commands import Audit, Command, LoadTable, Target
from ..base import Counters, ExpectationResult, Log
from .process_output import believable, known


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row of ``audit.audit``: one half (``LOAD`` or ``TRANSFORM``) of the load of a file, or a transform."""

    domain: str
    table: str
    step: str
    success: bool
    message: str
    files: tuple[str, ...] = ()
    """Names of the files, without folders; of LOAD rows only."""
    counts: tuple[int, int, int] = (-1, -1, -1)
    """Rows read, accepted, rejected; negative = unknown."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the database says about a command, or about one table of it, after it ended.

    Attributes:
        rows: its audit rows, oldest first.
        expectations: what became of its expectations.
        row_count: rows of the table that it wrote, where it is one table.
        tables: of a load of several tables: the same for each of them, by logical name.
    """

    rows: tuple[AuditRow, ...] = ()
    expectations: tuple[ExpectationResult, ...] = ()
    row_count: int | None = None
    tables: "Mapping[str, Findings]" = field(default_factory=dict)

    @property
    def failure(self) -> str | None:
        """The sentence for a command that did not succeed whatever its exit code says."""
        failed = [r for r in self.rows if not r.success]
        if not failed:
            return None
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        step = "the second half of the load" if first.step == "TRANSFORM" and self._loads else f"step {first.step}"
        return f"Starlake's audit says that {step} of {first.domain}.{first.table} failed: {first.message}{more}"

    @property
    def lost_files(self) -> list[str]:
        """Files whose first half succeeded and whose second half failed: Starlake archives them although their rows are nowhere."""
        return sorted(name for row, half in self._loads for name in row.files if row.success and half is not None and not half.success)

    @property
    def loaded_files(self) -> list[str]:
        """Files both halves of whose load succeeded: their rows are in the table, even where the command failed afterwards."""
        return sorted(name for row, half in self._loads for name in row.files if row.success and half is not None and half.success)

    @property
    def counters(self) -> Counters | None:
        """The counts of what was loaded; None without audit rows. Starlake adds up what it prints in the same way."""
        if not any(row.step == "LOAD" for row in self.rows):
            return None
        loaded = [row for row, half in self._loads if row.success and (half is None or half.success)]
        read, accepted, rejected = (known(sum(row.counts[i] for row in loaded)) for i in range(3))
        return believable(read, accepted, rejected, tuple(name for row in loaded for name in row.files))

    @property
    def _loads(self) -> list[tuple[AuditRow, AuditRow | None]]:
        """Each LOAD row with the TRANSFORM row of the same table that follows it."""
        pairs: list[tuple[AuditRow, AuditRow | None]] = []
        open_pairs: dict[tuple[str, str], int] = {}
        for row in self.rows:
            key = (row.domain, row.table)
            if row.step == "LOAD":
                open_pairs[key] = len(pairs)
                pairs.append((row, None))
            elif row.step == "TRANSFORM" and key in open_pairs:
                at = open_pairs.pop(key)
                pairs[at] = (pairs[at][0], row)
        return pairs


@dataclass(slots=True)
class _Reader:
    database: str
    connection: Any = field(repr=False)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.connection.execute(sql, list(parameters)).fetchall()
        return found

    def records(self, sql: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        result = self.connection.execute(sql, list(parameters))
        names = [column[0].upper() for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def look(command: Command, log: Log) -> Findings:
    """Return what DuckDB knows about a command that has ended; nothing where there is no DuckDB file, no ``duckdb`` package or no audit table.

    Call it while holding the locks of the command's databases.
    """
    findings = Findings()
    try:
        import duckdb
    except ImportError:
        return findings
    looks: dict[Target, list[str]] = {}
    for name, target in _targets(command).items():
        looks.setdefault(target, []).append(name)
    by_database: dict[str, list[Audit | Target]] = {}
    for wanted in (command.audit, *looks):
        if wanted is not None and Path(wanted.database).is_file():
            by_database.setdefault(wanted.database, []).append(wanted)
    rows: tuple[AuditRow, ...] = ()
    expectations: tuple[_Noted, ...] = ()
    counts: dict[str, int | None] = {}
    for database, wants in by_database.items():
        try:
            with duckdb.connect(database, read_only=True) as connection:
                reader = _Reader(database, connection)
                for want in wants:
                    if isinstance(want, Audit):
                        rows, expectations = _audit_rows(reader, want, command.tables), _expectations(reader, want, command.tables)
                    else:
                        counts.update(dict.fromkeys(looks[want], _count(reader, want)))
        except duckdb.Error as error:
            log("info", f"cannot look into {database} for what Starlake noted about the command: {str(error).splitlines()[0]}")
    several = command.tables if len(command.tables) > 1 else ()
    return Findings(
        rows,
        _last(expectations, command.audit.expectations if command.audit else ()),
        None if several else next(iter(counts.values()), None),
        {t.name: _of_table(t, rows, expectations, counts.get(t.name)) for t in several},
    )


def _targets(command: Command) -> dict[str, Target]:
    """Return the tables whose rows are to be counted, by logical name."""
    if command.target is not None:
        return {"": command.target}
    return {t.name: t.target for t in command.tables if t.target is not None}


def _of_table(table: LoadTable, rows: Sequence[AuditRow], expectations: "Sequence[_Noted]", count: int | None) -> Findings:
    return Findings(
        tuple(row for row in rows if (row.domain, row.table) == (table.domain, table.name)),
        _last([e for e in expectations if e.table == table.name], table.expectations),
        count,
    )


def _logical(tables: Sequence[LoadTable], domain: str, table: str) -> LoadTable | None:
    """Return the table that a row is about: rows of the second half of a load have its names in the database. Observed: renames."""
    found = [t for t in tables if (domain, table) == (t.domain, t.name)]
    final = (domain.lower(), table.lower())
    return next(iter(found or (t for t in tables if final == (t.final_domain.lower(), t.final_name.lower()))), None)


def _audit_rows(reader: _Reader, audit: Audit, tables: Sequence[LoadTable]) -> tuple[AuditRow, ...]:
    if not _exists(reader, audit.schema, "audit"):
        return ()
    rows = []
    for noted in reader.records(f"SELECT * FROM {_quoted(audit.schema, 'audit')} WHERE JOBID = ? ORDER BY rowid", [audit.job_id]):
        domain, table, step = noted["DOMAIN"], noted["SCHEMA"], noted["STEP"]
        files = _file_names(noted["PATHS"]) if step == "LOAD" else ()
        counts = (_number(noted.get("COUNT")), _number(noted.get("COUNTACCEPTED")), _number(noted.get("COUNTREJECTED")))
        row = AuditRow(domain, table, step, bool(noted["SUCCESS"]), noted["MESSAGE"] or "", files, counts)
        logical = _logical(tables, domain, table)
        rows.append(replace(row, domain=logical.domain, table=logical.name) if logical else row)
    return tuple(rows)


def _number(count: Any) -> int:
    return count if isinstance(count, int) else -1


@dataclass(frozen=True, slots=True)
class _Noted:
    """A row of ``audit.expectations``: the logical name of its table, the call as it is noted, how it ended."""

    table: str
    call: str
    name: str
    result: ExpectationResult


def _expectations(reader: _Reader, audit: Audit, tables: Sequence[LoadTable]) -> tuple[_Noted, ...]:
    if not audit.expectations or not _exists(reader, audit.schema, "expectations"):
        return ()
    rows = reader.rows(
        "SELECT DOMAIN, SCHEMA, PARAMS, NAME, SQL, COUNT, EXCEPTION, SUCCESS "
        f"FROM {_quoted(audit.schema, 'expectations')} WHERE JOBID = ? ORDER BY rowid",
        [audit.job_id],
    )
    noted = []
    for domain, table, params, name, sql, count, exception, success in rows:
        logical = _logical(tables, domain, table)
        result = ExpectationResult(
            expect=params,
            success=bool(success),
            violations=count if count is not None and count >= 0 and not exception else None,
            sql=sql or None,
            error=exception or None,
        )
        noted.append(_Noted(logical.name if logical else table, params, name, result))
    return tuple(noted)


def _last(noted: Sequence[_Noted], declared: Sequence[str]) -> tuple[ExpectationResult, ...]:
    """Return the last result of each expectation, named as the project writes it: a load evaluates them twice per file."""
    as_written = {_as_noted(call): call for call in declared}
    results: dict[str, ExpectationResult] = {}
    for note in noted:
        call = as_written.get(_as_noted(note.call)) or as_written.get(_as_noted(note.name)) or note.call
        results[call] = replace(note.result, expect=call)
    return tuple(results.values())


def _as_noted(call: str) -> str:
    """Return a call as the audit has it: Starlake replaces single quotes."""
    return call.replace("'", '"').strip().removeprefix("{{").removesuffix("}}").strip()


def _count(reader: _Reader, target: Target) -> int | None:
    # Counting a view would run its query.
    if not _exists(reader, target.schema, target.table):
        return None
    count = reader.rows(f"SELECT count(*) FROM {_quoted(target.schema, target.table)}")[0][0]
    return int(count)


def _exists(reader: _Reader, schema: str, table: str) -> bool:
    return bool(
        reader.rows(
            "SELECT 1 FROM information_schema.tables "
            "WHERE table_catalog = current_database() AND table_type = 'BASE TABLE' AND lower(table_schema) = lower(?) AND lower(table_name) = lower(?) LIMIT 1",
            [schema, table],
        )
    )


def _quoted(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _file_names(paths: str | None) -> tuple[str, ...]:
    """Return the names of the files of a LOAD row: ``file:/a/x-1.csv,file:/a/x-2.csv``."""
    return tuple(path.rpartition("/")[2] for path in (paths or "").split(",") if path)
