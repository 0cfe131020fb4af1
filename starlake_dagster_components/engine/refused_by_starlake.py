"""What the engine does and Starlake's command line refuses: it works here, and fails where Starlake runs it.

Observed with Starlake 1.8.2: its SQL parser (JSQLParser) knows fewer statements than DuckDB, and its native loader writes the names of
columns without quotes.
"""

import functools
import re
from collections.abc import Iterator, Sequence

from ..project.model import Attribute, Table
from ..project.sql.tokens import DUCKDB, tokenize_sql
from .instances import lend_instance
from .session import Session

_PLAIN = re.compile(r"[^\W\d]\w*")
_FIRST = {
    "FROM": "a query that begins with FROM",
    "PIVOT": "PIVOT as a statement",
    "UNPIVOT": "UNPIVOT as a statement",
    "SUMMARIZE": "SUMMARIZE as a query",
    "DESCRIBE": "DESCRIBE as a query",
    "SHOW": "SHOW as a query",
}
_JOINS = re.compile(r"\b(ASOF|POSITIONAL)\s+(?:LEFT\s+|RIGHT\s+|FULL\s+|INNER\s+)?(?:OUTER\s+)?JOIN\b", re.IGNORECASE)


def list_refused_sql(query: str, keyword: str) -> Iterator[str]:
    """Yield what Starlake's SQL parser does not take of a query whose first word is given."""
    if keyword in _FIRST:
        yield _FIRST[keyword]
    code = _drop_texts(query)
    for join in dict.fromkeys(found.group(1).upper() for found in _JOINS.finditer(code)):
        yield f"{join} JOIN"
    if "**" in code:
        yield "the operator **"


def _drop_texts(query: str) -> str:
    """Return a query without its comments, strings and quoted names."""
    tokens = tokenize_sql(query, DUCKDB)
    return "".join(" " if token.kind in ("comment", "string", "quoted") else token.text for token in tokens)


def report_refused_sql(session: Session, place: object, name: str, query: str, keyword: str) -> None:
    """Warn of what Starlake refuses in the query of a task.

    Raises:
        NotSupported: the command is strict.
    """
    for found in list_refused_sql(query, keyword):
        session.report_refused(f"{place}: task {name}: Starlake does not run {found}")


def report_refused_names(session: Session, table: Table) -> None:
    """Warn of attributes that Starlake's loader cannot write.

    Raises:
        NotSupported: the command is strict.
    """
    names = list(dict.fromkeys(_list_refused_names(table.attributes)))
    if names:
        shown = ", ".join(f"'{name}'" for name in names[:10]) + (", ..." if len(names) > 10 else "")
        place = table.origin.at("attributes")
        session.report_refused(f"{place}: {table.full_name}: Starlake does not load columns whose names need quotes: {shown}")


def report_refused_file(session: Session, table: Table, found: str) -> None:
    """Warn of a kind of file that Starlake's loader does not read, once for a table.

    Raises:
        NotSupported: the command is strict.
    """
    session.report_refused(f"{table.origin.at()}: {table.full_name}: Starlake does not load {found}")


def _list_refused_names(attributes: Sequence[Attribute]) -> Iterator[str]:
    for attribute in attributes:
        for name in (attribute.name, attribute.final_name):
            if _PLAIN.fullmatch(name) is None or name.lower() in _list_reserved_words():
                yield name
        yield from _list_refused_names(attribute.attributes)


@functools.cache
def _list_reserved_words() -> frozenset[str]:
    with lend_instance() as lent:
        words = lent.connection.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'").fetchall()
    return frozenset(word for (word,) in words)
