"""A query that is prepared for column lineage: parsed, with one name per table, and with a table for each column."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope, traverse_scope
from sqlglot.schema import MappingSchema

from ..project.sql.tree import silence_sqlglot

TableColumns = Mapping[str, str]
"""The columns of a table in order: name -> SQL type, which is empty if unknown. The mapping is empty if the columns are unknown."""

FindTable = Callable[[tuple[str, ...]], tuple[str, TableColumns] | None]
"""Function of the parts of a table name, as written in a query. It returns an identity of the table and its columns, or None if unknown."""


class UnsupportedQuery(Exception):
    """The lineage of a query cannot be determined. The message explains why."""


@dataclass(frozen=True, slots=True, order=True)
class SourceColumn:
    """A source column: the identity of its table from :data:`FindTable`, and the name of the column or field (``address.city``)."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """An output column of a query.

    Attributes:
        name: its name, in the case of the query or of the table that it comes from.
        type: SQL type in lower case; empty if unknown.
        sources: its source columns, sorted; None if unknown, empty for a constant.
    """

    name: str
    type: str = ""
    sources: tuple[SourceColumn, ...] | None = ()


@dataclass(slots=True)
class Query:
    """A query that is being analyzed.

    Attributes:
        tree: the syntax tree, with all names in lower case.
        dialect: sqlglot's name for the SQL dialect; empty if unknown.
        has_types: whether the types that sqlglot infers are reliable.
        spelled: name in lower case -> name as written.
        aliases: alias of an output column in lower case -> alias as written.
        tables: name in the tree -> identity and columns of a table.
        renamed: name in the tree -> columns that the alias of the table renames: name in the query -> name in the table.
    """

    tree: exp.Query
    dialect: str
    has_types: bool = True
    spelled: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    tables: dict[str, tuple[str, TableColumns]] = field(default_factory=dict)
    renamed: dict[str, Mapping[str, str]] = field(default_factory=dict)


MAYBE_ROW = "maybe_row"
"""Mark of a column with the name of a table in the query. If the table's columns are unknown, it may also be a whole row of the table."""


def parse_query(sql: str, dialect: str) -> Query:
    """Parse a query. All names are converted to lower case and quoted, so that every dialect compares them in the same way.

    Raises:
        UnsupportedQuery: this is not a single query that can be analyzed.
    """
    with silence_sqlglot():
        parsed = sqlglot.parse(sql, dialect=dialect or None)
    statements = [s for s in parsed if s is not None and not isinstance(s, exp.Semicolon)]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise UnsupportedQuery("the SQL is not a single query")
    tree: Any = statements[0]
    if isinstance(tree, exp.Subquery):
        tree = tree.unnest()
    for kind in (exp.Pivot, exp.Columns, exp.MatchRecognize, exp.Placeholder):
        if tree.find(kind) is not None:
            raise UnsupportedQuery(f"the query contains {kind.__name__.upper()}")
    for cte in tree.find_all(exp.CTE):
        # For example DELETE ... RETURNING. sqlglot would take the name of the CTE for that of a table.
        if not isinstance(cte.this, exp.Query):
            raise UnsupportedQuery(f"WITH {cte.alias} contains {cte.this.key.upper()}")
    # sqlglot gives the results of these functions the types of their arguments.
    query = Query(tree, dialect, has_types=not any(tree.find(kind) for kind in (exp.Lateral, exp.Explode, exp.Unnest)))
    query.aliases = {select.alias.lower(): select.alias for select in tree.selects if isinstance(select, exp.Alias)}
    for identifier in tree.find_all(exp.Identifier):
        name = str(identifier.this)
        query.spelled.setdefault(name.lower(), name)
        identifier.set("this", name.lower())
        identifier.set("quoted", True)
    return query


def name_tables(query: Query, find_table: FindTable) -> None:
    """Replace each table name, which may have several parts, with a single name that identifies the table.

    Raises:
        UnsupportedQuery: the alias of a table names its columns, and these are unknown.
    """
    sources = (source for scope in traverse_scope(query.tree) for source in scope.sources.values())
    for table in {id(source): source for source in sources if isinstance(source, exp.Table)}.values():
        if not isinstance(table.this, exp.Identifier):
            continue
        parts = tuple(query.spelled.get(part.name, part.name) for part in table.parts)
        found = find_table(parts)
        identity, columns = found if found else (".".join(parts), {})
        name = f"table_{len(query.tables)}"
        if table.alias_column_names:
            columns = _rename_columns(query, name, columns, table)
        query.tables[name] = (identity, columns)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
        query.spelled.update({name.lower(): name for name in columns})
        table.set("this", exp.to_identifier(name, quoted=True))
        table.set("db", None)
        table.set("catalog", None)
    aliases = {t.alias_or_name for t in query.tree.find_all(exp.Table, exp.Subquery, exp.Unnest, exp.Lateral, exp.CTE)}
    if query.dialect == "duckdb":
        _find_methods(query, aliases)
    for column in query.tree.find_all(exp.Column):
        # In sales.orders.id, orders is the table's alias, unless it is a column and id is one of its fields.
        if column.args.get("db") is not None and column.args.get("catalog") is None and column.text("table") in aliases:
            column.set("db", None)
        if not column.table and column.name in aliases:
            column.meta[MAYBE_ROW] = True


def _find_methods(query: Query, aliases: Set[str]) -> None:
    """Make columns of the names on which DuckDB calls functions, as in ``name.upper()``. For sqlglot, they are schemas."""
    names = {name.lower() for _, columns in query.tables.values() for name in columns}
    for dot in list(query.tree.find_all(exp.Dot)):
        first, second = dot.this, dot.expression
        if not isinstance(first, exp.Identifier):
            continue
        scoped = dot.find_ancestor(exp.Lambda, exp.Comprehension)
        if scoped is not None and first.name in {i.name for i in scoped.find_all(exp.Identifier) if i.parent is scoped}:
            continue
        if isinstance(second, exp.Func) and first.name in names:
            dot.set("this", exp.Column(this=first))
        elif isinstance(second, exp.Identifier) and first.name in aliases:
            dot.replace(exp.Column(this=second, table=first))


def _rename_columns(query: Query, name: str, columns: TableColumns, table: Any) -> TableColumns:
    """Return the columns of a table with the names that its alias gives them: ``FROM orders AS o(key, total)``."""
    new = table.alias_column_names
    if not columns:
        raise UnsupportedQuery(f"the alias {table.alias} names the columns of a table whose columns are unknown")
    names = [*new, *list(columns)[len(new) :]]
    query.renamed[name] = dict(zip(names, columns, strict=False))
    table.args["alias"].set("columns", None)
    return dict(zip(names, columns.values(), strict=False))


def resolve_columns(query: Query) -> Scope:
    """Add the table to each column of a query and the columns to each ``*``, and return the scope of the query.

    Raises:
        UnsupportedQuery: the names in the query cannot be resolved.
    """
    dialect = query.dialect or None
    schema = MappingSchema(dialect=dialect, normalize=False)
    for name, (_, columns) in query.tables.items():
        if columns:
            schema.add_table(name, {c.lower(): t or "unknown" for c, t in columns.items()}, dialect=dialect, normalize=False)
    tree = qualify(query.tree, schema=schema, dialect=dialect, validate_qualify_columns=False, quote_identifiers=False, identify=False)
    scope = build_scope(tree)
    if scope is None:
        raise UnsupportedQuery("the names in the query cannot be resolved")
    query.tree = tree
    if query.has_types and any(columns for _, columns in query.tables.values()):
        _annotate(query, schema)
    return scope


def _annotate(query: Query, schema: Any) -> None:
    """Add types to the tree. If that fails, they remain unknown."""
    try:
        annotate_types(query.tree, schema=schema, dialect=query.dialect or None)
        doubtful = query.tree.find_all(exp.Sub, exp.Sum, exp.Round, exp.CurrentTimestamp, exp.Literal)
        wrong = [node for node in doubtful if _is_mistyped(node, query.dialect)]
        for node in wrong:
            cast = exp.Cast(to=exp.DataType.build("unknown"))
            node.replace(cast)
            cast.set("this", node)
        if wrong:
            annotate_types(query.tree, schema=schema, dialect=query.dialect or None)
    except Exception:  # noqa: BLE001 -- types are optional
        return


def _is_mistyped(node: Any, dialect: str) -> bool:
    """Return whether the type that sqlglot gives an expression is not the database's."""
    if isinstance(node, exp.Sub):
        # A number of days or an interval; for sqlglot, another date.
        return all(side.is_type(*exp.DataType.TEMPORAL_TYPES) for side in (node.left, node.right))
    if isinstance(node, exp.Sum):
        # Most databases return a wider type.
        return dialect not in ("bigquery", "spark", "databricks") and node.is_type(*exp.DataType.INTEGER_TYPES)
    if isinstance(node, exp.Round):
        return bool(node.this.is_type(*exp.DataType.INTEGER_TYPES))
    # The current time has a time zone, and 1.5 is a decimal, except in BigQuery.
    return dialect != "bigquery" and (isinstance(node, exp.CurrentTimestamp) or (node.is_number and not node.is_int))
