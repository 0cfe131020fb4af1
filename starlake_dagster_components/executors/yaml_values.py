"""Values of a component's YAML with their templates rendered."""

import re
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import BaseModel

_TEMPLATE = re.compile(r"\{[{%#]")
_END = "\0"
"""Behind a text: no literal of Python ends with it, so that Dagster's rendering leaves the text a text."""


def rendered(context: dg.ResolutionContext, value: Any, *, typed: bool = False) -> Any:
    """Return a value of a YAML with the templates in it rendered.

    Texts stay texts: Dagster's own rendering makes the number 1.1 of ``"1.10"``, and of an environment variable with that value. A template
    that gives no text and no number (an object of Python, None) gives that.

    Args:
        context: where the value stands.
        value: as the YAML has it: a scalar, or models, mappings and lists of them.
        typed: whether a template that looks like a number or a truth value gives one, for what is not looked at before it is used.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: rendered(context.at_path(key), item, typed=typed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rendered(context.at_path(index), item, typed=typed) for index, item in enumerate(value)]
    if not isinstance(value, str) or not _TEMPLATE.search(value):
        return value
    found = context.resolve_value(value)
    if typed or not isinstance(found, (str, bool, int, float)):
        return found
    return str(context.resolve_value(value + _END)).removesuffix(_END)
