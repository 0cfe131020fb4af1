"""Build the SELECT that turns the rows of a file into rows of a table. Starlake: SchemaInfo.buildSecondStepSqlSelectOnLoad."""

from collections.abc import Collection, Sequence
from pathlib import Path

from ..project.model import Table
from . import privacy
from .areas import format_uri
from .casts import convert
from .ddl import TypedAttribute
from .formats import Source
from .session import Session
from .sqltext import quote, quote_literal
from .values import build_value

FILE_COLUMN = "sl_input_file_name"
"""Column with the file that a row comes from, for scripts and filters. Starlake: CometColumns."""


def build_select(
    session: Session, table: Table, attributes: Sequence[TypedAttribute], source: Source, file: Path, checked: Collection[str]
) -> str:
    """Return the SELECT of a file's rows, with columns in the order of the table's attributes and with their names in the table.

    Values are converted first (trim, pattern, default, masking). Then come the scripts, which use the names in the file, and the table's
    filter, which uses the names in the table.

    ``checked`` are the columns that must have a value, although the table allows NULL.
    """
    in_file = [a for a in attributes if a.attribute.name in source.columns]
    made = {}
    for typed in in_file:
        name = typed.attribute.name
        made[name] = build_value(session.project, table, typed, source.columns[name], name in source.texts)
    kept = [a for a in attributes if not a.attribute.ignore]
    maskings = {a.attribute.name: privacy.parse_masking(table, a.attribute) for a in in_file}
    masked = {name: masking.sql or "NULL" for name, masking in maskings.items() if masking is not None and masking.sql is not None}
    if not (masked or table.filter or any(a.attribute.script for a in attributes) or any(map(_is_converted, kept))):
        columns = (f"{_require_value(a, made[a.attribute.name], checked)} AS {quote(a.attribute.final_name)}" for a in kept)
        return f"SELECT {', '.join(columns)} FROM {source.relation}"
    names = {name.lower() for a in attributes for name in (a.attribute.name, a.attribute.final_name)}
    # A column of this name in the file takes precedence.
    whence = [] if FILE_COLUMN in names else [FILE_COLUMN]
    values = [f"{sql} AS {quote(name)}" for name, sql in made.items()]
    inner = f"SELECT {', '.join([*values, *(f'{quote_literal(format_uri(file))} AS {name}' for name in whence)])} FROM {source.relation}"
    if masked:
        replaced = ", ".join(f"({sql}) AS {quote(name)}" for name, sql in masked.items())
        inner = f"SELECT * REPLACE ({replaced}) FROM ({inner}) AS sl_clear"
    finals = [
        f"{f'({a.attribute.script})' if a.attribute.script else quote(a.attribute.name)} AS {quote(a.attribute.final_name)}" for a in kept
    ]
    ignored = [quote(a.attribute.name) for a in attributes if a.attribute.ignore and a.attribute.name in made]
    named = f"SELECT {', '.join([*finals, *ignored, *whence])} FROM ({inner}) AS sl_values"
    where = f" WHERE {table.filter}" if table.filter else ""
    columns_sql = ", ".join(f"{_finish_value(a, checked)} AS {quote(a.attribute.final_name)}" for a in kept)
    return f"SELECT {columns_sql} FROM ({named}) AS sl_internal_from_select{where}"


def _is_converted(typed: TypedAttribute) -> bool:
    return typed.in_table is not None and not typed.attribute.script


def _finish_value(typed: TypedAttribute, checked: Collection[str]) -> str:
    name = quote(typed.attribute.final_name)
    if _is_converted(typed):
        name = convert(name, typed.type, typed.in_table or typed.type, typed.attribute.final_name)
    return _require_value(typed, name, checked)


def _require_value(typed: TypedAttribute, sql: str, checked: Collection[str]) -> str:
    name = typed.attribute.final_name
    if name.lower() not in checked:
        return sql
    return f"CASE WHEN {sql} IS NULL THEN error({quote_literal(f'column {name} is required')}) ELSE {sql} END"


def list_hash_queries(session: Session, table: Table, attributes: Sequence[TypedAttribute], source: Source) -> list[str]:
    """Return queries for the values that are looked up in the table of hashes."""
    queries = []
    for typed in attributes:
        if typed.attribute.name in source.columns and privacy.needs_hashes(privacy.parse_masking(table, typed.attribute)):
            name = typed.attribute.name
            clear = build_value(session.project, table, typed, source.columns[name], name in source.texts, masked=False)
            queries.append(f"SELECT {clear} FROM {source.relation}")
    return queries
