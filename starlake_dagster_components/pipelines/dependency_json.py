"""Read dependency JSON: the tree in the transform files of dag-generate, or the diagram of ``starlake lineage --json``."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ..errors import Location, Problem
from ..project.model import Freshness, Origin, Project, Task, WriteStrategy
from .json_documents import InvalidJson, Lines, parse_json
from .pipeline import Dependency, NodeKind

_WRAPPERS = ("dependencies", "task_deps", "context")
Object = dict[str, Any]
Locate = Callable[..., Location]
_EXPECTED = "expected the tree that dag-generate writes (a list of objects with 'data') or the diagram of 'starlake lineage --json --all'"


@dataclass(slots=True)
class NamedTask:
    """A task that JSON names, with its dependencies from everywhere in the file.

    Attributes:
        name: full name.
        location: where it is named first.
        children: its dependencies, by lowercase name, with their names as in the JSON.
        data: the ``data`` of its node; empty for a diagram.
    """

    name: str
    location: Location
    children: dict[str, Dependency] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


def read_named_tasks(project: Project, problems: list[Problem]) -> dict[str, NamedTask]:
    """Return the tasks that a project's dependency files name, by lowercase full name. An error is added for each invalid file."""
    tasks: dict[str, NamedTask] = {}
    for name, text in project.dependency_files.items():
        try:
            _read_document(text, name, tasks, problems)
        except InvalidJson as error:
            hint = "; run starlake lineage with --output, because its standard output contains more than JSON" if error.line <= 2 else ""
            problems.append(Problem(Location(name, error.line), "error", f"not JSON: {error}{hint}"))
    return tasks


def _read_document(text: str, file: str, tasks: dict[str, NamedTask], problems: list[Problem]) -> None:
    """Read one document. It may be wrapped in objects, or be a JSON string in JSON, as ``{{ json }}`` in a DAG template renders it."""
    document = parse_json(text)
    lines = Lines(text, document)
    line, inner = 1, False
    while True:
        if isinstance(document, str):
            try:
                document = parse_json(document)
            except InvalidJson as error:
                message = f"the JSON in this string is invalid on its line {error.line}: {error}"
                problems.append(Problem(Location(file, line), "error", message))
                return
            inner = True
        elif isinstance(document, dict) and "data" not in document and "relations" not in document:
            key = next((k for k in _WRAPPERS if k in document), None)
            if key is None:
                break
            line = line if inner else lines.find(document, key)
            document = document[key]
        else:
            break

    def locate(value: Object, key: str | None = None) -> Location:
        # Lines inside a string are not lines of the file.
        return Location(file, line if inner else lines.find(value, key))

    if isinstance(document, dict) and "data" in document:
        document = [document]
    if isinstance(document, list) and all(isinstance(node, dict) for node in document):
        _read_tree(document, locate, tasks, problems)
    elif isinstance(document, dict) and any(isinstance(document.get(key), list) for key in ("relations", "items")):
        _read_diagram(document, locate, tasks)
    else:
        problems.append(Problem(Location(file, line), "error", _EXPECTED))


def _read_tree(nodes: list[Object], locate: Locate, tasks: dict[str, NamedTask], problems: list[Problem]) -> None:
    """Add every task of a tree, at any depth, with its children. Starlake: TaskViewDependencyNode."""
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        name, data = _get_name(node)
        if name is None:
            problems.append(Problem(locate(node), "error", f"a node has no 'data' with a 'name'; {_EXPECTED}"))
            continue
        if not _is_task(node, data):
            continue
        task = tasks.setdefault(name.lower(), NamedTask(name, locate(data, "name"), data=data))
        for child in _iterate_objects(node.get("children")):
            child_name, child_data = _get_name(child)
            if child_name is not None:
                kind: NodeKind = "task" if _is_task(child, child_data) else "table"
                task.children.setdefault(child_name.lower(), Dependency(kind, child_name, locate(child_data, "name"), "json"))
            waiting.append(child)


def _get_name(node: Object) -> tuple[str | None, Object]:
    data = node.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("name"), str) or not data["name"]:
        return None, node
    return data["name"], data


def _is_task(node: Object, data: Object) -> bool:
    return data["typ"] == "task" if "typ" in data else node.get("task") is True


def _read_diagram(diagram: Object, locate: Locate, tasks: dict[str, NamedTask]) -> None:
    """Add the tasks of a diagram. A relation goes from the table that is read to its reader. Starlake: AutoTaskDependencies."""
    types: dict[str, str] = {}
    for item in _iterate_objects(diagram.get("items")):
        name = item.get("id")
        if isinstance(name, str) and name:
            types[name.lower()] = str(item.get("displayType", ""))
            if types[name.lower()] == "task":
                tasks.setdefault(name.lower(), NamedTask(name, locate(item, "id")))
    for relation in _iterate_objects(diagram.get("relations")):
        source, target = relation.get("source"), relation.get("target")
        if not isinstance(source, str) or not isinstance(target, str) or not source or not target:
            continue
        if types.get(target.lower(), relation.get("relationType")) != "task":
            continue
        where = locate(relation, "source")
        task = tasks.setdefault(target.lower(), NamedTask(target, where))
        kind: NodeKind = "task" if types.get(source.lower()) == "task" else "table"
        task.children.setdefault(source.lower(), Dependency(kind, source, where, "json"))


def _iterate_objects(value: Any) -> Iterator[Object]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def build_task(named: NamedTask) -> Task | None:
    """Return a task that is made from JSON alone, for a project without transforms; None if its name has no domain."""
    domain, _, name = named.name.partition(".")
    if not domain or not name:
        return None
    data = named.data
    sink_domain, _, sink_table = str(data.get("sink") or "").rpartition(".")
    same_domain = sink_domain.lower() == domain.lower()
    cron = data.get("cron")
    freshness = data.get("freshness")
    return Task(
        domain=domain,
        name=name,
        table=sink_table if sink_table and same_domain else name,
        folder=domain,
        parse_sql=False,
        write_strategy=_read_write_strategy(data.get("writeStrategy")),
        schedule=cron if isinstance(cron, str) and cron.lower() != "none" else None,
        freshness=Freshness(error=timedelta(seconds=freshness)) if isinstance(freshness, (int, float)) and freshness > 0 else None,
        origin=Origin(named.location.file, named.location.line),
    )


def _read_write_strategy(value: Any) -> WriteStrategy | None:
    if not isinstance(value, Mapping):
        return None
    key = value.get("key")
    return WriteStrategy(
        type=str(value["type"]).upper() if value.get("type") else None,
        types=dict(value["types"]) if isinstance(value.get("types"), Mapping) else {},
        key=tuple(str(k) for k in key) if isinstance(key, list) else (),
        timestamp=value.get("timestamp"),
        query_filter=value.get("queryFilter"),
        on=value.get("on"),
        start_ts=value.get("startTs"),
        end_ts=value.get("endTs"),
    )
