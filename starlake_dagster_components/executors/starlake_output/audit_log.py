"""Read the rows that Starlake writes to its audit tables from its log.

At the level info, Starlake logs each statement that it runs by JDBC, including ``INSERT INTO audit.audit`` and
``INSERT INTO audit.expectations``. So the result of a load is known wherever the audit is. Starlake: JdbcDbUtils.executeUpdate,
AuditLog.asSelect, ExpectationReport.asSelect, reference-engines.conf.
"""

import itertools
import re

from ..outcomes import ExpectationResult
from .audit_rows import AuditRow, ExpectationRow, parse_file_names
from .log_levels import RECORD, shorten_exception

MAX_ROWS = 100_000
"""Maximum number of rows that are kept per command."""
_MAX_LINES = 20_000
"""Maximum number of lines that are kept per statement."""
_STATEMENT = re.compile(r"(?<!end )\b[Rr]unning .*?SQL.*?\bINSERT INTO ")
"""A statement is logged before it runs, and again after it has ended."""
_FIRST_COLUMN = re.compile(r"'([^']*)'\s+AS\s+JOBID\b", re.IGNORECASE)
_COLUMN = re.compile(r"(?:'([^']*)'|(-?\w+))\s+AS\s+\"?(\w+)\"?", re.IGNORECASE)


class AuditLines:
    """Takes the lines of a command, in their order, and keeps the rows that it writes."""

    def __init__(self) -> None:
        self.rows: list[AuditRow] = []
        self.expectations: list[ExpectationRow] = []
        self._statement: list[str] | None = None

    def take(self, line: str) -> None:
        """Take a line of standard error."""
        if RECORD.match(line):
            self.close()
            if _STATEMENT.search(line):
                self._statement = [line]
        elif self._statement is not None and len(self._statement) < _MAX_LINES:
            self._statement.append(line)

    def close(self) -> None:
        """Read the statement, which is now complete: the following lines do not belong to it."""
        statement, self._statement = self._statement, None
        if statement is None:
            return
        text = "\n".join(statement)
        # Rows of one statement are joined by UNION ALL.
        starts = [match.start() for match in _FIRST_COLUMN.finditer(text)]
        for start, end in itertools.pairwise([*starts, len(text)]):
            if len(self.rows) + len(self.expectations) < MAX_ROWS:
                columns = (match.groups() for match in _COLUMN.finditer(text, start, end))
                self._add({name.upper(): (word or "") if quoted is None else quoted for quoted, word, name in columns})

    def _add(self, values: dict[str, str]) -> None:
        domain, table, success = values.get("DOMAIN", ""), values.get("SCHEMA", ""), values.get("SUCCESS", "").lower() == "true"
        if "STEP" in values:
            read, accepted, rejected = (_parse_number(values.get(name)) for name in ("COUNT", "COUNTACCEPTED", "COUNTREJECTED"))
            step = values["STEP"]
            files = parse_file_names(values.get("PATHS")) if step == "LOAD" else ()
            self.rows.append(AuditRow(domain, table, step, success, values.get("MESSAGE", ""), files, (read, accepted, rejected)))
        elif "PARAMS" in values:
            call = values["PARAMS"]
            result = build_expectation_result(call, success, _parse_number(values.get("COUNT")), values.get("SQL"), values.get("EXCEPTION"))
            self.expectations.append(ExpectationRow(domain, table, call, values.get("NAME", call), result))


def build_expectation_result(call: str, success: bool, count: int | None, sql: str | None, exception: str | None) -> ExpectationResult:
    """Return the result that a row of ``audit.expectations`` describes."""
    violations = count if count is not None and count >= 0 and not exception else None
    return ExpectationResult(call, success, violations, sql or None, shorten_exception(exception) if exception else None)


def _parse_number(text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError:
        return -1
