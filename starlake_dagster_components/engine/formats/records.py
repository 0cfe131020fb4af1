"""The records of a delimited text file, as plain Python: for headers, line numbers in messages, and separators that DuckDB does not take."""

from collections.abc import Iterator
from typing import IO

_CHUNK = 1 << 16


def read_records(text: IO[str], separator: str, quote: str, escape: str) -> Iterator[tuple[int, list[str], list[bool]]]:
    """Yield the line on which each record begins (from 1), its fields, and which of them were quoted. Empty lines are left out."""
    line = 1
    for begin, raw in _read_raw_records(text, quote, escape):
        if raw:
            fields, marks = split_record(raw, separator, quote, escape)
            yield line + begin, fields, marks


def _read_raw_records(text: IO[str], quote: str, escape: str) -> Iterator[tuple[int, str]]:
    """Yield (number of lines before, text without line end) of each record."""
    buffer: list[str] = []
    start = 0
    inside = False
    for line, physical in enumerate(_read_lines(text), 1):
        body = physical.rstrip("\r\n")
        inside = _ends_inside(body, quote, escape, inside)
        buffer.append(physical if inside else body)
        if not inside:
            yield start, "".join(buffer)
            buffer.clear()
            start = line
    if buffer:
        yield start, "".join(buffer)


def _read_lines(text: IO[str]) -> Iterator[str]:
    rest = ""
    while chunk := text.read(_CHUNK):
        parts = (rest + chunk).splitlines(keepends=True) if "\n" in chunk or "\r" in chunk else [rest + chunk]
        # splitlines also cuts at other separators, which are part of a value; and "\r" at the end may be half of "\r\n".
        merged: list[str] = []
        for part in parts:
            if merged and not merged[-1].endswith(("\n", "\r")):
                merged[-1] += part
            else:
                merged.append(part)
        rest = merged.pop() if merged else ""
        if rest.endswith("\n"):
            merged.append(rest)
            rest = ""
        yield from merged
    if rest:
        yield rest


def _ends_inside(body: str, quote: str, escape: str, inside: bool) -> bool:
    if not quote or quote not in body:
        return inside
    index = 0
    while index < len(body):
        char = body[index]
        if inside and escape and escape != quote and char == escape:
            index += 2
            continue
        if char == quote:
            if inside and body[index + 1 : index + 2] == quote:
                index += 2
                continue
            inside = not inside
        index += 1
    return inside


def split_record(raw: str, separator: str, quote: str, escape: str) -> tuple[list[str], list[bool]]:
    """Return the fields of a record and which of them were quoted."""
    if not quote or quote not in raw:
        fields = raw.split(separator)
        return fields, [False] * len(fields)
    fields = []
    marks = []
    index = 0
    length = len(raw)
    while True:
        if raw.startswith(quote, index):
            value, index = _read_quoted(raw, index + len(quote), quote, escape)
            end = raw.find(separator, index)
            tail = raw[index : end if end >= 0 else length]
            fields.append(value + tail)
            marks.append(True)
        else:
            end = raw.find(separator, index)
            fields.append(raw[index : end if end >= 0 else length])
            marks.append(False)
        if end < 0:
            return fields, marks
        index = end + len(separator)


def _read_quoted(raw: str, index: int, quote: str, escape: str) -> tuple[str, int]:
    out: list[str] = []
    while index < len(raw):
        char = raw[index]
        if escape and char == escape and raw[index + 1 : index + 2] in (quote, escape):
            out.append(raw[index + 1])
            index += 2
        elif char == quote:
            if raw[index + 1 : index + 2] == quote:
                out.append(quote)
                index += 2
                continue
            return "".join(out), index + 1
        else:
            out.append(char)
            index += 1
    return "".join(out), index
