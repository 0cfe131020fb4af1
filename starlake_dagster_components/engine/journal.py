"""What makes the load of a file all or nothing, the file included.

The transaction that writes the rows of a file also notes where the file is and where it goes. Only then the file is moved, and the note
removed. The next command that opens the database and finds a note knows that the rows are there, and finishes the move. Without a note the rows
are not there, and the file is where the next load takes it from. The note lives in a schema that exists only meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .areas import Identity, find_free_name, list_files, move_file
from .database import Database
from .sqltext import quote_literal, quote_path

_SCHEMA = "starlake_dagster_engine"
_TABLE = "loaded_files"
_COLUMNS = "path, origin, target, device, inode, size, modified"


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file whose rows are in the database.

    Attributes:
        path: where it was loaded from.
        origin: where it came from: someone who cleans up after a crash may have put it back there.
        target: where it goes; None = it is deleted (``archive: false``).
    """

    path: Path
    origin: Path
    target: Path | None
    identity: Identity

    def found(self) -> Path | None:
        """Return where the file still waits to be moved away, whatever its name is there; None when it was moved."""
        likely = (self.path, self.origin)
        rest = (path for folder in (self.path.parent, self.origin.parent) for path in list_files(folder))
        return next((path for path in (*likely, *rest) if Identity.of(path) == self.identity), None)


def note_files(database: Database, files: Sequence[LoadedFile]) -> None:
    """Note files as loaded, within the transaction that loads them."""
    name = quote_path(database.catalog, _SCHEMA, _TABLE)
    rows = ", ".join(_format_row(file) for file in files)
    if database.find_kind(_SCHEMA, _TABLE):
        database.execute(f"INSERT INTO {name} VALUES {rows}")
    else:
        database.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_path(database.catalog, _SCHEMA)}")
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM (VALUES {rows}) AS files({_COLUMNS})")


def _format_row(file: LoadedFile) -> str:
    identity = file.identity
    numbers = (identity.device, identity.inode, identity.size, identity.modified)
    texts = (str(file.path), str(file.origin), str(file.target or ""), *map(str, numbers))
    return f"({', '.join(map(quote_literal, texts))})"


def archive_file(file: LoadedFile) -> Path | None:
    """Move a loaded file away; nothing when that was done. Returns where it is now, None when it is gone."""
    path = file.path if Identity.of(file.path) == file.identity else file.found()
    if path is None:
        return file.target
    if file.target is None:
        path.unlink()
        return None
    # The name was free when it was noted; whatever took it since is not overwritten.
    target = find_free_name(file.target.parent, file.target.name)
    move_file(path, target)
    return target


def forget_files(database: Database) -> None:
    """Remove the notes: every file is where it goes."""
    # A cancelled command tidies up as well.
    database.execute(f"DROP SCHEMA IF EXISTS {quote_path(database.catalog, _SCHEMA)} CASCADE", cancellable=False)


def recover_files(database: Database) -> list[Path]:
    """Finish what an earlier command could not; returns the files that were moved."""
    if database.find_kind(_SCHEMA, _TABLE) is None:
        return []
    rows = database.fetch_rows(f"SELECT {_COLUMNS} FROM {quote_path(database.catalog, _SCHEMA, _TABLE)}")
    moved = []
    for path, origin, target, *identity in rows:
        file = LoadedFile(Path(path), Path(origin), Path(target) if target else None, Identity(*map(int, identity)))
        if file.found():
            archive_file(file)
            moved.append(file.path)
    forget_files(database)
    return moved
