"""Scan SQL for the tables that it reads if the parser cannot read it."""

import re

from ..word_sets import split_words
from .found_tables import Found, is_table_name
from .tokens import ANY_DATABASE, tokenize_sql

# Functions whose arguments may contain a FROM of their own.
FUNCTIONS_WITH_FROM = frozenset(("EXTRACT", "SUBSTRING", "SUBSTR", "TRIM", "OVERLAY", "POSITION"))
_NO_NAMES = frozenset(["SELECT", "LATERAL", "UNNEST", "TABLE", "VALUES", "ONLY", "WHERE", "ON", "USING", "SET", "AS", "WITH"])
_ENDS_A_LIST = split_words(
    "WHERE GROUP ORDER HAVING LIMIT UNION INTERSECT EXCEPT MINUS QUALIFY WINDOW SELECT ON USING SET WHEN FETCH OFFSET RETURNING "
    "BY FOR CONNECT START PIVOT UNPIVOT TABLESAMPLE SAMPLE CLUSTER SORT DISTRIBUTE PARTITION"
)
_BEGINS_A_LIST = re.compile("FROM|JOIN|USING", re.IGNORECASE)


def scan_tables(sql: str) -> list[Found]:
    """Return the names after FROM, JOIN, and the USING of a MERGE, except common table expressions and functions.

    This is a guess for statements that cannot be parsed. It skips literals and comments, and ignores scopes.
    """
    return _Scan(sql).found if _BEGINS_A_LIST.search(sql) else []


class _Scan:
    def __init__(self, sql: str) -> None:
        self._tokens = [token for token in tokenize_sql(sql, ANY_DATABASE) if token.kind not in ("blank", "comment")]
        self._words = [text.upper() if kind == "word" else text if kind == "other" else "" for kind, text, _ in self._tokens]
        self._group_ends = self._find_group_ends()
        self._common = self._find_ctes()
        self.found: list[Found] = []
        self._scan()

    def _get_word(self, index: int) -> str:
        return self._words[index] if 0 <= index < len(self._words) else ""

    def _find_group_ends(self) -> dict[int, int]:
        """Return, for the index of each opening parenthesis, the index after the closing one."""
        ends: dict[int, int] = {}
        open_groups: list[int] = []
        for index, word in enumerate(self._words):
            if word == "(":
                open_groups.append(index)
            elif word == ")" and open_groups:
                ends[open_groups.pop()] = index + 1
        return ends

    def _find_ctes(self) -> set[str]:
        names = set()
        for index, (kind, text, _) in enumerate(self._tokens):
            if kind in ("word", "quoted") and self._get_word(index - 1) in ("WITH", ",", "RECURSIVE"):
                following = index + 1
                if self._get_word(following) == "(":
                    following = self._group_ends.get(following, len(self._words))
                if self._get_word(following) == "AS" and self._get_word(following + 1) in ("(", "MATERIALIZED", "NOT"):
                    names.add(_unquote(kind, text)[0].lower())
        return names

    def _scan(self) -> None:
        # For each open parenthesis, the word before it, and whether the scan is in a FROM list.
        groups: list[tuple[str, bool]] = [("", False)]
        merge = "MERGE" in self._words
        index = 0
        while index < len(self._words):
            word, before = self._words[index], self._get_word(index - 1)
            opens = word == "JOIN" or (word == "USING" and merge) or (word == "," and groups[-1][1])
            if word == "(":
                groups.append((before, False))
            elif word == ")" and len(groups) > 1:
                groups.pop()
            elif word == "FROM":
                compares = before == "DISTINCT" and self._get_word(index - 2) in ("IS", "NOT")
                opens = not compares and before != "DELETE" and groups[-1][0] not in FUNCTIONS_WITH_FROM
            elif word in _ENDS_A_LIST and not opens:
                groups[-1] = (groups[-1][0], False)
            if opens:
                groups[-1] = (groups[-1][0], word != "USING")
                index = self._read_name(index + 1)
            else:
                index += 1

    def _read_name(self, index: int) -> int:
        parts: list[str] = []
        start = index
        while index < len(self._tokens):
            kind, text, _ = self._tokens[index]
            if kind not in ("word", "quoted") or (kind == "word" and not parts and text.upper() in _NO_NAMES):
                break
            parts.extend(_unquote(kind, text))
            index += 1
            if self._get_word(index) != ".":
                break
            index += 1
        if not parts:
            return start
        if self._get_word(index) == "(":
            return index
        if (len(parts) > 1 or parts[0].lower() not in self._common) and is_table_name(tuple(parts)):
            self.found.append(Found(tuple(parts), self._tokens[start].start))
        return index


def _unquote(kind: str, text: str) -> list[str]:
    if kind != "quoted":
        return [text]
    closing = {"[": "]"}.get(text[0], text[0])
    inner = text[1:-1] if len(text) > 1 and text.endswith(closing) else text[1:]
    inner = inner.replace('""', '"') if text[0] == '"' else inner
    return inner.split(".") if text[0] == "`" else [inner]
