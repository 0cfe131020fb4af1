"""Convert values for a column whose type differs from that of its attribute, and reject values that would lose information.

Starlake lets DuckDB convert them, which silently rounds numbers and truncates times.
"""

import re
import threading
from collections.abc import Sequence
from functools import lru_cache

import duckdb

from ..project.word_sets import split_words
from .sqltext import quote, quote_literal

_NUMBERS = split_words("TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT FLOAT DOUBLE DECIMAL")
_Type = duckdb.sqltypes.DuckDBPyType
_guard = threading.Lock()
_FAST_DIGITS = 18
_SHORT_YEAR = r"^\s*\d{1,3}\D"


@lru_cache(maxsize=4096)
def parse_type(ddl: str) -> _Type | None:
    """Return a type; None if it is unknown to DuckDB without a database."""
    try:
        with _guard:
            return duckdb.sqltype(ddl)
    except duckdb.Error:
        return None


def normalize_type(ddl: str) -> str:
    """Return a type as DuckDB writes it; unchanged if it is unknown to DuckDB without a database."""
    found = parse_type(ddl)
    return ddl if found is None else str(found)


def cast_text(text: str, ddl: str, *, checked: bool) -> str:
    """Return the SQL that converts a string. If it is not valid, it is an error, or NULL if ``checked`` is false.

    ``text`` is the SQL of the string, which may occur more than once in the result.
    """
    kind = normalize_type(ddl)
    if kind.startswith(("DATE", "TIMESTAMP")):
        # DuckDB would cast 31/12/24 to December 24 of the year 31.
        text = f"CASE WHEN regexp_matches({text}, '{_SHORT_YEAR}') THEN '?' || {text} ELSE {text} END"
    cast = f"{'CAST' if checked else 'TRY_CAST'}({text} AS {ddl})"
    wide = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind)
    if wide is None or int(wide[1]) <= _FAST_DIGITS or int(wide[2]) > _FAST_DIGITS:
        return cast
    # DuckDB takes a hundred times as long for a decimal with more digits than for one with 18.
    return f"coalesce(CAST(TRY_CAST({text} AS DECIMAL({_FAST_DIGITS},{wide[2]})) AS {ddl}), {cast})"


def get_shape(ddl: str) -> str:
    """Return ``list``, ``struct``, or ``scalar``."""
    normal = normalize_type(ddl)
    if normal.endswith("]"):
        return "list"
    return "struct" if normal.startswith("STRUCT(") else "scalar"


def fits(value: str, ddl: str, in_table: str) -> str:
    """Return the SQL condition under which a value of type ``ddl`` can be written to a column of another type unchanged; true for NULL.

    ``value`` is SQL, which occurs more than once in the result.
    """
    kept = f"TRY_CAST({value} AS {in_table})"
    target = normalize_type(in_table).split("(")[0]
    if normalize_type(ddl) != "VARCHAR":
        same = f"TRY_CAST({kept} AS {ddl}) IS NOT DISTINCT FROM {value}"
    elif target in _NUMBERS:
        same = f"CAST({kept} AS DOUBLE) = TRY_CAST({value} AS DOUBLE)"
    elif target == "DATE":
        same = f"CAST({kept} AS TIMESTAMP) = TRY_CAST({value} AS TIMESTAMP)"
    else:
        same = f"{kept} IS NOT NULL"
    return f"({value} IS NULL OR coalesce({same}, false))"


def convert(value: str, ddl: str, in_table: str, column: str) -> str:
    """Return the SQL that converts a value as in :func:`fits`, or raises an error that names the column if the value does not fit."""
    rejected = f"error({quote_literal(f'column {column}: a value does not fit the type {in_table} of the table')})"
    return f"CASE WHEN {fits(value, ddl, in_table)} THEN CAST({value} AS {in_table}) ELSE CAST({rejected} AS {in_table}) END"


class OtherFieldsError(Exception):
    """Two structs have no field in common. ``found`` are the fields of one, and ``wanted`` those of the other."""

    def __init__(self, found: Sequence[str], wanted: Sequence[str]) -> None:
        self.found = found
        self.wanted = wanted
        super().__init__(f"{', '.join(found)} instead of {', '.join(wanted)}")


def restrict_type(ddl: str, wanted: str) -> str:
    """Return a type without the fields of its structs, at any depth, that another type does not have.

    Raises:
        OtherFieldsError: nothing would be left of a struct.
    """
    one, other = parse_type(ddl), parse_type(wanted)
    return ddl if one is None or other is None else _restrict_type(one, other)


def _restrict_type(one: _Type, other: _Type) -> str:
    if one.id == other.id == "list":
        return f"{_restrict_type(_get_element(one), _get_element(other))}[]"
    if not one.id == other.id == "struct":
        return str(one)
    there, kept = _get_fields(one), {name.lower(): (name, field) for name, field in _get_fields(other)}
    fields = [f"{quote(name)} {_restrict_type(field, kept[name.lower()][1])}" for name, field in there if name.lower() in kept]
    if not fields:
        raise OtherFieldsError([name for name, _ in there], [name for name, _ in kept.values()])
    return f"STRUCT({', '.join(fields)})"


def _get_element(one: _Type) -> _Type:
    return _get_fields(one)[0][1]


def _get_fields(one: _Type) -> list[tuple[str, _Type]]:
    return [(name, field) for name, field in one.children if isinstance(field, _Type)]


def find_missing_fields(existing: str, wanted: str) -> list[tuple[tuple[str, ...], str]]:
    """Return the path below the column and the type of each field that the structs of one type lack.

    The elements of a list are the ``element`` field, as in ALTER TABLE.
    """
    one, other = parse_type(existing), parse_type(wanted)
    return [] if one is None or other is None else _list_missing(one, other, ())


def _list_missing(one: _Type, other: _Type, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    if one.id == other.id == "list":
        return _list_missing(_get_element(one), _get_element(other), (*path, "element"))
    if not one.id == other.id == "struct":
        return []
    there = {name.lower(): (name, field) for name, field in _get_fields(one)}
    found: list[tuple[tuple[str, ...], str]] = []
    for name, field in _get_fields(other):
        if name.lower() in there:
            known, existing = there[name.lower()]
            found += _list_missing(existing, field, (*path, known))
        else:
            found.append(((*path, name), str(field)))
    return found
