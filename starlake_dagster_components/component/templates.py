"""Values of a component's YAML with their templates rendered."""

import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import BaseModel

_TEMPLATE = re.compile(r"\{[{%#]")
_STARLAKE_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_END = "\0"
"""Appended to a string: no Python literal ends with it, so that Dagster's rendering leaves the string a string."""


def render_value(context: dg.ResolutionContext, value: Any, *, typed: bool = False) -> Any:
    """Return a value of a YAML with the templates in it rendered.

    Strings stay strings: Dagster's own rendering makes the number 1.1 of ``"1.10"``, and of an environment variable with that value. A
    template that gives neither a string nor a number (a Python object, None) gives that.

    Args:
        context: where the value stands.
        value: as the YAML has it: a scalar, or models, mappings and lists of them.
        typed: whether a template that looks like a number or a truth value gives one, for what is not checked before it is used.
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


def render_variables(context: dg.ResolutionContext, given: Any) -> Any:
    """Return Starlake variables with the templates in them rendered: ``{{NAME}}`` is Starlake's, unless Dagster knows the name."""
    if not isinstance(given, Mapping):
        return render_value(context, given)
    return {key: value if _is_for_starlake(context, value) else render_value(context.at_path(key), value) for key, value in given.items()}


def _is_for_starlake(context: dg.ResolutionContext, value: Any) -> bool:
    names = _STARLAKE_VARIABLE.findall(value) if isinstance(value, str) else []
    return bool(names) and len(names) == value.count("{{") and "{%" not in value and not any(name in context.scope for name in names)
