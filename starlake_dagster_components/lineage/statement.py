"""Column lineage of a query: its output columns and their source columns, from sqlglot's scopes.

Lineage that cannot be determined is left out, because a missing edge is better than a wrong one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope, traverse_scope
from sqlglot.schema import MappingSchema

from ..project.sql.nesting import is_nested_too_deeply
from ..project.sql.tree import silence_sqlglot

TableColumns = Mapping[str, str]
"""The columns of a table in order: name -> SQL type, which is empty if unknown. The mapping is empty if the columns are unknown."""

FindTable = Callable[[tuple[str, ...]], tuple[str, TableColumns] | None]
"""Function of the parts of a table name, as written in a query. It returns an identity of the table and its columns, or None if unknown."""

MAX_LENGTH = 200_000
"""Maximum length of a query in characters. Longer ones would take seconds, and are usually generated."""


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
class _Query:
    """A query that is being analyzed.

    Attributes:
        tree: the syntax tree, with all names in lower case.
        dialect: sqlglot's name for the SQL dialect; empty if unknown.
        has_types: whether the types that sqlglot infers are reliable.
        spelled: name in lower case -> name as written.
        tables: name in the tree -> identity and columns of a table.
    """

    tree: exp.Query
    dialect: str
    has_types: bool = True
    spelled: dict[str, str] = field(default_factory=dict)
    tables: dict[str, tuple[str, TableColumns]] = field(default_factory=dict)


def find_columns(sql: str, dialect: str, find_table: FindTable) -> tuple[OutputColumn, ...]:
    """Return the output columns of a query without Jinja, in order. ``dialect`` is sqlglot's name for the SQL dialect; empty if unknown.

    Raises:
        UnsupportedQuery: this is not a single query that can be analyzed, or it selects ``*`` from unknown columns.
    """
    if len(sql) > MAX_LENGTH:
        raise UnsupportedQuery(f"the query has {len(sql)} characters")
    if is_nested_too_deeply(sql):
        raise UnsupportedQuery("the query is nested too deeply")
    try:
        with silence_sqlglot():
            query = _parse_query(sql, dialect)
        _name_tables(query, find_table)
        scope = _qualify(query)
        return _Tracer(query, scope).list_outputs()
    except (SqlglotError, ValueError) as error:
        raise UnsupportedQuery(str(error).split("\n", 1)[0]) from error
    except RecursionError as error:
        raise UnsupportedQuery("the query is nested too deeply") from error


def _parse_query(sql: str, dialect: str) -> _Query:
    """Parse a query. All names are converted to lower case and quoted, so that every dialect compares them in the same way."""
    statements = [s for s in sqlglot.parse(sql, dialect=dialect or None) if s is not None and not isinstance(s, exp.Semicolon)]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise UnsupportedQuery("the SQL is not a single query")
    tree: Any = statements[0]
    if isinstance(tree, exp.Subquery):
        tree = tree.unnest()
    for kind in (exp.Pivot, exp.Columns, exp.MatchRecognize, exp.Placeholder):
        if tree.find(kind) is not None:
            raise UnsupportedQuery(f"the query contains {kind.__name__.upper()}")
    # sqlglot gives the results of these functions the types of their arguments.
    query = _Query(tree, dialect, has_types=not any(tree.find(kind) for kind in (exp.Lateral, exp.Explode, exp.Unnest)))
    for identifier in tree.find_all(exp.Identifier):
        name = str(identifier.this)
        query.spelled.setdefault(name.lower(), name)
        identifier.set("this", name.lower())
        identifier.set("quoted", True)
    return query


def _name_tables(query: _Query, find_table: FindTable) -> None:
    """Replace each table name, which may have several parts, with a single name that identifies the table."""
    sources = (source for scope in traverse_scope(query.tree) for source in scope.sources.values())
    for table in {id(source): source for source in sources if isinstance(source, exp.Table)}.values():
        if not isinstance(table.this, exp.Identifier):
            continue
        parts = tuple(query.spelled.get(part.name, part.name) for part in table.parts)
        found = find_table(parts)
        identity, columns = found if found else (".".join(parts), {})
        name = f"table_{len(query.tables)}"
        query.tables[name] = (identity, columns)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
        query.spelled.update({name.lower(): name for name in columns})
        table.set("this", exp.to_identifier(name, quoted=True))
        table.set("db", None)
        table.set("catalog", None)
    aliases = {t.alias_or_name for t in query.tree.find_all(exp.Table, exp.Subquery, exp.Unnest, exp.Lateral, exp.CTE)}
    for column in query.tree.find_all(exp.Column):
        # In sales.orders.id, orders is the table's alias, unless it is a column and id is one of its fields.
        if column.args.get("db") is not None and column.args.get("catalog") is None and column.text("table") in aliases:
            column.set("db", None)


def _qualify(query: _Query) -> Scope:
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


def _annotate(query: _Query, schema: Any) -> None:
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


class _Tracer:
    """Traces columns through the scopes of a qualified query."""

    def __init__(self, query: _Query, scope: Scope) -> None:
        self._query = query
        self._root = scope
        self._known: dict[tuple[int, int], frozenset[SourceColumn] | None] = {}
        self._open: set[tuple[int, int]] = set()

    def list_outputs(self) -> tuple[OutputColumn, ...]:
        """Return the output columns of the query."""
        names = self._list_names(self._root)
        outputs = []
        seen: set[str] = set()
        for index, name in enumerate(names):
            # Warehouses rename the second of two columns with the same name, and name unnamed columns (_col_1) in different ways.
            if name in seen or (name.startswith("_col_") and name not in self._query.spelled):
                continue
            seen.add(name)
            found = self._follow(self._root, index)
            sources = None if found is None else tuple(sorted(found))
            outputs.append(OutputColumn(self._query.spelled.get(name, name), self._find_type(index), sources))
        return tuple(outputs)

    def _list_names(self, scope: Scope) -> Sequence[str]:
        expression: Any = scope.expression
        names = expression.named_selects
        if any(name in ("*", "") for name in names) or any(s.is_star for s in expression.selects):
            raise UnsupportedQuery("the query has a * over unknown columns, or a column without a name")
        if isinstance(scope.expression, exp.SetOperation) and scope.expression.args.get("by_name"):
            left, right = (self._list_names(s) for s in _list_sides(scope))
            return list(dict.fromkeys((*left, *right)))
        return list(names)

    def _find_type(self, index: int) -> str:
        root: Any = self._root.expression
        selects = root.selects
        found = selects[index].type if index < len(selects) else None
        if found is None or found.this.name in ("UNKNOWN", "NULL"):
            return ""
        return str(found.sql(dialect=self._query.dialect or None)).lower()

    def _follow(self, scope: Scope, index: int) -> frozenset[SourceColumn] | None:
        """Return the sources of a column of a scope; None if unknown. The recursive part of a query adds no sources."""
        key = (id(scope.expression), index)
        if key in self._known:
            return self._known[key]
        if key in self._open:
            return frozenset()
        self._open.add(key)
        try:
            if _list_sides(scope):
                found = self._follow_set(scope, index)
            else:
                expression: Any = scope.expression
                selects = expression.selects
                found = self._follow_expression(scope, selects[index]) if index < len(selects) else None
        finally:
            self._open.discard(key)
        self._known[key] = found
        return found

    def _follow_set(self, scope: Scope, index: int) -> frozenset[SourceColumn] | None:
        sides = _list_sides(scope)
        if scope.expression.args.get("by_name"):
            name = self._list_names(scope)[index]
            names = [self._list_names(side) for side in sides]
            return _join_sources([self._follow(side, own.index(name)) for side, own in zip(sides, names, strict=True) if name in own])
        return _join_sources([self._follow(side, index) for side in sides])

    def _follow_expression(self, scope: Scope, expression: Any) -> frozenset[SourceColumn] | None:
        """Return the sources of an expression: those of its columns and subqueries."""
        found: list[frozenset[SourceColumn] | None] = []
        stack = [expression]
        while stack:
            node = stack.pop()
            if isinstance(node, exp.Column):
                found.append(self._follow_column(scope, node))
            elif isinstance(node, exp.Query):
                found.append(self._follow_subquery(scope, node))
            elif isinstance(node, (exp.Star, exp.Table)):
                continue
            else:
                stack.extend(node.iter_expressions())
        return _join_sources(found)

    def _follow_subquery(self, scope: Scope, node: Any) -> frozenset[SourceColumn] | None:
        inner = node.unnest()
        for sub in scope.subquery_scopes:
            expression: Any = sub.expression
            if expression is inner or expression is node:
                return _join_sources([self._follow(sub, i) for i in range(len(expression.selects))])
        return None

    def _follow_column(self, scope: Scope, column: Any) -> frozenset[SourceColumn] | None:
        place: Scope | None = scope
        source = scope.sources.get(column.table) if column.table else self._find_only_source(scope, column.name)
        while source is None and place is not None:
            # Correlated subqueries and functions in FROM refer to tables of the enclosing query.
            place = place.parent
            source = place.sources.get(column.table) if place else None
        if source is None or place is None:
            return None
        if isinstance(source, exp.Table):
            return self._build_leaf(source, column)
        if source.is_udtf:
            return self._follow_function(place, source, column.name)
        names = self._list_names_of(source)
        return self._follow(source, names.index(column.name)) if column.name in names else None

    def _find_only_source(self, scope: Scope, name: str) -> Any:
        """Return the source of a column without a table name: the only one with unknown columns, unless another one has the column."""
        unknown = []
        for _, source in scope.selected_sources.values():
            columns = self._query.tables[source.name][1] if isinstance(source, exp.Table) and source.name in self._query.tables else None
            if columns is None or name in {c.lower() for c in columns}:
                return None
            if not columns:
                unknown.append(source)
        return unknown[0] if len(unknown) == 1 else None

    def _list_names_of(self, source: Scope) -> Sequence[str]:
        """Return the names that a subquery's columns have in the enclosing query: its own, or those of ``AS alias(a, b)``."""
        names = list(self._list_names(source))
        outer = list(source.outer_columns)
        return [*outer, *names[len(outer) :]] if outer else names

    def _follow_function(self, scope: Scope, source: Scope, name: str) -> frozenset[SourceColumn] | None:
        """Return the sources of a column of UNNEST, LATERAL, or a similar function: everything that the function reads."""
        expression = source.expression
        if isinstance(expression, exp.Lateral) and isinstance(expression.this, exp.Subquery):
            inner = expression.this.unnest()
            for one in source.traverse():
                if one.expression is inner and name in (names := self._list_names_of(one)):
                    return self._follow(one, names.index(name))
            return None
        if isinstance(expression, exp.Values):
            return self._follow_expression(scope, expression)
        parts = expression.args.get("expressions") or [expression.this]
        return _join_sources([self._follow_expression(scope, part) for part in parts if part is not None])

    def _build_leaf(self, table: Any, column: Any) -> frozenset[SourceColumn] | None:
        known = self._query.tables.get(table.name)
        if known is None:
            return None
        identity, columns = known
        spelled = {name.lower(): name for name in columns}
        if columns and column.name not in spelled:
            return None
        name = spelled.get(column.name) or self._query.spelled.get(column.name, column.name)
        return frozenset((SourceColumn(identity, ".".join((name, *_find_fields(column)))),))


def _list_sides(scope: Scope) -> list[Any]:
    """Return the scopes of both sides of a set operation such as UNION; empty for other queries."""
    # sqlglot 29 renamed the attribute.
    return getattr(scope, "set_operation_scopes", None) or getattr(scope, "union_scopes", None) or []


def _find_fields(column: Any) -> list[str]:
    """Return the path of struct fields that is read from a column: for ``address.city``, ``city``."""
    fields: list[str] = []
    node = column
    while isinstance(node.parent, exp.Dot) and node.parent.this is node and isinstance(node.parent.expression, exp.Identifier):
        node = node.parent
        fields.append(node.expression.name)
    return fields


def _join_sources(parts: Sequence[frozenset[SourceColumn] | None]) -> frozenset[SourceColumn] | None:
    found: frozenset[SourceColumn] = frozenset()
    for part in parts:
        if part is None:
            return None
        found |= part
    return found
