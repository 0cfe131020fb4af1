"""Types and rules shared by all searches for tables in SQL."""

from dataclasses import dataclass

# Dialects in which FROM t, t.items reads a column of t.
COLUMNS_IN_FROM = frozenset(("bigquery", "redshift", "spark", "databricks"))
_SYSTEM_SCHEMAS = frozenset(("information_schema", "pg_catalog"))
# Spark and Databricks: SELECT * FROM parquet.`/data/orders`
_FILE_FORMATS = frozenset(("parquet", "csv", "json", "orc", "avro", "delta", "text", "binaryfile"))


class Unparsable(Exception):
    """SQL that a search does not understand; the message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A table that SQL reads.

    Attributes:
        parts: its name, unquoted.
        line: line in the text, from 1.
        start: index of its first character in the text.
    """

    parts: tuple[str, ...]
    line: int
    start: int


def is_table_name(parts: tuple[str, ...]) -> bool:
    """Return whether a name can be a table of the project, and not a system catalog, a file, or a name with an empty part."""
    if not parts or not all(parts):
        return False
    if len(parts) == 1:
        return True
    if any(part.lower().partition(".")[0] in _SYSTEM_SCHEMAS for part in (*parts[:-1], parts[-1] if "." in parts[-1] else "")):
        return False
    return not (parts[0].lower() in _FILE_FORMATS and "/" in parts[1])
