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
                for piece in _replace(file, data, separator.encode(), substitute, _compile_field(separator, quote, escape)):
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


def _replace(file: Path, data: IO[bytes], separator: bytes, substitute: bytes, field: re.Pattern[bytes] | None) -> Iterator[bytes]:
    rest = b""
    while chunk := data.read(_CHUNK):
        parts = _split_fields(rest + chunk, field)
        rest = _take_rest(parts)
        if len(rest) > _LONGEST_RECORD:
            raise BadFile(str(file), f"a record has more than {_LONGEST_RECORD} bytes: a line end or a closing quote is missing")
        yield _join_fields(parts, separator, substitute)
    yield _join_fields(_split_fields(rest, field), separator, substitute)


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


def _join_fields(parts: list[bytes], separator: bytes, substitute: bytes) -> bytes:
    for index in range(0, len(parts), 2):
        if substitute in parts[index]:
            raise _Taken
        parts[index] = parts[index].replace(separator, substitute)
    return b"".join(parts)
