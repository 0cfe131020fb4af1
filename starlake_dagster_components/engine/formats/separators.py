"""Copies of DSV files with a separator that DuckDB takes, in place of one of more bytes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..engine_errors import BadFile
from ..scratch import Scratch
from .encodings import open_bytes

LONGEST = 4
"""Bytes of a separator that DuckDB takes."""
_SUBSTITUTES = (b"\x1f", b"\x1e", b"\x1d", b"\x1c", b"\x1f\x1e\x1d\x1c")
_CHUNK = 8 << 20
_LONGEST_RECORD = 64 << 20


class _Taken(Exception):
    """The file has the substitute itself."""


def shorten_separators(file: Path, separator: str, quote: str, escape: str, scratch: Scratch) -> tuple[Path, str]:
    """Copy a UTF-8 file with a short separator; lines stay the same lines, and fields the same fields.

    Returns:
        The copy and its separator.

    Raises:
        BadFile: no substitute is free, or a record is too long.
    """
    copy = scratch.make_file("data")
    for substitute in _SUBSTITUTES:
        try:
            with open_bytes(file) as data, copy.open("wb") as out:
                for piece in _Shortening(file, separator, substitute, quote, escape).convert(data):
                    out.write(piece)
            return copy, substitute.decode()
        except _Taken:
            continue
    raise BadFile(str(file), f"the separator {separator} is too long, and the file has every character that could stand for it")


def _compile_field(separator: str, quote: str, escape: str) -> re.Pattern[bytes] | None:
    """Return the pattern of a quoted field, which begins behind a separator or a line end; None without quotes.

    A field that does not end in the text goes up to its end.
    """
    if not quote:
        return None
    s, q, e = (re.escape(part.encode()) for part in (separator, quote, escape))
    escaped = b"|" + e + b"(?:.|\\Z)" if escape and escape != quote else b""
    rest = b"(?:[^" + q + e + b"]+" + escaped + b"|" + q + q + b")*(?:" + q + b"|\\Z)"
    if _overlaps_itself(separator):
        # Which of the characters are the separator depends on those before.
        return re.compile(s + b"(" + q + rest + b")?|(?:(?<=[\\r\\n])|\\A)(" + q + rest + b")", re.DOTALL)
    behind = b"(?:(?<=" + s + q + b")|(?<=[\\r\\n]" + q + b")|(?<=\\A" + q + b"))"
    return re.compile(b"(" + q + behind + rest + b")", re.DOTALL)


def _overlaps_itself(separator: str) -> bool:
    return any(separator[:size] == separator[-size:] for size in range(1, len(separator)))


class _Shortening:
    """Replaces a separator, but not within quoted fields."""

    def __init__(self, file: Path, separator: str, substitute: bytes, quote: str, escape: str) -> None:
        self._file = file
        self._separator = separator.encode()
        self._substitute = substitute
        self._quote = quote.encode()
        self._escaped = (escape + quote).encode() if escape and escape != quote else b""
        self._field = _compile_field(separator, quote, escape)

    def convert(self, data: IO[bytes]) -> Iterator[bytes]:
        """Yield the content of a file with the other separator."""
        rest = b""
        while chunk := data.read(_CHUNK):
            piece, rest = self._convert_block(rest + chunk, is_last=False)
            if len(rest) > _LONGEST_RECORD:
                reason = f"a record has more than {_LONGEST_RECORD} bytes: a line end or a closing quote is missing"
                raise BadFile(str(self._file), reason)
            yield piece
        yield self._convert_block(rest, is_last=True)[0]

    def _convert_block(self, block: bytes, *, is_last: bool) -> tuple[bytes, bytes]:
        """Return the whole records of a block, converted, and the beginning of one."""
        simple = self._convert_simple_block(block, is_last=is_last)
        if simple is not None:
            return simple
        parts = _split_fields(block, self._field)
        rest = b"" if is_last else _take_rest(parts)
        return self._join_fields(parts), rest

    def _convert_simple_block(self, block: bytes, *, is_last: bool) -> tuple[bytes, bytes] | None:
        """Convert a block whose quotes only enclose fields or are doubled in one; None for any other.

        Going through every field takes longer than reading the file.
        """
        quote = self._quote
        if quote and (quote in self._separator or (self._escaped and self._escaped in block)):
            return None
        end = len(block) if is_last else _find_end_of_records(block, quote)
        if end is None:
            return None
        rest = block[end:]
        fields = block[:end].split(quote) if quote else [block[:end]]
        if len(fields) % 2 == 0:
            return None
        unquoted = quote.join(fields[0::2])
        if self._substitute in unquoted:
            raise _Taken
        converted = self._replace(unquoted)
        if len(fields) == 1:
            return converted, rest
        if not self._are_fields_enclosed(converted):
            return None
        fields[0::2] = converted.split(quote)
        return quote.join(fields), rest

    def _replace(self, text: bytes) -> bytes:
        return text.replace(self._separator, self._substitute)

    def _are_fields_enclosed(self, unquoted: bytes) -> bool:
        """Return whether each quote, which stands for a quoted field, is between line ends or separators (already replaced)."""
        quote = self._quote
        while quote + quote in unquoted:
            unquoted = unquoted.replace(quote + quote, quote)
        opened = closed = unquoted.count(quote)
        opened -= unquoted.startswith(quote)
        closed -= unquoted.endswith(quote)
        for edge in (self._substitute, b"\n", b"\r"):
            opened -= unquoted.count(edge + quote) if opened else 0
            closed -= unquoted.count(quote + edge) if closed else 0
        return opened == closed == 0

    def _join_fields(self, parts: list[bytes]) -> bytes:
        for index in range(0, len(parts), 2):
            if self._substitute in parts[index]:
                raise _Taken
            parts[index] = self._replace(parts[index])
        return b"".join(parts)


def _find_end_of_records(block: bytes, quote: bytes) -> int | None:
    """Return where the last whole record of a block ends; None when that takes long to find."""
    end = len(block)
    for _ in range(50):
        end = block.rfind(b"\n", 0, end)
        if end < 0 or not quote or block.count(quote, 0, end) % 2 == 0:
            return end + 1
    return None


def _split_fields(block: bytes, field: re.Pattern[bytes] | None) -> list[bytes]:
    """Split whole records and the beginning of one: every second part is a quoted field."""
    if field is None:
        return [block]
    if field.groups == 1:
        return field.split(block)
    parts = []
    begin = 0
    for match in field.finditer(block):
        if match.lastindex is not None:
            parts += [block[begin : match.start(match.lastindex)], match.group(match.lastindex)]
            begin = match.end()
    return [*parts, block[begin:]]


def _take_rest(parts: list[bytes]) -> bytes:
    """Remove the last record, which may not be whole, and return it."""
    index = len(parts) - 1
    while index > 0 and b"\n" not in parts[index]:
        index -= 2
    end = parts[index].rfind(b"\n") + 1
    rest = parts[index][end:] + b"".join(parts[index + 1 :])
    parts[index:] = [parts[index][:end]]
    return rest
