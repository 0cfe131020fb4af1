"""Find a project's own write strategies, which are Jinja templates. Starlake: WriteStrategyTemplateLoader, AnyTemplateLoader."""

import os
from dataclasses import dataclass

from ..errors import suggest_name
from .model import Application
from .project_files import ProjectFiles
from .schema_shapes import STRATEGIES
from .yaml_mappings import Section

_ENDING = ".j2"


@dataclass(frozen=True, slots=True)
class OwnStrategies:
    """The write strategies that a project's templates define, in uppercase, and the folder of the templates, as messages show it."""

    types: frozenset[str]
    folder: str

    def check_type(self, section: Section, key: str, name: str) -> None:
        """Report a type that neither Starlake nor a template of the project defines, and name the file that could define it."""
        upper = name.strip().upper()
        known = STRATEGIES.union(self.types)
        if upper not in known:
            hint = suggest_name(upper, known) or f" (known: {', '.join(sorted(known))})"
            file = os.path.join(self.folder, upper.lower() + _ENDING)
            section.report_error(key, f"unknown writeStrategy type '{name}'{hint}; the project has no template {file}")


def read_own_strategies(files: ProjectFiles, folder: str, application: Application) -> OwnStrategies:
    """Return the write strategies that the project defines in ``<folder>/templates/<engine>/<type>.j2``.

    The engine is that of the connection. If a project has connections to databases other than DuckDB, the templates of all engines count.
    """
    templates = os.path.join(folder, "templates")
    engines: set[str] = set()
    if {connection.engine for connection in application.connections.values()} == {"duckdb"}:
        engines.add(str(application.find_raw("jdbcEngines", "duckdb", "strategyBuilder") or "duckdb").lower())
    types = set()
    for name, path in files.walk_files(folder):
        parent = os.path.dirname(path)
        is_read = os.path.dirname(parent) == templates and (not engines or os.path.basename(parent) in engines)
        # Starlake looks for the lower-case name.
        if is_read and name.endswith(_ENDING) and name == name.lower():
            types.add(name.removesuffix(_ENDING).upper())
    shown = next(iter(engines), "<engine>")
    return OwnStrategies(frozenset(types), files.name(os.path.join(templates, shown)))
