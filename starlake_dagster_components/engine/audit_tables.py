"""The tables ``audit.audit`` and ``audit.expectations``. Starlake: AuditLog, ExpectationJob, reference-engines.conf."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from ..errors import StarlakeError
from ..masking import mask_text
from ..project.model import WriteStrategy
from .database import Database, open_database
from .instances import lend_instance
from .result import ExpectationOutcome
from .session import Session, get_time, make_local
from .sqltext import quote_path, write_constant
from .strategy_templates import TemplateInput, find_template

_AUDIT = (
    "JOBID VARCHAR NOT NULL, PATHS VARCHAR NOT NULL, DOMAIN VARCHAR NOT NULL, SCHEMA VARCHAR NOT NULL, SUCCESS BOOLEAN NOT NULL, "
    "COUNT BIGINT NOT NULL, COUNTACCEPTED BIGINT NOT NULL, COUNTREJECTED BIGINT NOT NULL, TIMESTAMP TIMESTAMP NOT NULL, "
    "DURATION BIGINT NOT NULL, MESSAGE VARCHAR NOT NULL, STEP VARCHAR NOT NULL, DATABASE VARCHAR, TENANT VARCHAR, "
    "SCHEDULED_DATE TIMESTAMP NOT NULL"
)
_EXPECTATIONS = (
    "JOBID VARCHAR NOT NULL, DATABASE VARCHAR, DOMAIN VARCHAR NOT NULL, SCHEMA VARCHAR NOT NULL, TIMESTAMP TIMESTAMP NOT NULL, "
    "NAME VARCHAR NOT NULL, PARAMS VARCHAR NOT NULL, SQL VARCHAR NOT NULL, COUNT BIGINT NOT NULL, EXCEPTION VARCHAR NOT NULL, "
    "SUCCESS BOOLEAN NOT NULL"
)
_Row = Sequence[str | int | bool | datetime]
UNKNOWN = -1
"""Starlake writes this for an unknown number."""
_NO_COUNT = -2147483648


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of ``audit.audit``. The names are logical for the step LOAD, and those of the database for TRANSFORM.

    ``paths`` are the files of a load, or the table's name of a transform.
    """

    job: str
    paths: str
    domain: str
    table: str
    step: str
    success: bool
    began: datetime
    count: int = UNKNOWN
    accepted: int = UNKNOWN
    rejected: int = UNKNOWN
    message: str = "success"


@dataclass(frozen=True, slots=True)
class Checks:
    """Rows of ``audit.expectations`` of one table."""

    job: str
    domain: str
    table: str
    outcomes: Sequence[ExpectationOutcome]


def write_rows(session: Session, database: Database, entries: Sequence[Entry], checks: Sequence[Checks] = ()) -> None:
    """Write rows in the current transaction. The tables are created if they do not exist."""
    if not session.settings.audit_active:
        entries = ()
    _insert_rows(session, database, "audit", _AUDIT, [_make_row(session, entry) for entry in entries])
    rows = [_make_expectation_row(session, check, outcome) for check in checks for outcome in check.outcomes]
    _insert_rows(session, database, "expectations", _EXPECTATIONS, rows)


def _insert_rows(session: Session, database: Database, table: str, definition: str, rows: Sequence[_Row]) -> None:
    if not rows:
        return
    schema = session.settings.audit_domain
    name = quote_path(database.catalog, schema, table)
    columns = ", ".join(column.split()[0] for column in definition.split(","))
    values = ", ".join(f"({', '.join(map(write_constant, row))})" for row in rows)
    if database.find_kind(schema, table) is None:
        database.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_path(database.catalog, schema)}")
        database.execute(f"CREATE TABLE {name} ({definition})")
    database.execute(f"INSERT INTO {name} ({columns}) VALUES {values}")


def write_rows_elsewhere(session: Session, path: Path, entries: Sequence[Entry], checks: Sequence[Checks] = ()) -> None:
    """Write rows to a database that is not open."""
    with open_database(path, canceled=None, log=session.log) as database, database.begin_transaction():
        write_rows(session, database, entries, checks)


def find_template_failure(session: Session) -> Exception | None:
    """Return why the project's own template ``append`` cannot write the audit; None if it can, or there is no such template.

    Unlike Starlake, the engine does not use it for its audit (AuditLog.sink).
    """
    template = find_template(session, "append", WriteStrategy(type="APPEND"), None)
    if template is None or not session.settings.audit_active:
        return None
    schema = session.settings.audit_domain
    with lend_instance() as lent:
        # The template may change settings.
        lent.spoiled = True
        database = Database(Path(), "memory", lent, None)
        name = quote_path(database.catalog, schema, "audit")
        database.execute(f"CREATE SCHEMA {quote_path(database.catalog, schema)}")
        database.execute(f"CREATE TABLE {name} ({_AUDIT})")
        columns = [column.split()[0] for column in _AUDIT.split(", ")]
        try:
            template.run(database, TemplateInput(schema, "audit", f"SELECT {', '.join(columns)} FROM {name}", columns))
        except (StarlakeError, duckdb.Error) as error:
            return error
    return None


def _make_row(session: Session, entry: Entry) -> _Row:
    ended = get_time()
    duration = int((ended - entry.began).total_seconds() * 1000)
    message = mask_text(entry.message).replace("'", "-")
    name = (entry.job, entry.paths, entry.domain, entry.table, entry.success)
    counts = (entry.count, entry.accepted, entry.rejected)
    return [*name, *counts, make_local(ended, session.zone), duration, message, entry.step, "", "", session.scheduled]


def _make_expectation_row(session: Session, check: Checks, outcome: ExpectationOutcome) -> _Row:
    count = _NO_COUNT if outcome.is_countless else outcome.violations or 0
    call, sql = _write_plain(outcome.expect), _write_plain(outcome.sql or "")
    error = "" if count == _NO_COUNT else _write_plain(outcome.error or "")
    now = make_local(get_time(), session.zone)
    return [check.job, "", check.domain, check.table, now, call, call, sql, count, error, outcome.success]


def _write_plain(text: str) -> str:
    """Write a string as Starlake does in this table."""
    return mask_text(text).replace("'", '"').replace("\n", " ").replace("{{", "").replace("}}", "")
