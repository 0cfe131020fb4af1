"""Find the columns to hide: those with ``privacy``, and the columns of tasks that are derived from them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from ...lineage.project import ColumnSource, ProjectColumns
from ...lineage.statement import UnsupportedQuery
from ...masking import is_secret_name
from ...project.model import Attribute, Project, Table, Task

MAX_DEPTH = 50
"""Maximum length of a chain of tasks."""


class PrivateColumns:
    """Finds private columns. ``masked`` are patterns of additional column names that are private; ``*`` matches any characters."""

    def __init__(self, project: Project, columns: ProjectColumns, masked: Iterable[str]) -> None:
        self._columns = columns
        self._masked = [pattern.lower() for pattern in masked]
        self._tables = {t.full_name: t for t in project.tables}
        self._tasks = {t.full_name: t for t in project.tasks}
        nodes: list[Table | Task] = [*project.tables, *project.tasks]
        self.declared = frozenset(name for node in nodes for name in _find_private(node.attributes))
        """The names, in lower case, of all columns of the project with ``privacy``."""

    def is_masked(self, name: str) -> bool:
        """Return whether a column is private because of its name."""
        return is_secret_name(name) or any(fnmatchcase(name.lower(), pattern) for pattern in self._masked)

    def find(self, node: Table | Task) -> frozenset[str] | None:
        """Return the names, in lower case, of a node's private columns, except those that are private because of their name.

        The result is None if they are unknown: the SQL of a task cannot be analyzed, and the project has private columns.
        """
        if isinstance(node, Table):
            return _find_private(node.attributes)
        if not self.declared:
            return frozenset()
        try:
            return self._find_of_task(node, 0)
        except UnsupportedQuery:
            return None

    def _find_of_task(self, task: Task, depth: int) -> frozenset[str]:
        if depth > MAX_DEPTH:
            raise UnsupportedQuery("the chain of upstream tasks is too long")
        columns = self._columns.get_task_columns(task)
        derived = (c for c in columns if c.sources is None or any(self._comes_from_private(source, depth) for source in c.sources))
        return _find_private(task.attributes) | {c.name.lower() for c in derived}

    def _comes_from_private(self, source: ColumnSource, depth: int) -> bool:
        name = source.column.lower()
        if self.is_masked(name):
            return True
        if source.kind == "table" and source.name in self._tables:
            return name in _find_private(self._tables[source.name].attributes)
        if source.kind == "task" and source.name in self._tasks:
            return name in self._find_of_task(self._tasks[source.name], depth + 1)
        return False


def _find_private(attributes: Iterable[Attribute]) -> frozenset[str]:
    return frozenset(a.final_name.lower() for a in attributes if (a.privacy or "NONE").upper() != "NONE" or _find_private(a.attributes))
