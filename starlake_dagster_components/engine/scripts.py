"""Run the project's own SQL statement by statement, with errors that show their location in the project's files."""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from ..errors import Location
from ..project.missing_files import find_missing_files
from ..project.model import Project, Task
from ..project.sql.sections import SqlPart, SqlSections, render_task, strip_comments
from ..project.templating import TemplateError
from .database import Database
from .duckdb_errors import explain_error
from .engine_errors import BadSetting, SqlFailed
from .session import Session
from .sqltext import Statement, split_statements

_TRANSACTIONS = ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT")
_MISSING = re.compile(r'Table with name "?([^"!]+?)"? does not exist')

Hint = Callable[[str], str]
"""A function that takes the name of a missing table, and returns a hint about what creates it, or an empty string."""


@dataclass(frozen=True, slots=True)
class Script:
    """SQL of the project with its location.

    Attributes:
        part: the text, and the line of the source for each of its lines.
        origin: where the text begins, if its lines are unknown.
        source: the file's lines, to find columns; empty if they are unknown.
    """

    part: SqlPart
    origin: Location
    source: tuple[str, ...] = ()

    def locate(self, offset: int) -> tuple[Location, int]:
        """Return file, line, and column (from 1; 0 = unknown) of an offset in the text."""
        before = self.part.text[:offset]
        number = before.count("\n") + 1
        column = offset - (before.rfind("\n") + 1) + 1
        if not self.part.lines:
            return self.origin, 0
        line = self.part.find_source_line(number)
        return Location(self.origin.file, line), self._find_column(line, number, column)

    def indent(self, statement: str, offset: int, position: int | None) -> tuple[str, int | None]:
        """Return a statement with the indentation of its lines in the file, and the position within it."""
        if self.part.text[offset : offset + len(statement)] != statement:
            return statement, position
        first = self.part.text[:offset].count("\n") + 1
        begins_line = offset == 0 or self.part.text[offset - 1] == "\n"
        lines, moved, seen = [], position, 0
        for number, line in enumerate(statement.split("\n")):
            blanks = self.part.find_indentation(first + number, self.source) if number or begins_line else ""
            blanks = "" if line.startswith((" ", "\t")) else blanks
            lines.append(blanks + line)
            if position is not None and moved is not None and seen <= position:
                moved += len(blanks)
            seen += len(line) + 1
        return "\n".join(lines), moved

    def _find_column(self, line: int, number: int, column: int) -> int:
        if not 0 < line <= len(self.source):
            return 0
        text = self.part.text.split("\n")[number - 1]
        # Lines were trimmed, and comments and Jinja were replaced, so the column is right only if the rest of the line is as in the file.
        at = self.source[line - 1].find(text.strip()) if text.strip() else -1
        return at + column - (len(text) - len(text.lstrip())) if at >= 0 else 0


def render_sections(session: Session, task: Task) -> SqlSections:
    """Return the SQL of a task with the command's variables. Raise BadSetting if a template cannot be rendered."""
    try:
        return render_task(session.project, task, session.variables)
    except TemplateError as error:
        raise BadSetting(Location(task.sql_file, error.line) if task.sql_file else task.origin.locate(), str(error)) from error


def run_script(database: Database, script: Script, hint: Hint = lambda name: "") -> None:
    """Run all statements of a script. Raise SqlFailed if one fails, or would end the transaction that it is part of."""
    for statement in split_statements(script.part.text):
        reject_transactions(script, statement)
        database.spoil_if(statement.keyword)
        try:
            result = database.execute(statement.text)
            # A SELECT may return any number of rows; they are not used.
            while result.fetchmany(10_000):
                pass
        except duckdb.Error as error:
            raise make_failure(error, script, statement.text, statement.offset, hint) from error


def reject_transactions(script: Script, statement: Statement) -> None:
    """Raise SqlFailed for a statement that would begin or end a transaction."""
    if statement.keyword in _TRANSACTIONS:
        place, column = script.locate(statement.offset)
        reason = f"{statement.keyword} cannot be used: all SQL of a table or task is one transaction already"
        raise SqlFailed(location=place, column=column, statement=statement.text, reason=reason)


def make_failure(error: duckdb.Error, script: Script, statement: str, offset: int, hint: Hint, *, before: int = 0) -> SqlFailed:
    """Return the exception for a failing statement of the project, which is at ``offset`` in a script.

    ``before`` is the number of characters that the engine put before the statement.
    """
    reason, position = explain_error(error)
    within = position - before if position is not None and before <= position <= before + len(statement) else None
    place, column = script.locate(offset + (within or 0))
    missing = _MISSING.search(reason)
    statement, within = script.indent(statement, offset, within)
    return SqlFailed(
        location=place, column=column, statement=statement, reason=reason, hint=hint(missing.group(1)) if missing else "", position=within
    )


def make_hint(project: Project) -> Hint:
    """Return a function that names the task or load that creates a table."""

    def add_hint(name: str) -> str:
        parts = [p.strip('"').lower() for p in name.split(".")][-2:]
        for task in project.tasks:
            if parts[-1] == task.table.lower() and (len(parts) == 1 or parts[0] == task.domain.lower()):
                return f"the task {task.full_name} creates it: run transform --name {task.full_name} first"
        for table in project.tables:
            if parts[-1] == table.final_name.lower() and (len(parts) == 1 or parts[0] == table.final_domain.lower()):
                missing = find_missing_files(project, table)
                if missing is not None:
                    return f"loading {table.full_name} would create it, but finds nothing: {missing.describe(None)}"
                return f"loading {table.full_name} creates it: run load --domains {table.domain} --tables {table.name} first"
        return ""

    return add_hint


def make_file_script(project: Project, part: SqlPart, file: str | None, origin: Location) -> Script:
    """Return a part of a task's SQL file with its location; ``origin`` is that of the task if it has no SQL file."""
    if file is None:
        return make_yaml_script(part, origin)
    source: tuple[str, ...] = ()
    with contextlib.suppress(OSError, UnicodeError):
        source = tuple(project.get_path(file).read_text(encoding="utf-8").split("\n"))
    return Script(part, Location(file, part.line), source)


def make_yaml_script(part: SqlPart, origin: Location) -> Script:
    """Return a statement of a YAML file with its location."""
    return Script(SqlPart(part.text), origin)


def split_scripts(project: Project, task: Task, sections: SqlSections) -> tuple[list[Script], list[Script]]:
    """Return the statements before and after a task's query: those of its SQL file, and those of its YAML, which are closer to the query.

    The order is that of :func:`~starlake_dagster_components.project.sql.sections.render_task`.
    """
    before = [text for text in task.presql if strip_comments(SqlPart(text)).text.strip()]
    after = [text for text in task.postsql if strip_comments(SqlPart(text)).text.strip()]
    own = len(sections.presql) - len(before)
    pre = [make_file_script(project, part, task.sql_file, task.origin.locate("presql")) for part in sections.presql[:own]]
    pre += [make_yaml_script(part, task.origin.locate(f"presql[{i}]")) for i, part in enumerate(sections.presql[own:])]
    post = [make_yaml_script(part, task.origin.locate(f"postsql[{i}]")) for i, part in enumerate(sections.postsql[: len(after)])]
    post += [make_file_script(project, part, task.sql_file, task.origin.locate("postsql")) for part in sections.postsql[len(after) :]]
    return pre, post
