"""Find the tables that SQL reads in sqlglot's syntax tree, with regard to the scopes of CTEs, aliases, and targets of DML and DDL."""

import itertools
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..word_sets import split_words
from .found_tables import COLUMNS_IN_FROM, Found, Unparsable, is_table_name
from .nesting import is_nested_too_deeply

# Statements that name tables without reading them.
_READS_NOTHING = split_words("Drop Alter Grant Revoke TruncateTable Use Refresh Uncache Analyze Comment Describe Show")
# Functions whose first argument is a model, not a table.
_OF_MODELS = split_words("Predict MLForecast MLTranslate AIForecast GenerateEmbedding AIEmbed FeaturesAtTime")
# Functions that take the name of a table as a string.
_OF_NAMES = frozenset(("identifier", "query_table", "table"))
# Parts of a statement that are not searched for tables. WITH is handled separately.
_NO_TABLES = ("with", "with_", "hint", "locks", "into")


class Statements:
    """The statements of SQL, which are parsed one by one, so that an invalid statement does not hide the others.

    Attributes:
        found: the tables that the statements read, in order of appearance.
        failures: (reason, index of the first character, index after the last one) of each statement that cannot be parsed.
    """

    def __init__(self, sql: str, dialect: str) -> None:
        """Parse SQL.

        Raises:
            Unparsable: the SQL cannot be split into tokens (for example, a quote is not closed), or the dialect is unknown.
        """
        from sqlglot.dialects.dialect import Dialect
        from sqlglot.errors import SqlglotError

        self._sql = sql
        self._dialect = dialect
        self._created: set[tuple[str, ...]] = set()
        self.found: list[Found] = []
        self.failures: list[tuple[str, int, int]] = []
        try:
            parser = Dialect.get_or_raise(dialect or None)
            tokens = parser.tokenize(sql)
        except (SqlglotError, ValueError) as error:
            raise Unparsable(_shorten_error(error)) from error
        for chunk in _split_tokens(tokens):
            if is_nested_too_deeply(sql[chunk[0].start : chunk[-1].end + 1]):
                self._add_failure(chunk, "it is nested too deeply")
                continue
            try:
                with silence_sqlglot():
                    trees = parser.parser().parse(chunk, sql)
            except RecursionError:
                self._add_failure(chunk, "it is nested too deeply")
                continue
            except (SqlglotError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
                self._add_failure(chunk, _shorten_error(error))
                continue
            self._collect(trees, chunk)

    def _add_failure(self, chunk: list[Any], reason: str) -> None:
        self.failures.append((reason, chunk[0].start, chunk[-1].end + 1))

    def _collect(self, trees: Iterable[Any], chunk: list[Any]) -> None:
        from sqlglot import exp

        for tree in trees:
            if tree is None:
                continue
            if isinstance(tree, exp.Command):
                self._add_failure(chunk, f"{chunk[0].text.upper()} is not known to the SQL parser")
                continue
            walk = _TreeWalk(self._sql, self._dialect, chunk[0].start, self._created)
            try:
                walk.visit(tree, frozenset(), frozenset())
            except RecursionError:
                self._add_failure(chunk, "it is nested too deeply")
                continue
            self.found.extend(sorted(walk.found, key=lambda item: item.start))
            self._created |= walk.created


@contextmanager
def silence_sqlglot() -> Iterator[None]:
    """Keep sqlglot from logging a warning for each statement that it does not know. The caller reports them."""
    logger = logging.getLogger("sqlglot")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _split_tokens(tokens: list[Any]) -> list[list[Any]]:
    groups = itertools.groupby(tokens, lambda token: token.text == ";" and token.token_type.name == "SEMICOLON")
    return [list(chunk) for is_separator, chunk in groups if not is_separator]


def _find_classes(expressions: Any, names: Iterable[str]) -> tuple[Any, ...]:
    """Return the classes of sqlglot with these names. Those that the installed version lacks are left out."""
    return tuple(kind for name in names if (kind := getattr(expressions, name, None)) is not None)


def _shorten_error(error: BaseException) -> str:
    """Return the message of a parser's error without names of Python classes."""
    text = str(error).split("\n", 1)[0].rstrip(".")
    if text.startswith("Error tokenizing"):
        # The rest of the message is an excerpt of the SQL, cut anywhere.
        cause = str(error.__cause__ or "").split("\n", 1)[0]
        return cause[:200] if cause.startswith("Missing ") else "a quote, a comment, or a character cannot be read"
    text = _TOKEN_IN_MESSAGE.sub(r"'\1'", text)
    text = text.replace("'SENTINEL'", "the end of the statement")
    text = _CLASS_IN_MESSAGE.sub("something is missing", text)
    return text[:200] if text and not _INNER_NAME.search(text) else "it is not valid SQL"


_TOKEN_IN_MESSAGE = re.compile(r"<Token token_type: [\w.]+, text: (.*?), line: .*?>?$")
_INNER_NAME = re.compile(
    r"<class |sqlglot|TokenType|token_type|NoneType|object has no attribute|\bexp\.|unexpected keyword argument|not subscriptable"
)
"""Matches messages about sqlglot's or Python's internals, which do not help the author of the SQL."""
_CLASS_IN_MESSAGE = re.compile(r"Required keyword: '\w+' missing for <class '[\w.]*'>")


class _TreeWalk:
    """A walk through the syntax tree of one statement, for the tables that it reads, and the lowercase names of those that it creates."""

    def __init__(self, sql: str, dialect: str, start: int, created: set[tuple[str, ...]]) -> None:
        from sqlglot import exp

        self._exp = exp
        self._node: type[Any] = getattr(exp, "Expr", exp.Expression)
        self._sql = sql
        self._dialect = dialect
        self._start = start
        self._created_before = created
        self.created: set[tuple[str, ...]] = set()
        self.found: list[Found] = []
        self._of_rows = _find_classes(exp, ("TableFromRows",))
        self._dynamic_names = _find_classes(exp, ("DynamicIdentifier",))
        # The first part of these is a table that is written, or a model: ML.PREDICT(MODEL m, TABLE t) reads t.
        written = (exp.Insert, exp.Merge, exp.Update, exp.Delete, exp.Create, exp.Cache, exp.LoadData)
        self._with_target = (*written, *_find_classes(exp, _OF_MODELS))
        self._reads_nothing = _find_classes(exp, _READS_NOTHING)

    def visit(self, node: Any, ctes: frozenset[str], aliases: frozenset[str]) -> None:
        """Collect the tables below a node of the syntax tree.

        ``ctes`` has the lowercase names of the CTEs that are visible here, ``aliases`` those of the FROM items of this query and the
        enclosing ones.
        """
        exp = self._exp
        if isinstance(node, exp.Table):
            self._add_table(node, ctes, aliases)
            return
        if isinstance(node, exp.Describe) and isinstance(node.this, exp.Query):
            self.visit(node.this, ctes, aliases)
        if isinstance(node, self._reads_nothing):
            return
        if isinstance(node, self._of_rows) and isinstance(node.this, (exp.Literal, *self._dynamic_names)):
            self._add_named_tables(node, ctes)
        ctes = self._visit_with(node, ctes, aliases)
        if isinstance(node, exp.Select):
            self._visit_select(node, ctes, aliases)
            return
        if isinstance(node, exp.Copy):
            # COPY table TO file reads the table; COPY table FROM file writes to it.
            self._visit_values(node.args.get("files") if node.args.get("kind") else node.this, ctes, aliases)
            return
        if isinstance(node, (exp.Create, exp.Cache)):
            self._record_target(node.this)
        skip = (*_NO_TABLES, "this") if isinstance(node, self._with_target) else _NO_TABLES
        self._visit_values([value for key, value in node.args.items() if key not in skip], ctes, aliases)

    def _visit_values(self, value: Any, ctes: frozenset[str], aliases: frozenset[str]) -> None:
        if isinstance(value, list):
            for item in value:
                self._visit_values(item, ctes, aliases)
        elif isinstance(value, self._node):
            self.visit(value, ctes, aliases)

    def _visit_with(self, node: Any, ctes: frozenset[str], aliases: frozenset[str]) -> frozenset[str]:
        clause = node.args.get("with_") or node.args.get("with")
        if not isinstance(clause, self._exp.With):
            return ctes
        if clause.args.get("recursive"):
            # A CTE can refer to itself, and in sqlglot and some databases also to later ones.
            ctes = ctes | {item.alias.lower() for item in clause.expressions}
        for item in clause.expressions:
            self._visit_values(item.this, ctes, aliases)
            ctes = ctes | {item.alias.lower()}
        return ctes

    def _add_named_tables(self, function: Any, ctes: frozenset[str]) -> None:
        """Add the tables that a function's arguments name as strings, as in ``IDENTIFIER('sales.orders')``."""
        for literal in function.find_all(self._exp.Literal):
            parts = tuple(part.strip('"') for part in literal.name.split("."))
            if literal.is_string and self._is_table(parts, ctes, frozenset()):
                self.found.append(Found(parts, max(self._sql.find(f"'{literal.name}'"), 0)))

    def _visit_select(self, node: Any, ctes: frozenset[str], aliases: frozenset[str]) -> None:
        own: set[str] = set()
        sources = [node.args.get("from_") or node.args.get("from"), *(node.args.get("joins") or []), *(node.args.get("laterals") or [])]
        for source in filter(None, sources):
            self.visit(source, ctes, aliases | own)
            own |= _find_names(source)
        inner = aliases | own
        into = node.args.get("into")
        if into is not None:
            self._record_target(into.this)
        skip = ("from", "from_", "joins", "laterals", *_NO_TABLES)
        self._visit_values([value for key, value in node.args.items() if key not in skip], ctes, inner)

    def _record_target(self, target: Any) -> None:
        table = target.this if isinstance(target, self._exp.Schema) else target
        if isinstance(table, self._exp.Table):
            self.created.add(tuple(part.lower() for part in self._split_name(table)))

    def _add_table(self, table: Any, ctes: frozenset[str], aliases: frozenset[str]) -> None:
        exp = self._exp
        self._visit_values([v for key, v in table.args.items() if key not in ("this", "db", "catalog", "alias")], ctes, aliases)
        inner = table.this
        if isinstance(inner, (exp.Func, *self._dynamic_names)):
            if str(getattr(inner, "name", "")).lower() in _OF_NAMES or isinstance(inner, self._dynamic_names):
                self._add_named_tables(inner, ctes)
            else:
                self._visit_values(inner, ctes, aliases)
            return
        if not isinstance(inner, (exp.Identifier, exp.Dot)):
            return
        parts = self._split_name(table)
        position = _find_position(inner)
        start = position.get("start")
        first = _find_position(table.parts[0]) if table.parts else position
        if start is not None and self._sql[start : start + 1] == "'":
            return  # a file: FROM 'orders.csv'
        if self._is_table(parts, ctes, aliases):
            self.found.append(Found(parts, first.get("start", self._start if start is None else start)))

    def _is_table(self, parts: tuple[str, ...], ctes: frozenset[str], aliases: frozenset[str]) -> bool:
        if not parts or not all(parts):
            return False
        lower = tuple(part.lower() for part in parts)
        if lower in self._created_before:
            return False
        if len(lower) == 1:
            return lower[0] not in ctes
        return not (lower[0] in aliases and self._dialect in COLUMNS_IN_FROM) and is_table_name(parts)

    def _split_name(self, table: Any) -> tuple[str, ...]:
        parts: list[str] = []
        for part in table.parts:
            name = part.name if hasattr(part, "name") else str(part)
            start = _find_position(part).get("start")
            quoted = start is not None and self._sql[start : start + 1] == "`"
            parts.extend(name.split(".") if quoted and "." in name else [name])
        return tuple(parts)


def _find_position(node: Any) -> dict[str, Any]:
    meta = getattr(node, "meta", None)
    return meta if isinstance(meta, dict) else {}


def _find_names(source: Any) -> set[str]:
    """Return the lowercase name of a FROM item or a join; an empty set if it has none."""
    item = source.this if hasattr(source, "this") else source
    name = getattr(item, "alias_or_name", "") or getattr(source, "alias", "")
    return {name.lower()} if isinstance(name, str) and name else set()
