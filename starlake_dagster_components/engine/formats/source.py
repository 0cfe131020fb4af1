"""What a format gives to the load of a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...project.model import Table
from ..ddl import TypedAttribute
from ..session import Session


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is to be read.

    Attributes:
        file: the file.
        folder: an empty folder for a readable copy of it.
    """

    session: Session
    table: Table
    attributes: tuple[TypedAttribute, ...]
    file: Path
    folder: Path

    @property
    def in_file(self) -> list[TypedAttribute]:
        """The attributes that a file has: all but those that a script makes."""
        return [a for a in self.attributes if not a.attribute.script]


@dataclass(frozen=True, slots=True)
class Source:
    """How DuckDB reads a file.

    Attributes:
        relation: what stands behind FROM.
        columns: attribute name -> SQL expression of its value as it comes from the file; attributes that are absent are NULL.
        texts: names of the attributes whose values come as text and are yet to be converted.
        skipped: SQL that counts the lines that the reader left out after the relation was read; None when it leaves out none.
    """

    relation: str
    columns: Mapping[str, str]
    texts: frozenset[str] = frozenset()
    skipped: str | None = None
    notes: tuple[str, ...] = field(default=())
