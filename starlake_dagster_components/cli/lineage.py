"""The output of ``sl-dagster lineage``: column lineage as text, JSON, or a Mermaid flowchart."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import UnknownName
from ..lineage.project import NodeColumns, list_node_columns
from ..project.model import Project


def select_columns(project: Project, name: str | None) -> list[NodeColumns]:
    """Return the columns that ``name`` selects, followed by everything upstream of them.

    ``name`` is ``domain.table`` or ``domain.task``, or one of them followed by ``.column``, in any case; None = all tables and tasks.

    Raises:
        UnknownName: the table, task, or column does not exist.
    """
    nodes = {(n.kind, n.name): n for n in list_node_columns(project)}
    if name is None:
        return list(nodes.values())
    lower = name.lower()
    for node in nodes.values():
        if node.name.lower() == lower:
            return _add_upstream(nodes, node, None)
        if lower.startswith(f"{node.name.lower()}."):
            column = next((c.name for c in node.columns if f"{node.name}.{c.name}".lower() == lower), None)
            if column is not None:
                return _add_upstream(nodes, node, column)
    known = [n.name for n in nodes.values()] + [f"{n.name}.{c.name}" for n in nodes.values() for c in n.columns]
    raise UnknownName(kind="table, task, or column", name=name, known=known)


def _add_upstream(nodes: dict[tuple[str, str], NodeColumns], start: NodeColumns, column: str | None) -> list[NodeColumns]:
    """Return the columns of a table or task, or one of them, with all columns upstream."""
    selected: dict[tuple[str, str], set[str]] = {(start.kind, start.name): set()}
    stack = [(start.kind, start.name, c.name) for c in start.columns if column in (None, c.name)]
    while stack:
        kind, name, one = stack.pop()
        seen = selected.setdefault((kind, name), set())
        if one not in seen:
            seen.add(one)
            columns = nodes[kind, name].columns if (kind, name) in nodes else ()
            sources = next((c.sources for c in columns if c.name.lower() == one.lower()), None)
            stack += [(source.kind, source.name, source.column.split(".")[0]) for source in sources or ()]
    found = [(nodes[key], names) for key, names in selected.items() if key in nodes]
    return [NodeColumns(node.kind, node.name, tuple(c for c in node.columns if c.name in names), node.reason) for node, names in found]


def format_text(nodes: Sequence[NodeColumns]) -> Iterator[str]:
    """Yield a line for each table and task, followed by one for each column with its sources."""
    for node in nodes:
        yield f"{node.kind} {node.name}" + (f": unknown: {node.reason}" if node.reason else "")
        for column in node.columns:
            typed = f" ({column.type})" if column.type else ""
            sources = "unknown" if column.sources is None else ", ".join(source.text for source in column.sources)
            yield f"  {column.name}{typed}{f' <- {sources}' if sources else ''}"


def format_json(nodes: Sequence[NodeColumns]) -> dict[str, Any]:
    """Return the JSON object to print. A column's ``sources`` are None if unknown, and empty for a constant."""
    return {
        "nodes": [
            {
                "kind": node.kind,
                "name": node.name,
                **({"reason": node.reason} if node.reason else {}),
                "columns": [{**asdict(column), "type": column.type or None} for column in node.columns],
            }
            for node in nodes
        ]
    }


def format_mermaid(nodes: Sequence[NodeColumns]) -> Iterator[str]:
    """Yield the lines of a Mermaid flowchart, with an edge from each source column to each column that is derived from it."""
    yield "flowchart LR"
    ids: dict[str, str] = {}

    def name_column(text: str) -> str:
        if text in ids:
            return ids[text]
        ids[text] = f"c{len(ids)}"
        escaped = text.replace('"', "#quot;")
        return f'{ids[text]}["{escaped}"]'

    for node in nodes:
        for column in node.columns:
            for source in column.sources or ():
                yield f"  {name_column(source.text)} --> {name_column(f'{node.name}.{column.name}')}"
