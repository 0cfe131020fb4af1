"""Find the sinks and write strategies of tables and tasks. A table has them under ``metadata``, a task at the top level."""

import os

from .model import Connection, Project, Sink, Table, Task, WriteStrategy


def find_written_table(node: Table | Task) -> tuple[str, str]:
    """Return (schema, name) of the table that a load or a task writes to."""
    return (node.final_domain, node.final_name) if isinstance(node, Table) else (node.domain, node.table)


def find_sink(node: Table | Task) -> Sink | None:
    """Return the ``sink`` section of a table or task; None if it has none."""
    return node.metadata.sink if isinstance(node, Table) else node.sink


def find_write_strategy(node: Table | Task) -> WriteStrategy | None:
    """Return the ``writeStrategy`` section of a table or task; None if it has none."""
    return node.metadata.write_strategy if isinstance(node, Table) else node.write_strategy


def find_section_key(node: Table | Task, section: str) -> str:
    """Return the dotted key of a section such as ``sink`` or ``schedule``, to locate it."""
    return f"metadata.{section}" if isinstance(node, Table) else section


def find_materialization(task: Task) -> str:
    """Return the materialization of a task in uppercase: ``sink.materializedView``, or ``TABLE`` by default."""
    return ((task.sink.materialized_view if task.sink else None) or "TABLE").upper()


def find_duckdb_file(project: Project, connection: Connection | None) -> str | None:
    """Return the absolute path of a connection's DuckDB file; None if the connection is not a local DuckDB file."""
    path = connection.duckdb_path if connection else None
    if not path or path.startswith((":", "md:", "motherduck:")) or "://" in path:
        return None
    return os.path.normpath(os.path.join(project.root, path))
