"""Dependency JSON: the tree that dag-generate writes into transform files, and the diagram of ``starlake lineage --json``."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from ..errors import Location, Problem
from ..project import disk
from ..project.model import Freshness, Origin, Project, Task, WriteStrategy
from .json_with_lines import InvalidJson, JsonObject, parse_json

_WRAPPERS = ("dependencies", "task_deps", "context")
_EXPECTED = "expected the tree that dag-generate writes (a list of objects with 'data') or the diagram of 'starlake lineage --json --all'"


@dataclass(frozen=True, slots=True)
class NamedChild:
    """Something that JSON says a task reads."""

    kind: Literal["task", "table"]
    name: str
    location: Location


@dataclass(slots=True)
class NamedTask:
    """A task that JSON names, with what it reads; from several places, if it is named there.

    Attributes:
        name: full name.
        location: the first place.
        children: what it reads, by name in lower case.
        data: the ``data`` of its node in a tree.
    """

    name: str
    location: Location
    children: dict[str, NamedChild] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


def find_files(project: Project, setting: str, problems: list[Problem]) -> list[Path]:
    """Return the dependency files that a setting means.

    Args:
        project: the project.
        setting: ``auto`` (``metadata/dependencies*.json``, if any), ``sql`` (none), or a path or glob relative to the project.
        problems: gets an error when a path or glob fits no file.
    """
    if setting == "sql":
        return []
    if setting == "auto":
        return disk.matches(project.metadata_folder, "dependencies*.json")
    direct = project.root / setting
    if disk.kind(direct) == "file":
        return [direct]
    anchor = Path(setting).anchor
    base, pattern = (Path(anchor), setting[len(anchor) :]) if anchor else (project.root, setting)
    try:
        found = disk.matches(base, pattern)
    except ValueError:
        found = []
    if not found:
        message = f"setting dependencies: no file fits '{setting}' in {base}; expected auto, sql, or a path or glob relative to the project"
        problems.append(Problem(None, "error", message))
    return found


def read_files(project: Project, files: Iterable[Path], problems: list[Problem]) -> dict[str, NamedTask]:
    """Return the tasks that dependency files name, by full name in lower case; unreadable files become errors.

    Args:
        project: the project, for relative file names.
        files: paths.
        problems: where errors go.
    """
    tasks: dict[str, NamedTask] = {}
    for path in files:
        name = path.relative_to(project.root).as_posix() if path.is_relative_to(project.root) else path.as_posix()
        try:
            document = parse_json(disk.content(path).decode("utf-8"))
            _read_document(document, name, 1, tasks, problems)
        except InvalidJson as error:
            hint = "; write lineage with --output, its standard output holds more than JSON" if error.line <= 2 else ""
            problems.append(Problem(Location(name, error.line), "error", f"not JSON: {error}{hint}"))
        except UnicodeDecodeError as error:
            problems.append(Problem(Location(name), "error", f"not UTF-8: {error}"))
        except OSError as error:
            problems.append(Problem(Location(name), "error", f"cannot be read: {error.strerror or error}"))
    return tasks


def _read_document(document: Any, file: str, line: int, tasks: dict[str, NamedTask], problems: list[Problem], offset: int = 0) -> None:
    """Read one document, which may be wrapped in objects or be a JSON text inside JSON (``{{ json }}`` of a DAG template)."""
    while True:
        if isinstance(document, str):
            try:
                document = parse_json(document)
            except InvalidJson as error:
                problems.append(
                    Problem(Location(file, line), "error", f"the JSON in this text is broken in its line {error.line}: {error}")
                )
                return
            offset = line
        elif isinstance(document, JsonObject) and "data" not in document and "relations" not in document:
            key = next((k for k in _WRAPPERS if k in document), None)
            if key is None:
                break
            line = offset or document.lines[key]
            document = document[key]
        else:
            break

    def place(number: int) -> Location:
        # Inside of a text the lines are not those of the file.
        return Location(file, offset or number)

    if isinstance(document, list) and all(isinstance(node, JsonObject) for node in document):
        _read_tree(document, place, tasks, problems)
    elif isinstance(document, JsonObject) and "data" in document:
        _read_tree([document], place, tasks, problems)
    elif (isinstance(document, JsonObject) and isinstance(document.get("relations"), list)) or (
        isinstance(document, JsonObject) and isinstance(document.get("items"), list)
    ):
        _read_diagram(document, place, tasks)
    else:
        problems.append(Problem(Location(file, line), "error", _EXPECTED))


def _read_tree(nodes: list[JsonObject], place: Any, tasks: dict[str, NamedTask], problems: list[Problem]) -> None:
    """Note every task of a tree, at any depth, with its children. Starlake: TaskViewDependencyNode."""
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        name, data = _name_of(node)
        if name is None:
            problems.append(Problem(place(node.line), "error", f"a node without 'data' and 'name'; {_EXPECTED}"))
            continue
        if not _is_task(node, data):
            continue
        task = tasks.setdefault(name.lower(), NamedTask(name, place(data.lines.get("name", data.line)), data=data))
        for child in _objects(node.get("children")):
            child_name, child_data = _name_of(child)
            if child_name is not None:
                kind: Literal["task", "table"] = "task" if _is_task(child, child_data) else "table"
                where = place(child_data.lines.get("name", child_data.line))
                task.children.setdefault(child_name.lower(), NamedChild(kind, child_name, where))
            waiting.append(child)


def _name_of(node: JsonObject) -> tuple[str | None, JsonObject]:
    data = node.get("data")
    if not isinstance(data, JsonObject) or not isinstance(data.get("name"), str) or not data["name"]:
        return None, node
    return data["name"], data


def _is_task(node: JsonObject, data: JsonObject) -> bool:
    return data["typ"] == "task" if "typ" in data else node.get("task") is True


def _read_diagram(diagram: JsonObject, place: Any, tasks: dict[str, NamedTask]) -> None:
    """Note the tasks of a diagram; a relation goes from what is read to what reads. Starlake: AutoTaskDependencies."""
    types: dict[str, str] = {}
    for item in _objects(diagram.get("items")):
        name = item.get("id")
        if isinstance(name, str) and name:
            types[name.lower()] = str(item.get("displayType", ""))
            if types[name.lower()] == "task":
                tasks.setdefault(name.lower(), NamedTask(name, place(item.lines["id"])))
    for relation in _objects(diagram.get("relations")):
        source, target = relation.get("source"), relation.get("target")
        if not isinstance(source, str) or not isinstance(target, str) or not source or not target:
            continue
        if types.get(target.lower(), relation.get("relationType")) != "task":
            continue
        where = place(relation.lines.get("source", relation.line))
        task = tasks.setdefault(target.lower(), NamedTask(target, where))
        kind: Literal["task", "table"] = "task" if types.get(source.lower()) == "task" else "table"
        task.children.setdefault(source.lower(), NamedChild(kind, source, where))


def _objects(value: Any) -> Iterator[JsonObject]:
    return (item for item in value if isinstance(item, JsonObject)) if isinstance(value, list) else iter(())


def task_from_json(named: NamedTask) -> Task | None:
    """Return a task known from JSON alone, for a project that comes without its transforms; None when the name has no domain."""
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
        write_strategy=_write_strategy(data.get("writeStrategy")),
        schedule=cron if isinstance(cron, str) and cron.lower() != "none" else None,
        freshness=Freshness(error=timedelta(seconds=freshness)) if isinstance(freshness, (int, float)) and freshness > 0 else None,
        origin=Origin(named.location.file, named.location.line),
    )


def _write_strategy(value: Any) -> WriteStrategy | None:
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
