"""Find the columns to hide: those with ``privacy``, and the columns of tasks that are derived from them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ...lineage.parsed_query import UnsupportedQuery
from ...lineage.project import ColumnSource, ProjectColumns
from ...masking import is_secret_name
from ...project.model import Attribute, Project, Table, Task

MAX_DEPTH = 50
"""Maximum length of a chain of tasks."""


@dataclass(frozen=True, slots=True)
class HiddenColumns:
    """The columns of a table to hide, with names in lower case.

    Attributes:
        private: the private columns, except those that are private because of their name.
        public: the other columns, if the table may have columns that are not known; None if it has no such columns.
    """

    private: frozenset[str] = frozenset()
    public: frozenset[str] | None = None

    def is_hidden(self, name: str) -> bool:
        """Return whether a column is to be hidden. A column that is not known may be derived from a private one."""
        return name.lower() in self.private or (self.public is not None and name.lower() not in self.public)


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

    def find(self, node: Table | Task) -> HiddenColumns | None:
        """Return a node's columns to hide, except those that are private because of their name.

        The result is None if they are unknown: the SQL of a task cannot be analyzed, and the project has private columns.
        """
        if isinstance(node, Table):
            return HiddenColumns(_find_private(node.attributes))
        if not self.declared:
            return HiddenColumns()
        try:
            private = self._find_of_task(node, 0)
            # DuckDB, for example, adds columns for expressions without an alias, which have no name in the SQL.
            return HiddenColumns(private, frozenset(c.name.lower() for c in self._columns.get_task_columns(node)) - private)
        except UnsupportedQuery:
            return None

    def find_names(self, node: Table | Task) -> frozenset[str]:
        """Return all names, in lower case, that the private columns of a node have in its files, its YAML, and its table."""
        hidden = self.find(node)
        own = {name for a in _iterate_attributes(node.attributes) if self._is_private(a) for name in (a.name.lower(), a.final_name.lower())}
        return frozenset(own) | (hidden.private if hidden else frozenset())

    def _is_private(self, attribute: Attribute) -> bool:
        return bool(_find_private((attribute,))) or self.is_masked(attribute.name) or self.is_masked(attribute.final_name)

    def _find_of_task(self, task: Task, depth: int) -> frozenset[str]:
        if depth > MAX_DEPTH:
            raise UnsupportedQuery("the chain of upstream tasks is too long")
        columns = self._columns.get_task_columns(task)
        derived = (c for c in columns if c.sources is None or any(self._comes_from_private(source, depth) for source in c.sources))
        return _find_private(task.attributes) | {c.name.lower() for c in derived}

    def _comes_from_private(self, source: ColumnSource, depth: int) -> bool:
        # A field of a struct, such as address.city, is as private as the struct.
        names = {source.column.lower(), *source.column.lower().split(".")}
        if any(map(self.is_masked, names)):
            return True
        if source.kind == "table" and source.name in self._tables:
            return not names.isdisjoint(_find_private(self._tables[source.name].attributes))
        if source.kind == "task" and source.name in self._tasks:
            return not names.isdisjoint(self._find_of_task(self._tasks[source.name], depth + 1))
        return False


def _find_private(attributes: Iterable[Attribute]) -> frozenset[str]:
    return frozenset(a.final_name.lower() for a in attributes if (a.privacy or "NONE").upper() != "NONE" or _find_private(a.attributes))


def _iterate_attributes(attributes: Iterable[Attribute]) -> Iterator[Attribute]:
    for attribute in attributes:
        yield attribute
        yield from _iterate_attributes(attribute.attributes)
