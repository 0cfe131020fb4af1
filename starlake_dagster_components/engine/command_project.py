"""The project of a command: the one that has already been read, unless the command's options or environment change it."""

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from ..project.model import Project
from ..project.reader import read_project
from .arguments import Arguments

_KEPT = 8
_guard = threading.Lock()
# (identity of the project as read, profile, options) -> the project itself, to keep it alive, and the project read with these options.
_read: OrderedDict[tuple[int, str, tuple[tuple[str, str], ...]], tuple[Project, Project]] = OrderedDict()


def select_project(arguments: Arguments, environ: Mapping[str, str], project: Project | None) -> Project:
    """Return the project of a command.

    Options are variables of the project's files. Every command renders the SQL of tasks, so options that only SQL uses do not change the
    project. If a file that defines the command's tables or task mentions an option, the project is read again with the options.

    Raises:
        ProjectNotFound: there is no project at ``SL_ROOT`` or in the working directory.
    """
    if project is None:
        return read_project(environ.get("SL_ROOT") or os.getcwd(), environ=environ, options=arguments.options)
    profile = environ.get("SL_ENV", "")
    wanted_profile = profile if profile and profile.lower() != "none" and profile != project.profile else ""
    changing = {k: v for k, v in arguments.options.items() if project.variables.get(k) != v}
    if not wanted_profile and not (changing and _has_mention(project, list_files(project, arguments), changing)):
        return project
    key = (id(project), wanted_profile, tuple(sorted(changing.items())))
    with _guard:
        found = _read.get(key)
        if found is not None:
            _read.move_to_end(key)
            return found[1]
    again = read_project(project.root, profile=wanted_profile or project.profile, environ=environ, options=arguments.options)
    with _guard:
        _read[key] = (project, again)
        while len(_read) > _KEPT:
            _read.popitem(last=False)
    return again


def list_files(project: Project, arguments: Arguments) -> Iterable[str]:
    """Return the YAML files that define the command's tables or task."""
    yield project.application.origin.file
    if arguments.verb == "transform":
        for task in project.tasks:
            # A recursive run may reach any task; an option may even rename tasks.
            if arguments.recursive or task.full_name.lower() == arguments.name.lower():
                yield task.origin.file
                yield f"{os.path.dirname(task.sql_file or task.origin.file)}/_config.sl.yml"
        return
    for domain in project.domains:
        if not arguments.domains or domain.folder in arguments.domains or domain.name in arguments.domains:
            yield domain.origin.file
            for table in domain.tables:
                if not arguments.tables or table.name in arguments.tables:
                    yield table.origin.file


def _has_mention(project: Project, files: Iterable[str], names: Collection[str]) -> bool:
    wanted = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    for name in dict.fromkeys(files):
        try:
            text = project.get_path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeError):
            continue
        if ("{{" in text or "${" in text or "{%" in text) and wanted.search(text):
            return True
    return False
