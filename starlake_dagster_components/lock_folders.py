"""Choose the folder of lock files: a shared one if several users can write the data, or else one that other users cannot interfere with."""

import contextlib
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .errors import CommandError

_NAME = "starlake-dagster-locks"
_MOST_FOLDERS = 100
"""Number of folder names to try, because another user may have created folders with the first ones."""
_ABANDONED_AFTER = 86_400.0
"""Age in seconds at which the file of a single-use lock is considered left behind by a killed process."""


def choose_lock_folder(beside: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the locks that protect the data in ``beside``. All processes that can write the data choose the same folder.

    Args:
        beside: the folder of the data; if it does not exist, its nearest existing parent is used. None = only this user writes the data.

    Raises:
        CommandError: the folder cannot be created.
    """
    owner = os.geteuid()
    if beside is not None:
        status = _read_status(Path(os.path.realpath(beside)))
        shared = bool(status.st_mode & 0o022) or os.geteuid() not in (0, status.st_uid)
        if shared:
            return _open_shared_folder()
        owner = status.st_uid
    return _open_private_folder(owner)


def _read_status(folder: Path) -> os.stat_result:
    while True:
        try:
            return folder.stat()
        except OSError:
            if folder.parent == folder:
                raise
            folder = folder.parent


def _open_shared_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / _NAME
    if not folder.is_dir():
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777 | stat.S_ISVTX)
    return folder


def _open_private_folder(owner: int) -> Path:
    for number in range(_MOST_FOLDERS):
        folder = Path(tempfile.gettempdir()) / (f"{_NAME}-{owner}" + (f"-{number}" if number else ""))
        for _ in range(2):
            try:
                status = folder.lstat()
            except FileNotFoundError:
                _create_private_folder(folder, owner)
                continue
            if stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077:
                return folder
            break
    path = Path(tempfile.gettempdir(), f"{_NAME}-{owner}")
    raise CommandError(
        f"cannot create a lock folder: {path} and its {_MOST_FOLDERS - 1} alternatives exist, but are not private folders of this user; "
        "remove them or set TMPDIR"
    )


def _create_private_folder(folder: Path, owner: int) -> None:
    try:
        if owner == os.geteuid():
            folder.mkdir(mode=0o700)
        else:
            # Renamed last, so that the owner's processes never see a folder that belongs to root.
            temporary = tempfile.mkdtemp(prefix=f".{_NAME}-", dir=folder.parent)
            try:
                os.chown(temporary, owner, -1)
                os.rename(temporary, folder)
            except OSError:
                os.rmdir(temporary)
    except FileExistsError:
        return
    except OSError as error:
        raise CommandError(f"cannot create the lock folder {folder}: {error.strerror}") from error


_cleaned: set[Path] = set()
_cleaned_lock = threading.Lock()


def remove_abandoned_locks(folder: Path, pattern: str, take: Callable[[Path], contextlib.AbstractContextManager[bool]]) -> None:
    """Remove lock files that killed processes have left behind. Only the first call for a folder in a process does anything.

    Args:
        folder: the folder of the lock files.
        pattern: glob pattern of the files of single-use locks.
        take: function that tries to acquire the lock of a file without waiting, as a context manager that yields whether it succeeded.
    """
    with _cleaned_lock:
        if folder in _cleaned:
            return
        _cleaned.add(folder)
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError, CommandError):
            if path.lstat().st_mtime < time.time() - _ABANDONED_AFTER:
                with take(path) as taken:
                    if taken:
                        path.unlink()
