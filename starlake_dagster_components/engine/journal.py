"""Make the load of a file atomic, including the move of the file.

The transaction that writes the rows of a file also records its path and its target. Only then is the file moved, and the record
removed. The next command that opens the database and finds a record knows that the rows are there, and finishes the move. Without a record,
the rows are not there, and the file is where the next load looks for it. The records are in a schema that exists only during this time.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import duckdb

from ..errors import EngineError
from .areas import Identity, find_free_name, list_files, move_file
from .database import Database
from .duckdb_errors import describe_error
from .sqltext import quote_literal, quote_path

_SCHEMA = "starlake_dagster_engine"
_TABLE = "loaded_files"
_COLUMNS = "path, origin, target, device, inode, size, modified"


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file whose rows are in the database.

    Attributes:
        path: where it was loaded from.
        origin: where it was before; someone who cleans up after a crash may have put it back there.
        target: where it goes; None = it is deleted (``archive: false``).
    """

    path: Path
    origin: Path
    target: Path | None
    identity: Identity

    def find(self) -> Path | None:
        """Return the current path of a file that still has to be moved; None if it was moved.

        Under the name from which it was loaded, or its original name, it is the same file even if it was written to since.
        """
        rest = (path for folder in (self.path.parent, self.origin.parent) for path in list_files(folder))
        named = next((path for path in (self.path, self.origin) if self.identity.is_same_file(Identity.read(path))), None)
        return named or next((path for path in rest if Identity.read(path) == self.identity), None)


def record_files(database: Database, files: Sequence[LoadedFile]) -> None:
    """Record files as loaded, within the transaction that loads them."""
    name = quote_path(database.catalog, _SCHEMA, _TABLE)
    values = ((file.path, file.origin, file.target or "", *astuple(file.identity)) for file in files)
    rows = ", ".join(f"({', '.join(quote_literal(str(value)) for value in row)})" for row in values)
    if database.find_kind(_SCHEMA, _TABLE):
        database.execute(f"INSERT INTO {name} VALUES {rows}")
    else:
        database.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_path(database.catalog, _SCHEMA)}")
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM (VALUES {rows}) AS files({_COLUMNS})")


def archive_file(file: LoadedFile) -> Path | None:
    """Move a loaded file away unless it was already moved. Return its path; None if it no longer exists.

    A file that is deleted instead (``archive: false``) is kept if it was written to after it was loaded.
    """
    path = file.path if file.identity.is_same_file(Identity.read(file.path)) else file.find()
    if path is None:
        return file.target
    if file.target is None:
        if Identity.read(path) != file.identity:
            return path
        path.unlink()
        return None
    # The name was free when it was recorded. If another file has the name now, it is not overwritten.
    target = find_free_name(file.target.parent, file.target.name)
    move_file(path, target)
    return target


def count_added_bytes(file: LoadedFile, now: Path | None) -> int | None:
    """Return the number of bytes by which a file has grown since it was loaded; None if it was not written to."""
    identity = Identity.read(now) if now is not None else None
    if identity is None or file.identity.has_same_content(identity):
        return None
    return identity.size - file.identity.size


def forget_files(database: Database, kept: Sequence[LoadedFile] = ()) -> None:
    """Remove the records of all files that were moved, which are all except the given ones."""
    # A canceled command cleans up as well.
    if kept:
        names = ", ".join(quote_literal(str(file.path)) for file in kept)
        database.execute(f"DELETE FROM {quote_path(database.catalog, _SCHEMA, _TABLE)} WHERE path NOT IN ({names})", cancellable=False)
    else:
        database.execute(f"DROP TABLE IF EXISTS {quote_path(database.catalog, _SCHEMA, _TABLE)}", cancellable=False)
        # A domain of the project may have the schema's name.
        with contextlib.suppress(duckdb.DependencyException):
            database.execute(f"DROP SCHEMA IF EXISTS {quote_path(database.catalog, _SCHEMA)}", cancellable=False)


def make_failure(path: Path, error: OSError) -> EngineError:
    """Return the error of a loaded file that cannot be moved."""
    return EngineError(f"{path}: the file is loaded, but cannot be moved to the archive: {describe_error(error)}. The next load moves it")


@dataclass(frozen=True, slots=True)
class Recovered:
    """A file that an earlier command loaded, and could not move away.

    Attributes:
        path: where it was.
        aside: its new path if it was set aside because it changed after its load; None = it was archived.
        error: why it still cannot be moved.
    """

    file: LoadedFile
    path: Path
    aside: Path | None = None
    error: OSError | None = None


def recover_files(database: Database, unresolved: Path) -> list[Recovered]:
    """Finish the moves of an earlier command.

    A file that was written to after it was loaded is neither archived nor loaded again, but set aside in the area ``unresolved``.
    """
    if database.find_kind(_SCHEMA, _TABLE) is None:
        return []
    rows = database.fetch_rows(f"SELECT {_COLUMNS} FROM {quote_path(database.catalog, _SCHEMA, _TABLE)}")
    recovered = list[Recovered]()
    for path, origin, target, *identity in rows:
        file = LoadedFile(Path(path), Path(origin), Path(target) if target else None, Identity(*map(int, identity)))
        there = file.find()
        if there is None:
            continue
        aside = None if Identity.read(there) == file.identity else find_free_name(unresolved / there.parent.name, there.name)
        try:
            if aside is None:
                archive_file(file)
            else:
                move_file(there, aside)
            recovered.append(Recovered(file, there, aside))
        except OSError as error:
            recovered.append(Recovered(file, there, error=error))
    forget_files(database, [one.file for one in recovered if one.error])
    return recovered
