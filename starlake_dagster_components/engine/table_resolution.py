"""Resolve the names of tables in the project's SQL to tasks and load tables. Starlake: SQLUtils.resolveTableRefInDomainsAndJobs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import describe_unknown, join_with
from ..project.model import Project, Table, TableReference, Task
from .engine_errors import BadSetting, NotFound


class Meant(NamedTuple):
    """The schema of the table or view that a reference names, and the tables or tasks that create it."""

    schema: str
    nodes: Sequence[Table | Task]


class Names:
    """The tables that tasks and loads of a project create, by name."""

    def __init__(self, project: Project) -> None:
        self._by_name: dict[str, dict[str, list[Table | Task]]] = {}
        for table in project.tables:
            self._add(table.final_name, table.final_domain, table)
        for task in project.tasks:
            self._add(task.table, task.domain, task)

    def _add(self, name: str, schema: str, node: Table | Task) -> None:
        self._by_name.setdefault(name.lower(), {}).setdefault(schema.lower(), []).append(node)

    def resolve(self, reference: TableReference) -> Meant | None:
        """Return the table or task that a reference names; None if the project does not create it.

        Raises:
            BadSetting: several schemas have the name.
        """
        *before, name = reference.parts
        schemas: Mapping[str, list[Table | Task]] = self._by_name.get(name.lower(), {})
        if before:
            nodes = schemas.get(before[-1].lower())
            return Meant(before[-1], nodes) if nodes else None
        if len(schemas) > 1:
            found = sorted(_find_full_name(nodes[0]) for nodes in schemas.values())
            raise BadSetting(reference.location, f"'{name}' is ambiguous: write {join_with('or', found)}")
        for nodes in schemas.values():
            return Meant(_find_schema(nodes[0]), nodes)
        return None


def _find_schema(node: Table | Task) -> str:
    return node.domain if isinstance(node, Task) else node.final_domain


def _find_full_name(node: Table | Task) -> str:
    return node.sink_name if isinstance(node, Task) else node.final_full_name


_latest: tuple[Project, Names] | None = None


def index_names(project: Project) -> Names:
    """Return the names of a project. Those of the last project are cached."""
    global _latest
    known = _latest
    if known is None or known[0] is not project:
        known = (project, Names(project))
        _latest = known
    return known[1]


def find_upstream_tasks(project: Project, task: Task, references: Iterable[TableReference]) -> list[Task]:
    """Return the tasks that create the tables that ``task`` reads, without the task itself, in order of appearance."""
    names = index_names(project)
    found: dict[str, Task] = {}
    for reference in references:
        meant = names.resolve(reference)
        for node in meant.nodes if meant else ():
            if isinstance(node, Task) and node.full_name != task.full_name:
                found.setdefault(node.full_name, node)
    return list(found.values())


def build_tree(project: Project, task: Task) -> tuple[list[str], list[Task]]:
    """Return a task with the tasks that it reads from, directly or indirectly: as Starlake prints them, and once each in running order.

    Raises:
        BadSetting: a task depends on itself through other tasks.
    """
    lines: list[str] = []
    order: list[Task] = []
    state: dict[str, str] = {}
    stack: list[tuple[Task, int, bool]] = [(task, 0, False)]
    while stack:
        one, depth, left = stack.pop()
        if left:
            if state[one.full_name] != "done":
                state[one.full_name] = "done"
                order.append(one)
            continue
        lines.append("  " * depth + one.full_name)
        if state.get(one.full_name) == "open":
            raise BadSetting(one.origin.locate(), f"task {one.full_name} depends on itself through other tasks")
        if one.full_name in state:
            continue
        state[one.full_name] = "open"
        stack.append((one, depth, True))
        behind = find_upstream_tasks(project, one, one.references)
        stack.extend((parent, depth + 1, False) for parent in reversed(behind))
    return lines, order


def find_task(project: Project, name: str) -> Task:
    """Return a task by its name, in any case. Raise NotFound if it does not exist. Starlake: SchemaHandler.taskByFullName."""
    for task in project.tasks:
        if task.full_name.lower() == name.lower():
            return task
    raise NotFound(f"Invalid task name {name}: {describe_unknown('task', name, [t.full_name for t in project.tasks])}")
