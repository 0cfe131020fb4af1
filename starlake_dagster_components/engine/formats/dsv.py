"""DSV files: one record per line, fields between separators. Starlake: DuckDbNativeLoader, format DSV."""

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from ...errors import suggest_name
from ...project.model import Table
from ..casts import normalize_type
from ..ddl import TypedAttribute
from ..engine_errors import BadFile, BadSetting, BadValue
from ..instances import lend_instance
from ..rejected_by_starlake import report_rejected_dsv
from ..sqltext import quote, quote_literal
from ..values import get_rule
from . import bad_values, encodings
from .records import LONGEST_LINE, LineEnds, LineTooLong, read_records, split_record
from .separators import LONGEST as LONGEST_SEPARATOR
from .separators import shorten_separators
from .source import Reading, Source, is_compressed, quote_file, read_options

_MOST_COLUMNS = 10_000

_NATIVE = {"iso8859-1": "latin-1", "utf-16": "utf-16"}
_READ_AS_THEY_ARE = frozenset(
    {
        *("VARCHAR", "DOUBLE", "FLOAT", "DECIMAL", "BOOLEAN", "DATE", "TIME", "TIMESTAMP", "UUID", "TINYINT", "SMALLINT", "INTEGER"),
        *("BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    }
)
"""Types whose bad values read_csv rejects. Those of others become NULL (times with a zone), so these are read as text and cast."""
_rejects = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _First:
    """The first record of a file that is not a blank line.

    Attributes:
        line: line on which it begins.
        fields: its fields.
        line_end: its line end in the notation of read_csv, if DuckDB could mistake a line end within quotes for it; otherwise None.
    """

    line: int
    fields: list[str]
    line_end: str | None


@dataclass(frozen=True, slots=True)
class _Readable:
    """A file in a form that DuckDB can read.

    Attributes:
        file: the file, or a copy of it.
        separator: the text between its fields.
        encoding: DuckDB's name for its encoding; None for UTF-8.
        is_in_values: whether values may contain this separator in place of the table's.
    """

    file: Path
    separator: str
    encoding: str | None
    is_in_values: bool = False


def describe_source(reading: Reading) -> Source:
    """Return the source that reads a DSV file."""
    codec = encodings.get_codec(reading.table)
    try:
        encodings.check_file(reading.file, codec, _get_longest_line(reading.table))
    except LineTooLong as error:
        raise _explain_long_line(reading, error.line) from error
    source = _describe_source(reading, all_text=False)
    absent = [a.attribute.name for a in reading.attributes if source.raws.get(a.attribute.name, "NULL") == "NULL"]
    report_rejected_dsv(reading.session, reading.table, absent, "" if encodings.is_ascii(reading.file, codec) else codec)
    return source


def _describe_source(reading: Reading, *, all_text: bool, readable: _Readable | None = None) -> Source:
    table = reading.table
    project = reading.session.project
    _check_separator(table)
    first = _read_first_record(reading, encodings.get_codec(table))
    names = _find_columns(reading, first)
    readable = readable or _make_readable(reading)
    attributes = {a.attribute.name: a for a in reading.attributes if not a.attribute.script or a.attribute.name in names}
    texts = {name for name, a in attributes.items() if all_text or not _is_read_as_it_is(a) or get_rule(project, table, a).from_text}
    types = {name: "VARCHAR" if name in texts or name not in attributes else attributes[name].type for name in names}
    parameters = _build_parameters(table, readable)
    if first is not None and first.line_end:
        parameters["new_line"] = quote_literal(first.line_end)
    options = read_options(table, "read_csv")
    parameters.update(options)
    ignoring = parameters.pop("ignore_errors", "").strip("'").lower() == "true" and not all_text
    rejects = f"sl_rejects_{next(_rejects)}"
    if ignoring:
        parameters.update(store_rejects="true", rejects_table=f"'{rejects}'", rejects_scan=f"'{rejects}_scan'", rejects_limit="0")
    written = ", ".join(f"{k} = {v}" for k, v in parameters.items())
    relation = f"read_csv({quote_file(readable.file)}, {written}, columns = {_format_struct(types)})"
    if readable.is_in_values:
        strings = [name for name, ddl in types.items() if ddl == "VARCHAR"]
        relation = _restore_separators(relation, strings, readable.separator, get_separator(table))
    raws = {name: quote(name) if name in types else "NULL" for name in attributes}
    moments = options.get("timestampformat")
    columns = {
        name: _parse_moment(raw, moments, all_text) if moments and raw != "NULL" and _has_zone(attributes[name]) else raw
        for name, raw in raws.items()
    }
    if table.metadata.empty_is_null is False and not table.metadata.null_value:
        # Not force_not_null: DuckDB applies it to the wrong columns if not all are selected.
        columns |= {name: f"coalesce({columns[name]}, '')" for name in names if name in attributes and attributes[name].is_text}
    read = Source(relation, columns, frozenset(texts), raws)
    return _leave_out_bad_rows(reading, read, rejects) if ignoring else read


def _is_read_as_it_is(typed: TypedAttribute) -> bool:
    return typed.definition is not None and re.sub(r"\(\d.*\)$", "", normalize_type(typed.type)) in _READ_AS_THEY_ARE


def _has_zone(typed: TypedAttribute) -> bool:
    return normalize_type(typed.type) == "TIMESTAMP WITH TIME ZONE"


def _parse_moment(raw: str, layout: str, lenient: bool) -> str:
    """Return the SQL of a string that a time with a zone can be cast from. read_csv applies its option only to times without a zone."""
    return f"CAST({'try_strptime' if lenient else 'strptime'}({raw}, {layout}) AS VARCHAR)"


def _leave_out_bad_rows(reading: Reading, read: Source, rejects: str) -> Source:
    """Leave out the rows with bad values in columns that are cast, as read_csv does for the other columns, and count all of them."""
    tests = [test.bad for test in bad_values.list_tests(reading, read) if test.expected and test.typed.in_table is None]
    skipped = f"SELECT count(DISTINCT line) FROM {rejects}"
    if not tests:
        return replace(read, skipped=skipped)
    bad = " OR ".join(f"coalesce({test}, false)" for test in tests)
    return replace(
        read,
        relation=f"(SELECT * FROM {read.relation} WHERE NOT ({bad}))",
        skipped=f"SELECT (SELECT count(*) FROM {read.relation} WHERE {bad}) + ({skipped})",
    )


def _format_struct(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quote_literal(name)}: {quote_literal(ddl)}" for name, ddl in types.items()) + "}"


def _build_parameters(table: Table, readable: _Readable) -> dict[str, str]:
    metadata = table.metadata
    for key, sign in (("quote", _get_quote(table)), ("escape", _get_escape(table)), ("separator", get_separator(table))):
        if sign and metadata.null_value and sign in metadata.null_value:
            reason = f"nullValue '{metadata.null_value}' must not contain the {key} ('{sign}'); set metadata.{key} to another character"
            raise BadSetting(table.origin.locate("metadata.nullValue"), reason)
    parameters = {
        "delim": quote_literal(readable.separator),
        "header": "true" if has_header(table) else "false",
        "quote": quote_literal(_get_quote(table)),
        "escape": quote_literal(_get_escape(table)),
        "nullstr": quote_literal(metadata.null_value or ""),
        # Otherwise, lines that DuckDB takes for comments would be dropped silently.
        "comment": "''",
        "max_line_size": str(LONGEST_LINE),
    }
    parameters["compression"] = "'gzip'" if is_compressed(readable.file) else "'none'"
    parameters["hive_partitioning"] = "false"
    if readable.encoding:
        parameters["encoding"] = quote_literal(readable.encoding)
    return parameters


def _check_separator(table: Table) -> None:
    """Raise an error for a separator that DuckDB rejects.

    Raises:
        BadSetting: it contains the quote, the escape, or a line end.
    """
    separator = get_separator(table)
    for key, sign in (("quote", _get_quote(table)), ("escape", _get_escape(table)), ("line end", "\n"), ("line end", "\r")):
        if sign and sign in separator:
            raise BadSetting(table.origin.locate("metadata.separator"), f"separator {separator!r} must not contain the {key}")


def has_header(table: Table) -> bool:
    """Return whether files begin with the names of their columns. In Starlake, they do unless the metadata says otherwise."""
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
        raise BadSetting(table.origin.locate(f"metadata.{key}"), f"{key} must be one character, not '{written}'")
    return written


def _find_columns(reading: Reading, first: _First | None) -> list[str]:
    """Return the names of the attributes in the order of a file's columns.

    Raises:
        BadFile: the file is empty, or its header lacks a column or contains an unknown one.
    """
    table = reading.table
    expected = [a.attribute.name for a in reading.in_file]
    if not has_header(table):
        if first is None and encodings.is_empty(reading.file):
            raise BadFile(str(reading.file), "the file is empty")
        return _choose_columns(reading, len(first.fields) if first else 0)
    if first is None:
        raise BadFile(
            str(reading.file), f"the file is empty; its first line should name the columns: {get_separator(table).join(expected)}"
        )
    line = first.line
    names = [name.strip() for name in first.fields]
    if len(names) > 1 and not names[-1]:
        # A separator at the end of each line.
        names.pop()
    known = {a.attribute.name.lower(): a.attribute.name for a in reading.attributes}
    exact = {a.attribute.name for a in reading.attributes}
    found = [name if name in exact else known.get(name.lower(), name) for name in names]
    problems = [
        BadValue(
            line,
            "",
            None,
            f"the header names the column '{_cut(name)}', which {table.full_name} does not have{suggest_name(name[:100], exact)}",
        )
        for name, attribute in zip(names[:_MOST_COLUMNS], found, strict=False)
        if attribute not in exact
    ]
    counts = Counter(found)
    problems += [
        BadValue(line, "", None, f"the header names the column '{_cut(name)}' twice") for name, count in counts.items() if count > 1
    ]
    defaults = {a.attribute.name for a in reading.attributes if a.attribute.default is not None}
    problems += [
        BadValue(line, "", None, f"the header lacks the column '{name}' of {table.full_name}")
        for name in expected
        if name not in counts and name not in defaults
    ]
    if problems:
        raise BadFile(str(reading.file), "the header does not match the table", problems)
    return found


def _choose_columns(reading: Reading, count: int) -> list[str]:
    """Return the columns of a file without a header. The file may or may not contain those that a script computes or changes."""
    kept = {id(a) for a in reading.in_file}
    changed = kept | {id(a) for a in reading.changed}
    every = {id(a) for a in reading.attributes}
    chosen = next((ids for ids in (changed, kept, every) if len(ids) == count), changed)
    return [a.attribute.name for a in reading.attributes if id(a) in chosen]


def _cut(text: str) -> str:
    return text if len(text) <= bad_values.SHOWN else f"{text[: bad_values.SHOWN]}..."


def _read_first_record(reading: Reading, codec: str) -> _First | None:
    table = reading.table
    skip = _get_skip(table)
    separator, quote, escape = get_separator(table), _get_quote(table), _get_escape(table)
    try:
        # Bytes that are not valid in this encoding are reported when the file is read.
        with encodings.open_text(reading.file, codec, errors="replace") as text:
            lines = LineEnds(text)
            for _ in range(skip):
                lines.readline(LONGEST_LINE)
            found = next(read_records(lines, separator, quote, escape, longest=_get_longest_line(table)), None)
    except LineTooLong as error:
        raise _explain_long_line(reading, error.line + skip) from error
    if found is None:
        return None
    line, record = found
    if "\ufffd" in record and (broken := _find_undecodable(reading, codec)):
        raise broken
    hidden = lines.last and ("\n" in record or "\r" in record)
    end = lines.last.replace("\r", "\\r").replace("\n", "\\n") if hidden else None
    return _First(line + skip, split_record(record, separator, quote, escape), end)


def _get_skip(table: Table) -> int:
    written = str(table.metadata.options.get("skip", "")).strip()
    return int(written) if written.isdigit() else 0


def _get_longest_line(table: Table) -> int:
    written = str(table.metadata.options.get("max_line_size", ""))
    return int(written) if written.isdigit() else LONGEST_LINE


def _explain_long_line(reading: Reading, line: int) -> BadFile:
    reason = _describe_long_line(_get_longest_line(reading.table))
    return BadFile(str(reading.file), "the file cannot be read", [BadValue(line, "", None, reason)])


def _describe_long_line(longest: int) -> str:
    return f"a line of more than {longest} characters (metadata.options: max_line_size allows longer ones)"


def _make_readable(reading: Reading) -> _Readable:
    """Return a form of a file that DuckDB can read."""
    table = reading.table
    codec = encodings.get_codec(table)
    separator = get_separator(table)
    if len(separator.encode()) > LONGEST_SEPARATOR:
        file = encodings.make_readable(reading.file, codec, reading.scratch)
        copy, short, within = shorten_separators(file, separator, _get_quote(table), reading.scratch)
        return _Readable(copy, short, None, within)
    file = encodings.make_readable(reading.file, codec, reading.scratch, native=frozenset(_NATIVE))
    return _Readable(file, separator, _NATIVE.get(codec) if file == reading.file else None)


def _restore_separators(relation: str, names: Sequence[str], short: str, separator: str) -> str:
    """Return a relation in whose values the short separator is replaced by the table's separator."""
    if not names:
        return relation
    parts = (f"replace({quote(name)}, {quote_literal(short)}, {quote_literal(separator)}) AS {quote(name)}" for name in names)
    return f"(SELECT * REPLACE ({', '.join(parts)}) FROM {relation})"


def explain_failure(reading: Reading) -> Exception | None:
    """Return why a file could not be loaded: lines of the wrong length first, then bad values."""
    codec = encodings.get_codec(reading.table)
    if undecodable := _find_undecodable(reading, codec):
        return undecodable
    try:
        readable = _make_readable(reading)
        read = _describe_source(reading, all_text=True, readable=readable)
        broken = _find_other_line_end(reading, codec) or _find_broken_lines(reading, read, readable)
        if broken:
            return BadFile(str(reading.file), "the file does not match the table", broken)
    except BadFile as error:
        return error
    except LineTooLong as error:
        return _explain_long_line(reading, error.line)
    found = bad_values.find_bad_values(reading, read)
    if found:
        return BadFile(str(reading.file), "the file has bad values", _add_lines(reading, found))
    first = _read_first_record(reading, codec)
    if has_header(reading.table) and first is not None and len(first.fields) > 1 and not first.fields[-1]:
        return BadFile(
            str(reading.file), "", [BadValue(first.line, "", None, "the header ends with a separator, but the other lines do not")]
        )
    return None


def _find_undecodable(reading: Reading, codec: str) -> BadFile | None:
    line = encodings.find_bad_line(reading.file, codec)
    if line is None:
        return None
    hint = "" if reading.table.metadata.encoding else "; metadata.encoding says how the file is encoded"
    return BadFile(str(reading.file), "the file cannot be read", [BadValue(line, "", None, f"bytes that are not {codec} text{hint}")])


def _find_other_line_end(reading: Reading, codec: str) -> list[BadValue]:
    """Return the first line whose line end differs from those before it. DuckDB reads only files with a single kind of line end."""
    if not encodings.has_mixed_line_ends(reading.file, codec):
        return []
    table = reading.table
    shown = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}
    usual = ""
    with encodings.open_text(reading.file, codec, errors="replace") as text:
        lines = LineEnds(text)
        for line, _ in read_records(lines, get_separator(table), _get_quote(table), _get_escape(table), longest=_get_longest_line(table)):
            end = lines.last
            if end and usual and end != usual:
                reason = f"the line ends with {shown[end]}, those before it with {shown[usual]}: a file must have a single kind of line end"
                return [BadValue(line, "", None, reason)]
            usual = usual or end
    return []


def _find_broken_lines(reading: Reading, read: Source, readable: _Readable) -> list[BadValue]:
    """Return the lines that DuckDB cannot even split into fields."""
    limit = f"rejects_limit = {bad_values.MOST}"
    more = f"auto_detect = false, store_rejects = true, rejects_table = 'sl_broken', rejects_scan = 'sl_broken_scan', {limit}"
    relation = read.relation.replace(", columns = {", f", {more}, columns = {{", 1)
    with lend_instance() as lent:
        try:
            lent.connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
            rows = lent.connection.execute(
                f"SELECT line, left(any_value(error_message), 1000), left(any_value(csv_line), {bad_values.SHOWN}), any_value(error_type) "
                "FROM sl_broken GROUP BY line ORDER BY line"
            ).fetchall()
        except duckdb.Error as error:
            message = str(error)[:10_000]
            return [BadValue(_parse_line(message), "", None, _explain_line(message, ""))]
    separators = (readable.separator, get_separator(reading.table))
    return [
        BadValue(int(line), "", None, _explain_line(message, kind), (text or "").replace(*separators)) for line, message, text, kind in rows
    ]


def _explain_line(message: str, kind: str) -> str:
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if counts:
        return f"{counts.group(1)} fields expected, {counts.group(2)} found"
    longest = re.search(r"Maximum line size of (\d+)", message)
    if longest:
        return _describe_long_line(int(longest.group(1)))
    return _cut(message.splitlines()[0]).rstrip(".") if message else kind.lower()


def _parse_line(message: str) -> int:
    found = re.search(r"Line: (\d+)", message)
    return int(found.group(1)) if found else 0


def _add_lines(reading: Reading, found: Sequence[tuple[int, TypedAttribute, str | None, str]]) -> list[BadValue]:
    """Convert record numbers to line numbers."""
    wanted = {number for number, *_ in found}
    lines: dict[int, int] = {}
    table = reading.table
    codec = encodings.get_codec(table)
    single = len(_find_columns(reading, _read_first_record(reading, codec))) == 1
    skip = _get_skip(table)
    with encodings.open_text(reading.file, codec, errors="replace") as text, contextlib.suppress(LineTooLong):
        for _ in range(skip):
            text.readline(LONGEST_LINE)
        begun = False
        number = 0 if has_header(table) else 1
        records = read_records(
            text, get_separator(table), _get_quote(table), _get_escape(table), blank=single, longest=_get_longest_line(table)
        )
        for line, record in records:
            if not begun and not record:
                # Blank lines before the first record are not records.
                continue
            begun = True
            if number in wanted:
                lines[number] = line + skip
                if len(lines) == len(wanted):
                    break
            number += 1
    return [BadValue(lines.get(number, 0), a.attribute.name, value, kind) for number, a, value, kind in found]
