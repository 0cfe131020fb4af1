"""POSITION files, which have fields at fixed columns of each line. Starlake: DuckDbNativeLoader, format POSITION."""

import re
from dataclasses import replace

from ..engine_errors import BadFile, BadSetting
from . import bad_values, encodings
from .line_ends import find_other_line_end
from .records import LONGEST_LINE, Layout, LineTooLong
from .source import Reading, Source, build_call, fetch_rows, find_error

_LINE = '"value"'


def describe_source(reading: Reading) -> Source:
    """Return the source that reads a file with fixed columns, with every field as text."""
    table = reading.table
    try:
        encodings.check_file(reading.file, reading.codec, LONGEST_LINE)
    except LineTooLong as error:
        raise reading.reject(f"a line of more than {LONGEST_LINE} characters", error.line) from error
    file = encodings.make_readable(reading.file, reading.codec, reading.scratch)
    # One field per line: a separator that does not occur in text files, and no quotes.
    parameters = {"auto_detect": "false", "delim": r"e'\x01'", "quote": "''", "escape": "''", "comment": "''", "header": "false"}
    parameters |= {"max_line_size": str(LONGEST_LINE), "skip": str(_count_header_lines(reading))}
    relation = build_call("read_csv", file, parameters, {"value": "VARCHAR"})
    columns = {}
    for typed in reading.attributes:
        attribute = typed.attribute
        if attribute.position is not None:
            first, last = attribute.position
            value = f"substring({_LINE}, {first + 1}, {last - first + 1})"
            columns[attribute.name] = value if typed.is_text else f"trim({value})"
        elif not attribute.script:
            place = table.origin.locate(f"attributes[{table.attributes.index(attribute)}]")
            raise BadSetting(place, f"attribute '{attribute.name}' of a POSITION file needs a position (first, last)")
    _check_reach(reading, relation)
    return Source(relation, columns, frozenset(columns))


def _count_header_lines(reading: Reading) -> int:
    return 0 if reading.table.metadata.with_header is False else 1


def _check_reach(reading: Reading, relation: str) -> None:
    """Raise BadFile if all lines of a file end before the first field, because every value would be missing."""
    begin = min((typed.attribute.position[0] for typed in reading.attributes if typed.attribute.position), default=0)
    lines = f"SELECT 1 FROM {relation} WHERE length({_LINE}) >"
    if begin and not fetch_rows(f"{lines} {begin} LIMIT 1") and fetch_rows(f"{lines} 0 LIMIT 1"):
        reason = f"no line reaches the first field, which starts at character {begin + 1}"
        raise reading.reject(reason, summary="the file has none of the table's columns")


def explain_failure(reading: Reading) -> Exception | None:
    """Return why a file could not be loaded."""
    if undecodable := reading.find_undecodable():
        return undecodable
    read = describe_source(reading)
    if message := find_error(read):
        layout = Layout(separator="\x01", quote="", escape="")
        if other := find_other_line_end(reading, layout):
            return BadFile(str(reading.file), "the file does not match the table", [other])
        place = re.search(r"Line: (\d+)", message)
        reason = "a line contains the character U+0001" if "Expected Number of Columns" in message else message.splitlines()[0]
        return reading.reject(reason, int(place.group(1)) if place else 0)
    skipped = _count_header_lines(reading)
    return reading.reject_values([replace(bad, line=bad.line + skipped) for bad in bad_values.find_bad_values(reading, read)])
