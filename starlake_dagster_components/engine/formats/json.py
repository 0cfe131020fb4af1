"""JSON files: one object per line, an array of objects, or objects over several lines. Starlake: DuckDbNativeLoader, formats JSON and JSON_FLAT."""

import json
import re

import duckdb

from ...project.model import Attribute
from ..ddl import nested_type, scalar_type
from ..engine_errors import BadFile, BadSetting, BadValue
from ..instances import lend_instance
from ..sqltext import quote, quote_literal
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
    parameters = {"format": quote_literal(_layout(reading))}
    for name, text in table.metadata.options.items():
        if not re.fullmatch(r"[A-Za-z_]+", name):
            raise BadSetting(table.origin.at("metadata.options"), f"option '{name}' is no parameter of DuckDB's read_json")
        parameters[name.lower()] = quote_literal(str(text))
    written = ", ".join(f"{k} = {v}" for k, v in parameters.items())
    if len(attributes) == 1 and attributes[0].definition is not None and attributes[0].definition.primitive == "variant":
        # The only attribute takes the object as a whole.
        name = attributes[0].attribute.name
        return Source(
            f"(SELECT json AS {quote(name)} FROM read_json_objects([{quote_literal(str(file))}], {written}))", {name: quote(name)}
        )
    texts = {
        a.attribute.name
        for a in attributes
        if a.definition is not None and not a.attribute.array and (all_text or rule(session.project, table, a).from_text)
    }
    types = {
        a.attribute.name: ("VARCHAR" if a.attribute.name in texts else "JSON" if all_text else read_type(session.project, table, a))
        for a in attributes
    }
    columns = "{" + ", ".join(f"{quote_literal(name)}: {quote_literal(ddl)}" for name, ddl in types.items()) + "}"
    relation = f"read_json([{quote_literal(str(file))}], {written}, columns = {columns})"
    return Source(relation, {name: quote(name) for name in types}, frozenset(texts))


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
    with lend_instance() as lent:
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
    return _inside(reading, read)


def _inside(reading: Reading, read: Source) -> BadFile | None:
    """Return what is wrong inside a struct or an array: the first value, with its path, that its field cannot take."""
    typed = _source(reading, all_text=False)
    tests = [
        (f"{a.attribute.name}{path}".replace('"', ""), ddl, _bad_leaf(read.columns[a.attribute.name], path, ddl))
        for a in reading.in_file
        if a.definition is None or a.attribute.array
        for path, ddl in _leaves(reading, a.attribute, a.attribute.array)
    ]
    with lend_instance() as lent:
        try:
            lent.connection.execute(
                f"SELECT {', '.join(f'count({column})' for column in typed.columns.values())} FROM {typed.relation}"
            ).fetchall()
        except duckdb.Error as error:
            message = str(error)
        else:
            return None
        if not tests:
            return _malformed(reading, message)
        union = " UNION ALL ".join(f"SELECT record, {index}, {sql} AS value FROM numbered" for index, (_, _, sql) in enumerate(tests))
        query = (
            f"WITH numbered AS (SELECT row_number() OVER () AS record, * FROM {read.relation}) "
            f"SELECT * FROM ({union}) WHERE value IS NOT NULL ORDER BY ALL LIMIT {bad_values.MOST}"
        )
        rows = lent.connection.execute(query).fetchall()
    if not rows:
        return _malformed(reading, message)
    by_line = _layout(reading) == "newline_delimited"
    values = [
        BadValue(
            number if by_line else 0,
            tests[index][0],
            value[:200],
            f"of type {tests[index][1]}" + ("" if by_line else f" (object {number} of the file)"),
        )
        for number, index, value in rows
    ]
    return BadFile(str(reading.file), "the file has bad values", values)


def _leaves(reading: Reading, attribute: Attribute, array: bool) -> list[tuple[str, str]]:
    """Return the paths of an attribute's scalar fields, below the attribute, and their types."""
    project, table = reading.session.project, reading.table
    here = "[*]" if array else ""
    if not attribute.attributes:
        definition = project.types.get(attribute.type)
        return [(here, scalar_type(definition))] if definition is not None else []
    found = []
    for child in attribute.attributes:
        if child.attributes:
            below = _leaves(reading, child, child.array)
        else:
            below = [("[*]" if child.array else "", nested_type(project, table, child).removesuffix("[]"))]
        found += [(f"{here}.{quote(child.name)}{path}", ddl) for path, ddl in below]
    return found


def _bad_leaf(column: str, path: str, ddl: str) -> str:
    """Return the SQL of the first value at a path that its type cannot take; NULL when all are good."""
    texts = f"json_extract_string({column}, {quote_literal('$' + path)})"
    if "[*]" in path:
        return f"list_filter({texts}, lambda leaf: leaf IS NOT NULL AND TRY_CAST(leaf AS {ddl}) IS NULL)[1]"
    return f"CASE WHEN {texts} IS NOT NULL AND TRY_CAST({texts} AS {ddl}) IS NULL THEN {texts} END"


def _reason(message: str) -> str:
    """Return what DuckDB says, without the file, the line and its advice."""
    first = message.splitlines()[0]
    return re.sub(r"""^Invalid Input Error: |JSON transform error|,? ?in file "[^"]*",?|,? ?in line \d+:?""", "", first).strip(" .,:")


def _malformed(reading: Reading, message: str) -> BadFile:
    first = message.splitlines()[0]
    line = re.search(r"in line (\d+)", first)
    hint = ""
    if _layout(reading) != "array" and _begins_with_array(reading):
        hint = "; the file is an array of objects, which metadata.array: true says"
    number = _first_malformed_line(reading) or (int(line.group(1)) if line else 0)
    return BadFile(str(reading.file), "the file cannot be read", [BadValue(number, "", None, _reason(message) + hint)])


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
