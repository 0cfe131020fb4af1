"""Qualify the table names in the query of a view, because later readers of the view have another search path."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..project.sql.nesting import is_nested_too_deeply
from .sqltext import quote

if TYPE_CHECKING:
    from sqlglot import exp


def add_schemas(query: str, schemas: Mapping[str, str]) -> str | None:
    """Return a query in which tables without a schema are qualified. Everything else is unchanged.

    Args:
        query: the query.
        schemas: lower-case name of a table -> its schema.

    Returns:
        The query; None if it cannot be parsed, so that its table names are unknown.
    """
    if not schemas:
        return query
    if is_nested_too_deeply(query):
        return None
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(query, dialect="duckdb")
    except SqlglotError:
        return None
    places: dict[int, str] = {}
    for table in _list_tables(tree):
        schema = schemas.get(table.name.lower())
        place = table.this.meta.get("start") if schema is not None and not table.db else None
        if schema is not None and place is not None:
            places[place] = schema
    for place, schema in sorted(places.items(), reverse=True):
        query = f"{query[:place]}{quote(schema)}.{query[place:]}"
    return query


def _list_tables(tree: Any) -> Iterator["exp.Table"]:
    """Yield the tables that a query names, without names that refer to common table expressions."""
    from sqlglot import exp

    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and not _is_common(table):
            yield table


def _is_common(table: "exp.Table") -> bool:
    from sqlglot import exp

    name = table.name.lower()
    inner: Any = table
    while inner.parent is not None:
        outer = inner.parent
        with_ = outer.args.get("with_") or outer.args.get("with")
        if isinstance(with_, exp.With) and inner is not with_ and any(cte.alias.lower() == name for cte in with_.expressions):
            return True
        if isinstance(outer, exp.With):
            # A common table expression can refer to those before it, and to itself if it is recursive.
            before = outer.expressions[: outer.expressions.index(inner) + bool(outer.recursive)]
            if any(cte.alias.lower() == name for cte in before):
                return True
        inner = outer
    return False
