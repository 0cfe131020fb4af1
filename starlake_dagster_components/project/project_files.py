"""Reading files of a project, and remembering which were read."""

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import Location, Problem
from . import disk


class Unreadable(Exception):
    """A file that does not exist or cannot be read; carries the problem to report."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class ProjectFiles:
    """The files below a project's root.

    Attributes:
        root: absolute folder of the project.
        read_files: names of all files read so far, in order.
        problems: problems with them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read_files: dict[str, None] = {}
        self.problems: list[Problem] = []
        self._prefix = os.path.join(str(root), "")

    def name(self, path: str | Path) -> str:
        """Return a path relative to the root with ``/``, or the path itself when it is outside."""
        text = str(path)
        if text.startswith(self._prefix):
            text = text[len(self._prefix) :]
        return text.replace(os.sep, "/") if os.sep != "/" else text

    def read(self, path: str | Path) -> str:
        """Return a file's text without its byte order mark; what is not UTF-8 is replaced, as Java does, with a warning.

        Raises:
            Unreadable: the file cannot be opened.
        """
        name = self.name(path)
        self.read_files[name] = None
        try:
            content = disk.read_bytes(path)
        except OSError as error:
            raise Unreadable(Problem(Location(name), "error", f"cannot be read: {error.strerror or error}")) from error
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            message = f"is not UTF-8 text: byte 0x{content[error.start]:02x} is replaced by a question mark; save the file as UTF-8"
            self.problems.append(Problem(Location(name, line), "warning", message))
            text = content.decode("utf-8", errors="replace")
        if text.startswith("\ufeff"):
            text = text[1:]
        return text if "\r" not in text else text.replace("\r\n", "\n").replace("\r", "\n")


def list_folders(folder: Path | str) -> list[str]:
    """Return the paths of the sub-folders by name; those beginning with a dot are hidden. Starlake: HdfsStorageHandler."""
    return [entry.path for entry in disk.list_entries(folder) if entry.is_folder]


def list_files(folder: Path | str) -> list[tuple[str, str]]:
    """Return (name, path) of the files directly in a folder, by name; those beginning with a dot are hidden."""
    return [(entry.name, entry.path) for entry in disk.list_entries(folder) if not entry.is_folder]


def walk_files(folder: Path | str) -> Iterator[tuple[str, str]]:
    """Yield (name, path) of the files of all sub-folders, by path, not those of the folder itself; each folder once."""
    seen = {_identify_folder(folder)}
    waiting = list_folders(folder)[::-1]
    while waiting:
        sub_folder = waiting.pop()
        identity = _identify_folder(sub_folder)
        if identity in seen:
            continue  # a link to a folder that was visited
        seen.add(identity)
        yield from list_files(sub_folder)
        waiting += list_folders(sub_folder)[::-1]


def _identify_folder(folder: Path | str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
