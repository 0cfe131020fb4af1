"""The interface of a file format: how DuckDB reads its files, and what is checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from ...project.model import Table
from ..ddl import TypedAttribute
from ..engine_errors import BadSetting
from ..instances import lend_instance
from ..scratch import Scratch
from ..session import Session
from ..sqltext import quote_literal

_WILDCARD = re.compile(r"([\[*?])")


def quote_file(file: Path) -> str:
    """Return a file as DuckDB's readers take it; its name is never a pattern."""
    escaped = _WILDCARD.sub(r"[\1]", str(file))
    return f"[{quote_literal(escaped)}]"


def is_compressed(file: Path) -> bool:
    """Return whether a file is compressed, according to its name."""
    return file.name.lower().endswith(".gz")


def describe_compression(file: Path) -> str:
    """Return the parameters by which DuckDB reads a text file as its name says, and takes no columns from the names of its folders."""
    return f"compression = '{'gzip' if is_compressed(file) else 'none'}', hive_partitioning = false"


def read_options(table: Table, reader: str) -> dict[str, str]:
    """Return ``metadata.options`` as SQL: parameters of one of DuckDB's readers, their names in lower case.

    Raises:
        BadSetting: a name cannot be that of a parameter.
    """
    options = {}
    for name, text in table.metadata.options.items():
        if not re.fullmatch(r"[A-Za-z_]+", name):
            raise BadSetting(table.origin.locate("metadata.options"), f"option '{name}' is not a parameter of DuckDB's {reader}")
        options[name.lower()] = quote_literal(str(text))
    return options


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is to be read.

    Attributes:
        file: the file.
        scratch: where a readable copy of it goes.
    """

    session: Session
    table: Table
    attributes: tuple[TypedAttribute, ...]
    file: Path
    scratch: Scratch

    @property
    def in_file(self) -> list[TypedAttribute]:
        """The attributes that a file must have: all but those that a script makes."""
        return [a for a in self.attributes if not a.attribute.script]

    @property
    def changed(self) -> list[TypedAttribute]:
        """The attributes whose script names them: it changes a column of the file."""
        return [a for a in self.attributes if a.attribute.script and _names_itself(a)]


def _names_itself(typed: TypedAttribute) -> bool:
    name = re.escape(typed.attribute.name)
    return re.search(rf"(?<!\w){name}(?!\w)", typed.attribute.script or "", re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class Source:
    """The relation from which DuckDB reads a file.

    Attributes:
        relation: the relation behind FROM.
        columns: attribute name -> SQL expression of its value as it comes from the file; attributes that are absent are NULL. An attribute
            with a script is there only when the file has it.
        texts: names of the attributes whose values come as text and are yet to be converted.
        raws: attribute name -> SQL expression of the text in the file, where ``columns`` has it converted.
        skipped: SQL that counts the lines that the reader left out after the relation was read; None when it leaves out none.
    """

    relation: str
    columns: Mapping[str, str]
    texts: frozenset[str] = frozenset()
    raws: Mapping[str, str] = field(default_factory=dict)
    skipped: str | None = None


def fetch_rows(query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query about a file; none where the file cannot be read, which the load itself explains."""
    with lend_instance() as lent:
        try:
            return lent.connection.execute(query).fetchall()
        except duckdb.Error:
            return []
