"""Split SQL into tokens in one pass. A quote or comment that is not closed extends to the end of the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

TokenKind = Literal["blank", "comment", "string", "quoted", "word", "number", "other"]

_NAME_QUOTES = {
    '"': r'"(?:[^"]|"")*(?:"|\Z)',
    "`": r"`[^`]*(?:`|\Z)",
    "[": r"\[[A-Za-z_][\w ]*\]",
}
_NESTED = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The rules for quotes and comments in a dialect.

    Attributes:
        names: the characters that begin a quoted name.
        dollars: whether ``$$...$$`` and ``$tag$...$tag$`` are strings.
        escapes: whether a backslash escapes a character inside ``E'...'``.
        nested: whether block comments nest.
    """

    names: str = '"'
    dollars: bool = True
    escapes: bool = True
    nested: bool = True


DUCKDB = TokenRules()
ANY_DATABASE = TokenRules(names='"`[', nested=False)
STARLAKE = TokenRules(names="", dollars=False, escapes=False, nested=False)
"""The rules by which Starlake removes comments: it knows only single quotes. Starlake: SqlCommentStripper."""


class Token(NamedTuple):
    """A token; ``start`` is the index of its first character in the SQL."""

    kind: TokenKind
    text: str
    start: int


def tokenize_sql(sql: str, rules: TokenRules) -> Iterator[Token]:
    """Yield the tokens of SQL. Their texts, joined, equal the SQL."""
    pattern = _compile_rules(rules)
    if not rules.nested:
        for found in pattern.finditer(sql):
            yield Token(found.lastgroup, found.group(), found.start())  # type: ignore[arg-type]
        return
    position = 0
    while match := pattern.match(sql, position):
        kind: TokenKind = match.lastgroup  # type: ignore[assignment]
        start, position = position, match.end()
        if kind == "comment" and sql.startswith("/*", start):
            position = _find_end_of_nested_comment(sql, start)
        yield Token(kind, sql[start:position], start)


@lru_cache(maxsize=8)
def _compile_rules(rules: TokenRules) -> re.Pattern[str]:
    strings = [r"'(?:[^']|'')*(?:'|\Z)"]
    if rules.escapes:
        strings.insert(0, r"[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)")
    if rules.dollars:
        strings.append(r"\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)")
    groups = {
        "blank": r"\s+",
        "comment": r"--[^\n\r]*|/\*.*?(?:\*/|\Z)",
        "string": "|".join(strings),
        "quoted": "|".join(_NAME_QUOTES[quote] for quote in rules.names),
        "word": r"[^\W\d][\w$]*",
        "number": r"\d[\w.]*",
        "other": r".",
    }
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in groups.items() if pattern), re.DOTALL)


def _find_end_of_nested_comment(sql: str, start: int) -> int:
    depth = 0
    for match in _NESTED.finditer(sql, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(sql)
