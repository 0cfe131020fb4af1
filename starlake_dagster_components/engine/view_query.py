"""Qualify the table names in the query of a view, because later readers of the view have another search path."""

from collections.abc import Mapping

from ..project.sql.found_tables import Unparsable
from ..project.sql.tree import Statements
from .sqltext import quote


def add_schemas(query: str, schemas: Mapping[str, str]) -> str | None:
    """Return a query in which tables without a schema are qualified. Everything else is unchanged.

    ``schemas`` are the schemas of tables, by their lower-case names. If the query cannot be parsed, the result is None.
    """
    if not schemas:
        return query
    try:
        statements = Statements(query, "duckdb")
    except Unparsable:
        return None
    if statements.failures:
        return None
    found = {table.start: schemas.get(table.parts[0].lower()) for table in statements.found if len(table.parts) == 1}
    for start, schema in sorted(found.items(), reverse=True):
        # The name may be a string, the argument of a function.
        if schema is not None and query[start] != "'":
            query = f"{query[:start]}{quote(schema)}.{query[start:]}"
    return query
