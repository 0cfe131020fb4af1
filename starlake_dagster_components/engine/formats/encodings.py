"""Handle the encodings and the compression of text files, and make copies in UTF-8 of files that DuckDB cannot read itself."""

import codecs
import contextlib
import gzip
import os
import re
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ...project.model import Table
from ..engine_errors import BadFile, BadSetting, BadValue
from ..scratch import Scratch, write_file
from .records import read_lines

_PADDING = b"\0" * 16
_CHUNK = 1 << 20
_BEGIN = 1 << 14
_MAGIC = {"gzip": rb"\x1f\x8b", "zip": rb"PK\x03\x04", "Zstandard": rb"\x28\xb5\x2f\xfd", "bzip2": rb"BZh[1-9]1AY&SY"}


def get_codec(table: Table) -> str:
    """Return Python's name for a table's encoding, ``utf-8`` by default. Raise BadSetting if Python does not support it."""
    written = table.metadata.encoding
    if not written:
        return "utf-8"
    name = written.strip()
    for candidate in (name, name.lower().removeprefix("x-").replace("windows-", "cp")):
        with contextlib.suppress(LookupError):
            return codecs.lookup(candidate).name
    raise BadSetting(table.origin.locate("metadata.encoding"), f"unknown encoding '{written}'")


def is_compressed(file: Path) -> bool:
    """Return whether a file is compressed, according to its name."""
    return file.name.lower().endswith(".gz")


def open_text(file: Path, codec: str, errors: str = "replace") -> IO[str]:
    """Open a file as text, decompressed and without a byte order mark. Line ends of any kind are preserved."""
    codec = "utf-8-sig" if codec in ("utf-8", "ascii") else codec
    if is_compressed(file):
        return gzip.open(file, "rt", encoding=codec, errors=errors, newline="")
    return file.open(encoding=codec, errors=errors, newline="")


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file as bytes, decompressed."""
    return gzip.open(file, "rb") if is_compressed(file) else file.open("rb")  # type: ignore[return-value]


def is_empty(file: Path) -> bool:
    """Return whether a file is empty after decompression."""
    with open_bytes(file) as data:
        return not data.read(1)


def check_file(file: Path, codec: str, longest: int | None = None) -> None:
    """Raise an error if DuckDB would silently read only a part of a file.

    It stops at the end of a truncated compressed file, and leaves out a last line that is longer than its buffer.

    ``longest`` is the maximum number of characters in a line; None if the format does not have lines.

    Raises:
        BadFile: the compression does not match the file's name, or is damaged.
        LineTooLong: a line is too long.
    """
    with file.open("rb") as data:
        begin = data.read(16)
        found = next((kind for kind, magic in _MAGIC.items() if re.match(magic, begin)), None)
        if not is_compressed(file):
            if found:
                advice = "its name must end with .gz" if found == "gzip" else "only gzip (.gz) is supported"
                raise BadFile(str(file), f"the file is compressed with {found}: {advice}")
            blocks = _list_blocks_without_line_end(data) if longest else ()
        elif found != "gzip":
            raise BadFile(str(file), "the name ends with .gz, but the file is not compressed with gzip")
        else:
            blocks = _read_blocks(file)
        suspicious = _has_long_run(blocks)
    if longest and suspicious:
        with open_text(file, codec) as text:
            deque(read_lines(text, longest + 1), maxlen=0)


def _list_blocks_without_line_end(data: IO[bytes]) -> Iterator[bytes]:
    """Yield the blocks of a file that may not contain a line end. Of the others, only the beginning is read."""
    for start in range(0, os.fstat(data.fileno()).st_size, _CHUNK):
        data.seek(start)
        block = data.read(_BEGIN)
        if b"\n" not in block and b"\r" not in block:
            yield block + data.read(_CHUNK - _BEGIN)


def _has_long_run(blocks: Iterable[bytes]) -> bool:
    """Read all blocks, and return whether they contain so many bytes without a line end that a line may be too long."""
    run = longest = 0
    for block in blocks:
        end = max(block.rfind(b"\n"), block.rfind(b"\r"))
        run = run + len(block) if end < 0 else len(block) - end - 1
        longest = max(longest, run)
    return longest >= _CHUNK


def _read_blocks(file: Path) -> Iterator[bytes]:
    """Yield the content of a compressed file in blocks."""
    try:
        with open_bytes(file) as data:
            yield from iter(lambda: data.read(_CHUNK), b"")
        # Python ignores zeros at the end, as gzip does, but DuckDB fails.
        with open(file, "rb") as raw:
            raw.seek(-len(_PADDING), os.SEEK_END)
            if raw.read() == _PADDING:
                raise BadFile(str(file), "zeros follow the compressed bytes")
    except EOFError as error:
        raise BadFile(str(file), "the compressed file is truncated") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        # The file begins with the signature, so this error is about the bytes that follow.
        follows = str(error).startswith("Not a gzipped file")
        reason = "uncompressed bytes follow the compressed ones" if follows else f"the compressed file is damaged ({error})"
        raise BadFile(str(file), reason) from error


def make_readable(file: Path, codec: str, scratch: Scratch, *, native: frozenset[str] = frozenset()) -> Path:
    """Return a file that DuckDB can read: the file itself, or a copy in UTF-8 if its encoding is not one of the native ones.

    Raises:
        BadFile: the file contains bytes that are not valid in this encoding.
    """
    if codec in ("utf-8", "ascii") or codec in native:
        return file
    if known := scratch.copies.get((file, codec)):
        return known
    copy = scratch.make_file("data")
    line = 1
    with open_text(file, codec, errors="strict") as reader, write_file(copy) as writer:
        try:
            while chunk := reader.read(_CHUNK):
                line += chunk.count("\n")
                writer.write(chunk.encode())
        except UnicodeError as error:
            raise BadFile(str(file), "", [BadValue(0, f"after line {line}: bytes that are not {codec} text ({error})")]) from error
    scratch.copies[file, codec] = copy
    return copy


def is_ascii(file: Path, codec: str) -> bool:
    """Return whether a file contains only ASCII characters, so that its bytes are the same in its encoding and in UTF-8."""
    if codec in ("utf-8", "ascii"):
        return True
    if codec.startswith(("utf-16", "utf-32")):
        return False
    with open_bytes(file) as data:
        return all(chunk.isascii() for chunk in iter(lambda: data.read(_CHUNK), b""))


def find_bad_line(file: Path, codec: str) -> int | None:
    """Return the first line of a file that cannot be decoded; None if there is none."""
    decoder = codecs.getincrementaldecoder(codec)()
    line = 1
    with open_bytes(file) as data:
        while True:
            chunk = data.read(_CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return line + _count_lines(error.object[: error.start].decode(codec, errors="replace"))
            except UnicodeError:
                return line
            if not chunk:
                return None
            line += _count_lines(text)


def has_mixed_line_ends(file: Path, codec: str) -> bool:
    """Return whether a file has line ends of several kinds, including those within quotes; False for encodings of two or four bytes."""
    if codec.startswith(("utf-16", "utf-32")):
        return False
    counts = Counter[bytes]()
    last = b""
    with open_bytes(file) as data:
        while chunk := last + data.read(_CHUNK):
            last = b"\r" if chunk.endswith(b"\r") and chunk != last else b""
            chunk = chunk.removesuffix(last) if last else chunk
            for end in (b"\r\n", b"\n", b"\r"):
                counts[end] += chunk.count(end)
            if not chunk:
                break
    both = counts[b"\r\n"]
    return sum(count > 0 for count in (both, counts[b"\n"] - both, counts[b"\r"] - both)) > 1


def _count_lines(text: str) -> int:
    return text.count("\n") if "\n" in text else text.count("\r")
