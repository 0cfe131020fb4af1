"""Manage the temporary files of loads and DuckDB instances. The files of a killed process are removed by the next one."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_PREFIX = "starlake-dagster-load-"
_LOCK = ".lock"
_NEW = ".new"


class Scratch:
    """A temporary folder that is created when it is first needed.

    Attributes:
        copies: (file, encoding) -> its copy in UTF-8, so that it is converted only once.
    """

    def __init__(self) -> None:
        self.copies: dict[tuple[Path, str], Path] = {}
        self._folder: Path | None = None
        self._lock = -1
        self._used = 0
        self._pid = os.getpid()

    def make_file(self, name: str) -> Path:
        """Return the path of a new file called ``name``, in a folder of its own. Raise OSError if the folder cannot be created."""
        if self._folder is None:
            self._make_folder()
        assert self._folder is not None
        self._used += 1
        folder = self._folder / str(self._used)
        folder.mkdir()
        return folder / name

    def _make_folder(self) -> None:
        root = Path(tempfile.gettempdir())
        remove_abandoned(root)
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        # The lock is held until the process ends, in whichever way. Other processes see the file only once it is locked.
        self._lock = os.open(self._folder / _NEW, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(self._folder / _NEW, self._folder / _LOCK)

    def __enter__(self) -> "Scratch":
        """Return the folder itself."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder with its files, except in a fork of the process that created it."""
        if self._folder is not None and self._pid == os.getpid():
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None


@contextlib.contextmanager
def write_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, which the ``with`` block writes.

    Raises:
        OSError: it cannot be written. The error names it, unlike those of ``write``.
    """
    try:
        with path.open("wb") as out:
            yield out
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def remove_abandoned(root: Path) -> None:
    """Remove the folders of killed processes, which no process has locked."""
    with contextlib.suppress(OSError):
        for folder in root.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    # A folder without a lock file is being created right now.
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
