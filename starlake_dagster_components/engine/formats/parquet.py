"""PARQUET files: columns by their names."""

import duckdb

from ...errors import did_you_mean
from ..engine_errors import BadFile, BadValue
from ..instances import lend_instance
from ..sqltext import quote, quote_literal
from ..values import get_rule
from . import bad_values
from .source import Reading, Source


def describe_source(reading: Reading) -> Source:
    """Return how a PARQUET file is read; columns that the table does not have are left out, optional ones may be absent.

    Raises:
        BadFile: it is not a Parquet file, or lacks a required column.
    """
    relation = f"read_parquet([{quote_literal(str(reading.file))}])"
    with lend_instance() as lent:
        try:
            found = [str(row[0]) for row in lent.connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()]
        except duckdb.Error as error:
            raise BadFile(str(reading.file), f"not a Parquet file: {str(error).splitlines()[0]}") from error
    exact = set(found)
    lower = {name.lower(): name for name in found}
    columns = {}
    lacking = []
    texts = set()
    for typed in reading.in_file:
        name = typed.attribute.name
        there = name if name in exact else lower.get(name.lower())
        if there is None and typed.required and typed.attribute.default is None:
            lacking.append(BadValue(0, "", None, f"the file lacks the column '{name}'{did_you_mean(name, found)}"))
        from_text = typed.definition is not None and get_rule(reading.session.project, reading.table, typed).from_text
        if there is None:
            columns[name] = f"CAST(NULL AS {'VARCHAR' if from_text else typed.type})"
        else:
            columns[name] = f"CAST({quote(there)} AS VARCHAR)" if from_text else quote(there)
        if from_text:
            texts.add(name)
    if lacking:
        raise BadFile(str(reading.file), "the file's columns are not those of the table", lacking)
    return Source(relation, columns, frozenset(texts))


def explain_failure(reading: Reading) -> Exception | None:
    """Return why a file could not be loaded."""
    try:
        read = describe_source(reading)
    except BadFile as error:
        return error
    columns = {name: f"CAST({column} AS VARCHAR)" for name, column in read.columns.items()}
    scalar = {a.attribute.name for a in reading.in_file if a.definition is not None and not a.attribute.array}
    names = ", ".join(f"{column} AS {quote(name)}" for name, column in columns.items())
    as_text = Source(f"(SELECT {names} FROM {read.relation})", {name: quote(name) for name in columns}, frozenset(columns) & scalar)
    found = bad_values.find_bad_values(reading, as_text)
    values = [BadValue(0, a.attribute.name, value, f"{kind} (row {number} of the file)") for number, a, value, kind in found]
    return BadFile(str(reading.file), "the file has bad values", values) if values else None
