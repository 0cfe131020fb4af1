"""Read attribute types, both Starlake's and the project's. Starlake: SchemaHandler.loadTypes, types/default.sl.yml."""

import os
from collections.abc import Mapping

from . import disk
from .documents import FileKind, Reading, load_list_section
from .model import FrozenDict, Origin, TypeDefinition
from .schema_shapes import ENUMERATIONS
from .word_sets import split_words
from .yaml_mappings import Section

_NUMBER = r"[-+]?\d*\.?\d+[Ee]?[-+]?\d*"
# Name -> primitive type, pattern, type in DuckDB.
_BUILT_IN: dict[str, tuple[str, str, str]] = {
    "string": ("string", ".*", "VARCHAR"),
    "variant": ("variant", ".+", "JSON"),
    "integer": ("long", r"[-|\+|0-9][0-9]*", "INTEGER"),
    "int": ("long", r"[-|\+|0-9][0-9]*", "INTEGER"),
    "byte": ("byte", ".", "TINYINT"),
    "double": ("double", _NUMBER, "DOUBLE"),
    "long": ("long", r"-?\d+", "BIGINT"),
    "short": ("short", r"-?\d+", "SMALLINT"),
    "boolean": ("boolean", "(?i)true|yes|[y1]|t<-TF->(?i)false|no|[n0]|f", "BOOLEAN"),
    "timestamp": ("timestamp", "yyyy-MM-dd HH:mm:ss", "TIMESTAMPTZ"),
    "decimal": ("decimal", _NUMBER, "DECIMAL"),
    "date": ("date", "yyyy-MM-dd", "DATE"),
}
# Names of java.time's predefined formats. The pattern is the name in uppercase.
_FORMATS = split_words(
    "basic_iso_date iso_local_date iso_offset_date iso_date iso_local_date_time iso_offset_date_time iso_zoned_date_time "
    "iso_date_time iso_ordinal_date iso_week_date iso_instant rfc_1123_date_time"
)
_KIND = FileKind("types", rendered=False)


def build_built_in_types() -> dict[str, TypeDefinition]:
    """Return Starlake's built-in types by name."""
    found = {
        name: TypeDefinition(name, primitive, pattern, ddl_mapping=FrozenDict(duckdb=database_type))
        for name, (primitive, pattern, database_type) in _BUILT_IN.items()
    }
    for name in sorted(_FORMATS):
        found[name] = TypeDefinition(name, "timestamp", name.upper(), ddl_mapping=FrozenDict(duckdb="TIMESTAMPTZ"))
    found["struct"] = TypeDefinition("struct", "struct", ".*")
    return found


def read_types(reading: Reading, folder: str) -> Mapping[str, TypeDefinition]:
    """Return all types by name. ``types.sl.yml`` overrides ``default.sl.yml``, which overrides Starlake's built-in types."""
    found = build_built_in_types()
    for name in ("default.sl.yml", "types.sl.yml"):
        path = os.path.join(folder, name)
        section = load_list_section(reading, path, _KIND) if disk.find_kind(path) else None
        for definition in map(_read_definition, section.get_sections("types", "type", "a type") if section else ()):
            if definition is not None:
                found[definition.name] = definition
    return FrozenDict(found)


def _read_definition(item: Section) -> TypeDefinition | None:
    if not item.require_keys(("name", "pattern"), "a type"):
        return None
    location = item.find_location()
    return TypeDefinition(
        name=item.get_string("name") or "",
        primitive=item.get_choice("primitiveType", ENUMERATIONS["primitive"], "primitiveType", str.lower) or "string",
        pattern=item.get_string("pattern"),
        zone=item.get_name("zone"),
        comment=item.get_string("comment"),
        ddl_mapping=item.get_mapping("ddlMapping"),
        origin=Origin(location.file, location.line),
    )
