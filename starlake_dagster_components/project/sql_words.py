"""Words and small types that the two ways of looking at SQL share."""

from dataclasses import dataclass

SYSTEM_SCHEMAS = frozenset(("information_schema", "pg_catalog"))
# Spark and Databricks: SELECT * FROM parquet.`/data/orders`
FILE_FORMATS = frozenset("parquet csv json orc avro delta text binaryfile iceberg hudi".split())


class Unparsable(Exception):
    """A text that cannot be looked at this way; the message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A table that a SQL text reads.

    Attributes:
        parts: its name, unquoted.
        line: line in the text, from 1.
        start: position of its first character in the text.
    """

    parts: tuple[str, ...]
    line: int
    start: int
