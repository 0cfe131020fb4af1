"""Read the sections that load tables and transform tasks share: attributes, sinks, write strategies, freshness, expectations, grants."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from functools import lru_cache
from typing import Any

from ..errors import Severity, describe_unknown
from .application import check_connection
from .durations import parse_duration
from .model import EMPTY, Application, Attribute, Expectation, Freshness, FrozenDict, Origin, Sink, WriteStrategy
from .own_strategies import OwnStrategies
from .schema_shapes import ENUMERATIONS, STRATEGIES_WITH_KEY
from .yaml_mappings import Section, format_scalar, write_key


def read_attributes(section: Section, key: str = "attributes") -> tuple[Attribute, ...]:
    """Return the attributes of a table or task, or the fields of a struct. Starlake: TableAttribute."""
    return tuple([_read_attribute(item) for item in section.get_sections(key, "attribute", "an attribute")])


def _read_attribute(item: Section) -> Attribute:
    name = item.get_name("name")
    if name is None:
        item.reject_file("name", "an attribute needs a 'name'")
        name = ""
    # Most attributes have only a name and a type, so absent keys are not looked up.
    rest: dict[str, Any] = {}
    for attribute_key, value in item.data.items():
        if value is None:
            continue
        if attribute_key in _STRING_KEYS:
            rest[_STRING_KEYS[attribute_key]] = item.get_string(attribute_key)
        elif attribute_key in ("array", "required", "ignore"):
            rest[attribute_key] = bool(item.get_boolean(attribute_key))
        elif attribute_key == "attributes":
            rest["attributes"] = read_attributes(item)
        elif attribute_key == "position":
            rest["position"] = _read_position(item)
        elif attribute_key == "tags":
            rest["tags"] = item.get_strings("tags")
        elif attribute_key == "trim":
            rest["trim"] = item.get_choice("trim", ENUMERATIONS["trim"], "trim")
    return _share_attribute(Attribute(name=name, type=item.get_name("type") or "string", **rest))


@lru_cache(maxsize=10_000)
def _share_attribute(attribute: Attribute) -> Attribute:
    """Return one object for all equal attributes, to save memory: tables share many."""
    return attribute


_STRINGS = ("privacy", "comment", "rename", "default", "script", "foreign_key", "access_policy", "metric_type")
_STRING_KEYS = {write_key(name): name for name in _STRINGS}


def _read_position(item: Section) -> tuple[int, int] | None:
    position = item.get_section("position", "position", "a position")
    if position is None:
        return None
    first, last = position.get_integer("first"), position.get_integer("last")
    if first is None or last is None:
        item.reject_file("position", "a position needs 'first' and 'last'")
        return None
    if 0 <= first <= last:
        return first, last
    item.report_error("position", f"position {first} to {last} of '{item.data.get('name')}' is not a range: expected 0 <= first <= last")
    return None


def read_sink(parent: Section, application: Application, effect: str) -> Sink | None:
    """Return the sink of a table, domain, or task. ``effect`` is the consequence of an unknown connection."""
    sink = parent.get_section("sink", "sink")
    if sink is None:
        return None
    check_connection(sink, "connectionRef", sink.get_name("connectionRef"), application, effect)
    known = ("connectionRef", "format", "partition", "clustering", "materializedView")
    options = {key: value for key, value in sink.data.items() if key not in known and value is not None}
    return Sink(
        connection_ref=sink.get_name("connectionRef"),
        format=sink.get_name("format"),
        partition=sink.get_strings("partition"),
        clustering=sink.get_strings("clustering"),
        materialized_view=sink.get_choice("materializedView", ENUMERATIONS["materialization"], "materializedView"),
        options=FrozenDict(options) if options else EMPTY,
    )


def read_write_strategy(parent: Section, own: OwnStrategies) -> WriteStrategy | None:
    """Return the ``writeStrategy`` of a table, domain, or task. An unknown type is an error, because rows would be lost."""
    strategy = parent.get_section("writeStrategy", "write_strategy")
    if strategy is None:
        return None
    types = strategy.get_mapping("types")
    written = strategy.get_name("type")
    for key, name in (*([("type", written)] if written else []), *((f"types.{name}", name) for name in types)):
        own.check_type(strategy, key, name)
    return WriteStrategy(
        type=None if written is None else written.strip().upper(),
        types=types,
        key=strategy.get_strings("key"),
        timestamp=strategy.get_name("timestamp"),
        query_filter=strategy.get_name("queryFilter"),
        on=strategy.get_choice("on", ENUMERATIONS["merge_on"], "writeStrategy 'on'"),
        start_ts=strategy.get_name("startTs"),
        end_ts=strategy.get_name("endTs"),
    )


def find_strategy_faults(
    strategy: WriteStrategy, attributes: Collection[Attribute] = (), primary_key: Collection[str] = ()
) -> Iterator[tuple[str, Severity, str]]:
    """Yield (key, severity, message) for settings with which Starlake would lose rows.

    Starlake has this check (WriteStrategy.checkValidity, SchemaInfo.normalize), but its commands do not run it. ``primary_key`` replaces a
    missing ``key``. Columns are checked only if the attributes are known.
    """
    name = strategy.type
    if name in STRATEGIES_WITH_KEY and not strategy.key and not primary_key:
        yield "type", "error", f"writeStrategy {name} needs a 'key': the columns that identify a row"
    if name == "UPSERT_BY_KEY_AND_TIMESTAMP" and not strategy.timestamp:
        yield "type", "error", f"writeStrategy {name} needs a 'timestamp': the column that says which row is newer"
    if (strategy.start_ts is None) != (strategy.end_ts is None):
        yield "startTs" if strategy.start_ts else "endTs", "error", "startTs and endTs must be given together"
    if attributes:
        for key in strategy.key:
            yield from _find_column_faults("key", key, attributes)
        if strategy.timestamp:
            yield from _find_column_faults("timestamp", strategy.timestamp, attributes)


def _find_column_faults(key: str, column: str, attributes: Collection[Attribute]) -> Iterator[tuple[str, Severity, str]]:
    """Yield the problems with a column that a strategy names. Strategies use the final column names, after ``rename``."""
    lower = column.lower()
    if any(attribute.final_name.lower() == lower for attribute in attributes):
        return
    renamed = next((attribute for attribute in attributes if attribute.name.lower() == lower), None)
    if renamed is not None:
        message = f"'{column}' is called '{renamed.final_name}' in the table; use that name, or Starlake's load fails"
    else:
        message = describe_unknown("column", column, [attribute.final_name for attribute in attributes])
    yield key, "warning" if renamed else "error", f"writeStrategy {key}: {message}"


_SHORTEST_FRESHNESS = timedelta(minutes=1)


def read_freshness(parent: Section) -> Freshness | None:
    """Return the freshness of a table, domain, or task. A duration that Scala cannot parse is an error."""
    freshness = parent.get_section("freshness", "freshness")
    if freshness is None:
        return None
    warn, error = (freshness.parse_name(key, _parse_freshness, f"freshness {key}: ") for key in ("warn", "error"))
    if warn is not None and error is not None and warn > error:
        freshness.report_error("warn", f"freshness warn: {freshness.get_name('warn')} is longer than error, {freshness.get_name('error')}")
        warn = None
    return Freshness(warn=warn, error=error)


def _parse_freshness(text: str) -> timedelta:
    duration = parse_duration(text)
    if duration < _SHORTEST_FRESHNESS:
        raise ValueError(f"'{text}' is too short: expected a minute or more")
    return duration


def read_expectations(parent: Section) -> tuple[Expectation, ...]:
    """Return the expectations of a table or task. A string instead of a mapping is an error, as in Starlake."""
    found = []
    for item in parent.get_sections("expectations", "expectation", "an expectation", "expect: ..."):
        call = item.get_name("expect")
        if call is None:
            item.reject_file("expect", "an expectation needs 'expect': the call of a macro, such as is_col_value_not_unique('id')")
            continue
        fail = item.get_boolean("failOnError")
        location = item.find_location("expect")
        found.append(Expectation(expect=call, fail_on_error=True if fail is None else fail, origin=Origin(location.file, location.line)))
    return tuple(found)


def read_grants(parent: Section, key: str) -> tuple[Mapping[str, Any], ...]:
    """Return the entries of ``acl`` or ``rls``. A grant may be a comma-separated list. Starlake: SchemaHandler.buildAutoTaskInfo."""
    found = []
    for item in parent.get_sections(key, key, key):
        entry = {name: format_scalar(value) for name, value in item.data.items() if name != "grants" and value is not None}
        grants = tuple([part for grant in item.get_strings("grants") for part in grant.replace('"', "").split(",")])
        found.append(FrozenDict({**entry, "grants": grants}))
    return tuple(found)


def merge_sinks(default: Sink | None, child: Sink | None) -> Sink | None:
    """Merge a task's sink with its folder's default, field by field; the task's values take precedence. Starlake: AllSinks.merge."""
    if default is None or child is None:
        return child or default
    merged: dict[str, Any] = {f.name: getattr(child, f.name) or getattr(default, f.name) for f in fields(Sink)}
    merged["options"] = FrozenDict({key: value for key, value in {**default.options, **child.options}.items() if key != "path"})
    return Sink(**merged)


def collect_extra_keys(section: Section, handled: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Return the keys of a section that are not in ``handled``, with their values as written. ``prefix`` is put before each key."""
    return {prefix + key: value for key, value in section.data.items() if key not in handled and value is not None}
