"""Folders and files of the data: stage, ingesting, archive. Starlake: DatasetArea."""

import contextlib
import errno
import filecmp
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..project.file_patterns import compile_pattern
from ..project.model import Areas, Domain, Table
from .engine_errors import BadSetting


@dataclass(frozen=True, slots=True)
class Identity:
    """Distinguishes a file from a later one of the same name."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def read(cls, path: Path) -> "Identity | None":
        """Return the identity of a file; None if it does not exist."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def is_same_file(self, other: "Identity | None") -> bool:
        """Return whether another identity belongs to the same file, even if the file has been written since."""
        return other is not None and (self.device, self.inode) == (other.device, other.inode)

    def has_same_content(self, other: "Identity | None") -> bool:
        """Return whether another identity belongs to the same file or to a copy of it, unchanged."""
        return other is not None and (self.size, self.modified) == (other.size, other.modified)


def make_folders(areas: Areas, domains: Iterable[Domain]) -> None:
    """Create the folders that Starlake creates at the start of a command. Starlake: DatasetArea.initMetadata, initDomains."""
    Path(areas.incoming).mkdir(parents=True, exist_ok=True)
    for domain in domains:
        for area in (areas.stage, areas.unresolved, areas.archive, areas.replay):
            Path(area, domain.name).mkdir(parents=True, exist_ok=True)


def list_files(folder: Path) -> list[Path]:
    """Return the files in a folder, oldest first, then by name, without hidden files and subfolders. Starlake: LocalStorageHandler.list."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                # Another command may have moved it.
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file() and not entry.name.startswith("."):
                        found.append((entry.stat().st_mtime_ns, entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for _, name in sorted(found)]


def is_utf8(name: str) -> bool:
    """Return whether the bytes of a file's name are UTF-8."""
    return os.fsencode(name).decode("utf-8", "ignore") == name


def show_path(path: Path | str) -> str:
    r"""Return a path as a printable string, with bytes that are not UTF-8 as ``\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def find_table(name: str, tables: Sequence[Table]) -> Table | None:
    """Return the first table whose pattern matches a whole file name. Raise BadSetting if a pattern cannot be used."""
    return next((table for table in tables if matches_table(name, table)), None)


def matches_table(name: str, table: Table) -> bool:
    """Return whether a file's name matches the pattern of a table."""
    try:
        return compile_pattern(table.pattern).fullmatch(name) is not None
    except ValueError as error:
        raise BadSetting(table.origin.locate("pattern"), f"the pattern of {table.full_name} cannot be used: {error}") from error


def find_free_name(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder, with a number (``orders~2.csv``) if the name is taken."""
    match = re.fullmatch(r"(.+?)(\.[A-Za-z0-9]+(?:\.(?i:gz|zst|bz2))?)?", name, re.DOTALL)
    stem, extension = match.groups("") if match else (name, "")
    numbered = (folder / f"{stem}~{number}{extension}" for number in itertools.count(2))
    return next(path for path in itertools.chain([folder / name], numbered) if not path.exists())


def have_same_content(first: Path, second: Path) -> bool:
    """Return whether two files have the same bytes."""
    # The cache would confuse files that were replaced within the precision of their times.
    filecmp.clear_cache()
    return filecmp.cmp(first, second, shallow=False)


def move_file(source: Path, target: Path) -> None:
    """Move a file, and replace the target. This is atomic within a file system. Otherwise, a copy gets its name once it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if _try_rename(source, target):
        return
    partial = target.with_name(f".{target.name}.part")
    try:
        shutil.copy2(source, partial)
        os.replace(partial, target)
    except OSError as failed:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        failed.filename = str(target)
        raise
    source.unlink()


def _try_rename(source: Path, target: Path) -> bool:
    """Rename a file; return False if the target is in another file system."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


_MOVING = ".moving"


def take_file(source: Path, target: Path) -> None:
    """Move a file into the stage area, so that it is in exactly one place even if the move is interrupted.

    Between two file systems it is copied. Meanwhile, both names are hidden: ``.NAME.moving`` at the source and ``.NAME.part`` at the
    target. While the second one exists, the copy is incomplete, and :func:`finish_moves` continues from there.

    Raises:
        OSError: it cannot be moved, for example because the folder is read-only. It then stays where it is.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if _try_rename(source, target):
        return
    partial = target.with_name(f".{target.name}.part")
    hidden = source.with_name(f".{source.name}{_MOVING}")
    partial.touch()
    try:
        os.rename(source, hidden)
    except OSError:
        partial.unlink()
        raise
    try:
        _copy_hidden(hidden, partial, target)
    except OSError as failed:
        os.rename(hidden, source)
        partial.unlink(missing_ok=True)
        failed.filename = str(target)
        raise


def _copy_hidden(hidden: Path, partial: Path, target: Path) -> None:
    before = Identity.read(hidden)
    shutil.copy2(hidden, partial)
    if Identity.read(hidden) != before:
        raise OSError(errno.EAGAIN, "the file changed while it was copied: it is still being written", str(hidden))
    os.replace(partial, target)
    hidden.unlink()


def finish_moves(folder: Path, area: Path) -> list[Path]:
    """Finish interrupted moves from a folder; return the new paths of the files."""
    finished = []
    for hidden in sorted(folder.glob(f".*{_MOVING}")):
        target = area / hidden.name[1 : -len(_MOVING)]
        partial = target.with_name(f".{target.name}.part")
        if partial.exists():
            _copy_hidden(hidden, partial, target)
            finished.append(target)
        else:
            hidden.unlink()
    return finished


def format_uri(path: Path) -> str:
    """Return a path as Starlake prints it."""
    return f"file:{show_path(path)}"
