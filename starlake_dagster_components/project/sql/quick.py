"""Find the tables that a plain query reads, without a syntax tree and about ten times faster than by parsing.

Most tasks are a single query: SELECT with joins, subqueries, and common table expressions. This module knows only this grammar, and
raises :class:`Unparsable` at anything else. If it returns a result, the result equals the parser's. The tests compare the two on
real and on generated SQL.
"""

import re
from typing import NoReturn

from ..word_sets import split_words
from .found_tables import COLUMNS_IN_FROM, Found, Unparsable, is_table_name

_DOUBLE_QUOTED_NAMES = frozenset(("", "duckdb", "postgres", "redshift", "snowflake"))
_BACKTICKED_NAMES = frozenset(("bigquery", "spark", "databricks"))
# Backslashes, dollar signs, and at signs change the meaning of a literal or a name. A hash may begin a comment, a semicolon a statement.
_UNUSUAL = re.compile(r"[\\$@#;]|'''|\"\"\"")
_TOKEN = re.compile(
    r"""--[^\n]*|/\*[\s\S]*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[^\W\d]\w*|\d[\w.]*|[-+*/%<>=!|&^~:?]+?(?=--|/\*)|[-+*/%<>=!|&^~:?]+|\S"""
)
_MAX_DEPTH = 60
_MAX_OPENED = 1000

_FUNCTIONS_WITH_FROM = frozenset(("EXTRACT", "SUBSTRING", "TRIM", "OVERLAY"))
_SET_OPERATIONS = frozenset(("UNION", "INTERSECT", "EXCEPT", "MINUS"))
_CLAUSES = frozenset(("WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FETCH", "QUALIFY", "WINDOW"))
_JOIN_WORDS = split_words("JOIN INNER LEFT RIGHT FULL CROSS OUTER NATURAL SEMI ANTI ASOF POSITIONAL ON USING")
# Words that may follow a table, including its alias.
_FOLLOWS = _SET_OPERATIONS | _CLAUSES | _JOIN_WORDS
# Words that are neither a table nor an alias. After a table, they begin syntax that only the parser knows.
_NO_NAMES = _FOLLOWS | split_words(
    "SELECT FROM WITH LATERAL TABLE VALUES ONLY UNNEST TABLESAMPLE SAMPLE PIVOT UNPIVOT MATCH_RECOGNIZE AT BEFORE CHANGES FOR "
    "VERSION TIMESTAMP PARTITION INDEX FORCE IGNORE USE FINAL AS SET INTO APPLY OVER WHEN THEN ELSE END CASE AND OR NOT IN IS NULL "
    "EXISTS BETWEEN LIKE ALL ANY DISTINCT RETURNING IDENTIFIER ROWS MODEL GENERATOR FLATTEN WITHIN QUERY_TABLE"
)
_NOT_IN_FROM = frozenset(("SELECT", "WITH", "LATERAL", "PIVOT", "UNPIVOT", "MATCH_RECOGNIZE", "APPLY", "INTO", "TABLESAMPLE"))
_NOT_IN_EXPRESSION = frozenset(("SELECT", "JOIN", "UNION", "INTERSECT", "INTO", "TABLE", "MODEL"))
_CAN_BE_NAMES: dict[str, frozenset[str]] = {
    "GROUP": frozenset(("BY",)),
    "ORDER": frozenset(("BY",)),
    "FETCH": frozenset(("FIRST", "NEXT")),
}

_BRACKETS = frozenset("([{")

_START, _LIST, _FROM, _AFTER = range(4)


def find_tables_quickly(sql: str, dialect: str) -> list[Found]:
    """Return the tables that a query (rendered, in a dialect of sqlglot) reads, in order of appearance, with repetitions.

    Raises:
        Unparsable: this is not a single query, or it has syntax that this module does not know.
    """
    text = sql.rstrip()
    if text.endswith(";"):
        text = text[:-1]
    if dialect in _DOUBLE_QUOTED_NAMES:
        quote, foreign = '"', "`"
    elif dialect in _BACKTICKED_NAMES:
        quote, foreign = "`", ""
    else:
        raise Unparsable("the dialect needs the parser")
    if "/*" in text and "*/" not in text[text.rindex("/*") :]:
        raise Unparsable("a comment might be unclosed")
    if _UNUSUAL.search(text) or (foreign and foreign in text) or (dialect == "snowflake" and "//" in text):
        raise Unparsable("the query has unusual characters")
    try:
        return _Query(text, quote, dialect).found
    except LookupError as error:
        raise Unparsable("the query ends unexpectedly") from error


class _Query:
    """One pass over the tokens of a query."""

    __slots__ = (
        "_aliases", "_closing", "_columns_in_from", "_depth", "_quote", "_sql", "_starts", "_texts", "_words", "found",
    )  # fmt: skip

    def __init__(self, sql: str, quote: str, dialect: str) -> None:
        self._sql = sql
        self._quote = quote
        self._columns_in_from = dialect in COLUMNS_IN_FROM
        self._aliases: set[str] = set()
        self._depth = 0
        self.found: list[Found] = []
        self._tokenize()
        if self._read_query(0, frozenset()) != len(self._texts):
            self._give_up()
        if self._columns_in_from and any(len(item.parts) > 1 and item.parts[0].lower() in self._aliases for item in self.found):
            self._give_up()  # in "FROM t, t.items", t.items may be a column

    def _give_up(self) -> NoReturn:
        raise Unparsable("the SQL is not a plain query")

    def _tokenize(self) -> None:
        texts: list[str] = []
        starts: list[int] = []
        closing: dict[int, int] = {}
        opened: list[int] = []
        for match in _TOKEN.finditer(self._sql):
            text = match.group()
            first = text[0]
            if first == "-" and text.startswith("--"):
                continue
            if first == "/" and text.startswith("/*"):
                if "/*" in text[2:]:
                    self._give_up()
                continue
            if first in "([{":
                opened.append(len(texts))
                if len(opened) > _MAX_OPENED:
                    self._give_up()
            elif first in ")]}":
                if not opened or "([{".index(texts[opened[-1]]) != ")]}".index(first):
                    self._give_up()
                closing[opened.pop()] = len(texts)
            elif first in "'\"`":
                start = match.start()
                if len(text) < 2 or (start and (self._sql[start - 1].isalnum() or self._sql[start - 1] == "_")):
                    self._give_up()  # an open quote, or a prefix that changes the literal: r'...', E'...'
            texts.append(text)
            starts.append(match.start())
        if opened:
            self._give_up()
        texts.append("")  # marks the end, so that looking ahead needs no check
        self._texts = texts
        self._starts = starts
        self._closing = closing
        self._words = [text.upper() if text[:1].isalpha() or text[:1] == "_" else text for text in texts]
        self._texts.pop()

    def _read_query(self, index: int, common: frozenset[str]) -> int:
        """Read a query. Return the index of the token after it, which is a closing parenthesis or the end.

        ``common`` has the lowercase names of the common table expressions that the query can use.
        """
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._give_up()
        words = self._words
        if words[index] == "WITH":
            index, common = self._read_with(index + 1, common)
        state = _START
        word = words[index]
        while word != "" and word != ")":
            if state == _START:
                if word != "(" and word != "SELECT":
                    self._give_up()
                index, state = (index + 1, _LIST) if word == "SELECT" else (self._read_operand(index, common), _AFTER)
            elif word in _INTERESTING:
                index, state = self._read_keyword(index, word, state, common)
            elif word in _BRACKETS:
                index = self._read_group(index, common)
            elif word == ".":
                index += 2  # a word after a dot is always a name
            elif word == "," and state == _FROM:
                index = self._read_source(index + 1, common)
            else:
                index += 1
            word = words[index]
        if state == _START:
            self._give_up()
        self._depth -= 1
        return index

    def _read_keyword(self, index: int, word: str, state: int, common: frozenset[str]) -> tuple[int, int]:
        if word == "FROM":
            if self._is_distinct_from(index):
                return index + 1, state
            if state != _LIST:
                self._give_up()
            return self._read_source(index + 1, common), _FROM
        if word == "JOIN":
            if state != _FROM:
                self._give_up()
            return self._read_source(index + 1, common), _FROM
        if word in _SET_OPERATIONS:
            return self._read_set_operation(index, word, state)
        if word in _CLAUSES:
            if state != _FROM:
                return index + 1, state
            self._check_clause(index, word)
            return index + 1, _AFTER
        if word == "SELECT" or word == "INTO" or (state == _FROM and word in _NOT_IN_FROM):
            self._give_up()
        return index + 1, state

    def _check_clause(self, index: int, word: str) -> None:
        # Some of these words can also be names of columns.
        following = self._words[index + 1]
        if word in _CAN_BE_NAMES:
            known = following in _CAN_BE_NAMES[word]
        elif word in ("LIMIT", "OFFSET"):
            known = following[:1].isdigit() or following in ("(", "ALL")
        elif word == "WINDOW":
            known = self._words[index + 2] == "AS"
        else:
            known = True
        if not known:
            self._give_up()

    def _is_distinct_from(self, index: int) -> bool:
        words = self._words
        return index >= 2 and words[index - 1] == "DISTINCT" and words[index - 2] in ("IS", "NOT")

    def _read_set_operation(self, index: int, word: str, state: int) -> tuple[int, int]:
        words = self._words
        if word == "EXCEPT" and state == _LIST and words[index - 1].endswith("*"):
            return index + 1, state  # SELECT * EXCEPT (a, b)
        index += 1
        if words[index] in ("ALL", "DISTINCT"):
            index += 1
        if words[index] == "BY" and words[index + 1] == "NAME":
            index += 2
        if words[index] != "SELECT" and (words[index] != "(" or state == _LIST):
            self._give_up()
        return index, _START

    def _read_operand(self, index: int, common: frozenset[str]) -> int:
        """Read a query in parentheses. Return the index after the closing parenthesis."""
        end = self._read_query(index + 1, common)
        if end != self._closing[index]:
            self._give_up()
        return end + 1

    def _read_group(self, index: int, common: frozenset[str]) -> int:
        """Read brackets in an expression, with a subquery, arguments, or a list in them. Return the index after them."""
        first = self._words[index + 1]
        if self._words[index] == "(" and (first == "SELECT" or first == "WITH"):
            return self._read_operand(index, common)
        return self._read_expression(index, common)

    def _read_expression(self, opening: int, common: frozenset[str]) -> int:
        words = self._words
        end = self._closing[opening]
        index = opening + 1
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._give_up()
        while index < end:
            word = words[index]
            if word in _BRACKETS:
                index = self._read_group(index, common)
                continue
            if word == ".":
                index += 2
                continue
            if word == "FROM":
                takes_from = words[opening] == "(" and words[opening - 1] in _FUNCTIONS_WITH_FROM and index > opening + 1
                if not takes_from and not self._is_distinct_from(index):
                    self._give_up()
            elif word in _NOT_IN_EXPRESSION or (word == "EXCEPT" and not words[index - 1].endswith("*")):
                self._give_up()
            index += 1
        self._depth -= 1
        return end + 1

    def _read_with(self, index: int, common: frozenset[str]) -> tuple[int, frozenset[str]]:
        words = self._words
        if words[index] == "RECURSIVE" and words[index + 1] != "AS":
            index += 1
            # Each common table expression can use all of them.
            common = common.union(name for name, _, _ in self._list_common_table_expressions(index))
        for name, body, after in self._list_common_table_expressions(index):
            if words[body + 1] == "VALUES":
                self._read_expression(body, common)
            else:
                self._read_operand(body, common)
            common = common | {name}
            index = after
        return index, common

    def _list_common_table_expressions(self, index: int) -> list[tuple[str, int, int]]:
        """Return (lowercase name, index of the body's opening parenthesis, index after the body and its comma)."""
        words = self._words
        found = []
        while True:
            name = self._get_name(index)
            index += 1
            if words[index] == "(":
                index = self._closing[index] + 1
            if words[index] != "AS":
                self._give_up()
            index += 1
            if words[index] == "NOT":
                index += 1
            if words[index] == "MATERIALIZED":
                index += 1
            if words[index] != "(":
                self._give_up()
            body = index
            index = self._closing[index] + 1
            more = words[index] == ","
            found.append((name.lower(), body, index + more))
            if not more:
                return found
            index += 1

    def _get_name(self, index: int) -> str:
        """Return the unquoted name in a token. Give up if the token is not a name."""
        text = self._texts[index] if index < len(self._texts) else ""
        if text[:1] == self._quote:
            name = text[1:-1]
            return name.replace('""', '"') if self._quote == '"' else name
        if not (text[:1].isalpha() or text[:1] == "_") or self._words[index] in _NO_NAMES:
            self._give_up()
        return text

    def _read_source(self, index: int, common: frozenset[str]) -> int:
        """Read an item of FROM with its alias. Return the index after it."""
        words = self._words
        word = words[index]
        if word == "(":
            if words[index + 1] == "VALUES":
                index = self._read_expression(index, common)
            else:
                index = self._read_operand(index, common)
            return self._read_alias(index, common)
        if word == "LATERAL" and words[index + 1] == "(":
            return self._read_alias(self._read_operand(index + 1, common), common)
        if word == "UNNEST" and words[index + 1] == "(":
            return self._read_alias(self._read_expression(index + 1, common), common)
        start = self._starts[index] if index < len(self._starts) else 0
        parts: list[str] = []
        while True:
            name = self._get_name(index)
            parts.extend(name.split(".") if self._quote == "`" and self._texts[index][0] == "`" else [name])
            index += 1
            if words[index] != ".":
                break
            index += 1
        if words[index] == "(":
            return self._read_alias(self._read_expression(index, common), common)
        self._add_table(tuple(parts), start, common)
        self._aliases.add(parts[-1].lower())
        return self._read_alias(index, common)

    def _add_table(self, parts: tuple[str, ...], start: int, common: frozenset[str]) -> None:
        if len(parts) == 1 and self._columns_in_from and parts[0].lower() in self._aliases:
            self._give_up()
        if is_table_name(parts) and (len(parts) > 1 or parts[0].lower() not in common):
            self.found.append(Found(parts, start))

    def _read_alias(self, index: int, common: frozenset[str]) -> int:
        words = self._words
        word = words[index]
        named = False
        if word == "AS":
            self._aliases.add(self._get_name(index + 1).lower())
            index += 2
            named = True
        elif word[:1] == self._quote or ((word[:1].isalpha() or word[:1] == "_") and word not in _NO_NAMES):
            self._aliases.add(self._get_name(index).lower())
            index += 1
            named = True
        if named and words[index] == "(":
            index = self._read_expression(index, common)
        word = words[index]
        if word not in _FOLLOWS and word not in (",", ")", ""):
            self._give_up()
        return index


_INTERESTING = _SET_OPERATIONS | _CLAUSES | _NOT_IN_FROM | {"FROM", "JOIN"}
