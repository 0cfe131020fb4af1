"""Keep the files of failed loads from being lost.

A ``load`` that fails leaves its file in the ingesting folder. The next ``load`` does not look there, finds nothing, and succeeds, and the
rows are lost. So files in ingesting are put back into the stage folder: before a load, if a killed load left them, and after it.
"""

import contextlib
import filecmp
import itertools
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from ... import locks
from ...commands import LoadFiles
from ...errors import CommandError
from ...project.file_patterns import compile_file_pattern
from ..base import Log

LOADED = ".sl-loaded"
UNCLEAR = ".sl-unclear"
"""Suffix of the files in ingesting that are not put back."""


def _is_set_aside(name: str) -> bool:
    return name.startswith(".") or name.endswith(LOADED) or UNCLEAR in name


def find_waiting_files(files: LoadFiles, *, staged: bool) -> list[str]:
    """Return the names of files that an earlier load of the same tables did not load, sorted.

    ``staged`` includes the files in the stage folder, not only those in ingesting.
    """
    patterns = [compile_file_pattern(p) for p in files.patterns]
    found: set[str] = set()
    for folder in (files.ingesting, files.stage) if staged else (files.ingesting,):
        with contextlib.suppress(OSError):
            found.update(e.name for e in os.scandir(folder) if e.is_file() and not _is_set_aside(e.name))
    return sorted(name for name in found if any(p.fullmatch(name) for p in patterns))


class FilesOfLoad:
    """The files of the tables of one load, while no other command loads these tables."""

    def __init__(self, files: LoadFiles, log: Log) -> None:
        self._files = files
        self._log = log
        self._stage = Path(files.stage)
        self._ingesting = Path(files.ingesting)
        self._patterns = [compile_file_pattern(p) for p in files.patterns]

    def list_left(self) -> list[str]:
        """Return the names of the tables' files in ingesting, sorted."""
        names = self._list_names(self._ingesting)
        return names and [name for name in names if not self._belongs_to_another_load(name)]

    def list_staged(self) -> list[str]:
        """Return the names of the tables' files in the stage folder, sorted."""
        return self._list_names(self._stage)

    def _list_names(self, folder: Path) -> list[str]:
        try:
            entries = [e.name for e in os.scandir(folder) if e.is_file(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in entries if not _is_set_aside(name) and any(p.fullmatch(name) for p in self._patterns))

    def put_back(self, names: list[str]) -> list[str]:
        """Move files from ingesting to the stage folder, and return their names there. No other file is overwritten.

        If the stage folder has another file of the same name, the returning file gets a new name that the table's pattern still accepts.

        Raises:
            CommandError: no such name exists, or the file cannot be moved. It stays in ingesting.
        """
        return [self._put_back(name) for name in names]

    def take_from_archive(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Move files back to the stage folder if they were archived although their rows are not in the table.

        Returns:
            Their names there, and the names of the files that are not in the archive (``archive: false`` deletes them).
        """
        found: list[str] = []
        missing: list[str] = []
        for name in sorted(names):
            source = Path(self._files.archive, name)
            if self._files.archive and source.is_file():
                found.append(self._move(source, name))
            else:
                missing.append(name)
        return found, missing

    def archive(self, names: Iterable[str]) -> list[str]:
        """Move files from ingesting to the archive folder, as Starlake does with loaded files, and return their paths.

        Without a local archive they stay in ingesting, with names that are never put back.
        """
        moved = []
        for name in sorted(names):
            target = Path(self._files.archive, name) if self._files.archive else self._ingesting / f"{name}{LOADED}"
            target.parent.mkdir(parents=True, exist_ok=True)
            # Starlake: a file of the same name is replaced in the archive.
            with _move_errors(self._ingesting / name, target):
                shutil.move(self._ingesting / name, target)
            moved.append(str(target))
        return moved

    def set_aside(self, names: Iterable[str]) -> list[str]:
        """Rename files in ingesting so that they are never put back, and return their paths."""
        moved = []
        for name in sorted(names):
            source = self._ingesting / name
            targets = (self._ingesting / f"{name}{UNCLEAR}{number or ''}" for number in itertools.count())
            target = next(target for target in targets if not target.exists())
            with _move_errors(source, target):
                source.rename(target)
            moved.append(str(target))
        return moved

    def _put_back(self, name: str) -> str:
        source, target = self._ingesting / name, self._stage / name
        if target.exists() and filecmp.cmp(source, target, shallow=False):
            # Delivered again, or put back by a worker that was killed before this line.
            source.unlink()
            return name
        return self._move(source, name)

    def _move(self, source: Path, name: str) -> str:
        self._stage.mkdir(parents=True, exist_ok=True)
        for candidate in _propose_names(name):
            if candidate != name and not any(p.fullmatch(candidate) for p in self._patterns):
                continue
            target = self._stage / candidate
            with _move_errors(source, target), contextlib.suppress(FileExistsError):
                _move_without_replacing(source, target)
                return candidate
        raise CommandError(
            f"{source} was not loaded, and {self._stage / name} is another file of the same name, with which a load would replace it: "
            f"move or rename one of them so that the table's pattern still accepts it"
        )

    def _belongs_to_another_load(self, name: str) -> bool:
        """Return whether another table that also accepts this file is being loaded right now."""
        prefix = _lock_prefix(self._files.ingesting)
        own = {prefix + pattern for pattern in self._files.patterns}
        others = [n[len(prefix) :] for n in locks.find_locks_elsewhere(prefix, beside=self._files.ingesting) if n not in own]
        return any(compile_file_pattern(pattern).fullmatch(name) for pattern in others)


@contextlib.contextmanager
def hold_files(files: LoadFiles, *, log: Log, canceled: threading.Event, holder: str = "") -> Iterator[FilesOfLoad]:
    """Lock the files of a load's tables, so that loads of the same tables on this machine wait for each other.

    The other arguments are those of :func:`~starlake_dagster_components.locks.hold_lock`.

    Raises:
        CommandCanceled: ``canceled`` was set while waiting.
    """
    prefix = _lock_prefix(files.ingesting)
    with contextlib.ExitStack() as stack:
        for pattern in sorted(set(files.patterns)):
            stack.enter_context(locks.hold_lock(prefix + pattern, beside=files.ingesting, canceled=canceled, log=log, holder=holder))
        yield FilesOfLoad(files, log)


def _lock_prefix(ingesting: str) -> str:
    return f"files of {os.path.realpath(ingesting)} matching "


def _propose_names(name: str) -> Iterator[str]:
    """Yield other names for a file whose name is taken: orders-1.csv -> orders-1.1.csv, orders-1-1.csv, orders-11.csv, ..."""
    yield name
    stem, dot, extension = name.partition(".")
    for number in range(1, 100):
        for between in (".", "-", "_", ""):
            yield f"{stem}{between}{number}{dot}{extension}"
        yield f"{number}-{name}"
        yield f"{name}.{number}"


def _move_without_replacing(source: Path, target: Path) -> None:
    """Move a file without overwriting another. The file exists in at least one of the two places at any time.

    Raises:
        FileExistsError: the target exists.
    """
    _link_or_copy(source, target)
    source.unlink()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
        return
    except FileExistsError:
        raise
    except OSError:
        pass  # Another file system, or one without hard links.
    part = target.with_name(f".{target.name}.part")
    try:
        shutil.copy2(source, part)
        try:
            os.link(part, target)
        except FileExistsError:
            raise
        except OSError:
            if target.exists():
                raise FileExistsError(target) from None
            part.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


@contextlib.contextmanager
def _move_errors(source: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise CommandError(f"{source} was not loaded and cannot be moved to {target}: {error.strerror or error}") from error
