"""Build SQL identifiers and literals, and split scripts into statements."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ..project.sql.tokens import DUCKDB, tokenize_sql


def quote(name: str) -> str:
    """Return a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_path(*names: str) -> str:
    """Return a qualified name with quoted parts."""
    return ".".join(quote(name) for name in names)


def quote_list(names: Iterable[str], table: str = "") -> str:
    """Return quoted names separated by commas, each qualified with a table if one is given."""
    prefix = f"{table}." if table else ""
    return ", ".join(prefix + quote(name) for name in names)


def quote_literal(text: str) -> str:
    """Return a string as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def write_constant(value: str | int | bool | datetime | None) -> str:
    """Return a value as SQL. DuckDB's parameters are not used, because binding one takes longer than running a small statement."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    # A null character would end the statement.
    return quote_literal(value.replace("\0", ""))


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a script.

    Attributes:
        text: the statement without its semicolon and the white space around it.
        offset: its offset in the script.
        keyword: its first word, in uppercase; empty if the statement does not begin with a word.
    """

    text: str
    offset: int
    keyword: str


def split_statements(script: str) -> list[Statement]:
    """Split a script at its semicolons. Parts with only white space and comments are dropped."""
    found: list[Statement] = []
    begin = 0
    first: str | None = None  # the first token of the statement that is neither white space nor a comment

    def add_statement(end: int) -> None:
        if first is not None:
            text = script[begin:end]
            stripped = text.strip()
            found.append(Statement(stripped, begin + text.index(stripped[0]), first))

    for token in tokenize_sql(script, DUCKDB):
        if token.text == ";":
            add_statement(token.start)
            begin, first = token.start + 1, None
        elif first is None and token.kind not in ("blank", "comment"):
            first = token.text.upper() if token.kind == "word" else ""
    add_statement(len(script))
    return found
