"""Cache the projects that commands have read. Commands of a run often have the same variables, and large projects take seconds to read."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..commands import Command
from ..locks import INHERITED_LOCKS
from ..project.model import Project
from ..project.sql.intervals import INTERVAL_VARIABLES

_KEPT = 4
_CHANGES_PER_COMMAND = frozenset(("SL_JOB_ID", "SL_API", INHERITED_LOCKS))

Read = Callable[[str, str | None, Mapping[str, str], Mapping[str, str]], Project]
State = tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock
    project: Project | None = None
    state: State = ()


class Projects:
    """Reads the project of a command, unless it was read with the same variables and no file has changed since. Thread-safe."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._entries: OrderedDict[object, _Entry] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, command: Command, environment: Mapping[str, str]) -> Project:
        """Return the project as a command with this environment sees it.

        The data interval of ``--options`` is left out. It differs from run to run, and is added when SQL is rendered.
        """
        options = {name: value for name, value in command.given_options.items() if name not in INTERVAL_VARIABLES}
        profile = environment.get("SL_ENV") or None
        seen = {name: value for name, value in environment.items() if name not in _CHANGES_PER_COMMAND}
        key = (command.project, profile, frozenset(seen.items()), frozenset(options.items()))
        entry = self._find_entry(key)
        with entry.lock:
            if entry.project is None or entry.state != _read_state(entry.project):
                project = self._read(command.project, profile, seen, options)
                entry.project, entry.state = project, _read_state(project)
            return entry.project

    def _find_entry(self, key: object) -> _Entry:
        with self._guard:
            entry = self._entries.pop(key, None) or _Entry(threading.Lock())
            self._entries[key] = entry
            while len(self._entries) > _KEPT:
                self._entries.popitem(last=False)
            return entry


def _read_state(project: Project) -> State:
    """Return a value that changes whenever a file of the project, or the content of a folder, changes."""
    files = [project.get_path(f) for f in project.files]
    folders = {parent for file in files for parent in (file.parent, file.parent.parent)}
    state = []
    for path in (*files, *sorted(folders)):
        try:
            found = os.stat(path)
            state.append((str(path), found.st_mtime_ns, found.st_size))
        except OSError:
            state.append((str(path), -1, -1))
    return tuple(state)


def _read_project(root: str, profile: str | None, environ: Mapping[str, str], options: Mapping[str, str]) -> Project:
    from ..project.reader import read_project

    return read_project(root, profile=profile, environ=environ, options=options)


PROJECTS = Projects(_read_project)
"""The projects of this process."""
