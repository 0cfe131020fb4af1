"""Read the records of a delimited text file in plain Python, for headers and for line numbers in messages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Protocol

LONGEST_LINE = 2_097_152
"""Maximum number of characters in a line. DuckDB: max_line_size of read_csv."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The format of the records of a delimited text file.

    Attributes:
        separator: the text between fields.
        quote: the character around fields; may be empty.
        escape: the character before a quote that is part of a value; may be empty.
        header: whether the first record names the columns.
        skip: number of lines before the first record.
        longest: maximum number of characters in a line.
    """

    separator: str
    quote: str
    escape: str
    header: bool = True
    skip: int = 0
    longest: int = LONGEST_LINE


class LineTooLong(Exception):
    """A line, whose number from 1 is ``line``, is too long for DuckDB."""

    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__(f"line {line} is too long")


class LineEnds:
    """A text file that remembers how its last line ended: ``last`` is the line end; empty if the text ends without one."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self.last = ""

    def readline(self, longest: int) -> str:
        """Return the next line with its end."""
        line = self._text.readline(longest)
        self.last = "\r\n" if line.endswith("\r\n") else line[-1:] if line.endswith(("\n", "\r")) else ""
        return line


class _Lines(Protocol):
    def readline(self, longest: int, /) -> str: ...


def read_lines(text: _Lines, longest: int = LONGEST_LINE) -> Iterator[str]:
    """Yield the lines of a text file with their ends. Raise LineTooLong if one has more than ``longest`` characters."""
    number = 1
    while line := text.readline(longest):
        if len(line) == longest and not line.endswith(("\n", "\r")):
            raise LineTooLong(number)
        yield line
        number += 1


def read_records(text: _Lines, layout: Layout, *, blank: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the line on which each record begins (from 1) and its text without line end.

    A field that begins with a quote ends with a quote, and may contain line ends. Empty lines are records only if ``blank`` is set, as in
    DuckDB if there is one column.

    Raises:
        LineTooLong: a line, or a record of several lines, is too long.
    """
    pieces: list[str] = []
    size = 0
    begin = 1
    for number, line in enumerate(read_lines(text, layout.longest), 1):
        if not pieces:
            begin = number
        if (pieces or (layout.quote and layout.quote in line)) and _is_open(line, layout, inside=bool(pieces)):
            pieces.append(line)
            size += len(line)
            if size > 8 * layout.longest:
                raise LineTooLong(begin)
            continue
        record = "".join([*pieces, line]).rstrip("\r\n")
        pieces.clear()
        size = 0
        if record or blank:
            yield begin, record
    if pieces:
        yield begin, "".join(pieces)


def _is_open(line: str, layout: Layout, *, inside: bool) -> bool:
    """Return whether a quoted field is still open at the end of a line."""
    start, rest = _compile_patterns(layout.quote, layout.escape)
    position = 0
    while True:
        if not inside:
            opened = start.match(line, position)
            inside, position = opened is not None, opened.end() if opened else position
        if inside:
            closed = rest.match(line, position)
            if closed is None:
                return True
            inside, position = False, closed.end()
        following = line.find(layout.separator, position)
        if following < 0:
            return False
        position = following + len(layout.separator)


@lru_cache(maxsize=16)
def _compile_patterns(quote: str, escape: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return two patterns: the beginning of a quoted field, and the rest of the field up to its closing quote."""
    q, e = re.escape(quote), re.escape(escape)
    escaped = f"|{e}." if escape and escape != quote else ""
    return re.compile(f" *{q}"), re.compile(f"(?:[^{q}{e}]{escaped}|{q}{q})*{q}", re.DOTALL)


def split_record(record: str, layout: Layout) -> list[str]:
    """Return the fields of a record, without their quotes."""
    separator, quote, escape = layout.separator, layout.quote, layout.escape
    if not quote or quote not in record:
        return record.split(separator)
    start, rest = _compile_patterns(quote, escape)
    fields = []
    position = 0
    while True:
        opened = start.match(record, position)
        closed = rest.match(record, opened.end()) if opened else None
        after = closed.end() if closed else position
        following = record.find(separator, after)
        end = following if following >= 0 else len(record)
        if opened and closed:
            value = record[opened.end() : closed.end() - 1]
            if escape and escape != quote:
                value = re.sub(f"{re.escape(escape)}(.)", r"\1", value, flags=re.DOTALL)
            fields.append(value.replace(quote + quote, quote) + record[after:end].rstrip(" "))
        else:
            fields.append(record[position:end])
        if following < 0:
            return fields
        position = following + len(separator)
