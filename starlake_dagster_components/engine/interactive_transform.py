"""``transform --interactive`` and ``--compile``: print the rows of a task's query, or its SQL. Starlake: JdbcAutoTask.runInteractive."""

import csv
import io
import json

import duckdb

from .arguments import Arguments
from .database import Database
from .engine_errors import BadArguments
from .scripts import Hint, Script, make_failure, render_sections
from .session import Session
from .table_resolution import find_task

_FORMATS = ("csv", "json", "json-array", "table")


def show_sql(session: Session, arguments: Arguments) -> None:
    """Print the SQL of a task with all variables replaced, without running it."""
    sections = render_sections(session, find_task(session.project, arguments.name))
    for part in (*sections.presql, *([sections.sql] if sections.sql else []), *sections.postsql):
        for line in f"{part.text.rstrip()};".split("\n"):
            session.out(line)


def show_rows(session: Session, arguments: Arguments, database: Database, main: Script, query: str, hint: Hint) -> None:
    """Print one page of a query's rows. Raise BadArguments if ``--interactive`` is an unknown format, and SqlFailed if the query fails."""
    kind = (arguments.interactive or "").lower()
    if kind not in _FORMATS:
        raise BadArguments(f"Error: Option --interactive expects {', '.join(_FORMATS)}, not '{arguments.interactive}'")
    try:
        found = database.execute(query)
        names = [column[0] for column in found.description]
        found.fetchmany(arguments.page_size * (arguments.page_number - 1))
        rows = found.fetchmany(arguments.page_size)
    except duckdb.Error as error:
        raise make_failure(error, main, query, max(main.part.text.find(query), 0), hint) from error
    texts = [["NULL" if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in row] for row in rows]
    for line in _format_rows(kind, names, texts):
        session.out(line)


def _format_rows(kind: str, names: list[str], rows: list[list[str]]) -> list[str]:
    if kind == "csv":
        return [_format_csv_line(names), *map(_format_csv_line, rows)]
    objects = [dict(zip(names, row, strict=True)) for row in rows]
    if kind == "json":
        return [json.dumps(one, ensure_ascii=False) for one in objects]
    if kind == "json-array":
        return [json.dumps(objects, ensure_ascii=False)]
    widths = [max(len(name), *(len(row[i]) for row in rows), 1) if rows else len(name) for i, name in enumerate(names)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    table = [names, *rows]
    lines = ["|" + "|".join(f" {value.ljust(width)} " for value, width in zip(row, widths, strict=True)) + "|" for row in table]
    return [rule, lines[0], rule, *lines[1:], rule]


def _format_csv_line(values: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
