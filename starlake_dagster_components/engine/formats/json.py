"""JSON files: one object per line, an array of objects, or objects over several lines. Starlake: DuckDbNativeLoader, formats JSON and JSON_FLAT."""

import json
import re

import duckdb

from ..errors import BadFile, BadSetting, BadValue
from ..instances import instance
from ..sqltext import literal, quoted
from ..values import read_type, rule
from . import bad_values, encodings
from .source import Reading, Source


def source(reading: Reading) -> Source:
    """Return how a JSON file is read: fields by their names, in any order; absent ones are NULL, others are left out."""
    return _source(reading, all_text=False)


def _source(reading: Reading, *, all_text: bool) -> Source:
    table = reading.table
    session = reading.session
    file = encodings.readable(reading.file, encodings.codec_of(table), reading.scratch)
    attributes = reading.in_file
    parameters = {"format": literal(_layout(reading))}
    for name, text in table.metadata.options.items():
        if not re.fullmatch(r"[A-Za-z_]+", name):
            raise BadSetting(table.origin.at("metadata.options"), f"option '{name}' is no parameter of DuckDB's read_json")
        parameters[name.lower()] = literal(str(text))
    written = ", ".join(f"{k} = {v}" for k, v in parameters.items())
    if len(attributes) == 1 and attributes[0].definition is not None and attributes[0].definition.primitive == "variant":
        # The only attribute takes the object as a whole.
        name = attributes[0].attribute.name
        return Source(f"(SELECT json AS {quoted(name)} FROM read_json_objects([{literal(str(file))}], {written}))", {name: quoted(name)})
    texts = {
        a.attribute.name
        for a in attributes
        if a.definition is not None and not a.attribute.array and (all_text or rule(session.project, table, a).from_text)
    }
    types = {
        a.attribute.name: ("VARCHAR" if a.attribute.name in texts else "JSON" if all_text else read_type(session.project, table, a))
        for a in attributes
    }
    columns = "{" + ", ".join(f"{literal(name)}: {literal(ddl)}" for name, ddl in types.items()) + "}"
    relation = f"read_json([{literal(str(file))}], {written}, columns = {columns})"
    return Source(relation, {name: quoted(name) for name in types}, frozenset(texts))


def _layout(reading: Reading) -> str:
    metadata = reading.table.metadata
    if metadata.array or metadata.format == "JSON_ARRAY":
        return "array"
    return "unstructured" if metadata.multiline else "newline_delimited"


def explain(reading: Reading) -> Exception | None:
    """Return what is wrong with a file that could not be loaded."""
    try:
        read = _source(reading, all_text=True)
    except BadFile as error:
        return error
    with instance() as lent:
        try:
            counts = ", ".join(f"count({column})" for column in read.columns.values())
            lent.connection.execute(f"SELECT {counts} FROM {read.relation}").fetchall()
        except duckdb.Error as error:
            return _malformed(reading, str(error))
    found = bad_values.find(reading, read)
    if found:
        by_line = _layout(reading) == "newline_delimited"
        values = [
            BadValue(number if by_line else 0, a.attribute.name, value, kind + ("" if by_line else f" (object {number} of the file)"))
            for number, a, value, kind in found
        ]
        return BadFile(str(reading.file), "the file has bad values", values)
    return None


def _malformed(reading: Reading, message: str) -> BadFile:
    first = message.splitlines()[0]
    line = re.search(r"in line (\d+)", first)
    reason = re.sub(r"""^Invalid Input Error: | ?in file "[^"]*",?|,? in line \d+""", "", first)
    hint = ""
    if _layout(reading) != "array" and _begins_with_array(reading):
        hint = "; the file is an array of objects, which metadata.array: true says"
    number = _first_malformed_line(reading) or (int(line.group(1)) if line else 0)
    return BadFile(str(reading.file), "the file cannot be read", [BadValue(number, "", None, reason.strip(" .") + hint)])


def _begins_with_array(reading: Reading) -> bool:
    with encodings.opened_text(reading.file, encodings.codec_of(reading.table), errors="replace") as text:
        return text.read(4096).lstrip().startswith("[")


def _first_malformed_line(reading: Reading) -> int:
    """Return the first line that is no JSON, where every line is a value; 0 when that is not so."""
    if _layout(reading) != "newline_delimited":
        return 0
    with encodings.opened_text(reading.file, encodings.codec_of(reading.table), errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                if line.strip():
                    json.loads(line)
            except ValueError:
                return number
    return 0
