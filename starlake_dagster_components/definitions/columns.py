"""Columns of tables and tasks for Dagster's catalog."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from ..project.model import Attribute, Table, Task, TypeDefinition


def table_schema(node: Table | Task, types: Mapping[str, TypeDefinition]) -> dg.TableSchema | None:
    """Return the declared columns of a table or task; None when it declares none.

    Nested fields follow their column with a dotted name. Types are Starlake's, arrays as ``array<...>``.
    """
    attributes = node.attributes
    if not attributes:
        return None
    keys = frozenset(node.primary_key)
    return dg.TableSchema(columns=list(_columns(attributes, types, "", keys)))


def _columns(
    attributes: Sequence[Attribute], types: Mapping[str, TypeDefinition], prefix: str, primary_key: frozenset[str]
) -> Iterator[dg.TableColumn]:
    for attribute in attributes:
        if attribute.ignore:
            continue
        name = prefix + attribute.final_name
        yield dg.TableColumn(
            name=name,
            type=f"array<{attribute.type}>" if attribute.array else attribute.type,
            description=attribute.comment,
            constraints=dg.TableColumnConstraints(
                nullable=not attribute.required, other=_constraints(attribute, types, attribute.name in primary_key and not prefix)
            ),
            tags={},
        )
        if attribute.attributes:
            yield from _columns(attribute.attributes, types, f"{name}.", frozenset())


def _constraints(attribute: Attribute, types: Mapping[str, TypeDefinition], is_key: bool) -> list[str]:
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
    if declared and declared.origin is not None and declared.pattern and declared.pattern not in (".+", ".*"):
        found.append(f"matches {declared.pattern}")
    return found
