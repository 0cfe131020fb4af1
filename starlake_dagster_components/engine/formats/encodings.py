"""Encodings of text files: Java's names, and a copy in UTF-8 for what DuckDB does not read itself."""

import codecs
import gzip
from pathlib import Path
from typing import IO

from ...errors import Location
from ...project.model import Table
from ..engine_errors import BadFile, BadSetting, BadValue
from .source import Scratch

_CHUNK = 1 << 20


def get_codec(table: Table) -> str:
    """Return Python's name of a table's encoding; ``utf-8`` when none is given.

    Raises:
        BadSetting: Python does not know that encoding.
    """
    written = table.metadata.encoding
    if not written:
        return "utf-8"
    name = written.strip()
    for candidate in (
        name,
        name.lower().removeprefix("x-"),
        name.replace("windows-", "cp"),
        name.replace("Cp", "cp"),
        name.replace("_", "-"),
    ):
        try:
            return codecs.lookup(candidate).name
        except LookupError:
            continue
    raise BadSetting(locate_encoding(table), f"unknown encoding '{written}'")


def locate_encoding(table: Table) -> Location:
    """Return where a table's encoding is written."""
    return table.origin.at("metadata.encoding")


def is_compressed(file: Path) -> bool:
    """Say whether a file is one that DuckDB decompresses by its name."""
    return file.name.endswith(".gz")


def open_text(file: Path, codec: str, errors: str = "strict") -> IO[str]:
    """Open a file as text, decompressed and without byte order mark; line ends stay as they are."""
    codec = "utf-8-sig" if codec in ("utf-8", "ascii") else codec
    if is_compressed(file):
        return gzip.open(file, "rt", encoding=codec, errors=errors, newline="")
    return file.open(encoding=codec, errors=errors, newline="")


def make_readable(file: Path, codec: str, scratch: Scratch, *, native: frozenset[str] = frozenset()) -> Path:
    """Return a file that DuckDB reads: the file, or a copy in UTF-8 when its encoding is not among the native ones.

    Raises:
        BadFile: bytes that are not valid in this encoding.
    """
    if codec in ("utf-8", "ascii") or codec in native:
        return file
    copy = scratch.file(file.name.removesuffix(".gz"))
    line = 1
    with open_text(file, codec) as reader, copy.open("w", encoding="utf-8", newline="") as writer:
        try:
            while chunk := reader.read(_CHUNK):
                line += chunk.count("\n")
                writer.write(chunk)
        except UnicodeError as error:
            raise BadFile(
                str(file), "", [BadValue(0, "", None, f"after line {line}: bytes that are not {codec} text ({error})")]
            ) from error
    return copy


def find_bad_line(file: Path, codec: str) -> int | None:
    """Return the first line of a file that cannot be decoded; None when all can."""
    if codec.startswith(("utf-16", "utf-32")):
        return None
    with gzip.open(file, "rb") if is_compressed(file) else file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode(codec)
            except UnicodeError:
                return number
    return None
