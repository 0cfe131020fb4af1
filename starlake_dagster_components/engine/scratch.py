"""Temporary files of a load or a DuckDB instance, which do not outlive it: what a killed process leaves is removed by the next one."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "starlake-dagster-load-"
_LOCK = ".lock"
_NEW = ".new"


class Scratch:
    """A temporary folder, made when it is first needed."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._lock = -1
        self._used = 0
        self._pid = os.getpid()

    def make_file(self, name: str) -> Path:
        """Return the path of a new file of a name, alone in its folder.

        Raises:
            OSError: the folder cannot be made.
        """
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
        # The lock is held as long as the process lives, however it ends. Others see the file only once it is locked.
        self._lock = os.open(self._folder / _NEW, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(self._folder / _NEW, self._folder / _LOCK)

    def __enter__(self) -> "Scratch":
        """Return the folder itself."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder with its files; in a fork of the process that has made it, leave it alone."""
        if self._folder is not None and self._pid == os.getpid():
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None


def remove_abandoned(root: Path) -> None:
    """Remove the folders of processes that were killed: those that no process holds."""
    with contextlib.suppress(OSError):
        for folder in root.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    # Without a lock file the folder is just being made.
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
