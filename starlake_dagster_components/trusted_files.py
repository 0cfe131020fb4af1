"""Files that processes of several users may see: written as a whole, and read only if no other user can have written them."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

LONGEST = 4 * 1024 * 1024
"""Bytes of a small file that are read."""


def is_trusted(status: os.stat_result) -> bool:
    """Return whether this is a regular file that only this user and the administrator can have written."""
    if not stat.S_ISREG(status.st_mode):
        return False
    return os.name == "nt" or (status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022)


def read_trusted(path: Path, *, longest: int = LONGEST, follow_links: bool = False) -> bytes | None:
    """Return the content of a file; None if it is missing or another user may have written it.

    Args:
        path: the file.
        longest: bytes that are read at most; -1 = all of them.
        follow_links: whether the path may be a link.
    """
    # A named pipe would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags if follow_links else flags | getattr(os, "O_NOFOLLOW", 0))
        with open(descriptor, "rb") as file:
            return file.read(longest) if is_trusted(os.fstat(descriptor)) else None
    except OSError:
        return None


def write_whole(path: Path, content: bytes, *, readable: bool = True) -> None:
    """Write a file so that other processes see all of it or nothing; create its folder.

    Args:
        path: the file.
        content: what it is to hold.
        readable: whether every user may read it and list its folder; otherwise only this user.

    Raises:
        OSError: it cannot be written.
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
