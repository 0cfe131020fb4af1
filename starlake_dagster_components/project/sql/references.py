"""Find the tables that the SQL of tasks reads.

Starlake: AutoTask.dependencies. Starlake uses two regular expressions; this module uses a parser.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from ...errors import Location, Problem
from ..documents import Reading
from ..model import Connection, Project, TableReference, Task
from ..templating import TemplateError
from ..word_sets import split_words
from .found_tables import Found, Unparsable
from .sections import SqlPart, render_sections
from .tokens import ANY_DATABASE, Token, tokenize_sql

# Databases whose dialect has the same name in sqlglot, and those whose dialect has another name.
_DIALECTS = split_words("duckdb bigquery snowflake postgres redshift spark hive databricks mysql oracle trino presto clickhouse sqlite")
_OTHER_DIALECTS = {"ducklake": "duckdb", "mariadb": "mysql", "sqlserver": "tsql", "synapse": "tsql"}


def add_references(reading: Reading, project: Project, task: Task) -> Task:
    """Return a task with the tables that its SQL reads. Starlake: AutoTask.dependencies."""
    if task.sql_text is None or not task.parse_sql:
        return task
    file = task.sql_file or task.origin.file
    dialect = find_dialect(find_query_connection(project, task))
    try:
        sections = render_sections(reading.renderer, task, project.variables)
        part = sections.sql
    except TemplateError as error:
        message = f"{error}; the search for tables uses the SQL as written"
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
    if found and (sections.presql or task.presql):
        created = find_created_tables("\n;\n".join([*(before.text for before in sections.presql), *task.presql]))
        found = tuple(reference for reference in found if tuple(part.lower() for part in reference.parts) not in created)
    return replace(task, references=found) if found else task


def find_created_tables(sql: str) -> set[tuple[str, ...]]:
    """Return the lowercase names of the tables and views that a script creates. Later statements read them from the script."""
    words: list[str] = []
    found: set[tuple[str, ...]] = set()
    tokens = [token for token in tokenize_sql(sql, ANY_DATABASE) if token.kind not in ("blank", "comment")]
    for index, token in enumerate(tokens):
        words = [*words[-7:], token.text.upper()] if token.kind == "word" else []
        if "CREATE" in words and words[-1] in ("TABLE", "VIEW", "EXISTS"):
            name = _read_name(tokens, index + 1)
            if name and name[0] != "if":
                found.add(name)
    return found


def _read_name(tokens: Sequence[Token], index: int) -> tuple[str, ...]:
    parts: list[str] = []
    while index < len(tokens) and tokens[index].kind in ("word", "quoted"):
        parts.append(tokens[index].text.strip('"`[]').lower())
        if index + 1 >= len(tokens) or tokens[index + 1].text != ".":
            break
        index += 2
    return tuple(parts)


def find_query_connection(project: Project, task: Task) -> Connection | None:
    """Return the connection of a task's query: that of its ``connectionRef``, else the default."""
    application = project.application
    default = application.connections.get(application.transform_connection_ref or application.connection_ref or "")
    return application.connections.get(task.connection_ref or "", default)


def find_dialect(connection: Connection | None) -> str:
    """Return sqlglot's name of the SQL dialect of a connection; an empty string if it is unknown."""
    engine = connection.engine if connection else ""
    return engine if engine in _DIALECTS else _OTHER_DIALECTS.get(engine, "")


def find_references(
    sql: str, dialect: str, file: str, first_line: int = 1, lines: Sequence[int] = ()
) -> tuple[tuple[TableReference, ...], tuple[Problem, ...]]:
    """Return the tables that SQL reads, and a problem for each statement that cannot be parsed.

    Each table appears once, in order of appearance. Tables that are only written to, common table expressions, table functions, files,
    system catalogs, and tables that an earlier statement created are not included.

    Args:
        sql: one or more statements, after Jinja rendering.
        dialect: sqlglot's name of the dialect; an empty string if it is unknown.
        file: name of the file.
        first_line: the line in the file where the SQL begins.
        lines: the line in the file of each line of the SQL; overrides ``first_line``.
    """
    part = SqlPart(sql, tuple(lines))
    offset = 0 if lines else first_line - 1
    line_ends = list(accumulate(len(line) + 1 for line in sql.split("\n")))

    def locate(index: int) -> Location:
        return Location(file, part.find_source_line(bisect_right(line_ends, index) + 1) + offset)

    references: dict[tuple[str, ...], TableReference] = {}
    problems: list[Problem] = []
    parsed, failures = _find_tables(sql, dialect)
    for found in parsed:
        references.setdefault(found.parts, TableReference(found.parts, locate(found.start)))
    for start, reason, scanned in failures:
        if scanned is None:
            problems.append(Problem(locate(start), "warning", reason))
            continue
        names = [".".join(item.parts) for item in scanned]
        guess = f"tables were found by a scan: {', '.join(names[:20])}" if names else "a scan found no tables"
        language = f"{dialect} SQL" if dialect else "SQL"
        problems.append(Problem(locate(start), "warning", f"the statement cannot be parsed as {language} ({reason}); {guess}"))
        for found in scanned:
            references.setdefault(found.parts, TableReference(found.parts, locate(found.start), "scanned"))
    return tuple(references.values()), tuple(problems)


_MAX_PARSED = 200_000
_MISSING_TABLE = re.compile(
    r"\b(FROM|JOIN|INTO)(?:\s+(?:WHERE|ON|USING|GROUP|ORDER|HAVING|LIMIT|JOIN|LEFT|INNER|UNION)|\s*(?:[,;)]|\Z))", re.IGNORECASE
)
_EXPLAIN = re.compile(
    r"\A((?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*)EXPLAIN\b(?:\s+(?:ANALYZE|VERBOSE|EXTENDED|FORMATTED|CODEGEN|COST|PLAN\s+FOR|USING\s+\w+)\b)*(?:\s*\([^()]*\)(?=\s*(?:SELECT|WITH|FROM)\b))?",
    re.IGNORECASE | re.DOTALL,
)


def _blank_explain(sql: str) -> str:
    """Replace a leading EXPLAIN with spaces, so that only its statement is parsed, and all characters keep their positions."""
    match = _EXPLAIN.match(sql)
    return match[1] + re.sub(r"[^\n]", " ", match[0][len(match[1]) :]) + sql[match.end() :] if match else sql


_Failure = tuple[int, str, "list[Found] | None"]
"""(index of the first character, reason, tables that a scan found); the last is None if a scan was not needed."""


def _find_tables(sql: str, dialect: str) -> tuple[list[Found], list[_Failure]]:
    sql = _blank_explain(sql)
    if not sql.strip():
        return [], []
    begin = _find_open_comment(sql)
    found, failures = _find_in_statements(sql[:begin], dialect)
    if begin is not None:
        failures.append((begin, "the comment that begins here is not closed: the rest of the SQL is part of it", None))
    incomplete = [item for item in found if _lacks_name_before(sql, item.start)]
    failures += [(item.start, f"the name before '.{item.parts[-1]}' is missing: is a variable empty?", None) for item in incomplete]
    return [item for item in found if item not in incomplete], failures


def _find_open_comment(sql: str) -> int | None:
    """Return the index of a block comment that is not closed; None if all are closed."""
    if "/*" not in sql or "*/" in sql[sql.rindex("/*") :]:
        return None
    comments = (token for token in tokenize_sql(sql, ANY_DATABASE) if token.kind == "comment" and token.text.startswith("/*"))
    return next((token.start for token in comments if len(token.text) < 4 or not token.text.endswith("*/")), None)


def _lacks_name_before(sql: str, start: int) -> bool:
    """Return whether a dot precedes a name. The part before the dot is then empty, because the name would include it."""
    while start > 0 and sql[start - 1].isspace():
        start -= 1
    return start > 0 and sql[start - 1] == "."


def _find_in_statements(sql: str, dialect: str) -> tuple[list[Found], list[_Failure]]:
    from .quick import find_tables_quickly
    from .scan import scan_tables

    try:
        return find_tables_quickly(sql, dialect), []
    except Unparsable:
        pass
    if len(sql) > _MAX_PARSED:
        return [], [(0, f"it is longer than {_MAX_PARSED:,} characters", scan_tables(sql))]
    from .tree import Statements

    # If the dialect is unknown, Spark's is tried second, because it is the most lenient about quotes.
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
        return [], [(0, reason, scan_tables(sql))]
    failures: list[_Failure] = []
    for why, start, end in best.failures:
        scanned = [Found(found.parts, found.start + start) for found in scan_tables(sql[start:end])]
        missing = _MISSING_TABLE.search(sql, start, end)
        if missing:
            why = f"no table after {missing.group(1).upper()}: is a variable empty?"
        failures.append((missing.start() if missing else start, why, scanned))
    return best.found, failures
