"""Small pieces of SQL text: identifiers, literals, statements of a script."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

# Comments, strings, quoted names, dollar quotes (each may be unfinished), and the semicolons between them.
_TOKEN = re.compile(
    r"""--[^\n]*
      | /\*.*?(?:\*/|\Z)
      | \b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
      | '(?:[^']|'')*(?:'|\Z)
      | "(?:[^"]|"")*(?:"|\Z)
      | \$(\w*)\$.*?(?:\$\1\$|\Z)
      | ;""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]+")


def quote(name: str) -> str:
    """Return an identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def quote_path(*names: str) -> str:
    """Return a qualified name, each part in quotes."""
    return ".".join(quote(name) for name in names)


def quote_list(names: Iterable[str], table: str = "") -> str:
    """Return names in quotes with commas, each behind the name of a table if one is given."""
    prefix = f"{table}." if table else ""
    return ", ".join(prefix + quote(name) for name in names)


def quote_literal(text: str) -> str:
    """Return a text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def write_constant(value: str | int | bool | datetime | None) -> str:
    """Return a value as SQL. DuckDB's parameters are not used for these: binding one takes longer than running a small statement."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    # A null character ends a statement's text.
    return quote_literal(value.replace("\0", ""))


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a script.

    Attributes:
        text: the statement without its semicolon and the blanks around it.
        offset: where it begins in the script.
    """

    text: str
    offset: int

    @property
    def keyword(self) -> str:
        """The first word, upper case; empty when the statement begins otherwise."""
        lead = _COMMENT.match(self.text)
        word = _WORD.match(self.text, lead.end() if lead else 0)
        return word.group().upper() if word else ""


def split_statements(script: str) -> list[Statement]:
    """Split a script at its semicolons; what is only blanks and comments is dropped."""
    found = []
    begin = 0
    cuts = [match.start() for match in _TOKEN.finditer(script) if match.group() == ";"]
    for cut in [*cuts, len(script)]:
        text = script[begin:cut]
        lead = _COMMENT.match(text)
        if lead is None or lead.end() < len(text):
            stripped = text.strip()
            found.append(Statement(stripped, begin + text.index(stripped[0]) if stripped else begin))
        begin = cut + 1
    return found
