"""The tables that tasks read, found in their SQL.

Starlake: AutoTask.dependencies. Unlike Starlake, which looks for tables with two regular expressions, references come from a parser.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...errors import Location, Problem
from ..documents import Reading
from ..model import Connection, Project, TableReference, Task
from ..templating import TemplateError
from .found_tables import Found, Unparsable
from .sections import SqlPart, render_sections

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


def add_references(
    reading: Reading, tasks: tuple[Task, ...], connection_of: Callable[[Task], Connection | None], values: Mapping[str, str]
) -> tuple[Task, ...]:
    """Return the tasks with the tables that their SQL reads. Starlake: AutoTask.dependencies."""
    return tuple([_with_references(reading, task, connection_of(task), values) for task in tasks])


def _with_references(reading: Reading, task: Task, connection: Connection | None, values: Mapping[str, str]) -> Task:
    if task.sql_text is None or not task.parse_sql:
        return task
    file = task.sql_file or task.origin.file
    dialect = find_dialect(connection)
    try:
        part = render_sections(reading.renderer, task, values).sql
    except TemplateError as error:
        message = f"{error}; tables are looked for in the text as it is"
        reading.add_problem(Location(file, error.line), "warning", message)
        found, _ = find_references(task.sql_text, dialect, file, task.sql_line)
        return replace(task, references=tuple(replace(reference, kind="scanned") for reference in found))
    for line, message in reading.renderer.warnings:
        reading.add_problem(Location(file, line + task.sql_line - 1), "warning", message)
    if part is None:
        if task.sql_text.strip():
            reading.add_problem(Location(file, task.sql_line), "warning", f"the SQL of task '{task.full_name}' is empty")
        return task
    found, problems = find_references(part.text, dialect, file, lines=part.lines)
    reading.problems.extend(problems)
    return replace(task, references=found) if found else task


def make_connection_finder(project: Project) -> Callable[[Task], Connection | None]:
    """Return what says which connection runs a task's query: its own connectionRef, else the default one."""
    application = project.application
    default = application.connections.get(application.transform_connection_ref or application.connection_ref or "")

    def find(task: Task) -> Connection | None:
        if task.connection_ref is not None:
            return application.connections.get(task.connection_ref, default)
        return default

    return find


def find_dialect(connection: Connection | None) -> str:
    """Return sqlglot's name for the SQL of a connection; the empty string for an unknown one."""
    return _DIALECTS.get(connection.engine, "") if connection else ""


def find_references(
    sql: str, dialect: str, file: str, first_line: int = 1, lines: Sequence[int] = ()
) -> tuple[tuple[TableReference, ...], tuple[Problem, ...]]:
    """Return the tables that a SQL text reads, each once, in order of appearance, and what could not be parsed.

    Not references: tables that are only written to, common table expressions, table functions, files, system catalogs, and tables
    that the text itself created before.

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
    parsed, failures = _find_tables(sql, dialect)
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


def _blank_explain(sql: str) -> str:
    """Blank out a leading EXPLAIN, which reads what its statement reads; every character keeps its place."""
    match = _EXPLAIN.match(sql)
    if match is None:
        return sql
    word = sql[match.end(1) : match.end()]
    return sql[: match.end(1)] + re.sub(r"[^\n]", " ", word) + sql[match.end() :]


def _find_tables(sql: str, dialect: str) -> tuple[list[Found], list[tuple[int, str, list[Found]]]]:
    from .quick import find_tables_quickly
    from .scan import scan_tables

    sql = _blank_explain(sql)
    if not sql.strip():
        return [], []
    try:
        return find_tables_quickly(sql, dialect), []
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
