"""Evaluate the check ``declared_schema`` (setting ``schema_checks``): whether a table has the columns that the project declares."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from ...lineage.project import ProjectColumns
from ...project.model import Attribute, Connection, Project, Table, Task
from ...project.sinks import find_write_strategy
from ...project.sql.references import find_dialect
from ..checks import DECLARED_SCHEMA
from ..columns import describe_type

_PRIMITIVES: Mapping[str, tuple[str, int]] = {
    "string": ("text", 0),
    "long": ("integer", 8),
    "int": ("integer", 4),
    "short": ("integer", 2),
    "byte": ("integer", 1),
    "double": ("float", 0),
    "decimal": ("decimal", 0),
    "boolean": ("boolean", 0),
    "date": ("date", 0),
    "timestamp": ("timestamp", 0),
}

_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("TINYINT", "UTINYINT"), 1),
    **dict.fromkeys(("SMALLINT", "USMALLINT"), 2),
    **dict.fromkeys(("MEDIUMINT", "UMEDIUMINT"), 3),
    **dict.fromkeys(("INT", "UINT"), 4),
    **dict.fromkeys(("BIGINT", "UBIGINT"), 8),
}

_ALSO: Mapping[tuple[str, str], str] = {("snowflake", "integer"): "decimal", ("mysql", "boolean"): "integer"}
"""Dialect and declared family -> the family of the types that this database uses for it."""


@dataclass(frozen=True, slots=True)
class Differences:
    """The differences between a table and its declaration.

    Attributes:
        missing: columns that are declared, but not in the table.
        extra: columns of the table that are not declared.
        changed: column -> declared and real type, where the real type is another one, or too small for the declared one.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    changed: Mapping[str, tuple[str, str]]

    def list_parts(self) -> Mapping[str, str]:
        """Return the columns of each kind as text; kinds without columns are left out."""
        changed = [f"{name} (declared {declared}, is {real})" for name, (declared, real) in self.changed.items()]
        parts = {"missing": self.missing, "extra": self.extra, "changed": changed}
        return {kind: ", ".join(columns) for kind, columns in parts.items() if columns}


def find_differences(project: Project, node: Table | Task, real: Mapping[str, str]) -> Differences:
    """Return how the columns of a table differ from those that its YAML declares. Names are compared without their case.

    Args:
        project: the project.
        node: a table or task with ``attributes``.
        real: names and types of the table's columns.
    """
    connection = project.find_connection(node)
    declared = {a.final_name.lower(): a for a in node.attributes if not a.ignore and a.name}
    history = {name.lower() for name in ProjectColumns(project).list_history_columns(find_write_strategy(node))}
    there = {name.lower(): (name, kind) for name, kind in real.items()}
    changed = {
        name: (describe_type(declared[key]), kind)
        for key, (name, kind) in there.items()
        if key in declared and _is_changed(project, declared[key], kind, connection)
    }
    return Differences(
        tuple(a.final_name for key, a in declared.items() if key not in there),
        tuple(name for key, (name, _) in there.items() if key not in declared and key not in history),
        changed,
    )


def _is_changed(project: Project, attribute: Attribute, kind: str, connection: Connection | None) -> bool:
    """Return whether a column has another type than declared. Types that are not known, such as those of arrays, are not compared."""
    definition = project.types.get(attribute.type)
    if definition is None or attribute.array or attribute.attributes:
        return False
    # Starlake's own types are known by their names in DuckDB, and are alike in other databases.
    dialect = find_dialect(connection)
    own = definition.origin is not None
    written = definition.ddl_mapping.get(connection.engine if own and connection else "duckdb")
    declared = _find_family(str(written), dialect if own else "duckdb") if written else _PRIMITIVES.get(definition.primitive)
    real = _find_family(kind, dialect)
    if declared is None or real is None:
        return False
    if declared[0] == real[0]:
        return real[1] < declared[1]
    return _ALSO.get((dialect, declared[0])) != real[0]


def _find_family(kind: str, dialect: str) -> tuple[str, int] | None:
    """Return the family of a type in a dialect, and the bytes of an integer; None if it is not one of the simple types."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        found = exp.DataType.build(kind, dialect=dialect or None)
    except (SqlglotError, ValueError):
        return None
    types = exp.DataType
    families = {
        "text": types.TEXT_TYPES,
        "integer": types.INTEGER_TYPES,
        "float": types.FLOAT_TYPES,
        "boolean": {types.Type.BOOLEAN},
        "date": {types.Type.DATE, types.Type.DATE32},
        "timestamp": types.TEMPORAL_TYPES - {types.Type.DATE, types.Type.DATE32, types.Type.TIME, types.Type.TIMETZ},
        "decimal": types.REAL_TYPES - types.FLOAT_TYPES,
    }
    family = next((name for name, members in families.items() if found.this in members), None)
    # BigQuery has one integer type, and the largest ones are large enough for all.
    return (family, _BYTES.get(found.this.name, 16) if family == "integer" else 0) if family else None


def build_schema_check_result(
    project: Project, node: Table | Task, key: dg.AssetKey, real: Mapping[str, str]
) -> dg.AssetCheckResult | None:
    """Return the result of the check ``declared_schema``; None if the columns of the table are not known.

    Args:
        project: the project.
        node: a table or task with ``attributes``.
        key: its asset key.
        real: names and types of the table's columns.
    """
    if not real:
        return None
    parts = find_differences(project, node, real).list_parts()
    return dg.AssetCheckResult(
        check_name=DECLARED_SCHEMA,
        asset_key=key,
        passed=not parts,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{kind}: {columns}" for kind, columns in parts.items()) or None,
        metadata={f"starlake/{kind}_columns": columns for kind, columns in parts.items()},
    )
