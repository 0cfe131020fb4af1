"""Archives of classes: one per Java, class path, and loader, in one folder.

A JVM maps such an archive into memory, and does not have to read, parse, and verify about ten thousand classes. It ignores an archive that
does not match, but may crash with a truncated one. So an archive is used only if it is unchanged since it was made: a file beside it
records its size, modification time, and checksum.
"""

import contextlib
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from ....trusted_files import is_trusted, read_trusted, write_whole
from .probe import Java

Loader = Literal["native", "spark"]
"""True if the commands start Spark: they load different classes."""

MAX_BYTES = 2 * 1024**3
"""Maximum size of all archives of a folder. The least recently used are removed first."""
MAX_UNUSED = 30 * 86_400.0
"""Seconds after which an unused archive is removed."""
PAUSE_AFTER_FAILURE = 86_400.0
"""Seconds until the next try after an archive could not be made."""

_OLDEST_WITH_ARCHIVES = 13
"""JDK 13: dynamic archives of the classes of an application (JEP 350)."""
_OLDEST_WITH_CACHES = 25
"""JDK 25: caches of loaded and linked classes, made in one run (JEP 483, JEP 514)."""
_QUIET_SINCE = 24
"""JDK 24: messages about archives have the ``aot`` tag. Older versions do not start with an option that names this tag."""
_SUFFIXES = (".jsa", ".aot")


@dataclass(frozen=True, slots=True)
class _Note:
    """The note beside an archive, or in its place if it cannot be made."""

    size: int = 0
    time: int = 0
    checksum: str = ""
    failed: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive for a Java, a class path, and a loader. The file may not exist yet."""

    path: Path
    java: Java

    @property
    def note(self) -> Path:
        """The file beside it."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def options(self) -> tuple[str, ...]:
        """The options that make a JVM use the archive, without a message if it cannot."""
        option = "-XX:AOTCache" if self.path.suffix == ".aot" else "-XX:SharedArchiveFile"
        mode = ("-XX:AOTMode=auto",) if self.path.suffix == ".aot" else ("-Xshare:auto",)
        return (f"{option}={self.path}", *mode, *build_quiet_options(self.java))

    def build_making_options(self, target: Path) -> tuple[str, ...]:
        """Return the options that make a JVM write the archive to a file when it ends."""
        option = "-XX:AOTCacheOutput" if self.path.suffix == ".aot" else "-XX:ArchiveClassesAtExit"
        # Launchers read the standard output of helpers, so messages of the JVM must go to standard error.
        return (f"{option}={target}", "-XX:+DisplayVMOutputToStderr", *build_quiet_options(self.java))

    def is_usable(self) -> bool:
        """Return whether the file exists and is unchanged since it was made."""
        note = self._read_note()
        if note is None or not note.size:
            return False
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        if not is_trusted(status) or status.st_size != note.size:
            return False
        # Image builders and copies change or round times. Then the checksum decides, once per process.
        with contextlib.suppress(OSError):
            return status.st_mtime_ns == note.time or _compute_checksum(self.path, _read_state(status)) == note.checksum
        return False

    def has_failed(self) -> bool:
        """Return whether a recent try to make it failed."""
        note = self._read_note()
        return note is not None and time.time() - note.failed < PAUSE_AFTER_FAILURE

    def adopt(self, made: Path) -> None:
        """Move a new file to the archive's place.

        Raises:
            OSError: it cannot be moved.
        """
        os.chmod(made, 0o644)
        status = made.stat()
        note = _Note(size=status.st_size, time=status.st_mtime_ns, checksum=_compute_checksum(made, _read_state(status)))
        # Between these two steps, the note does not match the archive, so other processes ignore the archive.
        os.replace(made, self.path)
        write_whole(self.note, json.dumps(asdict(note)).encode())

    def record_failure(self, reason: str) -> None:
        """Record that it could not be made."""
        with contextlib.suppress(OSError):
            write_whole(self.note, json.dumps(asdict(_Note(failed=time.time(), reason=reason[:1000]))).encode())

    def _read_note(self) -> _Note | None:
        text = read_trusted(self.note)
        try:
            return _Note(**json.loads(text)) if text is not None else None
        except (ValueError, TypeError):
            return None


def find_archive(folder: Path, java: Java, loader: Loader) -> Archive | None:
    """Return the archive for a Java and a loader; None if that Java has no archives, or its options cannot contain the path."""
    if java.feature_version < _OLDEST_WITH_ARCHIVES or any(c in str(folder) for c in "\"'%\n") or not java.home:
        return None
    parts = (java.home, java.version, java.class_path, java.files, loader)
    name = hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:24]
    suffix = ".aot" if java.feature_version >= _OLDEST_WITH_CACHES else ".jsa"
    return Archive(folder / f"{loader}-{java.feature_version}-{name}{suffix}", java)


def build_quiet_options(java: Java) -> tuple[str, ...]:
    """Return the options that keep a JVM from writing warnings about archives to standard output."""
    return ("-Xlog:cds*=off", *(("-Xlog:aot*=off",) if java.feature_version >= _QUIET_SINCE else ()))


def remove_unused_archives(folder: Path, kept: Archive) -> None:
    """Remove archives that have not been used for long, and others until the rest is at most :data:`MAX_BYTES`."""
    total = 0
    # The archive to keep comes first.
    for used, path in sorted(_list_archives(folder), key=lambda item: (item[1] == kept.path, item[0]), reverse=True):
        with contextlib.suppress(OSError):
            size = path.stat(follow_symlinks=False).st_size
            if path == kept.path or (total + size <= MAX_BYTES and time.time() - used <= MAX_UNUSED):
                total += size
                continue
            path.unlink()
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)


def _list_archives(folder: Path) -> list[tuple[float, Path]]:
    """Return the archives of a folder with the time of their last use, and leftover files of killed processes."""
    found = []
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            path = Path(entry.path)
            with contextlib.suppress(OSError):
                if entry.name.startswith(".") and entry.stat(follow_symlinks=False).st_mtime < time.time() - 86_400:
                    found.append((0.0, path))
                elif not entry.name.startswith(".") and path.suffix in _SUFFIXES:
                    note = path.with_name(f"{path.name}.json")
                    found.append(((note if note.exists() else path).stat().st_mtime, path))
    return found


def _read_state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _compute_checksum(path: Path, state: tuple[int, ...]) -> str:
    """Return the checksum of a file. A file is read only once if its state has not changed."""
    with open(path, "rb") as file:
        found = hashlib.sha256()
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()
