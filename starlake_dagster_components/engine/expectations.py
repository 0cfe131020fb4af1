"""Evaluate the expectations of tables and tasks. Starlake: ExpectationJob."""

import re
from collections.abc import Mapping, Sequence

import duckdb

from ..project.model import Expectation
from ..project.sql.sections import SqlPart, strip_comments
from ..project.sql.tokens import STARLAKE, tokenize_sql
from ..project.templating import TemplateError, render
from .database import Database
from .duckdb_errors import explain_error
from .engine_errors import BadSetting, ExpectationsFailed
from .result import ExpectationOutcome
from .session import Session

_SELF = re.compile("sl_this", re.IGNORECASE)


class TransactionLost(Exception):
    """A query of an expectation failed and aborted the transaction. The work of the transaction must be repeated without this query."""

    def __init__(self, expect: str, reason: str) -> None:
        self.expect = expect
        self.reason = reason
        super().__init__(reason)


def evaluate_expectations(
    session: Session, database: Database, table: str, expectations: Sequence[Expectation], failing: Mapping[str, str]
) -> tuple[ExpectationOutcome, ...]:
    """Evaluate the expectations of a table (``schema.table``), each once, in the current transaction.

    ``failing`` are the calls whose query is known to fail, with the reasons.

    Raises:
        BadSetting: a call cannot be rendered, for example because its macro does not exist.
        TransactionLost: a query failed and aborted the transaction.
    """
    if not session.settings.expectations_active:
        return ()
    unique: dict[tuple[str, bool], Expectation] = {}
    for expectation in expectations:
        unique.setdefault((expectation.expect, expectation.fail_on_error), expectation)
    return tuple(_evaluate_expectation(session, database, table, one, failing) for one in unique.values())


def _evaluate_expectation(
    session: Session, database: Database, table: str, expectation: Expectation, failing: Mapping[str, str]
) -> ExpectationOutcome:
    sql = _render_query(session, expectation, table)
    blocking = expectation.fail_on_error and session.settings.expectations_fail_on_error

    def make_outcome(violations: int | None, error: str | None, *, ran: bool = False) -> ExpectationOutcome:
        return ExpectationOutcome(table, expectation.expect, violations == 0, violations, sql, error, blocking, is_countless=ran)

    if expectation.expect in failing:
        return make_outcome(None, failing[expectation.expect])
    try:
        rows = database.fetch_rows(sql)
    except duckdb.Error as error:
        reason = explain_error(error)[0]
        if "SL_THIS" in sql:
            reason += " (Starlake replaces SL_THIS only in queries that contain it in lowercase: write sl_this)"
        if database.is_transaction_lost():
            raise TransactionLost(expectation.expect, reason) from error
        return make_outcome(None, reason)
    if len(rows) != 1:
        return make_outcome(None, f"the query returns {len(rows)} rows instead of one", ran=True)
    try:
        return make_outcome(int(rows[0][0]) if rows[0][0] is not None else 0, None)
    except (TypeError, ValueError):
        return make_outcome(None, f"the query returns '{rows[0][0]}', which is not a number", ran=True)


def _render_query(session: Session, expectation: Expectation, table: str) -> str:
    project = session.project
    try:
        macros = strip_comments(SqlPart(project.macros)).text
        rendered = render(f"{macros}\n{{{{ {expectation.expect} }}}}", session.variables, metadata_folder=project.metadata_folder)
    except TemplateError as error:
        raise BadSetting(expectation.origin.locate(), f"expectation {expectation.expect} of {table}: {error}") from error
    # Starlake's ExpectationJob replaces the name in any case, but only in queries that contain it in lowercase.
    sql = (_SELF.sub(lambda _: table, rendered) if "sl_this" in rendered else rendered).strip()
    sql = "".join(token.text for token in tokenize_sql(sql, STARLAKE) if token.kind != "comment").strip()
    if not sql:
        name = re.match(r"[\w.]+", expectation.expect)
        reason = f"has no query: there is no macro '{name.group() if name else expectation.expect}'"
        raise BadSetting(expectation.origin.locate(), f"expectation {expectation.expect} of {table} {reason}")
    return sql


def raise_for_failed(outcomes: Sequence[ExpectationOutcome]) -> None:
    """Raise ExpectationsFailed if a blocking expectation is not met."""
    failed = [o for o in outcomes if o.blocking and not o.success]
    if failed:
        found = "; ".join(f"{o.expect}: {f'{o.violations} violation(s)' if o.error is None else o.error}" for o in failed)
        raise ExpectationsFailed(f"{len(failed)} expectation{'s' if len(failed) > 1 else ''} of {failed[0].table} failed: {found}")
