"""Column lineage of a query: its output columns and their source columns, from sqlglot's scopes.

Lineage that cannot be determined is left out, because a missing edge is better than a wrong one.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope

from ..project.sql.nesting import is_nested_too_deeply
from .parsed_query import (
    MAYBE_ROW,
    FindTable,
    OutputColumn,
    Query,
    SourceColumn,
    UnsupportedQuery,
    name_tables,
    parse_query,
    resolve_columns,
)

MAX_LENGTH = 200_000
"""Maximum length of a query in characters. Longer ones would take seconds, and are usually generated."""


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
        query = parse_query(sql, dialect)
        name_tables(query, find_table)
        scope = resolve_columns(query)
        return _Tracer(query, scope).list_outputs()
    except (SqlglotError, ValueError) as error:
        raise UnsupportedQuery(str(error).split("\n", 1)[0]) from error
    except RecursionError as error:
        raise UnsupportedQuery("the query is nested too deeply") from error
    except (TypeError, AttributeError, IndexError, KeyError) as error:
        # sqlglot raises these for some queries that are not valid.
        raise UnsupportedQuery("it is not valid SQL") from error


_Fields = tuple[str, ...]
"""The path to a field of a struct, in lower case; empty for the whole value."""

_SAME_FIELDS = (
    exp.Alias,
    exp.Paren,
    exp.Bracket,
    exp.ArrayAgg,
    exp.Order,
    exp.Limit,
    exp.AnyValue,
    exp.First,
    exp.Last,
    exp.Unnest,
    exp.Explode,
)
"""Expressions whose result has the fields of their first part, or whose elements have."""


class _Tracer:
    """Traces columns through the scopes of a qualified query."""

    def __init__(self, query: Query, scope: Scope) -> None:
        self._query = query
        self._root = scope
        self._known: dict[tuple[int, int, _Fields], frozenset[SourceColumn] | None] = {}
        self._open: set[tuple[int, int, _Fields]] = set()

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
            spelled = self._query.aliases.get(name) or self._query.spelled.get(name, name)
            outputs.append(OutputColumn(spelled, self._find_type(index), sources))
        return tuple(outputs)

    def _list_names(self, scope: Scope) -> Sequence[str]:
        expression: Any = scope.expression
        names = expression.named_selects
        if any(name in ("*", "") for name in names) or any(s.is_star or _selects_by_pattern(s) for s in expression.selects):
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

    def _follow(self, scope: Scope, index: int, fields: _Fields = ()) -> frozenset[SourceColumn] | None:
        """Return the sources of a column of a scope, or of one of its fields; None if unknown.

        The recursive part of a query adds no sources.
        """
        key = (id(scope.expression), index, fields)
        if key in self._known:
            return self._known[key]
        if key in self._open:
            return frozenset()
        self._open.add(key)
        try:
            if _list_sides(scope):
                found = self._follow_set(scope, index, fields)
            else:
                expression: Any = scope.expression
                selects = expression.selects
                found = self._follow_expression(scope, selects[index], fields) if index < len(selects) else None
        finally:
            self._open.discard(key)
        self._known[key] = found
        return found

    def _follow_set(self, scope: Scope, index: int, fields: _Fields) -> frozenset[SourceColumn] | None:
        sides = _list_sides(scope)
        if scope.expression.args.get("by_name"):
            name = self._list_names(scope)[index]
            names = [self._list_names(side) for side in sides]
            return _join_sources(
                [self._follow(side, own.index(name), fields) for side, own in zip(sides, names, strict=True) if name in own]
            )
        return _join_sources([self._follow(side, index, fields) for side in sides])

    def _follow_expression(self, scope: Scope, expression: Any, fields: _Fields = ()) -> frozenset[SourceColumn] | None:
        """Return the sources of an expression, or of a field of the struct that it returns: those of its columns and subqueries."""
        found: list[frozenset[SourceColumn] | None] = []
        stack: list[tuple[Any, _Fields]] = [(expression, fields)]
        while stack:
            node, path = stack.pop()
            if _is_row(node):
                # COUNT(*) and COUNT(orders) read no columns.
                if not isinstance(node.parent, exp.Count):
                    found.append(None if isinstance(node, exp.Star) else self._follow_row(scope, node.text("table") or node.name, path))
            elif isinstance(node, exp.Column):
                found.append(self._follow_column(scope, node, path))
            elif isinstance(node, exp.Query):
                found.append(self._follow_subquery(scope, node, path))
            elif _is_unresolved(node):
                found.append(None)
            elif isinstance(node, (exp.Table, exp.Exists)):
                continue
            elif isinstance(node, exp.Window) and node.alias:
                windows = [w for w in scope.expression.args.get("windows") or () if w.name == node.alias]
                stack.extend((part, ()) for part in (*node.iter_expressions(), *windows))
            else:
                stack.extend(_list_parts(node, path))
        return _join_sources(found)

    def _follow_subquery(self, scope: Scope, node: Any, fields: _Fields) -> frozenset[SourceColumn] | None:
        inner = node.unnest()
        for sub in scope.subquery_scopes:
            expression: Any = sub.expression
            if expression is inner or expression is node:
                names = self._list_names(sub)
                if fields and expression.args.get("kind") == "STRUCT" and fields[0] in names:
                    return self._follow(sub, names.index(fields[0]), fields[1:])
                return _join_sources([self._follow(sub, i, fields if len(names) == 1 else ()) for i in range(len(expression.selects))])
        return None

    def _find_source(self, scope: Scope, name: str) -> tuple[Scope, Any] | None:
        """Return the table or subquery with a name or alias, and the scope that it belongs to."""
        place: Scope | None = scope
        while place is not None:
            # Correlated subqueries and functions in FROM refer to tables of the enclosing query.
            source = place.sources.get(name)
            if source is not None:
                return place, source
            place = place.parent
        return None

    def _follow_column(self, scope: Scope, column: Any, fields: _Fields) -> frozenset[SourceColumn] | None:
        if column.table:
            found = self._find_source(scope, column.table)
        else:
            only = self._find_only_source(scope, column.name)
            found = (scope, only) if only is not None else None
        if found is None:
            return None
        place, source = found
        if isinstance(source, exp.Table):
            if column.meta.get(MAYBE_ROW) and not self._query.tables.get(source.name, ("", {}))[1]:
                return None
            return self._build_leaf(source, column.name, _find_fields(column))
        if source.is_udtf:
            return self._follow_function(place, source, column.name, fields)
        names = self._list_names_of(source)
        return self._follow(source, names.index(column.name), fields) if column.name in names else None

    def _follow_row(self, scope: Scope, name: str, fields: _Fields) -> frozenset[SourceColumn] | None:
        """Return the sources of a whole row (``to_json(orders)``), or of one of its columns (``(orders).id``)."""
        found = self._find_source(scope, name)
        if found is None:
            return None
        place, source = found
        if isinstance(source, exp.Table):
            names = [fields[0]] if fields else [column.lower() for column in self._query.tables.get(source.name, ("", {}))[1]]
            return _join_sources([self._build_leaf(source, column, fields[1:]) for column in names]) if names else None
        if source.is_udtf:
            return self._follow_function(place, source, name, fields)
        names = list(self._list_names_of(source))
        if fields:
            return self._follow(source, names.index(fields[0]), fields[1:]) if fields[0] in names else None
        return _join_sources([self._follow(source, index) for index in range(len(names))])

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

    def _follow_function(self, scope: Scope, source: Scope, name: str, fields: _Fields) -> frozenset[SourceColumn] | None:
        """Return the sources of a column of UNNEST, LATERAL, or a similar function: everything that the function reads."""
        expression = source.expression
        if isinstance(expression, exp.Lateral) and isinstance(expression.this, exp.Subquery):
            inner = expression.this.unnest()
            renamed = expression.alias_column_names
            for one in source.traverse():
                if one.expression is inner and name in (names := [*renamed, *self._list_names_of(one)[len(renamed) :]]):
                    return self._follow(one, names.index(name), fields)
            return None
        if isinstance(expression, exp.Values):
            return self._follow_expression(scope, expression)
        parts = expression.args.get("expressions") or [expression.this]
        return _join_sources([self._follow_expression(scope, part, fields) for part in parts if part is not None])

    def _build_leaf(self, table: Any, column: str, fields: Sequence[str]) -> frozenset[SourceColumn] | None:
        known = self._query.tables.get(table.name)
        if known is None:
            return None
        identity, columns = known
        spelled = {name.lower(): name for name in columns}
        if columns and column not in spelled:
            return None
        name = spelled.get(column) or self._query.spelled.get(column, column)
        name = self._query.renamed.get(table.name, {}).get(name, name)
        return frozenset((SourceColumn(identity, ".".join((name, *fields))),))


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


def _list_parts(node: Any, fields: _Fields) -> list[tuple[Any, _Fields]]:
    """Return the parts of an expression that a field of its result comes from, each with the rest of the path to follow in it."""
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        return [(node.this, (node.expression.name, *fields))]
    if isinstance(node, exp.Bracket) and len(node.expressions) == 1 and node.expressions[0].is_string:
        return [(node.this, (node.expressions[0].name.lower(), *fields))]
    if isinstance(node, exp.JSONExtract) and isinstance(node.expression, exp.JSONPath):
        keys = list(takewhile(lambda step: isinstance(step, exp.JSONPathKey), node.expression.expressions[1:]))
        return [(node.this, (*(str(key.this).lower() for key in keys), *fields))]
    if fields and isinstance(node, exp.Struct):
        named = [part for part in node.expressions if _find_field_name(part) == fields[0]]
        return [(part.expression if isinstance(part, exp.PropertyEQ) else part, fields[1:]) for part in named] or [(exp.Star(), ())]
    if isinstance(node, exp.Array):
        return [(part, fields) for part in node.expressions]
    rest = fields if isinstance(node, _SAME_FIELDS) else ()
    return [(part, rest if part is node.this else ()) for part in node.iter_expressions()]


def _find_field_name(part: Any) -> str:
    """Return the name of the field that an argument of a struct's constructor makes, in lower case."""
    return str(part.this.name if isinstance(part, exp.PropertyEQ) else part.alias_or_name).lower()


def _is_unresolved(node: Any) -> bool:
    """Return whether a node is a column by position: ``#1``, ``$1``."""
    return isinstance(node, exp.PositionalColumn) or (isinstance(node, exp.Parameter) and node.this.is_number)


def _is_row(node: Any) -> bool:
    """Return whether a node stands for all columns of a row: ``*`` or ``orders`` as an argument of a function, or ``orders.*``."""
    return isinstance(node, (exp.Star, exp.TableColumn)) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star))


def _selects_by_pattern(select: Any) -> bool:
    """Return whether an item of a SELECT stands for the columns whose names match a pattern: ``* LIKE 'a%'``."""
    inner = select.unalias()
    return isinstance(inner, exp.Binary) and isinstance(inner.this, exp.Star)


def _join_sources(parts: Sequence[frozenset[SourceColumn] | None]) -> frozenset[SourceColumn] | None:
    found: frozenset[SourceColumn] = frozenset()
    for part in parts:
        if part is None:
            return None
        found |= part
    return found
