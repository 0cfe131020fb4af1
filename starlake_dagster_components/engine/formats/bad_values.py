"""Finding the values of a file that their columns cannot take, after a load failed."""

import duckdb

from ..ddl import TypedAttribute
from ..instances import lend_instance
from ..values import build_value, get_rule
from .source import Reading, Source

MOST = 20
"""How many bad values are looked for."""


def find_bad_values(reading: Reading, read: Source) -> list[tuple[int, TypedAttribute, str | None, str]]:
    """Return the bad values of a file: (number of the record from 1, attribute, value as in the file, what was expected).

    Args:
        reading: the file.
        read: how it is read with all values as text.
    """
    session, table = reading.session, reading.table
    tests: list[tuple[TypedAttribute, str, str, str]] = []
    for typed in reading.in_file:
        attribute = typed.attribute
        if attribute.ignore:
            continue
        raw = read.columns[attribute.name]
        is_text = attribute.name in read.texts
        made = build_value(session.project, table, typed, raw, is_text, checked=False, masked=False)
        kind = get_rule(session.project, table, typed).kind
        if typed.in_table is not None:
            made = f"TRY_CAST({made} AS {typed.in_table})"
            kind = f"of type {typed.in_table}, which the column of the table has"
        blank_is_missing = not typed.is_text or attribute.trim not in (None, "NONE")
        missing = f"nullif(trim(CAST({raw} AS VARCHAR)), '') IS NULL" if blank_is_missing else f"{raw} IS NULL"
        converted = not typed.is_text or typed.in_table is not None or get_rule(session.project, table, typed).from_text
        if is_text and converted:
            tests.append((typed, raw, f"NOT ({missing}) AND ({made}) IS NULL", kind))
        if typed.required:
            tests.append((typed, raw, f"({made}) IS NULL AND ({missing})", ""))
    if not tests:
        return []
    shown = [f"SELECT record, {index}, CAST({raw} AS VARCHAR) FROM numbered WHERE {test}" for index, (_, raw, test, _) in enumerate(tests)]
    query = (
        f"WITH numbered AS (SELECT row_number() OVER () AS record, * FROM {read.relation}) "
        f"SELECT * FROM ({' UNION ALL '.join(shown)}) AS found(record, test, value) ORDER BY record, test LIMIT {MOST}"
    )
    with lend_instance() as lent:
        try:
            rows = lent.connection.execute(query).fetchall()
        except duckdb.Error:
            return []
    return [(int(record), tests[index][0], text, tests[index][3]) for record, index, text in rows]
