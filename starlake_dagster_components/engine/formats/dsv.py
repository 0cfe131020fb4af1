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
from ...project.word_sets import split_words
from ..casts import cast_text, normalize_type
from ..ddl import TypedAttribute
from ..engine_errors import BadFile, BadSetting, BadValue
from ..instances import lend_instance
from ..rejected_by_starlake import report_rejected_file, shorten_names
from ..sqltext import quote, quote_literal
from ..values import get_rule
from . import bad_values, encodings
from .line_ends import find_other_line_end
from .records import LONGEST_LINE, Layout, LineEnds, LineTooLong, read_records, split_record
from .separators import LONGEST as LONGEST_SEPARATOR
from .separators import shorten_separators
from .source import Reading, Source, build_call, fetch_rows, read_options

_MOST_COLUMNS = 10_000

_NATIVE = {"iso8859-1": "latin-1", "utf-16": "utf-16"}
_READ_AS_THEY_ARE = split_words(
    "VARCHAR DOUBLE FLOAT BOOLEAN TIME UUID TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT"
)
"""Types whose bad values read_csv rejects. Others are read as text and cast.

Bad times with a zone would become NULL. For dates, read_csv would guess a format from the first rows, and could exchange day and month.
Decimals with many digits are read slowly.
"""
_NUMBER_FORMAT = frozenset({"decimal_separator", "thousands"})
"""Options that only read_csv can apply."""
_FORMATS = {"DATE": "dateformat", "TIMESTAMP": "timestampformat", "TIMESTAMP WITH TIME ZONE": "timestampformat"}
"""Types for which an option of read_csv sets the format."""
_LONG_YEAR = r"'.*\d{4}.*'"
_DATES = ("%m{0}%d{0}%Y", "%m{0}%d{0}%y", "%d{0}%m{0}%Y", "%d{0}%m{0}%y", "%Y{0}%m{0}%d", "%y{0}%m{0}%d")
"""Formats of dates that read_csv guesses; ``{0}`` is any separator."""
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
    codec, layout = reading.codec, _read_layout(reading.table)
    try:
        encodings.check_file(reading.file, codec, layout.longest)
    except LineTooLong as error:
        raise _explain_long_line(reading, layout, error.line) from error
    source = _describe_source(reading, layout, all_text=False)
    absent = [a.attribute.name for a in reading.attributes if source.raws.get(a.attribute.name, "NULL") == "NULL"]
    if absent:
        _report_rejected(reading, f"that lack a column of an attribute: {shorten_names(absent)}")
    if not encodings.is_ascii(reading.file, codec):
        _report_rejected(reading, f"in {codec}")
    if "'" in (layout.quote, layout.escape):
        _report_rejected(reading, "whose quote or escape is a single quote")
    return source


def _report_rejected(reading: Reading, what: str) -> None:
    report_rejected_file(reading.session, reading.table, f"DSV files {what}")


def _describe_source(reading: Reading, layout: Layout, *, all_text: bool, readable: _Readable | None = None) -> Source:
    table = reading.table
    project = reading.session.project
    first = _read_first_record(reading, layout)
    names = _find_columns(reading, layout, first)
    readable = readable or _make_readable(reading, layout)
    attributes = {a.attribute.name: a for a in reading.attributes if not a.attribute.script or a.attribute.name in names}
    options = read_options(table, "read_csv")
    texts = {
        name for name, a in attributes.items() if all_text or not _is_read_as_it_is(a, options) or get_rule(project, table, a).from_text
    }
    types = {name: "VARCHAR" if name in texts or name not in attributes else attributes[name].type for name in names}
    parameters = {**_build_parameters(table, layout, readable), **options}
    if first is not None and first.line_end:
        parameters.setdefault("new_line", quote_literal(first.line_end))
    ignoring = parameters.pop("ignore_errors", "").strip("'").lower() == "true" and not all_text
    rejects = f"sl_rejects_{next(_rejects)}"
    if ignoring:
        parameters.update(store_rejects="true", rejects_table=f"'{rejects}'", rejects_scan=f"'{rejects}_scan'", rejects_limit="0")
    relation = build_call("read_csv", readable.file, parameters, types)
    strings = [name for name, ddl in types.items() if ddl == "VARCHAR"]
    if readable.is_in_values and strings:
        short, long = quote_literal(readable.separator), quote_literal(layout.separator)
        restored = ", ".join(f"replace({quote(name)}, {short}, {long}) AS {quote(name)}" for name in strings)
        relation = f"(SELECT * REPLACE ({restored}) FROM {relation})"
    raws = {name: quote(name) if name in types else "NULL" for name in attributes}
    columns = {name: _parse_moment(reading, attributes[name], raw, options, all_text or ignoring) for name, raw in raws.items()}
    if table.metadata.empty_is_null is False and not table.metadata.null_value:
        # Not force_not_null: DuckDB applies it to the wrong columns if not all are selected.
        columns |= {name: f"coalesce({columns[name]}, '')" for name in names if name in attributes and attributes[name].is_text}
    read = Source(relation, columns, frozenset(texts), raws)
    return _leave_out_bad_rows(reading, read, rejects) if ignoring else read


def _is_read_as_it_is(typed: TypedAttribute, options: Mapping[str, str]) -> bool:
    kind = re.sub(r"\(\d.*\)$", "", normalize_type(typed.type))
    return typed.definition is not None and (kind in _READ_AS_THEY_ARE or (kind == "DECIMAL" and not _NUMBER_FORMAT.isdisjoint(options)))


def _parse_moment(reading: Reading, typed: TypedAttribute, raw: str, options: Mapping[str, str], lenient: bool) -> str:
    """Return the SQL of a string that can be cast to a date or time, if its format is known; otherwise ``raw``."""
    option = _find_format_option(reading, typed, raw)
    layout = options.get(option) or reading.layouts.get(typed.attribute.name) if option else None
    if layout is None:
        return raw
    return f"CAST({'try_strptime' if lenient else 'strptime'}(nullif({raw}, ''), {layout}) AS VARCHAR)"


def _find_format_option(reading: Reading, typed: TypedAttribute, raw: str) -> str | None:
    """Return the option that sets the format of an attribute's dates or times; None for others, and if the type has a pattern."""
    option = _FORMATS.get(normalize_type(typed.type))
    if option is None or raw == "NULL" or get_rule(reading.session.project, reading.table, typed).form is not None:
        return None
    return option


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


def _build_parameters(table: Table, layout: Layout, readable: _Readable) -> dict[str, str]:
    parameters = {
        "delim": quote_literal(readable.separator),
        "header": "true" if layout.header else "false",
        "quote": quote_literal(layout.quote),
        "escape": quote_literal(layout.escape),
        "nullstr": quote_literal(table.metadata.null_value or ""),
        # Otherwise, lines that DuckDB takes for comments would be dropped silently.
        "comment": "''",
        "max_line_size": str(LONGEST_LINE),
    }
    return {**parameters, "encoding": quote_literal(readable.encoding)} if readable.encoding else parameters


def _read_layout(table: Table) -> Layout:
    r"""Return how a table's files are written. In Starlake, ``;`` is the default separator, and the two characters ``\t`` mean a tab.

    Raises:
        BadSetting: DuckDB rejects the settings.
    """
    metadata, options = table.metadata, table.metadata.options
    separator = (metadata.separator or ";").replace("\\t", "\t")
    signs = {"quote": '"' if metadata.quote is None else metadata.quote, "escape": "\\" if metadata.escape is None else metadata.escape}
    for key, sign in signs.items():
        if len(sign) > 1:
            raise BadSetting(table.origin.locate(f"metadata.{key}"), f"{key} must be one character, not '{sign}'")
    for key, sign in (*signs.items(), ("line end", "\n"), ("line end", "\r")):
        if sign and sign in separator:
            raise BadSetting(table.origin.locate("metadata.separator"), f"separator {separator!r} must not contain the {key}")
    null = metadata.null_value
    for key, sign in (*signs.items(), ("separator", separator)):
        if null and sign and sign in null:
            reason = f"nullValue '{null}' must not contain the {key} ('{sign}'); set metadata.{key} to another character"
            raise BadSetting(table.origin.locate("metadata.nullValue"), reason)
    skip, longest = str(options.get("skip", "")).strip(), str(options.get("max_line_size", ""))
    return Layout(
        separator,
        signs["quote"],
        signs["escape"],
        metadata.with_header is not False,
        int(skip) if skip.isdigit() else 0,
        int(longest) if longest.isdigit() else LONGEST_LINE,
    )


def _find_columns(reading: Reading, layout: Layout, first: _First | None) -> list[str]:
    """Return the attributes in the order of a file's columns. Raise BadFile if the file is empty, or its header does not match."""
    table = reading.table
    expected = [a.attribute.name for a in reading.in_file]
    if not layout.header:
        if first is None and encodings.is_empty(reading.file):
            raise BadFile(str(reading.file), "the file is empty")
        return _choose_columns(reading, len(first.fields) if first else 0)
    if first is None:
        reason = f"the file is empty; its first line should name the columns: {layout.separator.join(expected)}"
        raise BadFile(str(reading.file), reason)
    names = [name.strip() for name in first.fields]
    if len(names) > 1 and not names[-1]:
        # A separator at the end of each line.
        names.pop()
    known = {a.attribute.name.lower(): a.attribute.name for a in reading.attributes}
    exact = {a.attribute.name for a in reading.attributes}
    found = [name if name in exact else known.get(name.lower(), name) for name in names]
    reasons = [
        f"the header names the column '{_shorten_value(name)}', which {table.full_name} does not have{suggest_name(name[:100], exact)}"
        for name, attribute in zip(names[:_MOST_COLUMNS], found, strict=False)
        if attribute not in exact
    ]
    counts = Counter(found)
    reasons += [f"the header names the column '{_shorten_value(name)}' twice" for name, count in counts.items() if count > 1]
    defaults = {a.attribute.name for a in reading.attributes if a.attribute.default is not None}
    lacking = [name for name in expected if name not in counts and name not in defaults]
    reasons += [f"the header lacks the column '{name}' of {table.full_name}" for name in lacking]
    if reasons:
        raise BadFile(str(reading.file), "the header does not match the table", [BadValue(first.line, reason) for reason in reasons])
    return found


def _choose_columns(reading: Reading, count: int) -> list[str]:
    """Return the columns of a file without a header. The file may or may not contain those that a script computes or changes."""
    kept = {id(a) for a in reading.in_file}
    changed = kept | {id(a) for a in reading.changed}
    every = {id(a) for a in reading.attributes}
    chosen = next((ids for ids in (changed, kept, every) if len(ids) == count), changed)
    return [a.attribute.name for a in reading.attributes if id(a) in chosen]


def _shorten_value(text: str) -> str:
    return text if len(text) <= bad_values.SHOWN else f"{text[: bad_values.SHOWN]}..."


def _read_first_record(reading: Reading, layout: Layout) -> _First | None:
    try:
        # Bytes that are not valid in this encoding are reported when the file is read.
        with encodings.open_text(reading.file, reading.codec) as text:
            lines = LineEnds(text)
            for _ in range(layout.skip):
                lines.readline(LONGEST_LINE)
            found = next(read_records(lines, layout), None)
    except LineTooLong as error:
        raise _explain_long_line(reading, layout, error.line + layout.skip) from error
    if found is None:
        return None
    line, record = found
    if "\ufffd" in record and (broken := reading.find_undecodable()):
        raise broken
    hidden = lines.last and ("\n" in record or "\r" in record)
    end = lines.last.replace("\r", "\\r").replace("\n", "\\n") if hidden else None
    return _First(line + layout.skip, split_record(record, layout), end)


def _explain_long_line(reading: Reading, layout: Layout, line: int) -> BadFile:
    return reading.reject(_describe_long_line(layout.longest), line)


def _describe_long_line(longest: int) -> str:
    return f"a line of more than {longest} characters (metadata.options: max_line_size allows longer ones)"


def _make_readable(reading: Reading, layout: Layout) -> _Readable:
    """Return a form of a file that DuckDB can read."""
    codec, separator = reading.codec, layout.separator
    if len(separator.encode()) > LONGEST_SEPARATOR:
        file = encodings.make_readable(reading.file, codec, reading.scratch)
        copy, short, within = shorten_separators(file, separator, layout.quote, reading.scratch)
        return _Readable(copy, short, None, within)
    file = encodings.make_readable(reading.file, codec, reading.scratch, native=frozenset(_NATIVE))
    return _Readable(file, separator, _NATIVE.get(codec) if file == reading.file else None)


def find_layouts(reading: Reading) -> Mapping[str, str]:
    """Return the format of the dates of each attribute, if DuckDB cannot cast them and only one of the formats that it guesses fits all.

    DuckDB itself guesses from the first rows, and might exchange day and month.
    """
    found: dict[str, str] = {}
    if "dateformat" in read_options(reading.table, "read_csv"):
        return found
    read = _describe_source(reading, _read_layout(reading.table), all_text=True)
    for typed in reading.attributes:
        name = typed.attribute.name
        raw = read.raws.get(name, "NULL")
        if _find_format_option(reading, typed, raw) != "dateformat":
            continue
        first = fetch_rows(f"SELECT {raw} FROM {read.relation} WHERE {raw} <> '' LIMIT 1")
        separator = re.search(r"\D", first[0][0].strip()) if first else None
        if separator is None:
            continue
        layouts = [quote_literal(layout.format(separator[0].replace("%", "%%"))) for layout in _DATES]
        tests = [f"try_strptime({raw}, {o}) IS NOT NULL{f' AND {raw} SIMILAR TO {_LONG_YEAR}' if '%Y' in o else ''}" for o in layouts]
        tests = [f"bool_and({test})" for test in (f"{cast_text(raw, typed.type, checked=False)} IS NOT NULL", *tests)]
        fits = fetch_rows(f"SELECT {', '.join(tests)} FROM {read.relation} WHERE {raw} <> ''")
        if fits and not fits[0][0] and fits[0].count(True) == 1:
            found[name] = layouts[fits[0].index(True) - 1]
    return found


def explain_failure(reading: Reading) -> Exception | None:
    """Return why a file could not be loaded: lines of the wrong length first, then bad values."""
    if undecodable := reading.find_undecodable():
        return undecodable
    layout = _read_layout(reading.table)
    try:
        readable = _make_readable(reading, layout)
        read = _describe_source(reading, layout, all_text=True, readable=readable)
        other = find_other_line_end(reading, layout)
        broken = [other] if other else _find_broken_lines(read, layout, readable)
        if broken:
            return BadFile(str(reading.file), "the file does not match the table", broken)
    except LineTooLong as error:
        return _explain_long_line(reading, layout, error.line)
    if found := bad_values.find_bad_values(reading, read):
        return reading.reject_values(_add_lines(reading, layout, found))
    first = _read_first_record(reading, layout)
    if layout.header and first is not None and len(first.fields) > 1 and not first.fields[-1]:
        return reading.reject("the header ends with a separator, but the other lines do not", first.line, summary="")
    return None


def _find_broken_lines(read: Source, layout: Layout, readable: _Readable) -> list[BadValue]:
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
            line = re.search(r"Line: (\d+)", message)
            return [BadValue(int(line.group(1)) if line else 0, _explain_line(message, ""))]
    return [
        BadValue(int(line), _explain_line(message, kind), text=(text or "").replace(readable.separator, layout.separator))
        for line, message, text, kind in rows
    ]


def _explain_line(message: str, kind: str) -> str:
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if counts:
        return f"{counts.group(1)} fields expected, {counts.group(2)} found"
    longest = re.search(r"Maximum line size of (\d+)", message)
    if longest:
        return _describe_long_line(int(longest.group(1)))
    return _shorten_value(message.splitlines()[0]).rstrip(".") if message else kind.lower()


def _add_lines(reading: Reading, layout: Layout, found: Sequence[BadValue]) -> list[BadValue]:
    """Convert record numbers to line numbers."""
    wanted = {value.line for value in found}
    lines: dict[int, int] = {}
    single = len(_find_columns(reading, layout, _read_first_record(reading, layout))) == 1
    with encodings.open_text(reading.file, reading.codec) as text, contextlib.suppress(LineTooLong):
        for _ in range(layout.skip):
            text.readline(LONGEST_LINE)
        # Blank lines before the first record are not records.
        records = itertools.dropwhile(lambda one: not one[1], read_records(text, layout, blank=single))
        for number, (line, _) in enumerate(records, 0 if layout.header else 1):
            if number in wanted:
                lines[number] = line + layout.skip
                if len(lines) == len(wanted):
                    break
    return [replace(value, line=lines.get(value.line, 0)) for value in found]
