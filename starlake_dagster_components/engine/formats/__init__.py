"""Read data files: one module per format, and the function :func:`describe_source` for all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...project.model import Table
from ..ddl import TypedAttribute
from ..engine_errors import NotSupported
from ..rejected_by_starlake import report_rejected_file
from ..scratch import Scratch
from ..session import Session
from . import dsv, json, parquet, position
from .source import Reading, Source

__all__ = ["Reading", "Source", "describe_source", "explain_failure", "get_format"]


class _Reader(Protocol):
    """The functions that each format's module has."""

    def describe_source(self, reading: Reading) -> Source:
        """Return the source that reads a file."""

    def explain_failure(self, reading: Reading) -> Exception | None:
        """Return the error that explains why a file cannot be loaded."""


_READERS: Mapping[str, _Reader] = {
    "DSV": dsv,
    "JSON": json,
    "JSON_FLAT": json,
    "JSON_ARRAY": json,
    "POSITION": position,
    "PARQUET": parquet,
}


def get_format(table: Table) -> str:
    """Return the format of a table's files. Starlake: DSV unless the metadata says otherwise."""
    return table.metadata.format or "DSV"


def describe_source(session: Session, table: Table, attributes: Sequence[TypedAttribute], file: Path, scratch: Scratch) -> Source:
    """Return the source from which DuckDB reads a file of a table.

    ``scratch`` holds a copy of the file if DuckDB cannot read the file itself.

    Raises:
        NotSupported: the engine does not support the table's format.
        BadFile: the file's header or beginning shows that it cannot be loaded.
    """
    reader = _READERS.get(get_format(table))
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise NotSupported(
            table.origin.locate("metadata.format"),
            f"format {get_format(table)} is not supported by the embedded engine (supported: {known})",
        )
    if "'" in file.name:
        report_rejected_file(session, table, "files with a single quote in their names")
    return reader.describe_source(Reading(session, table, tuple(attributes), file, scratch))


def explain_failure(session: Session, table: Table, attributes: Sequence[TypedAttribute], file: Path, scratch: Scratch) -> Exception | None:
    """Return the exception that names the bad values of a file; None if no problem with the file is found."""
    return _READERS[get_format(table)].explain_failure(Reading(session, table, tuple(attributes), file, scratch))
