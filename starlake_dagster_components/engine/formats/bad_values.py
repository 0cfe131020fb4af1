"""After a failed load, find the values of a file that are not valid for their columns, and files with other columns."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import duckdb

from ...errors import suggest_name
from ..casts import fits
from ..ddl import TypedAttribute
from ..engine_errors import BadFile, BadValue
from ..instances import lend_instance
from ..rejected_by_starlake import SHOWN_NAMES, shorten_names
from ..sqltext import quote, quote_path
from ..values import build_value, get_rule
from .source import Reading, Source

MOST = 20
"""Number of bad values after which the search ends."""
SHOWN = 200
"""Number of characters of a value to show."""


@dataclass(frozen=True, slots=True)
class Test:
    """A test that finds bad values of an attribute.

    Attributes:
        raw: SQL of the value as written in the file.
        bad: SQL condition that is true for a bad value.
        expected: description of a valid value; empty if the problem is a missing value.
    """

    typed: TypedAttribute
    raw: str
    bad: str
    expected: str


def list_tests(reading: Reading, read: Source) -> Iterator[Test]:
    """Yield the tests for the values of a file that are read as text, and for missing values."""
    project, table = reading.session.project, reading.table
    for typed in reading.attributes:
        attribute = typed.attribute
        if attribute.ignore or attribute.name not in read.columns:
            continue
        column = read.columns[attribute.name]
        raw = read.raws.get(attribute.name, column)
        is_text = attribute.name in read.texts
        made = build_value(project, table, typed, column, is_text, checked=False, masked=False, completed=False)
        rule = get_rule(project, table, typed)
        blank_is_missing = not typed.is_text or attribute.trim not in (None, "NONE")
        missing = f"nullif(trim(CAST({raw} AS VARCHAR)), '') IS NULL" if blank_is_missing else f"{raw} IS NULL"
        if (is_text and (not typed.is_text or rule.from_text)) or rule.elements:
            yield Test(typed, raw, f"NOT ({missing}) AND ({made}) IS NULL", rule.kind)
        if typed.in_table is not None and not attribute.script:
            yield Test(typed, raw, f"NOT {fits(f'({made})', typed.type, typed.in_table)}", _describe_table_type(reading, typed))
        if typed.required and attribute.default is None and not attribute.script:
            yield Test(typed, raw, f"({made}) IS NULL AND ({missing})", "")


def _describe_table_type(reading: Reading, typed: TypedAttribute) -> str:
    """Return the type that the column requires if it differs from the attribute's, and the statement that changes the column."""
    table = reading.table
    place = quote_path(table.final_domain, table.final_name)
    change = f"ALTER TABLE {place} ALTER COLUMN {quote(typed.attribute.final_name)} TYPE {typed.type}"
    return f"of type {typed.in_table}, which the column of the table has ({change} changes it)"


def find_bad_values(reading: Reading, read: Source, tests: Iterable[Test] | None = None, *, unit: str = "") -> list[BadValue]:
    """Return the bad values of a file, each with the number of its record, from 1; see :func:`make_bad_value` for ``unit``.

    ``read`` is the source that reads all of its values as text. The default tests are those of :func:`list_tests`.
    """
    chosen = list(list_tests(reading, read) if tests is None else tests)
    if not chosen:
        return []
    with lend_instance() as lent:
        try:
            rows = _run_tests(lent.connection, reading, read, chosen)
        except duckdb.Error:
            return []
    return [
        make_bad_value(record, unit, chosen[index].expected, chosen[index].typed.attribute.name, value) for record, index, value in rows
    ]


def make_bad_value(record: int, unit: str, expected: str, column: str, value: str | None) -> BadValue:
    """Return a bad value of the record with the number ``record``: its line, or its position counted in ``unit`` (such as ``row``)."""
    return BadValue(0, f"{expected} ({unit} {record} of the file)", column, value) if unit else BadValue(record, expected, column, value)


def _run_tests(
    connection: duckdb.DuckDBPyConnection, reading: Reading, read: Source, tests: Sequence[Test]
) -> list[tuple[int, int, str | None]]:
    """Return (number of the record from 1, index of the test, value as in the file) of bad values."""
    # It is cheap to find out which of thousands of columns have bad values, but not which values these are. One list per row is much faster
    # than an aggregate function per column.
    answers = ", ".join(f"coalesce({test.bad}, false)" for test in tests)
    found = connection.execute(f"SELECT DISTINCT unnest(list_where(range({len(tests)}), [{answers}])) FROM {read.relation}").fetchall()
    failing = sorted(index for (index,) in found)[:MOST]
    if not failing:
        return []
    number = quote(find_free_name("record", {a.attribute.name for a in reading.attributes}))
    shown = (
        f"SELECT {number}, {index}, left(CAST({tests[index].raw} AS VARCHAR), {SHOWN}) FROM numbered WHERE {tests[index].bad}"
        for index in failing
    )
    return connection.execute(
        f"WITH numbered AS (SELECT row_number() OVER () AS {number}, * FROM {read.relation}) "
        f"SELECT * FROM ({' UNION ALL '.join(shown)}) AS found(record, test, value) ORDER BY record, test LIMIT {MOST}"
    ).fetchall()


def find_free_name(name: str, taken: Collection[str]) -> str:
    """Return a name that no column has."""
    lower = {one.lower() for one in taken}
    while name.lower() in lower:
        name += "_"
    return name


def explain_other_columns(reading: Reading, found: Sequence[str], struct: str = "", fields: Sequence[str] = ()) -> BadFile:
    """Return the exception for a file that has rows, but none of the table's columns or of a struct's fields, which would all be NULL.

    ``found`` are the names in the file, ``struct`` is the path of the struct, and ``fields`` are its fields. Starlake rejects such a file
    if it is read with Spark (ParquetIngestionJob: "No attribute found in input dataset").
    """
    known = fields if struct else [typed.attribute.name for typed in reading.attributes]
    hint = next(filter(None, (suggest_name(name[:SHOWN], known) for name in found[:SHOWN_NAMES])), "")
    reason = f"it has {_show_names(found)}; {struct or reading.table.full_name} has {_show_names(known)}{hint}"
    what = "fields of a struct" if struct else "table's columns"
    return reading.reject(reason, summary=f"the file has none of the {what}")


def _show_names(names: Sequence[str]) -> str:
    return shorten_names([name if len(name) <= 60 else f"{name[:60]}..." for name in names])
