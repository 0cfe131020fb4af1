"""The code location table_location in processes that record their parsing, in lines ``<process> <what>`` of the file ``TABLES_PARSED``."""

import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

PACKAGE = "starlake_dagster_components"
OF_PARSING = frozenset(
    (
        "sqlglot",
        f"{PACKAGE}.project.sql.tree",
        f"{PACKAGE}.project.sql.references",
        f"{PACKAGE}.project.load_domains",
        f"{PACKAGE}.project.transform_tasks",
        f"{PACKAGE}.pipelines.plan",
    )
)
"""Functions that parse SQL, read tables and tasks, or plan jobs."""


def _note(what: str) -> None:
    with Path(os.environ["TABLES_PARSED"]).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {what}\n")


class _NotedImports(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname in OF_PARSING:
            _note(fullname)


def _get_location() -> Any:
    sys.meta_path.insert(0, _NotedImports())
    from starlake_dagster_components.project import yaml_source

    first_document = yaml_source._find_first_document

    def note_and_find(text: str) -> Any:
        _note("yaml")
        return first_document(text)

    yaml_source._find_first_document = note_and_find
    import table_location

    return table_location.defs


if "TABLES_PARSED" in os.environ:
    defs = _get_location()
