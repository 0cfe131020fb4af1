"""Reading data files: one module per format, one function :func:`sources` for all of them."""

from collections.abc import Sequence
from pathlib import Path

from ...project.model import Table
from ..ddl import TypedAttribute
from ..errors import NotSupported
from ..session import Session
from . import dsv, json, parquet, position
from .source import Reading, Source

__all__ = ["Reading", "Source", "explain", "format_of", "source"]

_READERS = {
    "DSV": dsv,
    "JSON": json,
    "JSON_FLAT": json,
    "JSON_ARRAY": json,
    "POSITION": position,
    "PARQUET": parquet,
}


def format_of(table: Table) -> str:
    """Return the format of a table's files. Starlake: DSV unless the metadata says otherwise."""
    return table.metadata.format or "DSV"


def source(session: Session, table: Table, attributes: Sequence[TypedAttribute], file: Path, folder: Path) -> Source:
    """Return how DuckDB reads a file of a table.

    Args:
        session: the command.
        table: the table.
        attributes: its attributes.
        file: the file.
        folder: an empty folder for a copy, where the file cannot be read as it is.

    Raises:
        NotSupported: the table's format.
        BadFile: the file's header or beginning says that it cannot be loaded.
    """
    reader = _READERS.get(format_of(table))
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise NotSupported(
            table.origin.at("metadata.format"), f"format {format_of(table)} is not supported by the embedded engine (it reads {known})"
        )
    return reader.source(Reading(session, table, tuple(attributes), file, folder))


def explain(session: Session, table: Table, attributes: Sequence[TypedAttribute], file: Path, folder: Path) -> Exception | None:
    """Return the exception that says which values of a file are bad; None when nothing is found wrong with the file itself."""
    return _READERS[format_of(table)].explain(Reading(session, table, tuple(attributes), file, folder))
