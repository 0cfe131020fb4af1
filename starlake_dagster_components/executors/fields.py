"""Kinds of fields that several executors have."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _texts(value: Any) -> Any:
    """Write numbers and booleans as YAML users mean them: a component's attributes turn the text ``"8080"`` into a number."""
    if not isinstance(value, Mapping):
        return value
    return {str(k): ("true" if v is True else "false" if v is False else str(v)) for k, v in value.items() if v is not None}


Environment = Annotated[dict[str, str], BeforeValidator(_texts)]
"""Environment variables: name -> text."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A positive number of seconds."""
