"""Copy DSV files whose separator is too long for DuckDB, with a shorter separator."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..engine_errors import BadFile
from ..scratch import Scratch, write_file
from .encodings import open_bytes

LONGEST = 4
"""Maximum length, in bytes, of a separator in DuckDB."""
_SUBSTITUTES = (b"\x1f", b"\x1e", b"\x1d", b"\x1c", b"\x1f\x1e\x1d\x1c")
_CHUNK = 8 << 20


class _Taken(Exception):
    """The file already contains the substitute."""


def shorten_separators(file: Path, separator: str, quote: str, scratch: Scratch) -> tuple[Path, str, bool]:
    """Copy a UTF-8 file with the long separator replaced by a short one everywhere, including in quoted fields.

    The file does not contain the short separator, so the long one can be restored in values by replacing the short one. Processing every
    field in Python would take longer than DuckDB needs to read the file. The separator contains no quote, escape, or line end, as DuckDB
    requires.

    Returns:
        The copy, its separator, and whether values may contain the separator.

    Raises:
        BadFile: the file contains every possible substitute.
    """
    copy = scratch.make_file("data")
    for substitute in _SUBSTITUTES:
        quoted = False
        try:
            with open_bytes(file) as data, write_file(copy) as out:
                for lines in _read_lines(data):
                    if substitute in lines:
                        raise _Taken
                    quoted = quoted or (bool(quote) and quote.encode() in lines)
                    out.write(lines.replace(separator.encode(), substitute))
            return copy, substitute.decode(), quoted
        except _Taken:
            continue
    raise BadFile(str(file), f"the separator {separator} is too long, and the file contains every character that could replace it")


def _read_lines(data: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of a file in chunks that end at a line end, so that no separator is split."""
    rest = b""
    while chunk := data.read(_CHUNK):
        block = rest + chunk
        end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        rest = block[end:]
        yield block[:end]
    yield rest
