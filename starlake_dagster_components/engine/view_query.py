"""The query of a view, with the schemas of the tables that it names: later readers of the view have another search path."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..project.sql.nesting import is_nested_too_deeply
from .sqltext import quote

if TYPE_CHECKING:
    from sqlglot import exp


def add_schemas(query: str, schemas: Mapping[str, str]) -> str | None:
    """Return a query with the schemas of tables that it names without one; everything else stays as it is written.

    Args:
        query: the query.
        schemas: lower-case name of a table -> its schema.

    Returns:
        None when the query cannot be parsed, and it is unknown which of its words are names of tables.
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
    """Yield the tables that a query names; names of common table expressions are left out where they hide a table."""
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
            # A common table expression sees those before it, and itself when it is recursive.
            before = outer.expressions[: outer.expressions.index(inner) + bool(outer.recursive)]
            if any(cte.alias.lower() == name for cte in before):
                return True
        inner = outer
    return False
