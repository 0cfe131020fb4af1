"""JSON files: one object per line, an array of objects, or objects over several lines.

Starlake: DuckDbNativeLoader, formats JSON and JSON_FLAT.
"""

import codecs
import json
import re
from collections.abc import Sequence

from ...project.model import Attribute
from ..ddl import get_nested_type, get_scalar_type
from ..engine_errors import BadFile
from ..rejected_by_starlake import report_rejected_file
from ..sqltext import quote, quote_literal
from ..values import get_read_type, get_rule
from . import bad_values, encodings
from .records import LineTooLong, read_lines
from .source import Reading, Source, build_call, fetch_rows, find_error, read_options

_ENOUGH = 100
"""Number of objects of which at least one has each struct, in most files."""
_LONGEST_OBJECT = 16_777_216
"""Maximum size, in bytes, of an object that DuckDB reads. DuckDB: maximum_object_size of read_json."""


def describe_source(reading: Reading) -> Source:
    """Return the source that reads a JSON file. Fields are read by name. Missing ones are NULL, and unknown ones are ignored."""
    encodings.check_file(reading.file, reading.codec)
    if reading.table.metadata.format == "JSON_ARRAY":
        report_rejected_file(reading.session, reading.table, "files of the format JSON_ARRAY")
    if reading.codec not in ("utf-8", "ascii"):
        report_rejected_file(reading.session, reading.table, f"JSON files in {reading.codec}")
    elif _begins_with_mark(reading):
        report_rejected_file(reading.session, reading.table, "JSON files that begin with a byte order mark")
    else:
        _report_rejected_shapes(reading)
    _check_keys(reading)
    return _describe_source(reading, all_text=False)


def _report_rejected_shapes(reading: Reading) -> None:
    """Warn about fields that Starlake reads by position or as a scalar. Starlake: DuckDbNativeLoader.singleStepLoad.

    In tables with structs, Starlake reads fields by position. In others, it reads an array as a single value.

    Raises:
        NotSupported: the command is strict.
    """
    kinds = [typed.attribute.type for typed in reading.attributes]
    layout = {"format": _quote_layout(reading)}
    if "struct" in kinds:
        if kinds[0] == "variant":
            return
        names = [typed.attribute.name for typed in reading.attributes]
        rows = fetch_rows(f"DESCRIBE SELECT * FROM {build_call('read_json', reading.file, {**layout, 'auto_detect': 'true'})}")
        found = [str(row[0]).lower() for row in rows]
        if rows and found != [name.lower() for name in names]:
            what = "JSON files with structs whose fields are not in the order of the attributes"
            report_rejected_file(reading.session, reading.table, f"{what}: {', '.join(names)}")
    elif "variant" not in kinds:
        names = [typed.attribute.name for typed in reading.attributes if typed.attribute.array and typed.type != "VARCHAR[]"]
        relation = build_call("read_json", reading.file, layout, dict.fromkeys(names, "VARCHAR"))
        given = " OR ".join(f"{quote(name)} IS NOT NULL" for name in names)
        if names and fetch_rows(f"SELECT 1 FROM {relation} WHERE {given} LIMIT 1"):
            report_rejected_file(reading.session, reading.table, f"JSON arrays whose items are not strings: {', '.join(names)}")


def _check_keys(reading: Reading) -> None:
    """Reject a file whose objects, or structs in them, have keys, but none that is an attribute.

    Every value would be missing. When it casts such structs, DuckDB rejects them, and so does Starlake.

    Raises:
        BadFile: the file contains such objects, and no others.
    """
    attributes = [typed.attribute for typed in (*reading.in_file, *reading.changed)]
    if not attributes or _is_whole_document(reading):
        return
    unknown = _list_fields((), attributes)
    file = encodings.make_readable(reading.file, reading.codec, reading.scratch)
    parameters = {"format": _quote_layout(reading)}
    parameters |= {name: size for name, size in read_options(reading.table, "read_json").items() if name == "maximum_object_size"}
    objects = build_call("read_json_objects", file, parameters)
    found: dict[_Path, list[str]] = {}
    # In most files, the first objects have each struct.
    for relation in (f"(SELECT json FROM {objects} LIMIT {_ENOUGH})", objects):
        sums = []
        for path, names in unknown.items():
            keys, fields = _write_keys(path), ", ".join(map(quote_literal, names))
            sums += [f"coalesce(bool_or(list_has_any({keys}, [{fields}])), false)", f"any_value({keys}) FILTER (len({keys}) > 0)"]
        for row in fetch_rows(f"SELECT {', '.join(sums)} FROM {relation}"):
            found = {path: keys for path, is_known, keys in zip(unknown, row[::2], row[1::2], strict=True) if not is_known}
            unknown = {path: unknown[path] for path in found}
        if not unknown:
            return
    for path, others in found.items():
        if others:
            raise bad_values.explain_other_columns(reading, others, ".".join(name for name, _ in path), unknown[path])


_Path = tuple[tuple[str, bool], ...]
"""The keys that lead to objects, from the outside in, and whether each has an array of them."""


def _list_fields(path: _Path, attributes: Sequence[Attribute]) -> dict[_Path, list[str]]:
    """Return the names of attributes, and those of the structs below them, by the path of their objects."""
    found = {path: [attribute.name for attribute in attributes]}
    for attribute in attributes:
        if attribute.attributes:
            found |= _list_fields((*path, (attribute.name, attribute.array)), attribute.attributes)
    return found


def _write_keys(path: _Path) -> str:
    """Return the SQL of the keys that the objects at a path have."""
    steps = "".join(f"{_write_step(name)}{'[*]' if array else ''}" for name, array in path)
    keys = f"json_keys(json, {quote_literal(f'${steps}')})"
    return f"flatten({keys})" if any(array for _, array in path) else keys


def _write_step(name: str) -> str:
    r"""Return a key as a part of a JSON path, in which a backslash escapes quotes."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'."{escaped}"'


def _begins_with_mark(reading: Reading) -> bool:
    with encodings.open_bytes(reading.file) as data:
        return data.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def _describe_source(reading: Reading, *, all_text: bool) -> Source:
    table = reading.table
    project = reading.session.project
    file = encodings.make_readable(reading.file, reading.codec, reading.scratch)
    attributes = [*reading.in_file, *reading.changed]
    parameters = {"format": _quote_layout(reading), **read_options(table, "read_json")}
    if not attributes or _is_whole_document(reading):
        objects = build_call("read_json_objects", file, parameters)
        if not attributes:
            return Source(objects, {})
        name = attributes[0].attribute.name
        return Source(f"(SELECT json AS {quote(name)} FROM {objects})", {name: quote(name)})
    texts = set()
    types = {}
    for typed in attributes:
        name = typed.attribute.name
        is_scalar = typed.definition is not None and not typed.attribute.array
        if is_scalar and (all_text or get_rule(project, table, typed).from_text):
            texts.add(name)
        types[name] = "VARCHAR" if name in texts else "JSON" if all_text else get_read_type(project, table, typed)
    return Source(build_call("read_json", file, parameters, types), {name: quote(name) for name in types}, frozenset(texts))


def _is_whole_document(reading: Reading) -> bool:
    """Return whether the only attribute receives each object as a whole."""
    attributes = [*reading.in_file, *reading.changed]
    return len(attributes) == 1 and attributes[0].definition is not None and attributes[0].definition.primitive == "variant"


def _get_layout(reading: Reading) -> str:
    metadata = reading.table.metadata
    if metadata.array or metadata.format == "JSON_ARRAY":
        return "array"
    return "unstructured" if metadata.multiline else "newline_delimited"


def _quote_layout(reading: Reading) -> str:
    return quote_literal(_get_layout(reading))


def _get_unit(reading: Reading) -> str:
    """Return the word for an object in messages; an empty string if objects are called by their lines."""
    return "" if _get_layout(reading) == "newline_delimited" else "object"


def explain_failure(reading: Reading) -> Exception | None:
    """Return why a file could not be loaded."""
    read = _describe_source(reading, all_text=True)
    if message := find_error(read):
        return _explain_malformed(reading, message)
    found = bad_values.find_bad_values(reading, read, unit=_get_unit(reading))
    return reading.reject_values(found) or _explain_nested(reading, read)


def _explain_nested(reading: Reading, read: Source) -> BadFile | None:
    """Return the values inside structs and arrays that are not valid for their fields, each with its path."""
    message = find_error(_describe_source(reading, all_text=False))
    if message is None:
        return None
    tests = [
        (f"{a.attribute.name}{path}".replace('"', ""), ddl, _build_leaf_test(read.columns[a.attribute.name], path, ddl))
        for a in reading.attributes
        if a.attribute.name in read.columns and (a.definition is None or a.attribute.array)
        for path, ddl in _list_leaves(reading, a.attribute, a.attribute.array)
    ]
    union = " UNION ALL ".join(f"SELECT record, {index}, {sql} AS value FROM numbered" for index, (_, _, sql) in enumerate(tests))
    query = (
        f"WITH numbered AS (SELECT row_number() OVER () AS record, * FROM {read.relation}) "
        f"SELECT * FROM ({union}) WHERE value IS NOT NULL ORDER BY ALL LIMIT {bad_values.MOST}"
    )
    unit = _get_unit(reading)
    values = [
        bad_values.make_bad_value(record, unit, f"of type {tests[index][1]}", tests[index][0], value[: bad_values.SHOWN])
        for record, index, value in (fetch_rows(query) if tests else ())
    ]
    return reading.reject_values(values) or _explain_malformed(reading, message)


def _list_leaves(reading: Reading, attribute: Attribute, array: bool) -> list[tuple[str, str]]:
    """Return the paths of an attribute's scalar fields, below the attribute, and their types."""
    project, table = reading.session.project, reading.table
    here = "[*]" if array else ""
    if not attribute.attributes:
        definition = project.types.get(attribute.type)
        return [(here, get_scalar_type(definition))] if definition is not None else []
    found = []
    for child in attribute.attributes:
        if child.attributes:
            below = _list_leaves(reading, child, child.array)
        else:
            below = [("[*]" if child.array else "", get_nested_type(project, table, child).removesuffix("[]"))]
        found += [(f"{here}{_write_step(child.name)}{path}", ddl) for path, ddl in below]
    return found


def _build_leaf_test(column: str, path: str, ddl: str) -> str:
    """Return the SQL of the first value at a path that is not valid for its type; NULL if all are valid."""
    texts = f"json_extract_string({column}, {quote_literal('$' + path)})"
    if "[*]" in path:
        return f"list_filter({texts}, lambda leaf: leaf IS NOT NULL AND TRY_CAST(leaf AS {ddl}) IS NULL)[1]"
    return f"CASE WHEN {texts} IS NOT NULL AND TRY_CAST({texts} AS {ddl}) IS NULL THEN {texts} END"


def _shorten_reason(message: str) -> str:
    """Return DuckDB's message without the file, the line, and its advice."""
    first = message[:10_000].splitlines()[0]
    if longest := re.search(r'"maximum_object_size" of (\d+) bytes exceeded', first):
        return f"an object of more than {longest.group(1)} bytes (metadata.options: maximum_object_size allows larger ones)"
    pattern = r"""^Invalid Input Error: |JSON transform error|,? ?in file "[^"]*",?|,? ?in line \d+:?"""
    return re.sub(pattern, "", first).strip(" .,:")[: 2 * bad_values.SHOWN]


def _explain_malformed(reading: Reading, message: str) -> BadFile:
    first = message[:10_000].splitlines()[0]
    line = re.search(r"in line (\d+)", first)
    hint = ""
    if _get_layout(reading) != "array" and _begins_with_array(reading):
        hint = "; the file is an array of objects: set metadata.array: true"
    number = _find_malformed_line(reading) or (int(line.group(1)) if line else 0)
    return reading.reject(_shorten_reason(message) + hint, number)


def _begins_with_array(reading: Reading) -> bool:
    with encodings.open_text(reading.file, reading.codec) as text:
        return text.read(4096).lstrip().startswith("[")


def _find_malformed_line(reading: Reading) -> int:
    """Return the first line that is not valid JSON, in a file with one value per line; 0 if there is none."""
    if _get_layout(reading) != "newline_delimited":
        return 0
    number = 1
    with encodings.open_text(reading.file, reading.codec) as text:
        try:
            for line in read_lines(text, _LONGEST_OBJECT):
                if line.strip():
                    json.loads(line)
                number += 1
        except LineTooLong as error:
            return error.line
        except (ValueError, RecursionError):
            return number
    return 0
