"""The columns of tables and tasks as Dagster's table schemas."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache

import dagster as dg

from ..project.model import Attribute, Table, Task, TypeDefinition


def build_table_schema(node: Table | Task, types: Mapping[str, TypeDefinition]) -> dg.TableSchema | None:
    """Return the declared columns of a table or task; None if it does not declare any.

    Nested fields follow their column and have dotted names. Types are Starlake's, with ``array<...>`` for arrays.
    """
    attributes = node.attributes
    if not attributes:
        return None
    return dg.TableSchema(columns=list(_build_columns(attributes, types, "", frozenset(node.primary_key))))


def build_inferred_schema(columns: Iterable[tuple[str, str]]) -> dg.TableSchema | None:
    """Return the columns that were inferred from a task's SQL; None if there are none. An empty type is unknown."""
    found = [_build_column(name, type_ or "unknown", None, True, ()) for name, type_ in columns]
    return dg.TableSchema(columns=found) if found else None


def _build_columns(
    attributes: Sequence[Attribute], types: Mapping[str, TypeDefinition], prefix: str, primary_key: frozenset[str]
) -> Iterator[dg.TableColumn]:
    for attribute in attributes:
        if attribute.ignore:
            continue
        name = prefix + attribute.final_name
        constraints = tuple(_list_constraints(attribute, types, attribute.name in primary_key and not prefix))
        yield _build_column(name, describe_type(attribute), attribute.comment, not attribute.required, constraints)
        if attribute.attributes:
            yield from _build_columns(attribute.attributes, types, f"{name}.", frozenset())


def describe_type(attribute: Attribute) -> str:
    """Return the Starlake type of an attribute, or ``array<...>`` for an array."""
    return f"array<{attribute.type}>" if attribute.array else attribute.type


@lru_cache(maxsize=10_000)
def _build_column(name: str, type_: str, description: str | None, nullable: bool, constraints: tuple[str, ...]) -> dg.TableColumn:
    """Return a column. Equal columns are shared, because a project may have many of them."""
    return dg.TableColumn(name=name, type=type_, description=description, constraints=_build_constraints(nullable, constraints), tags={})


@lru_cache(maxsize=1_000)
def _build_constraints(nullable: bool, other: tuple[str, ...]) -> dg.TableColumnConstraints:
    return dg.TableColumnConstraints(nullable=nullable, other=list(other))


def _list_constraints(attribute: Attribute, types: Mapping[str, TypeDefinition], is_key: bool) -> list[str]:
    found = []
    if is_key:
        found.append("primary key")
    if attribute.foreign_key:
        found.append(f"references {attribute.foreign_key}")
    if attribute.privacy and attribute.privacy.upper() != "NONE":
        found.append(f"privacy {attribute.privacy}")
    if attribute.rename:
        found.append(f"named {attribute.name} in the files")
    if attribute.default is not None:
        found.append(f"default {attribute.default}")
    if attribute.script:
        found.append(f"computed: {attribute.script}")
    declared = types.get(attribute.type)
    if declared and declared.origin is not None and declared.pattern and declared.pattern not in (".+", ".*", _find_pattern(declared.name)):
        found.append(f"matches {declared.pattern}")
    return found


@cache
def _find_pattern(name: str) -> str | None:
    """Return the pattern of a built-in type of Starlake. Many projects contain copies of these types, which are not worth showing."""
    # Imported here, because most projects do not define types.
    from ..project.attribute_types import build_built_in_types

    own = build_built_in_types().get(name)
    return own.pattern if own else None
