"""Where lock files are: shared with other users who can write the same data, else where no other user can hold or block them."""

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
"""Folders of a user to look at: another user may have taken the first names."""
_ABANDONED_AFTER = 86_400.0
"""Seconds after which the file of a lock that is used only once is taken for that of a process that was killed."""


def choose_lock_folder(beside: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the locks for some data; all processes that can write the data choose the same one.

    Args:
        beside: the folder of the data; of one that does not exist the nearest that does decides. None = what only this user has to do with.

    Raises:
        CommandError: the folder cannot be made.
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
                _make_private_folder(folder, owner)
                continue
            if stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077:
                return folder
            break
    raise CommandError(f"other users have taken all names for the folder of locks: {Path(tempfile.gettempdir()) / f'{_NAME}-{owner}'} ...")


def _make_private_folder(folder: Path, owner: int) -> None:
    try:
        if owner == os.geteuid():
            folder.mkdir(mode=0o700)
        else:
            # It must never be seen as one of root's.
            made = tempfile.mkdtemp(prefix=f".{_NAME}-", dir=folder.parent)
            try:
                os.chown(made, owner, -1)
                os.rename(made, folder)
            except OSError:
                os.rmdir(made)
    except FileExistsError:
        return
    except OSError as error:
        raise CommandError(f"cannot make the folder of locks {folder}: {error.strerror}") from error


_cleaned: set[Path] = set()
_cleaned_lock = threading.Lock()


def remove_abandoned_locks(folder: Path, pattern: str, take: Callable[[Path], contextlib.AbstractContextManager[bool]]) -> None:
    """Remove lock files that processes left which were killed; once per folder and process.

    Args:
        folder: where to look.
        pattern: of the names of files of locks that are used only once.
        take: takes a lock by its file without waiting, and says whether it could.
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
