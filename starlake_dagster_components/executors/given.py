"""Executors as people write them: a type, or a mapping with a type and fields."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import InvalidSetting, did_you_mean, unknown
from .base import StarlakeExecutor
from .registry import EXECUTORS


def executor_of(given: str | Mapping[str, Any]) -> StarlakeExecutor:
    """Return an executor.

    Args:
        given: its type, or a mapping with ``type`` (default ``shell``) and fields.

    Raises:
        InvalidSetting: an unknown type, or a field that is missing, unknown or wrong.
    """
    fields = {"type": given} if isinstance(given, str) else dict(given)
    kind = str(fields.get("type", "shell"))
    if kind not in EXECUTORS:
        raise InvalidSetting(unknown("executor", kind, EXECUTORS))
    try:
        return EXECUTORS[kind].model_validate(fields)
    except ValidationError as error:
        known = EXECUTORS[kind].model_fields
        raise InvalidSetting(f"executor {kind}: {'; '.join(_fault(e, known) for e in error.errors())}") from error


def _fault(error: Any, known: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown field '{where}'{did_you_mean(where, known)}"
    return f"{where}: {error['msg']}"
