"""What Starlake itself noted about a command, where it notes it in a DuckDB file.

Its exit code does not tell everything: the second half of a native load can fail with exit code 0 and the file archived, its rows lost. Only the audit
row of step TRANSFORM says ``SUCCESS = false``. Starlake: reference-engines.conf (audit, expectations), IngestionAudit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..commands import Audit, Command, Target
from .base import ExpectationResult, Log


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


@dataclass(frozen=True, slots=True)
class Findings:
    """What the database says about a command after it ended.

    Attributes:
        rows: its audit rows, oldest first.
        expectations: what became of its expectations.
        row_count: rows of the table that it wrote, where it is one table.
    """

    rows: tuple[AuditRow, ...] = ()
    expectations: tuple[ExpectationResult, ...] = ()
    row_count: int | None = None

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


def look(command: Command, log: Log) -> Findings:
    """Return what DuckDB knows about a command that has ended; nothing where there is no DuckDB file, no ``duckdb`` package or no audit table.

    Call it while holding the locks of the command's databases.
    """
    findings = Findings()
    try:
        import duckdb
    except ImportError:
        return findings
    rows: tuple[AuditRow, ...] = ()
    expectations: tuple[ExpectationResult, ...] = ()
    count: int | None = None
    by_database: dict[str, list[Audit | Target]] = {}
    for wanted in (command.audit, command.target):
        if wanted is not None and Path(wanted.database).is_file():
            by_database.setdefault(wanted.database, []).append(wanted)
    for database, wants in by_database.items():
        try:
            with duckdb.connect(database, read_only=True) as connection:
                reader = _Reader(database, connection)
                for want in wants:
                    if isinstance(want, Audit):
                        rows, expectations = _audit_rows(reader, want), _expectations(reader, want)
                    else:
                        count = _count(reader, want)
        except duckdb.Error as error:
            log("info", f"cannot look into {database} for what Starlake noted about the command: {str(error).splitlines()[0]}")
    return Findings(rows, expectations, count)


def _audit_rows(reader: _Reader, audit: Audit) -> tuple[AuditRow, ...]:
    if not _exists(reader, audit.schema, "audit"):
        return ()
    found = reader.rows(
        f"SELECT DOMAIN, SCHEMA, STEP, SUCCESS, MESSAGE, PATHS FROM {_quoted(audit.schema, 'audit')} WHERE JOBID = ? ORDER BY rowid",
        [audit.job_id],
    )
    return tuple(
        AuditRow(domain, table, step, bool(success), message or "", _file_names(paths) if step == "LOAD" else ())
        for domain, table, step, success, message, paths in found
    )


def _expectations(reader: _Reader, audit: Audit) -> tuple[ExpectationResult, ...]:
    """Return the last result of each expectation: a load evaluates them twice per file."""
    if not audit.expectations or not _exists(reader, audit.schema, "expectations"):
        return ()
    as_written = {_as_noted(call): call for call in audit.expectations}
    results: dict[str, ExpectationResult] = {}
    for params, name, sql, count, exception, success in reader.rows(
        f"SELECT PARAMS, NAME, SQL, COUNT, EXCEPTION, SUCCESS FROM {_quoted(audit.schema, 'expectations')} WHERE JOBID = ? ORDER BY rowid",
        [audit.job_id],
    ):
        call = as_written.get(_as_noted(params)) or as_written.get(_as_noted(name)) or params
        results[call] = ExpectationResult(
            expect=call,
            success=bool(success),
            violations=count if count is not None and count >= 0 and not exception else None,
            sql=sql or None,
            error=exception or None,
        )
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
