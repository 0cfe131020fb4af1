"""Pass the options of a run on to its transforms and to downstream jobs, like ``sl_options`` of starlake-dagster.

Options are grouped in sections: ``all`` applies to every transform of a run, and the others to one task. The metadata of each
materialization contains the options of its run, so a downstream sensor starts its run with the options of the materializations that it has
consumed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

OPTIONS = "sl_options"
"""Op config, run tag, and metadata of a materialization: section -> name -> value, as JSON."""
OPTIONS_MERGE = "sl_options_merge"
"""Op config, run tag, and metadata of a materialization: section -> name -> policy for merging different values, as JSON."""
DRY_RUN = "sl_dry_run"
"""Metadata of a materialization by a dry run, which only logs commands."""

Sections = Mapping[str, Mapping[str, Any]]

_INVALID_SEPARATORS = frozenset(',$`\\"')
"""Characters that cannot be passed on Starlake's command line (``sl_options`` of starlake-orchestration)."""


class InvalidRunOptions(ValueError):
    """The options of a run are invalid, or those of several materializations contradict each other."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """A materialization with the options of its run, and the policies for merging them.

    Attributes:
        name: its asset, for messages.
        latest: whether it is the latest one of its asset. Earlier ones only matter for options that are merged by union.
    """

    name: str
    options: Sections
    merge: Sections
    latest: bool = True


def parse_sections(label: str, given: object) -> Sections:
    """Return the sections in a JSON string or mapping. ``label`` is its name in messages.

    Raises:
        InvalidRunOptions: the value is not an object of objects.
    """
    if not given:
        return {}
    try:
        sections = json.loads(given) if isinstance(given, str) else given
    except ValueError as error:
        raise InvalidRunOptions(f"{label} is not JSON ({error}): {given!r}") from error
    if not isinstance(sections, Mapping) or not all(isinstance(section, Mapping) for section in sections.values()):
        raise InvalidRunOptions(f'{label}: expected an object of sections such as {{"all": {{"name": "value"}}}}, not {given!r}')
    return {str(name): dict(section) for name, section in sections.items()}


def read_carrier(materialization: dg.AssetMaterialization, *, latest: bool = True) -> Carrier:
    """Return a materialization's options from its metadata. ``latest``: whether it is the latest one of its asset.

    Raises:
        InvalidRunOptions: the metadata is invalid.
    """
    name = materialization.asset_key.to_user_string()
    found = [materialization.metadata.get(key) for key in (OPTIONS, OPTIONS_MERGE)]
    options, merge = (value.value if value is not None else None for value in found)
    return Carrier(name, parse_sections(f"{OPTIONS} of {name}", options), parse_sections(f"{OPTIONS_MERGE} of {name}", merge), latest)


def is_dry_run(materialization: dg.AssetMaterialization | None) -> bool:
    """Return whether a dry run created a materialization."""
    value = materialization.metadata.get(DRY_RUN) if materialization is not None else None
    return value is not None and value.value is True


def build_option_metadata(options: Sections, merge: Sections, *, dry_run: bool) -> dict[str, Any]:
    """Return metadata with the options of a run, in the format of ``get_materialization`` of starlake-dagster."""
    metadata: dict[str, Any] = {DRY_RUN: True} if dry_run else {}
    if options:
        metadata[OPTIONS] = dg.MetadataValue.json({name: dict(section) for name, section in options.items()})
        carried = {s: {n: d for n, d in names.items() if n in options.get(s, {})} for s, names in merge.items()}
        if any(carried.values()):
            metadata[OPTIONS_MERGE] = dg.MetadataValue.json({section: names for section, names in carried.items() if names})
    return metadata


def build_option_tags(carriers: Iterable[Carrier]) -> dict[str, str]:
    """Return the tags with the options of a run that consumes materializations; empty if they have no options.

    Raises:
        InvalidRunOptions: two materializations have different values for an option that is not merged by union, or different policies.
    """
    carriers = list(carriers)
    if not any(carrier.options or carrier.merge for carrier in carriers):
        return {}
    declared = _collect_declarations(carriers)
    values: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for carrier in carriers:
        for section, name, value in _iterate_options(carrier.options):
            if carrier.latest or _find_separator(declared, section, name):
                values.setdefault((section, name), []).append((carrier.name, value))
    options: dict[str, dict[str, Any]] = {}
    merge: dict[str, dict[str, Any]] = {}
    for (section, name), given in values.items():
        separator = _find_separator(declared, section, name)
        if separator:
            items = (v if isinstance(v, (list, tuple)) else str(v).split(separator) for _, v in given if v is not None)
            merged: Any = separator.join(sorted({text for several in items for item in several if (text := str(item).strip())}))
        else:
            merged = _require_equal_values(section, name, given)
        options.setdefault(section, {})[name] = merged
        if (section, name) in declared:
            merge.setdefault(section, {})[name] = declared[section, name][1]
    tags = {OPTIONS: json.dumps(options, sort_keys=True)} if options else {}
    return {**tags, OPTIONS_MERGE: json.dumps(merge, sort_keys=True)} if options and merge else tags


def declares_union(carriers: Iterable[Carrier]) -> bool:
    """Return whether options may be merged by union, so that earlier materializations of each asset matter as well."""
    return any(carrier.merge for carrier in carriers)


Declarations = dict[tuple[str, str], tuple[str, dict[str, str]]]


def _collect_declarations(carriers: Iterable[Carrier]) -> Declarations:
    declared: Declarations = {}
    for carrier in carriers:
        for section, name, value in _iterate_options(carrier.merge):
            declaration = _check_declaration(f"{OPTIONS_MERGE} of {carrier.name}, {section}.{name}", value)
            other, before = declared.setdefault((section, name), (carrier.name, declaration))
            if before != declaration:
                raise InvalidRunOptions(
                    f"{other} and {carrier.name} declare different merge policies for {section}.{name}: {before} and {declaration}"
                )
    return declared


def _check_declaration(label: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or value.keys() - {"policy", "separator"} or value.get("policy") not in ("strict", "union"):
        raise InvalidRunOptions(f'{label}: expected {{"policy": "union", "separator": "|"}} or {{"policy": "strict"}}, not {value!r}')
    if value["policy"] == "strict":
        return {"policy": "strict"}
    given = value.get("separator")
    separator = "|" if given is None else given
    if not isinstance(separator, str) or not separator or any(c.isspace() or c in _INVALID_SEPARATORS for c in separator):
        invalid = " ".join(sorted(_INVALID_SEPARATORS))
        raise InvalidRunOptions(f"{label}: expected a separator without spaces and without any of {invalid}, not {separator!r}")
    return {"policy": "union", "separator": separator}


def _find_separator(declared: Declarations, section: str, name: str) -> str:
    """Return the separator of an option that is merged by union; empty if it is not."""
    return declared[section, name][1].get("separator", "") if (section, name) in declared else ""


def _require_equal_values(section: str, name: str, given: list[tuple[str, Any]]) -> Any:
    (first, value), *others = given
    for other, another in others:
        if str(another) != str(value):
            raise InvalidRunOptions(
                f"{first} and {other} have different values for the option {section}.{name}: {value!r} and {another!r}. Run the job "
                f"manually for each of them, with {OPTIONS} in the op config, or declare in {OPTIONS_MERGE} that they are merged by "
                "union"
            )
    return value


def _iterate_options(sections: Sections) -> Iterator[tuple[str, str, Any]]:
    for section, entries in sections.items():
        for name, value in entries.items():
            yield section, name, value
