"""Projects that tests write file by file."""

import textwrap
from pathlib import Path

from starlake_dagster_components.project.model import Project
from starlake_dagster_components.project.reader import read_project


class ProjectFolder:
    """A Starlake project on disk that a test writes file by file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, file: str, text: str) -> "ProjectFolder":
        """Write a file under the project's folder; the text's indentation is taken off."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return self

    def snapshot(self) -> dict[str, bytes]:
        """Return every file with its bytes."""
        return {str(p.relative_to(self.root)): p.read_bytes() for p in sorted(self.root.rglob("*")) if p.is_file()}


def read(folder: ProjectFolder) -> Project:
    """Read a project without variables of the environment."""
    return read_project(folder.root, environ={})


def list_messages(project: Project) -> list[str]:
    """Return the problems of a project as they are shown."""
    return [str(problem) for problem in project.problems]
