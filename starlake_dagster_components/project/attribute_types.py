"""Read attribute types, both Starlake's and the project's. Starlake: SchemaHandler.loadTypes, types/default.sl.yml."""

import os
from collections.abc import Mapping

from ..errors import Location
from . import disk
from . import schema_keys as keys
from .documents import FileKind, Reading, load_document, reject_file
from .model import FrozenDict, Origin, TypeDefinition
from .word_sets import split_words
from .yaml_mappings import Context, Section
from .yaml_source import Positions

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
        if disk.find_kind(path):
            for definition in _read_file(reading, path):
                found[definition.name] = definition
    return FrozenDict(found)


def _read_file(reading: Reading, path: str) -> list[TypeDefinition]:
    document = load_document(reading, path, _KIND)
    if document is None:
        return []
    name = reading.files.name(path)
    data = document.data
    if isinstance(data, dict) and "types" in data:
        body = data
    elif isinstance(data, list):
        # An old file without a version is itself the list of types.
        body = {"types": data}
    else:
        reject_file(reading, _KIND, Location(name, 1), "is empty" if data is None else "the root key 'types' is missing")
        return []
    lines = {"types" + key if key.startswith("[") else key: line for key, line in document.lines.items()}
    section = Section(Context(name, Positions(name, lines), reading.problems, "error"), body)
    reading.sections.append(("types", section))
    return [definition for definition in map(_read_definition, section.get_sections("types")) if definition]


def _read_definition(item: Section) -> TypeDefinition | None:
    item.warn_about_unknown_keys(keys.TYPE, "a type")
    if not item.require_keys(("name", "pattern"), "a type"):
        return None
    location = item.find_location()
    return TypeDefinition(
        name=item.get_string("name") or "",
        primitive=item.get_choice("primitiveType", keys.PRIMITIVES, "primitiveType", str.lower) or "string",
        pattern=item.get_string("pattern"),
        zone=item.get_name("zone"),
        comment=item.get_string("comment"),
        ddl_mapping=item.get_mapping("ddlMapping"),
        origin=Origin(location.file, location.line),
    )
