"""Read and write files in folders that other users can access: atomically, and ignoring files that another user may have written."""

import contextlib
import os
import stat
import tempfile
import time
from pathlib import Path

LONGEST = 4 * 1024 * 1024
"""Default maximum number of bytes to read."""


def is_trusted(status: os.stat_result) -> bool:
    """Return whether a file is a regular file that only this user and the superuser can write."""
    if not stat.S_ISREG(status.st_mode):
        return False
    return os.name == "nt" or (status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022)


def read_trusted(path: Path, *, longest: int = LONGEST, follow_links: bool = False) -> bytes | None:
    """Return the content of a file; None if it cannot be read, or another user may have written it.

    Args:
        path: the file.
        longest: maximum number of bytes to read; -1 = no limit.
        follow_links: whether the path may be a symbolic link.
    """
    # Opening a named pipe would otherwise wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags if follow_links else flags | getattr(os, "O_NOFOLLOW", 0))
        with open(descriptor, "rb") as file:
            return file.read(longest) if is_trusted(os.fstat(descriptor)) else None
    except OSError:
        return None


def mark_used(path: Path) -> None:
    """Update the modification time of a file, at most once a day, so that files that are not used can be removed."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > 86_400:
            os.utime(path)


def write_whole(path: Path, content: bytes, *, readable: bool = True) -> None:
    """Write a file atomically. Its folder is created if necessary.

    Args:
        path: the file.
        content: its new content.
        readable: whether all users, or only this one, may read the file and list its folder.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(mode=0o755 if readable else 0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
        if readable:
            os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
