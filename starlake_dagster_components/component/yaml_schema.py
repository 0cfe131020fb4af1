"""A more precise JSON schema for the component's YAML, so that ``dg check yaml`` and editors point to the wrong key or value.

Dagster allows a string for every field, because it may be a template. As a result, its schema accepts every wrong string, and reports any
other wrong value as ``{'type': 'shel'} is not valid under any of the given schemas``. Here, each field keeps its variants, which the
documentation shows, and gets an additional condition for values that are not templates.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_IS_TEMPLATE: Schema = {"type": "string", "pattern": r"\{[{%]"}
_PLAIN = ("integer", "number", "boolean")


@cache
def make_schema_precise(model: type[BaseModel]) -> type[BaseModel]:
    """Return a subclass of a model that differs only in its JSON schema."""

    class Precise(model):  # type: ignore[misc, valid-type]
        @classmethod
        def model_json_schema(cls, *args: Any, **options: Any) -> Schema:
            schema: Schema = super().model_json_schema(*args, **options)
            for field in schema.get("properties", {}).values():
                _make_precise(field, schema.get("$defs", {}))
            return schema

    Precise.__name__, Precise.__qualname__, Precise.__doc__ = model.__name__, model.__qualname__, model.__doc__
    return Precise


def _make_precise(field: Schema, definitions: Mapping[str, Schema]) -> None:
    """Add a condition for values that are not templates. The variants are relaxed, so that only the condition reports errors."""
    variants = [v for v in field.get("anyOf", ()) if v.get("type") != "null" and v != {"type": "string"}]
    tagged = next((v for v in variants if "discriminator" in v), None)
    scalars = [v for v in variants if "enum" in v or v.get("type") in _PLAIN]
    models = [v for v in variants if "$ref" in v]
    # If an example is a string, strings are valid values.
    strings = any(isinstance(example, str) for example in field.get("examples", ())) and not any("enum" in v for v in scalars)
    if tagged:
        _allow_any_object(field)
        field["allOf"] = _check_types(tagged["discriminator"], definitions)
    elif len(models) == 1 and all("$ref" in v or _is_any_object(v) or v.get("type") == "array" for v in variants):
        # A single object or, if there is an array, also a list of such objects.
        _allow_any_object(field)
        field["allOf"] = [{"if": {"type": "object"}, "then": models[0]}]
        if any(v.get("type") == "array" for v in variants):
            field["allOf"].append({"if": {"type": "array"}, "then": {"items": models[0]}})
    elif scalars and len(scalars) == len(variants) and not strings:
        field["if"] = {"anyOf": [_IS_TEMPLATE, {"type": "null"}]}
        field["else"] = scalars[0] if len(scalars) == 1 else {"anyOf": scalars}


def _allow_any_object(field: Schema) -> None:
    if not any(map(_is_any_object, field["anyOf"])):
        field["anyOf"].append({"type": "object"})


def _is_any_object(variant: Schema) -> bool:
    return variant.get("type") == "object" and "properties" not in variant


def _check_types(discriminator: Mapping[str, Any], definitions: Mapping[str, Schema]) -> list[Schema]:
    """Return the conditions for a type, or a mapping with a type: the type must be known, and the other fields must belong to it."""
    key, types = discriminator["propertyName"], discriminator["mapping"]
    known: Schema = {"if": _IS_TEMPLATE, "else": {"enum": list(types)}}
    conditions: list[Schema] = [
        {"if": {"type": "string"}, "then": known},
        {"if": {"type": "object"}, "then": {"required": [key], "properties": {key: known}}},
    ]
    for name, reference in types.items():
        has_type = {"type": "object", "required": [key], "properties": {key: {"const": name}}}
        model = definitions[reference.rpartition("/")[2]]
        fields = {name: _allow_template(field) for name, field in model.get("properties", {}).items()}
        conditions.append({"if": has_type, "then": {**model, "properties": fields}})
    return conditions


def _allow_template(field: Schema) -> Schema:
    variants = field.get("anyOf", [])
    required = [v for v in variants if v != {"type": "null"}]
    if len(required) == 1 and len(required) < len(variants):
        return {"if": {"anyOf": [_IS_TEMPLATE, {"type": "null"}]}, "else": required[0]}
    return {"if": _IS_TEMPLATE, "else": field}
