"""Reading data files: one module per format, one function :func:`sources` for all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...project.model import Table
from ..ddl import TypedAttribute
from ..engine_errors import NotSupported
from ..session import Session
from . import dsv, json, parquet, position
from .source import Reading, Scratch, Source

__all__ = ["Reading", "Scratch", "Source", "explain", "format_of", "source"]


class _Reader(Protocol):
    """What a module of a format offers."""

    def source(self, reading: Reading) -> Source:
        """Return how a file is read."""

    def explain(self, reading: Reading) -> Exception | None:
        """Return what is wrong with a file."""


_READERS: Mapping[str, _Reader] = {
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


def source(session: Session, table: Table, attributes: Sequence[TypedAttribute], file: Path, scratch: Scratch) -> Source:
    """Return how DuckDB reads a file of a table.

    Args:
        session: the command.
        table: the table.
        attributes: its attributes.
        file: the file.
        scratch: for a copy, where the file cannot be read as it is.

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
    return reader.source(Reading(session, table, tuple(attributes), file, scratch))


def explain(session: Session, table: Table, attributes: Sequence[TypedAttribute], file: Path, scratch: Scratch) -> Exception | None:
    """Return the exception that says which values of a file are bad; None when nothing is found wrong with the file itself."""
    return _READERS[format_of(table)].explain(Reading(session, table, tuple(attributes), file, scratch))
