"""Determine the column types of attributes, and create tables.

Starlake: SchemaHandler.getAttributesWithDDLType, SparkUtils.sqlSchema.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import suggest_name
from ..project.model import Attribute, Origin, Project, Table, TypeDefinition
from .casts import normalize_type
from .database import Column, Database
from .engine_errors import BadSetting
from .sqltext import quote, quote_literal, quote_path

_PRIMITIVES = {
    "string": "VARCHAR",
    "variant": "JSON",
    "long": "BIGINT",
    "int": "INTEGER",
    "short": "SMALLINT",
    "byte": "TINYINT",
    "double": "DOUBLE",
    "decimal": "DECIMAL(38,9)",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}
# Inside a struct, Starlake uses the primitive type: an int has 64 bits, and a timestamp has no time zone.
_NESTED = {**_PRIMITIVES, "int": "BIGINT", "timestamp": "TIMESTAMP"}


@dataclass(frozen=True, slots=True)
class TypedAttribute:
    """An attribute with its column in the database.

    Attributes:
        type: its type in the database.
        definition: the type that the attribute names; None for a struct.
        required: whether the column is NOT NULL.
        in_table: its type in the existing table, if different.
    """

    attribute: Attribute
    type: str
    definition: TypeDefinition | None
    required: bool
    in_table: str | None = None

    @property
    def column(self) -> Column:
        """The column of the table."""
        return Column(self.attribute.final_name, self.type, not self.required)

    @property
    def is_text(self) -> bool:
        """True if the column holds text."""
        return normalize_type(self.type) == "VARCHAR"


def resolve_attributes(project: Project, table: Table) -> list[TypedAttribute]:
    """Return a table's attributes with their types, even ignored ones. Raise BadSetting for unknown types and for equal names."""
    tops = {a.name: a for a in table.attributes}
    names: dict[str, str] = {}
    for one in table.attributes:
        key = one.final_name.lower()
        if key in names and not one.ignore:
            reason = f"{table.full_name}: attributes '{names[key]}' and '{one.name}' are both called '{one.final_name}' in the table"
            raise BadSetting(table.origin.locate("attributes"), reason)
        if not one.ignore:
            names[key] = one.name
    return [_resolve_attribute(project, table, a, tops) for a in table.attributes]


def _resolve_attribute(project: Project, table: Table, attribute: Attribute, tops: Mapping[str, Attribute]) -> TypedAttribute:
    if attribute.attributes or attribute.type == "struct":
        # Starlake: a struct or an array is never NOT NULL.
        return TypedAttribute(attribute, _get_struct_type(project, table, attribute, tops), None, False)
    definition = _find_definition(project, table.origin, attribute)
    ddl = get_scalar_type(definition)
    return TypedAttribute(attribute, ddl + ("[]" if attribute.array else ""), definition, attribute.required and not attribute.array)


def get_nested_type(project: Project, table: Table, attribute: Attribute) -> str:
    """Return the type of a field inside a struct."""
    return _get_nested_type(project, table, attribute, {a.name: a for a in table.attributes})


def _get_nested_type(project: Project, table: Table, attribute: Attribute, tops: Mapping[str, Attribute]) -> str:
    if attribute.attributes or attribute.type == "struct":
        return _get_struct_type(project, table, attribute, tops)
    suffix = "[]" if attribute.array else ""
    # Starlake looks up types by name alone, so a field with the name of a column has the column's type.
    top = tops.get(attribute.name)
    if top is not None and not top.attributes and top.type != "struct":
        return get_scalar_type(_find_definition(project, table.origin, top)) + suffix
    definition = _find_definition(project, table.origin, attribute)
    return (_get_decimal(definition) if definition.primitive == "decimal" else _NESTED.get(definition.primitive, "VARCHAR")) + suffix


def _get_struct_type(project: Project, table: Table, attribute: Attribute, tops: Mapping[str, Attribute]) -> str:
    kept = (a for a in attribute.attributes if not a.ignore)
    fields = ", ".join(f"{quote(a.final_name)} {_get_nested_type(project, table, a, tops)}" for a in kept)
    return f"STRUCT({fields}){'[]' if attribute.array else ''}"


def get_scalar_type(definition: TypeDefinition) -> str:
    """Return the column type for a type of the project."""
    if definition.primitive == "decimal":
        return _get_decimal(definition)
    written = definition.ddl_mapping.get("duckdb")
    return str(written) if written else _PRIMITIVES.get(definition.primitive, "VARCHAR")


def _get_decimal(definition: TypeDefinition) -> str:
    """Return the type of a decimal. Starlake: its ``zone`` (``12,2``), or else (38,9), regardless of the mapping."""
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", definition.zone or "")
    if match is None:
        written = str(definition.ddl_mapping.get("duckdb") or "")
        return written if "(" in written else "DECIMAL(38,9)"
    return f"DECIMAL({match.group(1)},{match.group(2)})"


def _find_definition(project: Project, origin: Origin, attribute: Attribute) -> TypeDefinition:
    definition = project.types.get(attribute.type)
    if definition is None:
        hint = suggest_name(attribute.type, project.types)
        raise BadSetting(origin.locate("attributes"), f"attribute '{attribute.name}' has the unknown type '{attribute.type}'{hint}")
    return definition


def create_table(database: Database, schema: str, name: str, columns: Sequence[Column]) -> None:
    """Create a table, and its schema if it does not exist."""
    create_schema(database, schema)
    definitions = ", ".join(f"{quote(c.name)} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in columns)
    database.execute(f"CREATE TABLE {quote_path(database.catalog, schema, name)} ({definitions})")


def create_schema(database: Database, schema: str) -> None:
    """Create a schema if it does not exist."""
    database.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_path(database.catalog, schema)}")


def write_comments(database: Database, schema: str, name: str, text: str | None, columns: Mapping[str, str | None]) -> None:
    """Set the comments of a table and of its columns."""
    full = quote_path(database.catalog, schema, name)
    if text:
        database.execute(f"COMMENT ON TABLE {full} IS {quote_literal(text)}")
    for column, words in columns.items():
        if words:
            database.execute(f"COMMENT ON COLUMN {full}.{quote(column)} IS {quote_literal(words)}")
