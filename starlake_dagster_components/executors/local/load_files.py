"""No file of a failed load is lost.

A ``load`` that fails leaves its file in the ingesting folder; the next ``load`` does not look there, finds nothing and succeeds, and the rows are lost.
So files that lie in ingesting are put back into the stage folder, before a load (left by one that was killed) and after it.
"""

import contextlib
import filecmp
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ... import locks
from ...commands import LoadFiles, LoadTable
from ...errors import CommandError
from ..base import Log


def waiting_files(files: LoadFiles, *, staged: bool) -> list[str]:
    """Return the names of files of some tables that an earlier load did not load, by name.

    Args:
        files: the folders and the patterns of the tables.
        staged: whether files in the stage folder count too, not only those in ingesting.
    """
    patterns = [_compiled(p) for p in files.patterns]
    found: set[str] = set()
    for folder in (files.ingesting, files.stage) if staged else (files.ingesting,):
        with contextlib.suppress(OSError):
            found.update(e.name for e in os.scandir(folder) if e.is_file() and not e.name.startswith("."))
    return sorted(name for name in found if any(p.fullmatch(name) for p in patterns))


class FilesOfLoad:
    """The files of the tables of one load, while nobody else loads these tables."""

    def __init__(self, files: LoadFiles, log: Log) -> None:
        self._files = files
        self._log = log
        self._stage = Path(files.stage)
        self._ingesting = Path(files.ingesting)
        self._patterns = [_compiled(p) for p in files.patterns]

    def left(self) -> list[str]:
        """Return the names of files of these tables that lie in ingesting, by name."""
        names = self._names(self._ingesting)
        return names and [name for name in names if not self._belongs_to_another_load(name)]

    def staged(self) -> list[str]:
        """Return the names of files of these tables that wait in the stage folder, by name."""
        return self._names(self._stage)

    def _names(self, folder: Path) -> list[str]:
        try:
            entries = [e.name for e in os.scandir(folder) if e.is_file(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in entries if not name.startswith(".") and any(p.fullmatch(name) for p in self._patterns))

    def put_back(self, names: list[str]) -> list[str]:
        """Move files from ingesting to the stage folder, never over another file; return the names that they have there.

        Where the stage folder has another file of the same name by now, the one that comes back gets a name of its own that the table's pattern
        still accepts.

        Raises:
            CommandError: there is no such name, or the file cannot be moved. It stays in ingesting.
        """
        return [self._put_back(name) for name in names]

    def take_from_archive(self, names: list[str]) -> list[str]:
        """Move files that were archived without their rows being in the table to the stage folder; return those that were found."""
        if not self._files.archive:
            return []
        found = [name for name in names if (Path(self._files.archive) / name).is_file()]
        return [self._move(Path(self._files.archive) / name, name) for name in found]

    def archive(self, names: list[str]) -> list[str]:
        """Move files from ingesting to the archive folder, as Starlake does with files whose rows are in the table; return those that were moved."""
        if not self._files.archive:
            return []
        moved = []
        for name in names:
            target = Path(self._files.archive) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # Starlake: a file of the same name is replaced in the archive.
            with _move_errors(self._ingesting / name, target):
                shutil.move(self._ingesting / name, target)
            moved.append(name)
        return moved

    def _put_back(self, name: str) -> str:
        source, target = self._ingesting / name, self._stage / name
        if target.exists() and filecmp.cmp(source, target, shallow=False):
            # Delivered again, or put back by somebody who was killed before this line.
            source.unlink()
            return name
        return self._move(source, name)

    def _move(self, source: Path, name: str) -> str:
        self._stage.mkdir(parents=True, exist_ok=True)
        for candidate in _names_like(name):
            if candidate != name and not any(p.fullmatch(candidate) for p in self._patterns):
                continue
            target = self._stage / candidate
            with _move_errors(source, target), contextlib.suppress(FileExistsError):
                _move_without_replacing(source, target)
                return candidate
        raise CommandError(
            f"{source} was not loaded, and {self._stage / name} is another file of the same name, which a load would put in its place: "
            f"move or rename one of them so that the table's pattern still accepts it"
        )

    def _belongs_to_another_load(self, name: str) -> bool:
        """Say whether a load of another table that accepts this file as well runs at this moment."""
        prefix = _lock_prefix(self._files.ingesting)
        own = {prefix + pattern for pattern in self._files.patterns}
        others = [n[len(prefix) :] for n in locks.find_locks_elsewhere(prefix) if n not in own]
        return any(_compiled(pattern).fullmatch(name) for pattern in others)


def by_table(names: Iterable[str], tables: Sequence[LoadTable]) -> Mapping[str, frozenset[str]]:
    """Return names of files by the table that takes them: the first whose pattern accepts the name. Starlake: DomainInfo.findSchema."""
    patterns = [(table.name, _compiled(table.pattern)) for table in tables]
    found: dict[str, set[str]] = {}
    for name in names:
        table = next((table for table, pattern in patterns if pattern.fullmatch(name)), None)
        if table is not None:
            found.setdefault(table, set()).add(name)
    return {table: frozenset(files) for table, files in found.items()}


@contextlib.contextmanager
def files_of_load(files: LoadFiles, *, log: Log, cancelled: threading.Event, holder: str = "") -> Iterator[FilesOfLoad]:
    """Hold the files of some tables: loads of the same tables wait for each other, wherever they run on this machine.

    Args:
        files: the folders and the patterns of the tables.
        log: receives what is done, and a line when there is something to wait for.
        cancelled: ends the waiting when set.
        holder: what others read while they wait.

    Raises:
        CommandCancelled: ``cancelled`` was set while waiting.
    """
    prefix = _lock_prefix(files.ingesting)
    with contextlib.ExitStack() as stack:
        for pattern in sorted(set(files.patterns)):
            stack.enter_context(locks.hold_lock(prefix + pattern, cancelled=cancelled, log=log, holder=holder))
        yield FilesOfLoad(files, log)


def _lock_prefix(ingesting: str) -> str:
    return f"files of {os.path.realpath(ingesting)} matching "


def _compiled(pattern: str) -> re.Pattern[str]:
    from ...project.file_patterns import compile_pattern

    try:
        return compile_pattern(pattern)
    except ValueError:
        # Reported when the project is read; no file belongs to such a table.
        return re.compile(r"(?!)")


def _names_like(name: str) -> Iterator[str]:
    """Yield names for a file whose own name is taken: orders-1.csv -> orders-1.1.csv, orders-1-1.csv, orders-11.csv, ..."""
    yield name
    stem, dot, extension = name.partition(".")
    for number in range(1, 100):
        for between in (".", "-", "_", ""):
            yield f"{stem}{between}{number}{dot}{extension}"
        yield f"{number}-{name}"
        yield f"{name}.{number}"


def _move_without_replacing(source: Path, target: Path) -> None:
    """Move a file; at no moment is it nowhere, and a file that is there already stays.

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
        pass  # another file system, or one without hard links
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
