"""Read the files of a project, and record which ones were read."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import Location, Problem
from . import disk


class UnreadableFile(Exception):
    """A file does not exist or cannot be read. The exception carries the problem to report."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


MAX_SIZE = 2_000_000
"""Size of the largest project file (YAML, SQL, Jinja, or Python), in bytes."""
_MAX_NESTED_FILES = 20_000
_FILE_SUFFIXES = (".sl.yml", ".sql", ".j2")
_SUFFIXES = (*_FILE_SUFFIXES, ".py", ".json")

_OUTSIDE = "is a link to {}, which is outside the project, so it is not read; copy it, or set SL_METADATA to the folder"


class ProjectFiles:
    """The files below a project's root.

    Attributes:
        root: absolute folder of the project.
        read_files: names of all files read so far, in order (the values are not used).
        problems: problems with the files and folders themselves.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read_files: dict[str, None] = {}
        self.problems: list[Problem] = []
        self._prefix = os.path.join(str(root), "")
        self._allowed = [root]

    def allow_folders(self, folders: Iterable[str | Path]) -> None:
        """Treat folders outside the root as part of the project: those that ``SL_METADATA`` and similar variables name."""
        self._allowed += [Path(folder) for folder in folders]

    def name(self, path: str | Path) -> str:
        """Return a path relative to the root, with ``/`` as separator; a path outside the root stays absolute."""
        text = str(path).removeprefix(self._prefix)
        return text.replace(os.sep, "/") if os.sep != "/" else text

    def read(self, path: str | Path) -> str:
        """Return a file's text without its byte order mark. Bytes that are not UTF-8 are replaced, as in Java, with a warning.

        Raises:
            UnreadableFile: the file cannot be opened, is larger than ``MAX_SIZE``, or is a link to a file outside the project.
        """
        name = self.name(path)
        self.read_files[name] = None
        if os.path.islink(path) and (outside := self._find_target_outside(path)):
            raise UnreadableFile(Problem(Location(name), "error", _OUTSIDE.format(outside)))
        try:
            content = disk.read_bytes(path, MAX_SIZE)
        except (OSError, ValueError) as error:
            message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
            raise UnreadableFile(Problem(Location(name), "error", message)) from error
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            message = f"is not UTF-8 text: byte 0x{content[error.start]:02x} is replaced by a question mark; save the file as UTF-8"
            self.problems.append(Problem(Location(name, line), "warning", message))
            text = content.decode("utf-8", errors="replace")
        text = text.removeprefix("\ufeff")
        return text if "\r" not in text else text.replace("\r\n", "\n").replace("\r", "\n")

    def _find_target_outside(self, path: str | Path) -> str:
        """Return the target of a link if it is outside the project, else an empty string."""
        target = disk.resolve_links(path)
        return "" if disk.is_below(target, self._allowed) else target

    def _list_entries(self, folder: Path | str) -> list[disk.Entry]:
        """Return the entries of a folder that can be read. Report the others, and a folder that cannot be listed."""
        if os.path.islink(folder) and (outside := self._find_target_outside(folder)):
            self._add_error(folder, _OUTSIDE.format(outside))
            return []
        try:
            entries = disk.list_entries(folder)
        except (OSError, ValueError) as error:
            self._add_error(folder, f"the folder cannot be read: {getattr(error, 'strerror', None) or error}")
            return []
        return [entry for entry in entries if (entry.kind != "other" and not entry.link and not entry.failure) or self._is_usable(entry)]

    def _add_error(self, path: Path | str, message: str) -> None:
        self.problems.append(Problem(Location(self.name(path)), "error", message))

    def _is_usable(self, entry: disk.Entry) -> bool:
        message = entry.failure
        if not message and entry.link and (outside := self._find_target_outside(entry.path)):
            message = _OUTSIDE.format(outside)
        if not message and entry.kind == "other":
            message = "is not a regular file and is not read"
        if message and (entry.kind == "folder" or entry.failure or entry.name.endswith(_SUFFIXES)):
            self._add_error(entry.path, message)
        return not message

    def list_folders(self, folder: Path | str) -> list[str]:
        """Return the paths of the subfolders, sorted by name, without hidden ones. Starlake: HdfsStorageHandler."""
        return [entry.path for entry in self._list_entries(folder) if entry.kind == "folder"]

    def list_files(self, folder: Path | str) -> list[tuple[str, str]]:
        """Return (name, path) of the files directly in a folder, sorted by name, without hidden ones. Report folders with a file's name."""
        entries = self._list_entries(folder)
        for entry in entries:
            # Docker, for example, creates a folder in place of a file to mount that does not exist.
            if entry.kind == "folder" and entry.name.endswith(_FILE_SUFFIXES):
                self._add_error(entry.path, "is a folder; it must be a file")
        return [(entry.name, entry.path) for entry in entries if entry.kind == "file"]

    def walk_files(self, folder: Path | str) -> Iterator[tuple[str, str]]:
        """Yield (name, path) of the files in all subfolders, but not in the folder itself, sorted by path. Each folder is visited once."""
        waiting = self.list_folders(folder)[::-1]
        seen = {_identify_folder(folder)} if waiting else set()
        count = 0
        while waiting:
            sub_folder = waiting.pop()
            identity = _identify_folder(sub_folder)
            if identity in seen:
                continue  # a link to a folder that was already visited
            seen.add(identity)
            files = self.list_files(sub_folder)
            count += len(files) + 1
            if count > _MAX_NESTED_FILES:
                self._add_error(folder, f"contains more than {_MAX_NESTED_FILES:,} files and folders; the rest are not read")
                return
            yield from files
            waiting += self.list_folders(sub_folder)[::-1]


def _identify_folder(folder: Path | str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
