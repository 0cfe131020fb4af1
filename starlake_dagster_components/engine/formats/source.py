"""Define the interface of file formats."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from ...project.model import EMPTY, Table
from ..ddl import TypedAttribute
from ..engine_errors import BadFile, BadSetting, BadValue
from ..instances import lend_instance
from ..scratch import Scratch
from ..session import Session
from ..sqltext import quote_literal
from .encodings import find_bad_line, get_codec, is_compressed


def quote_file(file: Path) -> str:
    """Return a file as an argument for DuckDB's readers. Its name is never treated as a pattern."""
    escaped = re.sub(r"([\[*?])", r"[\1]", str(file))
    return f"[{quote_literal(escaped)}]"


def build_call(reader: str, file: Path, parameters: Mapping[str, str], types: Mapping[str, str] | None = None) -> str:
    """Return a call of one of DuckDB's readers of text, with parameters as SQL. ``types`` are the names and types of the columns.

    The reader decompresses the file according to its name, and reads no columns from the names of folders.
    """
    given = {"compression": "'gzip'" if is_compressed(file) else "'uncompressed'", "hive_partitioning": "false", **parameters}
    if types is not None:
        given["columns"] = "{" + ", ".join(f"{quote_literal(name)}: {quote_literal(ddl)}" for name, ddl in types.items()) + "}"
    return f"{reader}({quote_file(file)}, {', '.join(f'{name} = {value}' for name, value in given.items())})"


def read_options(table: Table, reader: str) -> dict[str, str]:
    """Return ``metadata.options`` as parameters of a reader: lowercase name -> SQL. Raise BadSetting for an impossible name."""
    options = {}
    for name, text in table.metadata.options.items():
        if not re.fullmatch(r"[A-Za-z_]+", name):
            raise BadSetting(table.origin.locate("metadata.options"), f"option '{name}' is not a parameter of DuckDB's {reader}")
        options[name.lower()] = quote_literal(str(text))
    return options


@dataclass(frozen=True, slots=True)
class Reading:
    """A file to read.

    Attributes:
        scratch: receives a readable copy of the file.
        layouts: attribute name -> SQL of the format of its dates, where the file itself shows it; see :func:`find_layouts` of DSV files.
    """

    session: Session
    table: Table
    attributes: tuple[TypedAttribute, ...]
    file: Path
    scratch: Scratch
    layouts: Mapping[str, str] = EMPTY

    @property
    def codec(self) -> str:
        """Python's name for the file's encoding."""
        return get_codec(self.table)

    @property
    def in_file(self) -> list[TypedAttribute]:
        """The attributes that a file must contain: all except those that a script computes."""
        return [a for a in self.attributes if not a.attribute.script]

    @property
    def changed(self) -> list[TypedAttribute]:
        """The attributes whose script refers to the attribute itself, so that it changes a column of the file."""
        return [a for a in self.attributes if a.attribute.script and _names_itself(a)]

    def reject(self, reason: str, line: int = 0, *, summary: str = "the file cannot be read") -> BadFile:
        """Return the exception for a file with one problem; ``line`` is 0 if it is unknown."""
        return BadFile(str(self.file), summary, [BadValue(line, reason)])

    def find_undecodable(self) -> BadFile | None:
        """Return the exception for a file with bytes that are not valid in its encoding; None if there are none."""
        line = find_bad_line(self.file, self.codec)
        if line is None:
            return None
        hint = "" if self.table.metadata.encoding else "; metadata.encoding says how the file is encoded"
        return self.reject(f"bytes that are not {self.codec} text{hint}", line)

    def reject_values(self, values: Sequence[BadValue]) -> BadFile | None:
        """Return the exception for a file with bad values; None if there are none."""
        return BadFile(str(self.file), "the file has bad values", values) if values else None


def _names_itself(typed: TypedAttribute) -> bool:
    name = re.escape(typed.attribute.name)
    return re.search(rf"(?<!\w){name}(?!\w)", typed.attribute.script or "", re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class Source:
    """A relation from which DuckDB reads a file.

    Attributes:
        relation: the relation after FROM.
        columns: attribute name -> SQL expression of its value in the file; missing attributes are NULL. An attribute with a script is
            included only if the file contains it.
        texts: names of the attributes whose values are read as text and not converted yet.
        raws: attribute name -> SQL expression of the text in the file, if ``columns`` contains the converted value.
        skipped: SQL that counts the lines that the reader has left out, to be run after the relation was read; None if it does not leave
            out any.
    """

    relation: str
    columns: Mapping[str, str]
    texts: frozenset[str] = frozenset()
    raws: Mapping[str, str] = field(default_factory=dict)
    skipped: str | None = None


def find_error(source: Source) -> str | None:
    """Return why DuckDB cannot read the columns of a source; None if it can."""
    counts = ", ".join(f"count({column})" for column in source.columns.values())
    with lend_instance() as lent:
        try:
            lent.connection.execute(f"SELECT {counts} FROM {source.relation}").fetchall()
        except duckdb.Error as error:
            return str(error)
    return None


def fetch_rows(query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query about a file; empty if the file cannot be read, which the load reports."""
    with lend_instance() as lent:
        try:
            return lent.connection.execute(query).fetchall()
        except duckdb.Error:
            return []
