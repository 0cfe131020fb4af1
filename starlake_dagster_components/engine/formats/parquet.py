"""PARQUET files, whose columns are read by name."""

import re
from collections.abc import Iterator, Mapping

import duckdb

from ...errors import suggest_name
from ..casts import OtherFieldsError, convert, fits, get_shape, normalize_type, restrict_type
from ..ddl import TypedAttribute
from ..engine_errors import BadFile, BadValue
from ..instances import lend_instance
from ..rejected_by_starlake import report_rejected_file
from ..sqltext import quote
from ..values import get_read_type, get_rule
from . import bad_values
from .source import Reading, Source, fetch_rows, quote_file

_ZONELESS = re.compile(r"\bTIMESTAMP(?:_S|_MS|_NS)?\b(?! WITH TIME ZONE)")


def describe_source(reading: Reading) -> Source:
    """Return the source that reads a PARQUET file. Columns that the table does not have are ignored, and optional columns may be missing.

    Raises:
        BadFile: it is not a Parquet file, lacks a required column or all of them, or contains an array or a struct where the table does
            not, or a struct with none of the table's fields.
    """
    types = _read_types(reading)
    if not any(_find_column(typed, types) for typed in reading.attributes) and _has_rows(reading):
        raise bad_values.explain_other_columns(reading, list(types))
    columns = {}
    problems = []
    texts = set()
    for typed in reading.attributes:
        attribute = typed.attribute
        there = _find_column(typed, types)
        if there is None and attribute.script:
            continue
        name = attribute.name
        from_text = typed.definition is not None and get_rule(reading.session.project, reading.table, typed).from_text
        wanted = _get_wanted_type(reading, typed)
        if from_text:
            texts.add(name)
        if there is None:
            if typed.required and attribute.default is None:
                problems.append(BadValue(0, f"the file lacks the column '{name}'{suggest_name(name, types)}"))
            columns[name] = f"CAST(NULL AS {'VARCHAR' if from_text else wanted})"
        elif not from_text and get_shape(types[there]) != get_shape(wanted):
            reason = f"column '{name}' has the type {types[there]} in the file, but {wanted} in the table"
            problems.append(BadValue(0, reason[: 2 * bad_values.SHOWN]))
        else:
            try:
                columns[name] = (
                    f"CAST({quote(there)} AS VARCHAR)" if from_text else _convert_value(quote(there), types[there], wanted, name)
                )
            except OtherFieldsError as error:
                raise bad_values.explain_other_columns(reading, error.found, name, error.wanted) from error
    if problems:
        raise BadFile(str(reading.file), "the file's columns do not match those of the table", problems)
    _report_rejected_columns(reading, types)
    return Source(_read(reading), columns, frozenset(texts))


def _report_rejected_columns(reading: Reading, types: Mapping[str, str]) -> None:
    """Warn about columns that Starlake, which reads such files with Spark, does not find or whose type it does not support."""
    there = [name for typed in reading.attributes if (name := _find_column(typed, types)) is not None]
    known = {typed.attribute.name for typed in reading.attributes}
    renamed = [name for name in there if name not in known]
    zoneless = [name for name in there if _ZONELESS.search(types[name])]
    rejected = {"Parquet columns whose case differs from that of their attribute": renamed, "Parquet timestamps without a zone": zoneless}
    for what, names in rejected.items():
        if names and _has_rows(reading):
            report_rejected_file(reading.session, reading.table, f"{what}: {', '.join(names)}")


def _has_rows(reading: Reading) -> bool:
    return bool(fetch_rows(f"SELECT 1 FROM {_read(reading)} LIMIT 1"))


def _read(reading: Reading) -> str:
    return f"read_parquet({quote_file(reading.file)}, hive_partitioning = false)"


def _read_types(reading: Reading) -> Mapping[str, str]:
    """Return the columns of a file and their types."""
    with lend_instance() as lent:
        try:
            rows = lent.connection.execute(f"DESCRIBE SELECT * FROM {_read(reading)}").fetchall()
        except duckdb.Error as error:
            reason = str(error)[:10_000].splitlines()[0][: 2 * bad_values.SHOWN]
            raise BadFile(str(reading.file), f"not a Parquet file: {reason}") from error
    return {str(row[0]): str(row[1]) for row in rows}


def _find_column(typed: TypedAttribute, types: Mapping[str, str]) -> str | None:
    name = typed.attribute.name
    return name if name in types else next((one for one in types if one.lower() == name.lower()), None)


def _get_wanted_type(reading: Reading, typed: TypedAttribute) -> str:
    return normalize_type(get_read_type(reading.session.project, reading.table, typed))


def _convert_value(column: str, ddl: str, wanted: str, name: str) -> str:
    """Return the SQL that converts a value of the file to its attribute's type, without fields of structs that the attribute lacks."""
    if ddl == wanted:
        return column
    kept = restrict_type(ddl, wanted)
    value = column if kept == ddl else f"CAST({column} AS {kept})"
    return convert(value, kept, wanted, name)


def explain_failure(reading: Reading) -> Exception | None:
    """Return why a file could not be loaded."""
    read = describe_source(reading)
    return reading.reject_values(bad_values.find_bad_values(reading, read, _list_tests(reading, read), unit="row"))


def _list_tests(reading: Reading, read: Source) -> Iterator[bad_values.Test]:
    """Yield the tests for values that have another type in the file, and then the others, for which values that do not fit are missing."""
    types = _read_types(reading)
    columns, raws = dict(read.columns), {}
    for typed in reading.attributes:
        name = typed.attribute.name
        there = _find_column(typed, types)
        if there is None:
            continue
        raws[name] = quote(there)
        wanted = _get_wanted_type(reading, typed)
        if name in read.texts or types[there] == wanted:
            continue
        kept = restrict_type(types[there], wanted)
        value = f"CAST({quote(there)} AS {kept})"
        columns[name] = f"TRY_CAST({value} AS {wanted})"
        if not typed.attribute.ignore:
            kind = get_rule(reading.session.project, reading.table, typed).kind
            yield bad_values.Test(typed, quote(there), f"NOT {fits(value, kept, wanted)}", kind)
    yield from bad_values.list_tests(reading, Source(read.relation, columns, read.texts, raws))
