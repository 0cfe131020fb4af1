"""Render the templates in a component's YAML."""

import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import BaseModel

_TEMPLATE = re.compile(r"\{[{%#]")
_STARLAKE_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_END = "\0"
"""Suffix that keeps a rendered value a string: Dagster turns values that look like Python literals into Python objects."""


def render_value(context: dg.ResolutionContext, value: Any, *, typed: bool = False) -> Any:
    """Return a YAML value with its templates rendered.

    Strings stay strings, whereas Dagster's own rendering turns ``"1.10"``, or an environment variable with that value, into the number 1.1.
    A template may also render to another Python object or to None. ``typed``: whether a template may render to a number or a boolean.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: render_value(context.at_path(key), item, typed=typed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render_value(context.at_path(index), item, typed=typed) for index, item in enumerate(value)]
    if not isinstance(value, str) or not _TEMPLATE.search(value):
        return value
    found = context.resolve_value(value)
    if typed or not isinstance(found, (str, bool, int, float)):
        return found
    return str(context.resolve_value(value + _END)).removesuffix(_END)


def render_variables(context: dg.ResolutionContext, variables: Any) -> Any:
    """Return Starlake variables with their templates rendered. ``{{NAME}}`` is left to Starlake unless Dagster knows the name."""
    if not isinstance(variables, Mapping):
        return render_value(context, variables)
    return {
        key: value if _is_for_starlake(context, value) else render_value(context.at_path(key), value) for key, value in variables.items()
    }


def _is_for_starlake(context: dg.ResolutionContext, value: Any) -> bool:
    names = _STARLAKE_VARIABLE.findall(value) if isinstance(value, str) else []
    return bool(names) and len(names) == value.count("{{") and "{%" not in value and not any(name in context.scope for name in names)
