"""Files that processes of several users may see: written as a whole, and read only from those who are trusted."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

LONGEST = 4 * 1024 * 1024
"""Bytes of a small file that are read."""


def is_trusted(status: os.stat_result) -> bool:
    """Return whether this is a regular file that only this user and the administrator can have written."""
    return stat.S_ISREG(status.st_mode) and status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def read_trusted(path: Path) -> str | None:
    """Return the text of a small file; None where it is missing or another user may have written it."""
    try:
        # A named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(LONGEST).decode() if is_trusted(os.fstat(descriptor)) else None
    except (OSError, ValueError):
        return None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that others see all of it or nothing.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
