"""JSON files: one object per line, an array of objects, or objects over several lines.

Starlake: DuckDbNativeLoader, formats JSON and JSON_FLAT.
"""

import codecs
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...project.model import Attribute
from ..ddl import get_nested_type, get_scalar_type
from ..engine_errors import BadFile, BadValue
from ..instances import lend_instance
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
_BATCH = 1000
"""Number of lines that are checked at once."""
_EXACT = 16
"""Length of a number with a point or an exponent up to which a double is exact."""
_LONG, _TOO_LONG = "'[1-9][0-9.]{15,}[1-9]'", "'[1-9][0-9.]{17,}[1-9]'"
"""Patterns of numbers that may have more digits than a double, and of those that have more."""
_NUMBERS = r"\s*:\s*(\[[^\[\]{}\"]*\]|-?[0-9][0-9.eE+-]*)"
"""Pattern of what follows a key whose value is a number or an array of numbers."""


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
    _check_decimals(reading)
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
    objects = _call_objects(reading)
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


def _check_decimals(reading: Reading) -> None:
    """Reject a file with numbers for a decimal attribute that have more digits than a double, as which DuckDB reads them.

    Raises:
        BadFile: the file contains such numbers. In strings, they are exact.
    """
    attributes = [typed.attribute for typed in (*reading.in_file, *reading.changed)]
    decimals = list(dict.fromkeys(_list_decimals(reading, attributes, "$")))
    if not decimals:
        return
    objects = _call_objects(reading)
    # Regular expressions with groups are slow. In most files, each number is written as DuckDB writes it, or has few digits.
    changed = " OR ".join([f"regexp_matches(json, {_TOO_LONG})", *dict.fromkeys(_build_change_test(path) for path, _, _ in decimals)])
    numbered = f"SELECT row_number() OVER () AS record, CAST(json AS VARCHAR) AS json FROM {objects}"
    chosen = f"SELECT * FROM ({numbered}) WHERE regexp_matches(json, {_LONG}) AND ({changed})"
    if not fetch_rows(f"{chosen} LIMIT 1"):
        return
    tests = []
    for index, (_, name, ddl) in enumerate(decimals):
        key = re.escape(json.dumps(name, ensure_ascii=False))
        values = f"regexp_extract_all(json, {quote_literal(key + _NUMBERS)}, 1)"
        numbers = f"flatten(list_transform({values}, lambda value: regexp_extract_all(value, '-?[0-9][0-9.eE+-]*')))"
        test = f"TRY_CAST(number AS {ddl}) IS DISTINCT FROM TRY_CAST(CAST(TRY_CAST(number AS DOUBLE) AS VARCHAR) AS {ddl})"
        lossy = f"list_filter({numbers}, lambda number: length(number) > {_EXACT} AND regexp_matches(number, '[.eE]') AND {test})"
        tests.append(f"SELECT record, {index}, {lossy}[1] AS found FROM chosen")
    union = " UNION ALL ".join(tests)
    query = f"WITH chosen AS ({chosen}) SELECT * FROM ({union}) WHERE found IS NOT NULL ORDER BY ALL LIMIT {bad_values.MOST}"
    expected = "exact as a number in JSON: write it as a string"
    found = [
        bad_values.make_bad_value(record, _get_unit(reading), expected, decimals[index][1], value)
        for record, index, value in fetch_rows(query)
    ]
    if rejected := _reject_values(reading, found):
        raise rejected


def _list_decimals(reading: Reading, attributes: Sequence[Attribute], path: str) -> Iterator[tuple[str, str, str]]:
    """Yield the path, name, and type of the decimals among attributes and in the structs below them."""
    for attribute in attributes:
        definition = reading.session.project.types.get(attribute.type)
        below = f"{path}{_write_step(attribute.name)}{'[*]' if attribute.array else ''}"
        if attribute.attributes:
            yield from _list_decimals(reading, attribute.attributes, below)
        elif definition is not None and definition.primitive == "decimal" and not attribute.ignore:
            yield below, attribute.name, get_scalar_type(definition)


def _build_change_test(path: str) -> str:
    """Return the SQL condition for DuckDB to write a value at a path otherwise than the object does."""
    texts = f"json_extract_string(json, {quote_literal(path)})"
    is_changed = "NOT contains(json, {})".format
    return (
        f"len(list_filter({texts}, lambda value: {is_changed('value')})) > 0" if "[*]" in path else f"coalesce({is_changed(texts)}, false)"
    )


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


def _call_objects(reading: Reading) -> str:
    """Return the call that reads the objects of a file as JSON, with the option for larger objects, if the table has it."""
    file = encodings.make_readable(reading.file, reading.codec, reading.scratch)
    sizes = {name: size for name, size in read_options(reading.table, "read_json").items() if name == "maximum_object_size"}
    return build_call("read_json_objects", file, {"format": _quote_layout(reading)} | sizes)


def _begins_with_mark(reading: Reading) -> bool:
    with encodings.open_bytes(reading.file) as data:
        return data.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def _describe_source(reading: Reading, *, all_text: bool, lenient: bool = False) -> Source:
    """Return the source that reads a file: all values as text, or with the attributes' types. Bad values are NULL if it is ``lenient``."""
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
    # Otherwise, one value that is not an object would make every line of a table with one column a value.
    parameters.setdefault("records", "'true'")
    if lenient:
        parameters["ignore_errors"] = "true"
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
    if undecodable := reading.find_undecodable():
        return undecodable
    read = _describe_source(reading, all_text=True)
    if message := find_error(read):
        return _explain_malformed(reading, message)
    found = bad_values.find_bad_values(reading, read, unit=_get_unit(reading))
    return _reject_values(reading, found) or _explain_nested(reading, read)


def _reject_values(reading: Reading, found: Sequence[BadValue]) -> BadFile | None:
    """Return the exception for bad values of records, whose numbers become line numbers; None if there are none."""
    wanted = {value.line for value in found} - {0}
    lines = itertools.islice(_list_lines(reading), max(wanted, default=0))
    places = {record: line for record, (line, _) in enumerate(lines, 1) if record in wanted}
    return reading.reject_values([replace(value, line=places.get(value.line, 0)) for value in found])


def _list_lines(reading: Reading) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not blank, in a file with one object per line."""
    with encodings.open_text(reading.file, reading.codec) as text:
        yield from ((number, line) for number, line in enumerate(read_lines(text, _LONGEST_OBJECT), 1) if line.strip())


def _explain_nested(reading: Reading, read: Source) -> BadFile | None:
    """Return the values inside structs and arrays that are not valid for their fields, each with its path."""
    message = find_error(_describe_source(reading, all_text=False))
    tests = [
        (f"{a.attribute.name}{path}".replace('"', ""), ddl, _build_leaf_test(read.columns[a.attribute.name], path, ddl))
        for a in reading.attributes
        if a.attribute.name in read.columns and (a.definition is None or a.attribute.array)
        for path, ddl in _list_leaves(reading, a.attribute, a.attribute.array)
        # Decimals are read as text, and other fields only if they have their own rules.
        if message is not None or ddl.startswith("DECIMAL")
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
    if message is None:
        return _reject_values(reading, values)
    return _reject_values(reading, values or _find_other_kinds(reading, read)) or _explain_malformed(reading, message)


def _find_other_kinds(reading: Reading, read: Source) -> list[BadValue]:
    """Return the values that can be cast as text, but not as JSON, such as an empty string for a whole number.

    DuckDB replaces them by NULL on request, but only in files with one object per line.
    """
    cast = _describe_source(reading, all_text=False, lenient=True)
    attributes = [a for a in reading.attributes if a.attribute.name in cast.columns and a.attribute.name not in cast.texts]
    if _get_unit(reading) or not attributes:
        return []
    both = f"{read.relation} AS texts POSITIONAL JOIN {cast.relation} AS casts"
    names = [quote(a.attribute.name) for a in attributes]
    union = " UNION ALL ".join(
        f"SELECT record, {index}, CAST(raw AS VARCHAR) FROM (SELECT row_number() OVER () AS record, texts.{name} AS raw, "
        f"casts.{name} AS made FROM {both}) WHERE raw IS NOT NULL AND made IS NULL"
        for index, name in enumerate(names)
    )
    kinds = [get_rule(reading.session.project, reading.table, a).kind for a in attributes]
    return [
        bad_values.make_bad_value(record, "", kinds[index], attributes[index].attribute.name, value[: bad_values.SHOWN])
        for record, index, value in fetch_rows(f"SELECT * FROM ({union}) ORDER BY ALL LIMIT {bad_values.MOST}")
    ]


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
    number = _find_malformed_line(reading)
    if not number and line:
        # DuckDB counts lines that are not blank.
        number = next(itertools.islice((place for place, _ in _list_lines(reading)), int(line.group(1)) - 1, None), 0)
    return reading.reject(_shorten_reason(message) + hint, number)


def _begins_with_array(reading: Reading) -> bool:
    with encodings.open_text(reading.file, reading.codec) as text:
        return text.read(4096).lstrip().startswith("[")


def _find_malformed_line(reading: Reading) -> int:
    """Return the first line that DuckDB cannot parse, in a file with one value per line; 0 if there is none."""
    if _get_layout(reading) != "newline_delimited":
        return 0
    lines = _list_lines(reading)
    with lend_instance() as lent:
        try:
            while batch := list(itertools.islice(lines, _BATCH)):
                query = "SELECT list_position(list_transform(?::VARCHAR[], lambda line: json_valid(line)), false)"
                found = int(lent.connection.execute(query, [[line for _, line in batch]]).fetchall()[0][0] or 0)
                if found:
                    return batch[found - 1][0]
        except LineTooLong as error:
            return error.line
    return 0
