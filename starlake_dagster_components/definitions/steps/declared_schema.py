"""Evaluate the ``declared_schema`` check (setting ``schema_checks``), which compares a table's actual columns with the declared ones."""

from collections.abc import Mapping

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
"""Dialect and declared family -> the family of types that the database uses instead."""


def find_differences(project: Project, node: Table | Task, actual: Mapping[str, str]) -> Mapping[str, str]:
    """Return the differences between a table's actual columns and those that its YAML declares: kind of difference -> list of columns.

    ``missing`` are declared columns that the table does not have, ``extra`` are those that are not declared, and the types of ``changed``
    ones are of another family, or smaller. The case of names does not matter.
    """
    connection = project.find_connection(node)
    declared = {a.final_name.lower(): a for a in node.attributes if not a.ignore and a.name}
    history = {name.lower() for name in ProjectColumns(project).list_history_columns(find_write_strategy(node))}
    by_key = {name.lower(): (name, kind) for name, kind in actual.items()}
    found = {
        "missing": [a.final_name for key, a in declared.items() if key not in by_key],
        "extra": [name for key, (name, _) in by_key.items() if key not in declared and key not in history],
        "changed": [
            f"{name} (declared {describe_type(declared[key])}, is {kind})"
            for key, (name, kind) in by_key.items()
            if key in declared and _is_changed(project, declared[key], kind, connection)
        ],
    }
    return {kind: ", ".join(columns) for kind, columns in found.items() if columns}


def _is_changed(project: Project, attribute: Attribute, kind: str, connection: Connection | None) -> bool:
    """Return whether a column's type differs from the declared one. Types that are unknown, such as those of arrays, are not compared."""
    definition = project.types.get(attribute.type)
    if definition is None or attribute.array or attribute.attributes:
        return False
    # For Starlake's built-in types, the DuckDB type is used, because it belongs to the same family in every database.
    dialect = find_dialect(connection)
    own = definition.origin is not None
    written = definition.ddl_mapping.get(connection.engine if own and connection else "duckdb")
    declared = _find_family(str(written), dialect if own else "duckdb") if written else _PRIMITIVES.get(definition.primitive)
    actual = _find_family(kind, dialect)
    if declared is None or actual is None:
        return False
    if declared[0] == actual[0]:
        return actual[1] < declared[1]
    return _ALSO.get((dialect, declared[0])) != actual[0]


def _find_family(kind: str, dialect: str) -> tuple[str, int] | None:
    """Return the family of a type in a dialect, and the size in bytes of an integer (or else 0); None if it is not a simple type."""
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
    # Other integer types, such as BigQuery's only one, have at least 8 bytes.
    return (family, _BYTES.get(found.this.name, 16) if family == "integer" else 0) if family else None


def build_schema_check_result(
    project: Project, node: Table | Task, key: dg.AssetKey, actual: Mapping[str, str]
) -> dg.AssetCheckResult | None:
    """Return the result of the ``declared_schema`` check; None if the table's columns are unknown."""
    if not actual:
        return None
    parts = find_differences(project, node, actual)
    return dg.AssetCheckResult(
        check_name=DECLARED_SCHEMA,
        asset_key=key,
        passed=not parts,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{kind}: {columns}" for kind, columns in parts.items()) or None,
        metadata={f"starlake/{kind}_columns": columns for kind, columns in parts.items()},
    )
