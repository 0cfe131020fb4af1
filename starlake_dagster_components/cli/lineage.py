"""Format column lineage as text, JSON, and Mermaid: the output of ``sl-dagster lineage``."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import UnknownName
from ..lineage.project import Column, ColumnSource, NodeColumns, list_node_columns
from ..project.model import Project


def select_columns(project: Project, name: str | None) -> list[NodeColumns]:
    """Return the columns that a name selects, followed by everything upstream of them.

    Args:
        project: the project.
        name: ``domain.table``, ``domain.task``, or one of these with a column; None = all tasks and tables.

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
    raise UnknownName(kind="table, task or column", name=name, known=known)


def _add_upstream(nodes: dict[tuple[str, str], NodeColumns], start: NodeColumns, column: str | None) -> list[NodeColumns]:
    """Return a table or task, or one of its columns, and all upstream columns that it comes from."""
    wanted: dict[tuple[str, str], dict[str, None]] = {}
    waiting = [(start.kind, start.name, c.name) for c in start.columns if column in (None, c.name)]
    wanted[start.kind, start.name] = {}
    while waiting:
        kind, name, one = waiting.pop()
        seen = wanted.setdefault((kind, name), {})
        if one in seen:
            continue
        seen[one] = None
        sources = _find_sources(nodes.get((kind, name)), one)
        waiting.extend((source.kind, source.name, source.column.split(".")[0]) for source in sources)
    kept = []
    for key, names in wanted.items():
        node = nodes.get(key)
        if node is not None:
            kept.append(NodeColumns(node.kind, node.name, tuple(c for c in node.columns if c.name in names), node.reason))
    return kept


def _find_sources(node: NodeColumns | None, column: str) -> Sequence[ColumnSource]:
    found = next((c for c in node.columns if c.name.lower() == column.lower()), None) if node else None
    return found.sources or () if found else ()


def format_text(nodes: Sequence[NodeColumns]) -> Iterator[str]:
    """Yield a line per table and task, followed by one per column with its sources."""
    for node in nodes:
        yield f"{node.kind} {node.name}" + (f": unknown: {node.reason}" if node.reason else "")
        for column in node.columns:
            typed = f" ({column.type})" if column.type else ""
            yield f"  {column.name}{typed}{_format_sources(column)}"


def _format_sources(column: Column) -> str:
    if column.sources is None:
        return " <- unknown"
    return f" <- {', '.join(source.text for source in column.sources)}" if column.sources else ""


def format_json(nodes: Sequence[NodeColumns]) -> dict[str, Any]:
    """Return plain data. ``sources`` is null if unknown, and empty for a constant."""
    return {
        "nodes": [
            {
                "kind": node.kind,
                "name": node.name,
                **({"reason": node.reason} if node.reason else {}),
                "columns": [
                    {
                        "name": c.name,
                        "type": c.type or None,
                        "sources": None if c.sources is None else [{"kind": s.kind, "name": s.name, "column": s.column} for s in c.sources],
                    }
                    for c in node.columns
                ],
            }
            for node in nodes
        ]
    }


def format_mermaid(nodes: Sequence[NodeColumns]) -> Iterator[str]:
    """Yield a Mermaid flowchart, with an edge from each column to the columns that come from it."""
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
                begin = name_column(source.text)
                yield f"  {begin} --> {name_column(f'{node.name}.{column.name}')}"
