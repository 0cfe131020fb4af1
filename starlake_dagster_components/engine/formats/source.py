"""What a format gives to the load of a file."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...project.model import Table
from ..ddl import TypedAttribute
from ..session import Session


class Scratch:
    """A temporary folder, made when it is first needed."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._used = 0

    def file(self, name: str) -> Path:
        """Return the path of a new file of a name, alone in its folder."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="starlake-dagster-")
        self._used += 1
        folder = Path(self._folder.name, str(self._used))
        folder.mkdir()
        return folder / name

    def __enter__(self) -> "Scratch":
        """Return the folder itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the folder with what is in it."""
        if self._folder is not None:
            self._folder.cleanup()


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
