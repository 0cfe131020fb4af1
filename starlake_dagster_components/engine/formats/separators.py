"""Copies of DSV files with a separator that DuckDB takes, in place of one of more bytes."""

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


def shorten_separators(file: Path, separator: str, quote: str, scratch: Scratch) -> tuple[Path, str, bool]:
    """Copy a UTF-8 file with a short separator, which takes the place of the long one everywhere, in quoted fields too.

    The file does not have the short one, so that values get the long one back by replacing it. Going through every field in Python would
    take longer than DuckDB needs to read the file.

    Args:
        file: the file.
        separator: the text between fields; without a quote, an escape or a line end, as DuckDB demands.
        quote: the character around fields; may be empty.
        scratch: where the copy goes.

    Returns:
        The copy, its separator, and whether values may have it.

    Raises:
        BadFile: the file has every substitute, or a line is too long.
    """
    copy = scratch.make_file("data")
    for substitute in _SUBSTITUTES:
        quoted = False
        try:
            with open_bytes(file) as data, copy.open("wb") as out:
                for lines in _read_lines(file, data):
                    if substitute in lines:
                        raise _Taken
                    quoted = quoted or (bool(quote) and quote.encode() in lines)
                    out.write(lines.replace(separator.encode(), substitute))
            return copy, substitute.decode(), quoted
        except _Taken:
            continue
    raise BadFile(str(file), f"the separator {separator} is too long, and the file has every character that could stand for it")


def _read_lines(file: Path, data: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of a file in pieces that end with a line, so that no separator is in two of them."""
    rest = b""
    while chunk := data.read(_CHUNK):
        block = rest + chunk
        end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        rest = block[end:]
        if len(rest) > _LONGEST_RECORD:
            raise BadFile(str(file), f"a line has more than {_LONGEST_RECORD} bytes: a line end is missing")
        yield block[:end]
    yield rest
