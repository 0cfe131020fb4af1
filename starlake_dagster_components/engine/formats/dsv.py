"""DSV files: one record per line, fields between separators. Starlake: DuckDbNativeLoader, format DSV."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from ...errors import did_you_mean
from ...project.model import Table
from ..ddl import TypedAttribute
from ..engine_errors import BadFile, BadSetting, BadValue
from ..instances import lend_instance
from ..sqltext import quote, quote_literal
from ..values import get_rule
from . import bad_values, encodings
from .records import read_records
from .source import Reading, Source

_LONGEST_SEPARATOR = 4
"""Bytes of a separator that DuckDB takes."""
_NATIVE = {"iso8859-1": "latin-1", "utf-16": "utf-16"}
_UNIT = "\x1f"
"""Stands for a separator that is too long."""


def describe_source(reading: Reading) -> Source:
    """Return how a DSV file is read."""
    return _describe_source(reading, all_text=False)


def _describe_source(reading: Reading, *, all_text: bool) -> Source:
    table = reading.table
    codec = encodings.get_codec(table)
    names = _find_columns(reading, codec)
    file, separator, native = _make_readable(reading, codec)
    attributes = {a.attribute.name: a for a in reading.in_file}
    scripted = {a.attribute.name.lower() for a in reading.attributes if a.attribute.script}
    texts = {
        name for name, a in attributes.items() if all_text or a.definition is None or get_rule(reading.session.project, table, a).from_text
    } | scripted
    types = {name: "VARCHAR" if name in texts or name not in attributes else attributes[name].type for name in names}
    parameters = _build_parameters(table, separator, native)
    if table.metadata.empty_is_null is False and not table.metadata.null_value:
        kept = [name for name in names if name in attributes and attributes[name].is_text]
        if kept:
            parameters["force_not_null"] = "[" + ", ".join(map(quote_literal, kept)) + "]"
    parameters.update(_read_options(table))
    skipped = None
    if parameters.get("ignore_errors", "").strip("'").lower() == "true" and not all_text:
        parameters.update(store_rejects="true", rejects_table="'sl_rejects'", rejects_scan="'sl_rejects_scan'", rejects_limit="0")
        parameters.pop("ignore_errors")
        skipped = "SELECT count(DISTINCT line) FROM sl_rejects"
    if all_text:
        parameters = {k: v for k, v in parameters.items() if k not in ("store_rejects", "ignore_errors")}
    relation = f"read_csv([{quote_literal(str(file))}], {', '.join(f'{k} = {v}' for k, v in parameters.items())}, columns = {_format_struct(types)})"
    columns = {name: quote(name) if name in types else "NULL" for name in attributes}
    return Source(relation, columns, frozenset(texts), skipped)


def _format_struct(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quote_literal(name)}: {quote_literal(ddl)}" for name, ddl in types.items()) + "}"


def _build_parameters(table: Table, separator: str, encoding: str | None) -> dict[str, str]:
    metadata = table.metadata
    parameters = {
        "delim": quote_literal(separator),
        "header": "true" if has_header(table) else "false",
        "quote": quote_literal(_get_quote(table)),
        "escape": quote_literal(_get_escape(table)),
        "nullstr": quote_literal(metadata.null_value or ""),
        # What DuckDB guesses to be comments would be dropped silently.
        "comment": "''",
    }
    if encoding:
        parameters["encoding"] = quote_literal(encoding)
    return parameters


def _read_options(table: Table) -> dict[str, str]:
    """Return ``metadata.options``: parameters of read_csv."""
    options = {}
    for name, text in table.metadata.options.items():
        if not re.fullmatch(r"[A-Za-z_]+", name):
            raise BadSetting(table.origin.at("metadata.options"), f"option '{name}' is not a parameter of DuckDB's read_csv")
        options[name.lower()] = quote_literal(str(text))
    return options


def has_header(table: Table) -> bool:
    """Say whether files begin with the names of their columns. Starlake: yes unless the metadata says otherwise."""
    return table.metadata.with_header is not False


def get_separator(table: Table) -> str:
    r"""Return the text between fields. Starlake: ``;``; the two characters ``\t`` are a tab."""
    written = table.metadata.separator
    return ";" if written is None or written == "" else written.replace("\\t", "\t")


def _get_quote(table: Table) -> str:
    return _check_character(table, "quote", table.metadata.quote, '"')


def _get_escape(table: Table) -> str:
    return _check_character(table, "escape", table.metadata.escape, "\\")


def _check_character(table: Table, key: str, written: str | None, default: str) -> str:
    if written is None:
        return default
    if len(written) > 1:
        raise BadSetting(table.origin.at(f"metadata.{key}"), f"{key} must be one character, not '{written}'")
    return written


def _find_columns(reading: Reading, codec: str) -> list[str]:
    """Return the attribute names of a file's columns, in the file's order.

    Raises:
        BadFile: the file is empty, or its header lacks a column or has one too many.
    """
    table = reading.table
    expected = [a.attribute.name for a in reading.in_file]
    if not has_header(table):
        if reading.file.stat().st_size == 0:
            raise BadFile(str(reading.file), "the file is empty")
        return expected
    header = _read_header(reading, codec)
    if header is None:
        raise BadFile(
            str(reading.file), f"the file is empty; its first line should name the columns: {get_separator(table).join(expected)}"
        )
    line, names = header
    known = {a.attribute.name.lower(): a.attribute.name for a in reading.attributes}
    exact = {a.attribute.name for a in reading.attributes}
    found = [name if name in exact else known.get(name.lower(), name) for name in names]
    problems = [
        BadValue(line, "", None, f"the header names the column '{name}', which {table.full_name} does not have{did_you_mean(name, exact)}")
        for name, attribute in zip(names, found, strict=True)
        if attribute not in exact
    ]
    problems += [
        BadValue(line, "", None, f"the header names the column '{name}' twice") for name in dict.fromkeys(found) if found.count(name) > 1
    ]
    defaults = {a.attribute.name for a in reading.attributes if a.attribute.default is not None}
    problems += [
        BadValue(line, "", None, f"the header lacks the column '{name}' of {table.full_name}")
        for name in expected
        if name not in found and name not in defaults
    ]
    if problems:
        raise BadFile(str(reading.file), "the header is not that of the table", problems)
    return found


def _read_header(reading: Reading, codec: str) -> tuple[int, list[str]] | None:
    skip = int(str(reading.table.metadata.options.get("skip", "0")) or 0)
    # Bytes that are not valid in this encoding are reported when the file is read.
    with encodings.open_text(reading.file, codec, errors="replace") as text:
        for _ in range(skip):
            text.readline()
        found = read_records(text, get_separator(reading.table), _get_quote(reading.table), _get_escape(reading.table))
        first = next(found, None)
    if first is None:
        return None
    line, fields, _ = first
    return line + skip, [name.strip() for name in fields]


def _make_readable(reading: Reading, codec: str) -> tuple[Path, str, str | None]:
    """Return the file to read, its separator and the encoding to give to DuckDB."""
    separator = get_separator(reading.table)
    if len(separator.encode()) > _LONGEST_SEPARATOR:
        return _write_short_separators(reading, codec, separator), _UNIT, None
    file = encodings.make_readable(reading.file, codec, reading.scratch, native=frozenset(_NATIVE))
    return file, separator, _NATIVE.get(codec) if file == reading.file else None


def _write_short_separators(reading: Reading, codec: str, separator: str) -> Path:
    """Write a copy with a separator that DuckDB takes; lines stay the same lines."""
    copy = reading.scratch.file(reading.file.name.removesuffix(".gz"))
    quote, escape = _get_quote(reading.table), _get_escape(reading.table)
    mark = quote or '"'
    try:
        with encodings.open_text(reading.file, codec) as text, copy.open("w", encoding="utf-8", newline="") as out:
            for _, fields, quotes in read_records(text, separator, quote, escape):
                out.write(
                    _UNIT.join(
                        mark + _escape_field(field, mark, escape) + mark
                        if was or _UNIT in field or "\n" in field or "\r" in field
                        else field
                        for field, was in zip(fields, quotes, strict=True)
                    )
                    + "\n"
                )
    except UnicodeError as error:
        raise BadFile(str(reading.file), f"bytes that are not {codec} text: {error}") from error
    return copy


def _escape_field(field: str, quote: str, escape: str) -> str:
    sign = escape or quote
    if sign != quote:
        field = field.replace(sign, sign + sign)
    return field.replace(quote, sign + quote)


def explain_failure(reading: Reading) -> Exception | None:
    """Return why a file could not be loaded: lines of the wrong length first, then bad values."""
    codec = encodings.get_codec(reading.table)
    line = encodings.find_bad_line(reading.file, codec)
    if line is not None:
        hint = "" if reading.table.metadata.encoding else "; metadata.encoding says how the file is encoded"
        return BadFile(str(reading.file), "the file cannot be read", [BadValue(line, "", None, f"bytes that are not {codec} text{hint}")])
    try:
        broken = _find_broken_lines(reading)
        if broken:
            return BadFile(str(reading.file), "the file does not fit the table", broken[:-1] if len(broken) > bad_values.MOST else broken)
        read = _describe_source(reading, all_text=True)
    except BadFile as error:
        return error
    found = bad_values.find_bad_values(reading, read)
    if not found:
        return None
    return BadFile(str(reading.file), "the file has bad values", _add_lines(reading, found))


def _find_broken_lines(reading: Reading) -> list[BadValue]:
    """Return what DuckDB cannot even split into fields."""
    read = _describe_source(reading, all_text=True)
    more = "auto_detect = false, store_rejects = true, rejects_table = 'sl_broken', rejects_scan = 'sl_broken_scan', rejects_limit = 20"
    relation = read.relation.replace(", columns = {", f", {more}, columns = {{", 1)
    with lend_instance() as lent:
        try:
            lent.connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
            rows = lent.connection.execute(
                "SELECT line, any_value(error_message), any_value(csv_line), any_value(error_type) FROM sl_broken GROUP BY line ORDER BY line"
            ).fetchall()
        except duckdb.Error as error:
            return [BadValue(_parse_line(str(error)), "", None, str(error).splitlines()[0])]
    return [BadValue(int(line), "", None, _explain_line(message, kind), (text or "")[:200]) for line, message, text, kind in rows]


def _explain_line(message: str, kind: str) -> str:
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if counts:
        return f"{counts.group(1)} fields expected, {counts.group(2)} found"
    return message.splitlines()[0] if message else kind.lower()


def _parse_line(message: str) -> int:
    found = re.search(r"Line: (\d+)", message)
    return int(found.group(1)) if found else 0


def _add_lines(reading: Reading, found: Sequence[tuple[int, TypedAttribute, str | None, str]]) -> list[BadValue]:
    """Turn numbers of records into numbers of lines."""
    wanted = {number for number, *_ in found}
    lines: dict[int, int] = {}
    table = reading.table
    codec = encodings.get_codec(table)
    with encodings.open_text(reading.file, codec, errors="replace") as text:
        number = 0 if has_header(table) else 1
        for line, _, _ in read_records(text, get_separator(table), _get_quote(table), _get_escape(table)):
            if number in wanted:
                lines[number] = line
                if len(lines) == len(wanted):
                    break
            number += 1
    return [BadValue(lines.get(number, 0), a.attribute.name, value, kind) for number, a, value, kind in found]
