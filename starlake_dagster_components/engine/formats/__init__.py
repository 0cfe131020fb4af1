"""Read data files: one module per format, and the function :func:`describe_source` for all of them."""

from collections.abc import Mapping
from typing import Protocol

from ...project.model import Table
from ..engine_errors import BadFile, NotSupported
from ..rejected_by_starlake import report_rejected_file
from . import dsv, json, parquet, position
from .source import Reading, Source

__all__ = ["Reading", "Source", "describe_source", "explain_failure", "find_layouts", "get_format"]


class _Reader(Protocol):
    """The functions that each format's module has."""

    def describe_source(self, reading: Reading) -> Source:
        """Return the source that reads a file."""

    def explain_failure(self, reading: Reading) -> Exception | None:
        """Return or raise the error that explains why a file cannot be loaded."""


_READERS: Mapping[str, _Reader] = {
    "DSV": dsv,
    **dict.fromkeys(("JSON", "JSON_FLAT", "JSON_ARRAY"), json),
    "POSITION": position,
    "PARQUET": parquet,
}


def get_format(table: Table) -> str:
    """Return the format of a table's files. Starlake: DSV unless the metadata says otherwise."""
    return table.metadata.format or "DSV"


def describe_source(reading: Reading) -> Source:
    """Return the source from which DuckDB reads a file.

    Raises:
        NotSupported: the engine does not support the table's format.
        BadFile: the file's header or beginning shows that it cannot be loaded.
    """
    table, name = reading.table, get_format(reading.table)
    if name not in _READERS:
        reason = f"format {name} is not supported by the embedded engine (supported: {', '.join(sorted(_READERS))})"
        raise NotSupported(table.origin.locate("metadata.format"), reason)
    if "'" in reading.file.name:
        report_rejected_file(reading.session, table, "files with a single quote in their names")
    return _READERS[name].describe_source(reading)


def explain_failure(reading: Reading) -> Exception | None:
    """Return the exception that names the bad values of a file; None if no problem with the file is found."""
    try:
        return _READERS[get_format(reading.table)].explain_failure(reading)
    except BadFile as error:
        return error


def find_layouts(reading: Reading) -> Mapping[str, str]:
    """Return the formats of dates that only the file shows; empty if there are none: attribute name -> SQL of the format."""
    try:
        return dsv.find_layouts(reading) if get_format(reading.table) == "DSV" else {}
    except BadFile:
        return {}
