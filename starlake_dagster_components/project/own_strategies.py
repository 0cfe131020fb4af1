"""Find a project's own write strategies, which are Jinja templates. Starlake: WriteStrategyTemplateLoader, AnyTemplateLoader."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import suggest_name
from .model import Application
from .project_files import ProjectFiles
from .schema_shapes import STRATEGIES
from .yaml_mappings import Section

_ENDING = ".j2"


@dataclass(frozen=True, slots=True)
class OwnStrategies:
    """The write strategies that a project's templates define.

    Attributes:
        types: their names in uppercase, as in ``writeStrategy.type``.
        folder: the folder of the templates, as messages show it.
    """

    types: frozenset[str]
    folder: str

    def check_type(self, section: Section, key: str, name: str) -> None:
        """Report a type that neither Starlake nor a template of the project defines, and name the file that could define it."""
        upper = name.strip().upper()
        known = STRATEGIES.union(self.types)
        if upper in known:
            return
        hint = suggest_name(upper, known) or f" (known: {', '.join(sorted(known))})"
        file = os.path.join(self.folder, upper.lower() + _ENDING)
        section.report_error(key, f"unknown writeStrategy type '{name}'{hint}; the project has no template {file}")


def read_own_strategies(files: ProjectFiles, folder: str, application: Application) -> OwnStrategies:
    """Return the write strategies that the project defines in ``<folder>/templates/<engine>/<type>.j2``.

    The engine is that of the connection. If a project has connections to databases other than DuckDB, the templates of all engines count.

    Args:
        files: the project's files.
        folder: absolute path of the project's write strategies.
        application: the application, which defines the connections.
    """
    found = list(files.walk_files(folder))
    templates = os.path.join(folder, "templates")
    engines = set(_list_engines(application))
    types = set()
    for name, path in found:
        parent = os.path.dirname(path)
        is_read = os.path.dirname(parent) == templates and (not engines or os.path.basename(parent) in engines)
        # Starlake looks for the lower-case name.
        if is_read and name.endswith(_ENDING) and name == name.lower():
            types.add(name.removesuffix(_ENDING).upper())
    shown = sorted(engines)[0] if len(engines) == 1 else "<engine>"
    return OwnStrategies(frozenset(types), files.name(os.path.join(templates, shown)))


def _list_engines(application: Application) -> Iterator[str]:
    """Yield the subfolders of ``templates`` that count; nothing if all of them do."""
    if {connection.engine for connection in application.connections.values()} != {"duckdb"}:
        return
    # Starlake: the strategyBuilder of application.jdbcEngines.
    engine: Any = application.raw.get("jdbcEngines")
    engine = engine.get("duckdb") if isinstance(engine, Mapping) else None
    builder = engine.get("strategyBuilder") if isinstance(engine, Mapping) else None
    yield str(builder or "duckdb").lower()
