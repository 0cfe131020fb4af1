"""Find the loads of files in the rows of Starlake's audit.

A native load has two steps: from the files to a work table, and from the work table to the table. Starlake first writes an audit row for
the second step (TRANSFORM, without the names of files), then one for the complete load (LOAD). The Spark loader, and a load whose first
step fails, write only LOAD. Expectations come last. If one fails on error, ``LOAD`` is still successful. Starlake: DuckDbNativeLoader.run,
IngestionJob.run, IngestionAudit, JdbcAutoTask.runJDBC.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...commands import LoadTable
from ..base import ExpectationResult
from .log_levels import shorten_exception

_COMMITTED = re.compile(
    r"ai\.starlake\.job\.metrics\.ExpectationJob|AutoTask\.runAndSinkExpectations|IngestionExpectations\.|ExtractSchemaCmd|applyJdbcAcl"
)
"""Stack frames of exceptions that are raised after the rows have been committed. Starlake: JdbcAutoTask.runJDBC."""
_FAILED_EXPECTATIONS = re.compile(r"\b\d+ Expectations failed\b")


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row of ``audit.audit``: one step (``LOAD`` or ``TRANSFORM``) of the load of files, or a transform."""

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
class ExpectationRow:
    """A row of ``audit.expectations``. The domain and table have the names in the database. Starlake writes the call in two forms."""

    domain: str
    table: str
    call: str
    name: str
    result: ExpectationResult


def build_audit_row(values: Mapping[str, Any]) -> AuditRow:
    """Return a row of ``audit.audit`` from its columns, whose names are in upper case. Text is converted, and NULL counts as unknown."""
    step = values["STEP"]
    read, accepted, rejected = (_read_number(values.get(name)) for name in ("COUNT", "COUNTACCEPTED", "COUNTREJECTED"))
    return AuditRow(
        values.get("DOMAIN") or "",
        values.get("SCHEMA") or "",
        step,
        _read_flag(values.get("SUCCESS")),
        values.get("MESSAGE") or "",
        parse_file_names(values.get("PATHS")) if step == "LOAD" else (),
        (read, accepted, rejected),
    )


def build_expectation_row(values: Mapping[str, Any]) -> ExpectationRow:
    """Return a row of ``audit.expectations``; see :func:`build_audit_row`."""
    call, count, error = values.get("PARAMS") or "", _read_number(values.get("COUNT")), values.get("EXCEPTION")
    result = ExpectationResult(
        call,
        _read_flag(values.get("SUCCESS")),
        count if count >= 0 and not error else None,
        values.get("SQL") or None,
        shorten_exception(error) if error else None,
    )
    return ExpectationRow(values.get("DOMAIN") or "", values.get("SCHEMA") or "", call, values.get("NAME") or call, result)


def _read_number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1


def _read_flag(value: Any) -> bool:
    return value.lower() == "true" if isinstance(value, str) else bool(value)


@dataclass(frozen=True, slots=True)
class FileLoad:
    """The load of one file, or of files that Starlake loads together.

    Attributes:
        load: the row of step LOAD.
        transform: the row of step TRANSFORM that belongs to it, if there is one.
        in_table: whether the rows of the files are in the table; None if files were loaded in parallel and it is not known to which of them
            a row belongs.
    """

    load: AuditRow
    transform: AuditRow | None
    in_table: bool | None


def pair_steps(rows: Iterable[AuditRow]) -> tuple[list[FileLoad], list[AuditRow]]:
    """Return each LOAD row with the TRANSFORM row that belongs to it, and the TRANSFORM rows that no LOAD row follows.

    ``rows`` are in the order in which they were written; those of several tables may alternate.
    """
    loads: list[FileLoad] = []
    waiting: dict[tuple[str, str], list[AuditRow]] = {}
    for row in rows:
        transforms = waiting.setdefault((row.domain, row.table), [])
        if row.step == "TRANSFORM":
            transforms.append(row)
        elif row.step == "LOAD":
            # Setting spark scheduling maxJobs: files of one table are loaded at the same time, and their rows alternate.
            distinguishable = len({t.success for t in transforms}) <= 1
            transform = transforms.pop(0) if transforms else None
            loads.append(FileLoad(row, transform, _is_in_table(row, transform) if distinguishable else None))
    return loads, [row for transforms in waiting.values() for row in transforms]


def _is_in_table(load: AuditRow, transform: AuditRow | None) -> bool:
    if transform is None:
        return load.success
    # COUNT of a native load is the number of rows that the table has gained.
    return transform.success or is_raised_after_commit(transform.message) or load.counts[0] > 0


def is_raised_after_commit(text: str) -> bool:
    """Return whether an exception (its message and stack) was raised after the commit, for example by expectations."""
    return bool(_FAILED_EXPECTATIONS.search(text) or _COMMITTED.search(text))


def is_failed_expectation(text: str | None) -> bool:
    """Return whether the reason of a failure is that expectations failed. Starlake: ExpectationJob.run."""
    return bool(text and _FAILED_EXPECTATIONS.search(text))


def parse_file_names(paths: str | None) -> tuple[str, ...]:
    """Return the names of the files in a list of paths: ``file:/a/x-1.csv,file:/a/x,2.csv``; a name may have a comma."""
    return tuple(path.rpartition("/")[2] for path in split_paths(paths or ""))


def split_paths(paths: str) -> Sequence[str]:
    """Split a list of paths at the commas between them. Each path begins with its scheme."""
    return [path for path in re.split(r",(?=[A-Za-z][A-Za-z0-9+.-]*:)", paths) if path]


def build_audited_name(name: str) -> str:
    """Return the name of a file as written in the audit. Starlake: AuditLog.asSelect."""
    return name.replace("'", "-")


def find_table(tables: Sequence[LoadTable], domain: str, table: str) -> LoadTable | None:
    """Return the table of an audit row. Rows of the second step of a load have its name in the database, which a rename may change."""
    found = [t for t in tables if (domain, table) == (t.domain, t.name)]
    final = (domain.lower(), table.lower())
    return next(iter(found or (t for t in tables if final == (t.final_domain.lower(), t.final_name.lower()))), None)
