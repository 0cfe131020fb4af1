"""Read ``refs.sl.yml``, which renames the output tables of tasks. Starlake: RefDesc.getOutputRef."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from . import disk
from .documents import FileKind, Reading, load_list_section
from .file_patterns import compile_pattern
from .yaml_mappings import Section

_KIND = FileKind("refs")


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry of ``refs.sl.yml``: patterns of the names that it matches, and the (database, domain, table) that replaces them."""

    database: re.Pattern[str] | None
    domain: re.Pattern[str] | None
    table: re.Pattern[str]
    output: tuple[str, str, str]


def read_refs(reading: Reading, metadata: str, application: Section | None) -> tuple[Reference, ...]:
    """Return the entries of ``refs.sl.yml`` or, without this file, those of ``application.refs``."""
    path = os.path.join(metadata, "refs.sl.yml")
    if not disk.find_kind(path):
        return _read_entries(application) if application is not None and "refs" in application else ()
    section = load_list_section(reading, path, _KIND)
    return _read_entries(section) if section is not None else ()


def _read_entries(parent: Section) -> tuple[Reference, ...]:
    found = []
    for item in parent.get_sections("refs", "ref", "an entry of refs"):
        source = item.get_section("input", "input_ref", "the input of an entry of refs")
        target = item.get_section("output", "output_ref", "the output of an entry of refs")
        if source is None or target is None:
            item.reject_file("", "an entry of refs needs 'input' and 'output'")
            continue
        table = source.parse_name("table", compile_pattern, "table ")
        if table is None:
            source.reject_file("table", "the input of an entry of refs needs a 'table'")
            continue
        output = (target.get_string("database") or "", target.get_string("domain") or "", target.get_string("table") or "")
        database, domain = (source.parse_name(key, compile_pattern, f"{key} ") for key in ("database", "domain"))
        found.append(Reference(database, domain, table, output))
    return tuple(found)


def rewrite_name(references: Sequence[Reference], database: str | None, domain: str, table: str) -> tuple[str | None, str, str]:
    """Return the database, domain, and table that a task writes to: its own, changed by the first entry that matches them."""
    for entry in references:
        if entry.domain is None or (entry.database is None) != (database is None):
            continue
        if entry.database is not None and not entry.database.fullmatch(database or ""):
            continue
        if entry.domain.fullmatch(domain) and entry.table.fullmatch(table):
            new_database, new_domain, new_table = entry.output
            return (
                new_database.replace("SL_THIS_DATABASE", database or "") or None,
                new_domain.replace("SL_THIS_DOMAIN", domain),
                new_table.replace("SL_THIS_TABLE", table),
            )
    return database, domain, table
