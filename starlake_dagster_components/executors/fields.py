"""Types of fields that several executors share."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema


def _convert_to_texts(value: Any) -> Any:
    """Convert numbers and booleans to strings, as expected from ``PORT: 8080`` or ``DEBUG: true``."""
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"the name {key!r} is not a string: put it in quotes (YAML reads on, off, yes, and no as true and false)")
    return {k: ("true" if v is True else "false" if v is False else str(v)) for k, v in value.items() if v is not None}


Environment = Annotated[
    dict[str, str],
    BeforeValidator(_convert_to_texts),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}),
]
"""Environment variables by name. Numbers and booleans may be written without quotes."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A positive number of seconds."""
