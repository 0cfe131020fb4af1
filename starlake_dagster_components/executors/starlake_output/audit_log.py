"""Read the rows that Starlake writes to its audit tables from its log.

At level info, Starlake logs each statement that it runs by JDBC, including ``INSERT INTO audit.audit`` and
``INSERT INTO audit.expectations``. So the result of a load is known wherever the audit is. Starlake: JdbcDbUtils.executeUpdate,
AuditLog.asSelect, ExpectationReport.asSelect, reference-engines.conf.
"""

import itertools
import re

from .audit_rows import AuditRow, ExpectationRow, build_audit_row, build_expectation_row
from .log_levels import RECORD

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
                values = {name.upper(): (word or "") if quoted is None else quoted for quoted, word, name in columns}
                if "STEP" in values:
                    self.rows.append(build_audit_row(values))
                elif "PARAMS" in values:
                    self.expectations.append(build_expectation_row(values))
