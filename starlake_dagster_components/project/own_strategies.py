"""The project's own templates of write strategies. Starlake: WriteStrategyTemplateLoader, AnyTemplateLoader."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import suggest_name
from . import schema_keys as keys
from .model import Application
from .project_files import ProjectFiles
from .yaml_mappings import Section

_ENDING = ".j2"


@dataclass(frozen=True, slots=True)
class OwnStrategies:
    """The types of write strategies that the project's templates define.

    Attributes:
        types: upper-case names, as ``type`` has them.
        folder: where a template is looked for, as messages name it.
    """

    types: frozenset[str]
    folder: str

    def check_type(self, section: Section, key: str, name: str) -> None:
        """Report a type that neither Starlake nor a template of the project defines, with the file of the template.

        Args:
            section: ``writeStrategy``.
            key: where the type is written in it.
            name: the type.
        """
        upper = name.strip().upper()
        known = keys.STRATEGIES.union(self.types)
        if upper in known:
            return
        hint = suggest_name(upper, known) or f" (known: {', '.join(sorted(known))})"
        file = os.path.join(self.folder, upper.lower() + _ENDING)
        section.report_error(key, f"unknown writeStrategy type '{name}'{hint}; the project has no template {file}")


def read_own_strategies(files: ProjectFiles, folder: str, application: Application) -> OwnStrategies:
    """Return the write strategies that the project defines in ``<folder>/templates/<engine>/<type>.j2``.

    The engine is the one of the connection. If a project has connections to other databases than DuckDB, the folder of any engine counts.

    Args:
        files: the project.
        folder: the absolute folder of the project's write strategies.
        application: has the connections.
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
    """Yield the folders below ``templates`` that count; none if any may."""
    if {connection.engine for connection in application.connections.values()} != {"duckdb"}:
        return
    # Starlake: the strategyBuilder of application.jdbcEngines.
    engine: Any = application.raw.get("jdbcEngines")
    engine = engine.get("duckdb") if isinstance(engine, Mapping) else None
    builder = engine.get("strategyBuilder") if isinstance(engine, Mapping) else None
    yield str(builder or "duckdb").lower()
