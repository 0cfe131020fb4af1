"""Find where tables and tasks write, and how: loads have it under ``metadata``, tasks at the top level."""

import os

from .model import Connection, Project, Sink, Table, Task, WriteStrategy


def find_written_table(node: Table | Task) -> tuple[str, str]:
    """Return the schema and the name of the table that a load or a task writes."""
    return (node.final_domain, node.final_name) if isinstance(node, Table) else (node.domain, node.table)


def find_sink(node: Table | Task) -> Sink | None:
    """Return the section ``sink`` of a table or task; None if it has none."""
    return node.metadata.sink if isinstance(node, Table) else node.sink


def find_write_strategy(node: Table | Task) -> WriteStrategy | None:
    """Return the section ``writeStrategy`` of a table or task; None if it has none."""
    return node.metadata.write_strategy if isinstance(node, Table) else node.write_strategy


def find_section_key(node: Table | Task, section: str) -> str:
    """Return the key under which a section such as ``sink`` or ``schedule`` is written, for the location of a problem."""
    return f"metadata.{section}" if isinstance(node, Table) else section


def find_materialization(task: Task) -> str:
    """Return the kind of table that a task makes, in upper case: ``sink.materializedView``, or ``TABLE``."""
    return ((task.sink.materialized_view if task.sink else None) or "TABLE").upper()


def find_duckdb_file(project: Project, connection: Connection | None) -> str | None:
    """Return the absolute path of the DuckDB file of a connection; None where it is none."""
    path = connection.duckdb_path if connection else None
    if not path or path.startswith((":", "md:", "motherduck:")) or "://" in path:
        return None
    return os.path.normpath(os.path.join(project.root, path))
