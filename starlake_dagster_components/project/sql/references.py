"""SQL of tasks: its sections, and the tables that it reads.

Starlake: SqlTaskExtractor, SqlCommentStripper, AutoTask.dependencies. Unlike Starlake, which looks for tables with two regular
expressions, references come from a parser.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...errors import Location, Problem
from ..model import Connection, Project, TableReference, Task
from ..templating import Rendered, Renderer, TemplateError
from ..variables import date_variables
from .keywords import Found, Unparsable

_MARKER = re.compile(r"--\s*(SL_SQL|SL_PRESQL|SL_POSTSQL)\s*")
_DIALECTS = {
    "duckdb": "duckdb",
    "ducklake": "duckdb",
    "bigquery": "bigquery",
    "snowflake": "snowflake",
    "postgres": "postgres",
    "redshift": "redshift",
    "spark": "spark",
    "hive": "hive",
    "databricks": "databricks",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlserver": "tsql",
    "synapse": "tsql",
    "oracle": "oracle",
    "trino": "trino",
    "presto": "presto",
    "clickhouse": "clickhouse",
    "sqlite": "sqlite",
}
_JAVA_BLANKS = "".join(map(chr, range(33)))


@dataclass(frozen=True, slots=True)
class SqlPart:
    """A piece of SQL.

    Attributes:
        text: the SQL.
        lines: for each line of the text, the line of the source that it comes from (from 1).
    """

    text: str
    lines: tuple[int, ...] = ()

    @property
    def line(self) -> int:
        """Source line of the first line."""
        return self.lines[0] if self.lines else 1

    def line_of(self, number: int) -> int:
        """Return the source line of a line of the text (from 1)."""
        if not self.lines:
            return number
        return self.lines[min(max(number, 1), len(self.lines)) - 1]


@dataclass(frozen=True, slots=True)
class SqlSections:
    """The SQL of a task: what runs before, the query, what runs after."""

    presql: tuple[SqlPart, ...] = ()
    sql: SqlPart | None = None
    postsql: tuple[SqlPart, ...] = ()


def dialect_of(connection: Connection | None) -> str:
    """Return sqlglot's name for the SQL of a connection; the empty string for an unknown one."""
    return _DIALECTS.get(connection.engine, "") if connection else ""


def split_sections(text: str, lines: Sequence[int] = ()) -> SqlSections:
    """Cut a SQL file at the lines ``-- SL_PRESQL``, ``-- SL_SQL`` and ``-- SL_POSTSQL``. Starlake: SqlTaskExtractor.

    Every line is trimmed and blank ones are dropped, as Starlake does; of several SL_SQL sections the first that is not empty counts.

    Args:
        text: the file, Jinja rendered.
        lines: for each line of the text its line in the source; by default they are the same.
    """
    sections: dict[str, list[SqlPart]] = {"SL_SQL": [], "SL_PRESQL": [], "SL_POSTSQL": []}
    current = "SL_SQL"
    kept: list[str] = []
    kept_lines: list[int] = []

    def close() -> None:
        if kept:
            sections[current].append(SqlPart("\n".join(kept), tuple(kept_lines)))
            kept.clear()
            kept_lines.clear()

    for index, line in enumerate(text.split("\n")):
        trimmed = line.strip(_JAVA_BLANKS)
        if not trimmed:
            continue
        # Starlake looks for the marker in the line as it is: an indented one is a comment.
        if line.startswith("--") and (marker := _MARKER.fullmatch(line)):
            close()
            current = marker.group(1)
            continue
        kept.append(trimmed)
        kept_lines.append(lines[index] if index < len(lines) else index + 1)
    close()
    queries = sections["SL_SQL"]
    return SqlSections(tuple(sections["SL_PRESQL"]), queries[0] if queries else None, tuple(sections["SL_POSTSQL"]))


def strip_comments(part: SqlPart) -> SqlPart:
    """Remove comments, blank lines and a last semicolon. Starlake: SqlCommentStripper (which knows single quotes only)."""
    text = _without_comments(part.text) if "--" in part.text or "/*" in part.text else part.text
    kept = []
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(_JAVA_BLANKS):
            kept.append(line)
            lines.append(part.line_of(number))
    result = "\n".join(kept)
    trimmed = result.strip(_JAVA_BLANKS)
    if trimmed.endswith(";"):
        result = trimmed[:-1]
    return SqlPart(result, tuple(lines))


_COMMENT_OR_STRING = re.compile(r"'(?:[^']|'')*(?:'|\Z)|--[^\n\r]*|/\*.*?(?:\*/|\Z)", re.DOTALL)


def _without_comments(sql: str) -> str:
    def replacement(match: re.Match[str]) -> str:
        text = match.group()
        # The line ends of a comment stay, so that the lines keep their numbers; blank lines are dropped afterwards.
        return text if text[0] == "'" else "\n" * text.count("\n") if text[0] == "/" else ""

    return _COMMENT_OR_STRING.sub(replacement, sql)


def table_references(
    sql: str, dialect: str, file: str, first_line: int = 1, lines: Sequence[int] = ()
) -> tuple[tuple[TableReference, ...], tuple[Problem, ...]]:
    """Return the tables that a SQL text reads, each once, in order of appearance, and what could not be parsed.

    Tables that are only written to, common table expressions, table functions, files and system catalogues are no references; nor
    are tables that the text itself created before.

    Args:
        sql: one or several statements, Jinja rendered.
        dialect: sqlglot's name of the dialect; the empty string for an unknown one.
        file: name of the file, for locations.
        first_line: line of the text's first line in the file.
        lines: for each line of the text its line in the file; wins over ``first_line``.
    """
    part = SqlPart(sql, tuple(lines))
    offset = 0 if lines else first_line - 1

    def location(line: int) -> Location:
        return Location(file, part.line_of(line) + offset)

    references: dict[tuple[str, ...], TableReference] = {}
    problems: list[Problem] = []
    parsed, failures = _find(sql, dialect)
    for found in parsed:
        references.setdefault(found.parts, TableReference(found.parts, location(found.line)))
    for line, reason, scanned in failures:
        names = [".".join(item.parts) for item in scanned]
        guess = f"tables were found by a scan: {', '.join(names)}" if names else "a scan found no table"
        language = f"{dialect} SQL" if dialect else "SQL"
        problems.append(Problem(location(line), "warning", f"the statement cannot be parsed as {language} ({reason}); {guess}"))
        for found in scanned:
            references.setdefault(found.parts, TableReference(found.parts, location(found.line), "scanned"))
    return tuple(references.values()), tuple(problems)


_EXPLAIN = re.compile(
    r"\A((?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*)EXPLAIN\b(?:\s+(?:ANALYZE|VERBOSE|EXTENDED|FORMATTED|CODEGEN|COST|PLAN\s+FOR|USING\s+\w+)\b)*(?:\s*\([^()]*\)(?=\s*(?:SELECT|WITH|FROM)\b))?",
    re.IGNORECASE | re.DOTALL,
)


def _without_explain(sql: str) -> str:
    """Blank out a leading EXPLAIN, which reads what its statement reads; every character keeps its place."""
    match = _EXPLAIN.match(sql)
    if match is None:
        return sql
    word = sql[match.end(1) : match.end()]
    return sql[: match.end(1)] + re.sub(r"[^\n]", " ", word) + sql[match.end() :]


def _find(sql: str, dialect: str) -> tuple[list[Found], list[tuple[int, str, list[Found]]]]:
    from .quick import quick_tables
    from .scan import scan_tables

    sql = _without_explain(sql)
    if not sql.strip():
        return [], []
    try:
        return quick_tables(sql, dialect), []
    except Unparsable:
        pass
    from .tree import Statements

    # Spark's SQL is the most lenient about quotes: the second guess where the connection does not say what it is.
    attempts = (dialect,) if dialect else ("", "spark")
    best: Statements | None = None
    reason = ""
    for attempt in attempts:
        try:
            statements = Statements(sql, attempt)
        except Unparsable as error:
            reason = reason or str(error)
            continue
        if best is None or len(statements.failures) < len(best.failures):
            best = statements
        if not statements.failures:
            break
    if best is None:
        return [], [(1, reason, scan_tables(sql))]
    failures = []
    for line, why, start, end in best.failures:
        before = sql.count("\n", 0, start)
        scanned = [Found(found.parts, found.line + before, found.start + start) for found in scan_tables(sql[start:end])]
        failures.append((line, why, scanned))
    return best.found, failures


def render_task(project: Project, task: Task, variables: Mapping[str, str] | None = None) -> SqlSections:
    """Return a task's SQL as Starlake would run it: Jinja rendered, cut at the markers, YAML statements joined, comments removed.

    Starlake: SchemaHandler.buildAutoTaskInfo. The statements before are those of the file, then those of the YAML; the
    statements after are those of the YAML, then those of the file.

    Args:
        project: the project, for variables and includes.
        task: one of its tasks.
        variables: more variables (``--options``, the logical date), over those of the project.

    Raises:
        TemplateError: the SQL is no Jinja template, or rendering it failed; the line is that of the file.
    """
    renderer = Renderer(project.metadata_folder, project.root)
    values = {**project.variables, **_fresh_dates(project.variables), **(variables or {})}
    sections = sections_of_task(renderer, task, values)
    presql = (*sections.presql, *(SqlPart(text) for text in task.presql))
    postsql = (*(SqlPart(text) for text in task.postsql), *sections.postsql)
    return SqlSections(
        tuple(part for part in map(strip_comments, presql) if part.text.strip()),
        strip_comments(sections.sql) if sections.sql else None,
        tuple(part for part in map(strip_comments, postsql) if part.text.strip()),
    )


def _fresh_dates(variables: Mapping[str, str]) -> dict[str, str]:
    """Return Starlake's date variables for now, without those that an env file or the environment has set."""
    written = variables.get("sl_epoch_milli", "")
    if not written.isdecimal() or len(written) > 15:
        return {}
    then = date_variables(datetime.fromtimestamp(int(written) / 1000))
    now = date_variables(datetime.now())
    return {name: value for name, value in now.items() if variables.get(name) == then[name]}


def sections_of_task(renderer: Renderer, task: Task, values: Mapping[str, str]) -> SqlSections:
    """Return the sections of a task's own SQL, rendered, with comments and with lines of its file."""
    if task.sql_text is None:
        return SqlSections()
    try:
        rendered = renderer.render(task.sql_text, values)
    except TemplateError as error:
        raise TemplateError(str(error), error.line + task.sql_line - 1 if error.line else task.sql_line) from error
    return _sections(task, rendered)


def _sections(task: Task, rendered: Rendered) -> SqlSections:
    lines = [line + task.sql_line - 1 for line in rendered.all_lines()]
    if task.sql_file is not None and task.sql_file.endswith(".yml"):
        # Starlake looks for markers in SQL files only.
        return SqlSections(sql=SqlPart(rendered.text, tuple(lines)) if rendered.text else None)
    return split_sections(rendered.text, lines)
