"""Read load domains and tables. Starlake: SchemaHandler.loadDomains, Metadata.merge."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import PurePath
from typing import Any

from ..errors import Location, Problem, Severity
from .attribute_checks import check_attributes
from .common_sections import (
    collect_extra_keys,
    find_strategy_faults,
    read_attributes,
    read_expectations,
    read_freshness,
    read_grants,
    read_sink,
    read_write_strategy,
)
from .documents import FileKind, Reading, build_inline_table_section, find_root_section, load_document, load_table_section
from .file_patterns import compile_pattern
from .migration import Migration
from .model import Application, Domain, FrozenDict, Metadata, Origin, Table, TypeDefinition
from .own_strategies import OwnStrategies
from .refs import Reference
from .schema_shapes import ENUMERATIONS, find_keys
from .yaml_mappings import Section, write_key
from .yaml_source import Positions, YamlDocument

_TABLE = FileKind("table")
_CONFIG = FileKind("load", "warning", "Starlake skips the whole domain")
_EXTERNAL_TABLE = FileKind("table", "warning", "the external table is ignored", lenient=True)
_EXTERNAL_CONFIG = FileKind("load", "warning", "the external domain is ignored", lenient=True)
_SUFFIX = ".sl.yml"
# Field of Metadata -> its key.
_METADATA_KEYS = {field.name: write_key(field.name) for field in fields(Metadata)}


@dataclass(frozen=True, slots=True)
class LoadContext:
    """The parts of a project that its tables and tasks refer to: connections, types, write strategies, and ``refs.sl.yml``."""

    application: Application
    types: Mapping[str, TypeDefinition]
    strategies: OwnStrategies
    references: tuple[Reference, ...]


def read_domains(reading: Reading, folder: str, context: LoadContext, *, external: bool = False) -> tuple[Domain, ...]:
    """Return the domains of ``metadata/load`` (or ``metadata/external``) that have tables, sorted by folder name."""
    if not external:
        message = "is not read: a table's file belongs in the folder of its domain, metadata/load/<domain>"
        reading.report_files(reading.files.list_files(folder), (_SUFFIX,), "warning", message)
    found = (_read_domain(reading, domain_folder, context, external) for domain_folder in reading.files.list_folders(folder))
    domains = tuple([domain for domain in found if domain is not None])
    _report_duplicates(reading, domains, external)
    return domains


def _read_domain(reading: Reading, folder: str, context: LoadContext, external: bool) -> Domain | None:
    folder_name = PurePath(folder).name
    config_path, table_files = _list_domain_files(reading, folder, external)
    domain = Domain(
        folder_name, folder_name, folder_name, (), comment=f"{folder_name} domain", origin=Origin(reading.files.name(folder), 0)
    )
    inline: list[Section] = []
    if config_path is not None:
        section, inline = _read_config(reading, config_path, _EXTERNAL_CONFIG if external else _CONFIG)
        if section is None:
            return None
        domain = _build_domain(section, folder_name, context)
        if section.context.broken:
            return None
    tables = [_read_table(section, domain, context) for section in inline]
    for name, path in table_files:
        section = load_table_section(reading, path, _EXTERNAL_TABLE if external else _TABLE)
        if section is not None:
            tables.append(_read_table(section, domain, context, name[: -len(_SUFFIX)]))
    found = sorted((table for table in tables if table is not None), key=lambda table: table.name)
    if not found:
        if not table_files and not external:
            reading.add_problem(Location(reading.files.name(folder)), "warning", f"domain '{domain.name}' has no tables and is left out")
        return None
    return replace(domain, tables=tuple(found))


def _list_domain_files(reading: Reading, folder: str, external: bool) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the path of ``_config.sl.yml``, and (name, path) of the table files. Report files that Starlake cannot read."""
    config_path = None
    table_files = []
    for name, path in reading.files.list_files(folder):
        if name == "_config.sl.yml":
            config_path = path
        elif name.endswith(_SUFFIX) and not name.startswith("_config."):
            table_files.append((name, path))
        elif not external:
            reading.warn_about_suffix(name, path)
    if not external:
        message = f"a table's file must be directly in {reading.files.name(folder)}; Starlake cannot read it here"
        nested = (file for file in reading.files.walk_files(folder) if not file[0].startswith("_config."))
        reading.report_files(nested, (_SUFFIX,), "error", message)
    return config_path, table_files


def _read_config(reading: Reading, path: str, kind: FileKind) -> tuple[Section | None, list[Section]]:
    document = load_document(reading, path, kind)
    if document is None:
        return None, []
    inline = _find_inline_tables(document)
    section = find_root_section(reading, path, document, kind, Migration.migrate_domain)
    return section, [build_inline_table_section(section, document, item, place) for place, item in inline] if section else []


def _find_inline_tables(document: YamlDocument) -> list[tuple[str, dict[str, Any]]]:
    """Return (dotted key, mapping) of the tables in a domain's file, an old format. Starlake: YamlSerde.deserializeYamlLoadConfig."""
    data = document.data
    items: Any = None
    if isinstance(data, dict) and "tables" in data:
        items = data.pop("tables")
    elif isinstance(data, dict) and "version" not in data and isinstance(load := data.get("load"), dict):
        items = load.get("tables")
    items = items if isinstance(items, list) else []
    return [(f"tables[{index}]", item) for index, item in enumerate(items) if isinstance(item, dict)]


def _build_domain(section: Section, folder: str, context: LoadContext) -> Domain:
    section.warn_about_unknown_keys(find_keys("load"), "load")
    name = section.get_name("name") or folder
    if name != folder:
        message = f"the domain is called '{name}', but its folder is called '{folder}'; if they differ, load --domains finds no table"
        section.report_warning("name", message)
    return Domain(
        name=name,
        final_name=section.get_name("rename") or name,
        folder=folder,
        tables=(),
        metadata=read_metadata(section, context),
        comment=section.get_string("comment"),
        tags=section.get_strings("tags"),
        database=section.get_name("database"),
        origin=section.build_origin(),
    )


def read_metadata(parent: Section, context: LoadContext) -> Metadata:
    """Return the ``metadata`` of a table or domain, before merging."""
    section = parent.get_section("metadata", "metadata")
    if section is None:
        return Metadata()

    def read(get: Callable[[str], Any], *names: str) -> dict[str, Any]:
        return {name: get(_METADATA_KEYS[name]) for name in names}

    return Metadata(
        format=section.get_choice("format", ENUMERATIONS["format"], "format"),
        **read(section.get_boolean, "multiline", "array", "with_header", "empty_is_null"),
        **read(section.get_string, "separator", "quote", "escape", "null_value", "ack", "schedule"),
        **read(section.get_name, "encoding", "directory", "loader", "dag_ref"),
        options=section.get_mapping("options"),
        sink=read_sink(section, context.application, "loading into it fails"),
        write_strategy=read_write_strategy(section, context.strategies),
        freshness=read_freshness(section),
    )


def _inherit_metadata(domain: Domain, table: Metadata, origin: Origin) -> tuple[Metadata, Origin]:
    """Return a table's metadata merged with its domain's, and the table's origin with the locations of the inherited fields.

    A field of the table replaces the whole field of the domain. Starlake: Metadata.merge.
    """
    if domain.metadata == Metadata():
        return table, origin
    inherited = {name: getattr(domain.metadata, name) for name in _METADATA_KEYS if getattr(table, name) is None}
    if not table.options:
        inherited["options"] = domain.metadata.options
    if isinstance(origin.keys, Positions) and isinstance(domain.origin.keys, Positions):
        keys = [f"metadata.{_METADATA_KEYS[name]}" for name, value in inherited.items() if value]
        origin = replace(origin, keys=origin.keys.inherit(domain.origin.keys.select_under(keys)))
    return replace(table, **inherited), origin


def _read_table(section: Section, domain: Domain, context: LoadContext, file_name: str | None = None) -> Table | None:
    section.warn_about_unknown_keys(find_keys("table"), "table")
    complete = section.require_keys(("name", "pattern", "attributes"), "a table")
    name = section.get_name("name")
    if name is None:
        if complete:
            section.reject_file("name", "a table needs a 'name'")
        name = file_name
    if name is None:
        return None
    if file_name is not None and name != file_name and not section.context.lenient:
        message = (
            f"the table is called '{name}', but its file is called '{file_name}{_SUFFIX}'; if they differ, load --tables finds no table"
        )
        section.report_warning("name", message)
    own = read_metadata(section, context)
    attributes = read_attributes(section)
    pattern = section.get_string("pattern") or ""
    _check_pattern(section, pattern)
    check_attributes(section, attributes, context.types, context.application)
    merged, origin = _inherit_metadata(domain, own, section.build_origin())
    extra = collect_extra_keys(section, find_keys("table"))
    metadata = section.get_section("metadata") if isinstance(section.data.get("metadata"), dict) else None
    if metadata is not None:
        extra.update(collect_extra_keys(metadata, _METADATA_KEYS.values(), "metadata."))
    if merged.write_strategy is not None and not section.context.lenient:
        for key, severity, message in find_strategy_faults(merged.write_strategy, attributes, section.get_strings("primaryKey")):
            section.context.problems.append(Problem(origin.locate(f"metadata.writeStrategy.{key}"), severity, message))
    return Table(
        domain=domain.name,
        name=name,
        final_domain=domain.final_name,
        final_name=section.get_name("rename") or name,
        pattern=pattern,
        metadata=merged,
        attributes=attributes,
        primary_key=section.get_strings("primaryKey"),
        comment=section.get_string("comment"),
        tags=section.get_strings("tags"),
        presql=section.get_strings("presql"),
        postsql=section.get_strings("postsql"),
        filter=section.get_name("filter"),
        expectations=read_expectations(section),
        acl=read_grants(section, "acl"),
        rls=read_grants(section, "rls"),
        streams=section.get_strings("streams"),
        database=domain.database,
        extra=FrozenDict(extra),
        origin=origin,
    )


def _check_pattern(section: Section, pattern: str) -> None:
    if not pattern:
        if "pattern" in section:
            section.report_error("pattern", "the pattern is empty: expected a regular expression for file names, such as orders.*.csv")
        return
    try:
        compile_pattern(pattern)
    except ValueError as error:
        hint = "; to match all files, write .*" if pattern.startswith(("*", "?", "+")) else ""
        section.report_error("pattern", f"pattern {error}{hint}")


def _report_duplicates(reading: Reading, domains: Iterable[Domain], external: bool) -> None:
    """Report domains and tables that are defined twice. External domains may be, and their tables cause warnings."""
    severity: Severity = "warning" if external else "error"
    defined: dict[tuple[str, str], Domain | Table] = {}
    for domain in domains:
        nodes: list[tuple[str, str, Domain | Table]] = [("table", table.full_name, table) for table in domain.tables]
        for kind, name, node in nodes if external else [("domain", domain.name, domain), *nodes]:
            first = defined.setdefault((kind, name), node)
            if first is not node:
                message = f"{kind} '{name}' is defined twice, also in {first.origin.locate('name')}"
                reading.add_problem(node.origin.locate("name"), severity, message)
