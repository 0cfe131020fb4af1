"""Write dependencies in Starlake's formats: the tree of dag-generate and the diagram of ``starlake lineage --json``."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import UnknownName
from ..project.model import Attribute, Freshness, Table, Task, WriteStrategy
from .pipeline import Dependency, Plan
from .schedule_presets import NONE
from .table_names import ReferenceIndex

Node = dict[str, Any]
_Key = tuple[str, str, str]
"""(kind, logical name, displayed name)."""


def build_dependency_tree(plan: Plan, tasks: Iterable[str] | None = None) -> list[Node]:
    """Return the dependency tree as dag-generate writes it into transform files (``context.dependencies``).

    Starlake: TaskViewDependency, TaskViewDependencyNode (Jackson, NON_EMPTY). ``tasks`` are the full names of the tasks at the root, in
    this order; None for all tasks, sorted by name. UnknownName is raised if one does not exist.

    Nodes have ``data``, ``children``, and ``task``. Keys are in Starlake's order, empty values are left out, and children are sorted by
    name. As in Starlake, load tables are named as in the SQL. A node that occurs in several places is one object.
    """
    known = {t.full_name: t for t in plan.project.tasks}
    names = sorted(known) if tasks is None else list(tasks)
    for name in names:
        if name not in known:
            raise UnknownName(kind="task", name=name, known=known)
    writer = _TreeWriter(plan, known)
    return [writer.build(name) for name in names]


def _get_shown_name(dependency: Dependency) -> str:
    return dependency.written or dependency.name


class _TreeWriter:
    """Builds the nodes of a tree, each once, and without recursion, because chains of tasks may be long."""

    def __init__(self, plan: Plan, tasks: Mapping[str, Task]) -> None:
        self._plan = plan
        self._tasks = tasks
        self._tables = {t.full_name: t for t in plan.project.tables}
        self._index = ReferenceIndex(plan.project)
        self._nodes: dict[_Key, Node] = {}

    def build(self, name: str) -> Node:
        """Return the node of a task, with everything upstream of it."""
        root: _Key = ("task", name, name)
        waiting = [root]
        started: set[_Key] = set()
        while waiting:
            key = waiting[-1]
            if key in self._nodes:
                waiting.pop()
                continue
            kind, name, shown = key
            reads = self._plan.dependencies.get_direct(name) if kind == "task" else ()
            children = sorted(((d.kind, d.name, _get_shown_name(d)) for d in reads if d.kind != "external"), key=lambda c: c[2])
            missing = [c for c in children if c not in self._nodes and c not in started]
            started.add(key)
            if missing:
                waiting.extend(missing)
                continue
            waiting.pop()
            node: Node = {"data": self._build_data(self._tasks[name] if kind == "task" else self._tables[name], shown)}
            if below := [self._nodes[c] for c in children if c in self._nodes]:
                node["children"] = below
            self._nodes[key] = {**node, "task": kind == "task"}
        return self._nodes[root]

    def _build_data(self, node: Task | Table, shown: str) -> Node:
        task = node if isinstance(node, Task) else None
        settings = node if isinstance(node, Task) else node.metadata
        parent, parent_type, text = self._find_first_parent(task) if task else ("", "unknown", "")
        return _drop_empty(
            {
                "name": task.full_name if task else shown,
                "typ": "task" if task else "table",
                "parent": parent,
                "parentTyp": parent_type,
                "parentRef": text,
                "writeStrategy": format_write_strategy(settings.write_strategy),
                "sink": task.sink_name if task else shown,
                "cron": self._plan.project.application.schedule_presets.get(settings.schedule or NONE, settings.schedule or NONE),
                "freshness": _count_seconds(settings.freshness),
            }
        )

    def _find_first_parent(self, task: Task) -> tuple[str, str, str]:
        """Return (name, type, reference as written) of the task or table that a task reads first."""
        if not task.references:
            first = next((d for d in self._plan.dependencies.get_direct(task.full_name) if d.kind != "external"), None)
            return (_get_shown_name(first), first.kind, _get_shown_name(first)) if first else ("", "unknown", "")
        for reference in task.references:
            for dependency in self._index.resolve(task, reference, []):
                if dependency.kind == "external":
                    return "", "unknown", reference.text
                return _get_shown_name(dependency), dependency.kind, reference.text
        return "", "unknown", ""


def build_dependency_diagram(plan: Plan) -> Node:
    """Return the dependencies as ``starlake lineage --json --all`` writes them: items, and relations from tables to their readers.

    Starlake: AutoTaskDependencies (``jobAsDiagram``).
    """
    tasks = sorted(plan.project.tasks, key=lambda t: t.full_name)
    tables = {t.full_name: t for t in plan.project.tables}
    read: dict[str, Table] = {}
    relations = []
    for task in tasks:
        for dependency in sorted(plan.dependencies.get_direct(task.full_name), key=lambda d: (d.kind, d.name)):
            if dependency.kind == "external":
                continue
            source = _get_shown_name(dependency)
            if dependency.kind == "table":
                read[source] = tables[dependency.name]
            relations.append({"source": source, "target": task.full_name, "relationType": "task"})
    items = [
        _build_item(name, "table", read[name].metadata.write_strategy, read[name].attributes, read[name].primary_key)
        for name in sorted(read)
    ]
    items += [_build_item(t.full_name, "task", t.write_strategy, t.attributes, None) for t in tasks]
    return _drop_empty({"items": items, "relations": relations, "diagramType": "task"})


def _build_item(
    name: str, kind: str, strategy: WriteStrategy | None, attributes: Sequence[Attribute], primary_key: Sequence[str] | None
) -> Node:
    columns = []
    for attribute in attributes:
        column = attribute.name if primary_key is None else attribute.final_name
        columns.append(
            _drop_empty(
                {
                    "id": f"{name}.{column}",
                    "name": column,
                    "columnType": attribute.type,
                    "comment": attribute.comment,
                    "primaryKey": bool(primary_key) and column in (primary_key or ()),
                    "foreignKey": primary_key is not None and attribute.foreign_key is not None,
                }
            )
        )
    options = _drop_empty({"writeStrategy": strategy.type if strategy else None})
    return _drop_empty({"id": name, "label": name, "displayType": kind, "columns": columns, "options": options})


def format_write_strategy(strategy: WriteStrategy | None) -> Node:
    """Return a write strategy with Starlake's keys, without empty values."""
    if strategy is None:
        return {}
    return _drop_empty(
        {
            "type": strategy.type,
            "types": dict(strategy.types),
            "key": list(strategy.key),
            "timestamp": strategy.timestamp,
            "queryFilter": strategy.query_filter,
            "on": strategy.on,
            "startTs": strategy.start_ts,
            "endTs": strategy.end_ts,
        }
    )


def _count_seconds(freshness: Freshness | None) -> int:
    """Return the seconds after which data is stale. The threshold for warnings is ignored. Starlake: ``Freshness.acceptability``."""
    return max(int(freshness.error.total_seconds()), 0) if freshness and freshness.error else 0


def _drop_empty(values: Node) -> Node:
    """Drop the values that Jackson's NON_EMPTY drops: null, and empty strings and collections, but not 0 and false."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", [], {})}


def format_starlake_json(value: object) -> str:
    """Return a value as JSON in Starlake's layout, so that it can be compared with Starlake's files line by line.

    Trees may have any depth. Starlake: Jackson's ``DefaultPrettyPrinter``.
    """
    text: list[str] = []
    waiting: list[tuple[object, int] | str] = [(value, 0)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            text.append(item)
            continue
        current, depth = item
        following: list[tuple[object, int] | str] = []
        if isinstance(current, dict) and current:
            following.append("{")
            for number, (key, inner) in enumerate(current.items()):
                comma = "," if number else ""
                following += [f"{comma}\n{'  ' * (depth + 1)}{json.dumps(str(key), ensure_ascii=False)} : ", (inner, depth + 1)]
            following.append(f"\n{'  ' * depth}}}")
        elif isinstance(current, (list, tuple)) and current:
            following.append("[ ")
            for number, inner in enumerate(current):
                following += [*([", "] if number else []), (inner, depth)]
            following.append(" ]")
        elif isinstance(current, (dict, list, tuple)):
            text.append("{ }" if isinstance(current, dict) else "[ ]")
        else:
            text.append(json.dumps(current, ensure_ascii=False))
        waiting.extend(reversed(following))
    return "".join(text)
