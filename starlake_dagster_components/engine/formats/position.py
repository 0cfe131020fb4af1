"""POSITION files, which have fields at fixed columns of each line. Starlake: DuckDbNativeLoader, format POSITION."""

import duckdb

from ..engine_errors import BadFile, BadSetting, BadValue
from ..instances import lend_instance
from . import bad_values, encodings
from .records import LONGEST_LINE, LineTooLong
from .source import Reading, Source, describe_compression, fetch_rows, quote_file

_LINE = '"value"'


def describe_source(reading: Reading) -> Source:
    """Return the source that reads a file with fixed columns, with every field as text."""
    table = reading.table
    codec = encodings.get_codec(table)
    try:
        encodings.check_file(reading.file, codec, LONGEST_LINE)
    except LineTooLong as error:
        reason = f"a line of more than {LONGEST_LINE} characters"
        raise BadFile(str(reading.file), "the file cannot be read", [BadValue(error.line, "", None, reason)]) from error
    file = encodings.make_readable(reading.file, codec, reading.scratch)
    header = "skip = 1, " if table.metadata.with_header is not False else ""
    # One field per line: a separator that does not occur in text files, and no quotes.
    relation = (
        f"read_csv({quote_file(file)}, {describe_compression(file)}, auto_detect = false, delim = e'\\x01', quote = '', escape = '', "
        f"comment = '', max_line_size = {LONGEST_LINE}, header = false, {header}"
        "columns = {'value': 'VARCHAR'})"
    )
    columns = {}
    for typed in reading.attributes:
        attribute = typed.attribute
        if attribute.position is None and attribute.script:
            continue
        if attribute.position is None:
            index = table.attributes.index(attribute)
            raise BadSetting(
                table.origin.locate(f"attributes[{index}]"),
                f"attribute '{attribute.name}' of a POSITION file needs a position (first, last)",
            )
        first, last = attribute.position
        columns[attribute.name] = f"substring({_LINE}, {first + 1}, {last - first + 1})"
    _check_reach(reading, relation)
    texts = frozenset(columns)
    columns.update(
        {
            a.attribute.name: f"trim({columns[a.attribute.name]})"
            for a in reading.attributes
            if a.attribute.name in columns and not a.is_text
        }
    )
    return Source(relation, columns, texts)


def _check_reach(reading: Reading, relation: str) -> None:
    """Reject a file whose lines all end before the first field, because every value would be missing.

    Raises:
        BadFile: the file contains such lines, and no others.
    """
    begin = min((typed.attribute.position[0] for typed in reading.attributes if typed.attribute.position), default=0)
    lines = f"SELECT 1 FROM {relation} WHERE length({_LINE}) >"
    if begin and not fetch_rows(f"{lines} {begin} LIMIT 1") and fetch_rows(f"{lines} 0 LIMIT 1"):
        reason = f"no line reaches the first field, which begins with character {begin + 1}"
        raise BadFile(str(reading.file), "the file has none of the table's columns", [BadValue(0, "", None, reason)])


def explain_failure(reading: Reading) -> Exception | None:
    """Return why a file could not be loaded."""
    try:
        read = describe_source(reading)
    except BadFile as error:
        return error
    with lend_instance() as lent:
        try:
            lent.connection.execute(f"SELECT count(*) FROM {read.relation}").fetchall()
        except duckdb.Error as error:
            return BadFile(str(reading.file), "the file cannot be read", [BadValue(0, "", None, str(error).splitlines()[0])])
    found = bad_values.find_bad_values(reading, read)
    skipped = 1 if reading.table.metadata.with_header is not False else 0
    values = [BadValue(number + skipped, a.attribute.name, value, kind) for number, a, value, kind in found]
    return BadFile(str(reading.file), "the file has bad values", values) if values else None
