"""Define the types and rules that all searches for tables in SQL share."""

from dataclasses import dataclass

# Dialects in which "FROM t, t.items" reads a column of t.
COLUMNS_IN_FROM = frozenset(("bigquery", "redshift", "spark", "databricks"))
SYSTEM_SCHEMAS = frozenset(("information_schema", "pg_catalog"))
"""Schemas of the database itself. Reading them does not make a dependency."""
# Spark and Databricks can read files: SELECT * FROM parquet.`/data/orders`
_FILE_FORMATS = frozenset(("parquet", "csv", "json", "orc", "avro", "delta", "text", "binaryfile"))


class Unparsable(Exception):
    """SQL that a search cannot read; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Found:
    """A table that SQL reads: the parts of its name, unquoted, and the index of the name's first character in the SQL."""

    parts: tuple[str, ...]
    start: int


def is_table_name(parts: tuple[str, ...]) -> bool:
    """Return whether a name can be that of a table in the project. System catalogs, files, and names with an empty part cannot."""
    if not parts or not all(parts):
        return False
    if len(parts) == 1:
        return True
    if any(part.lower().partition(".")[0] in SYSTEM_SCHEMAS for part in (*parts[:-1], parts[-1] if "." in parts[-1] else "")):
        return False
    return not (parts[0].lower() in _FILE_FORMATS and "/" in parts[1])
