"""Executors as people write them: a type, or a mapping with a type and fields."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import InvalidSetting, did_you_mean, unknown
from .base import StarlakeExecutor


def executor_of(given: str | Mapping[str, Any]) -> StarlakeExecutor:
    """Return an executor.

    Args:
        given: its type, or a mapping with ``type`` and fields.

    Raises:
        InvalidSetting: no type or an unknown one, or a field that is missing, unknown or wrong.
    """
    from .registry import EXECUTORS

    fields = {"type": given} if isinstance(given, str) else dict(given)
    kind = fields.get("type")
    if kind is None:
        raise InvalidSetting(f"executor: it has no type (known: {', '.join(EXECUTORS)})")
    if kind not in EXECUTORS:
        raise InvalidSetting(unknown("executor", str(kind), EXECUTORS))
    try:
        return EXECUTORS[kind].model_validate(fields)
    except ValidationError as error:
        known = EXECUTORS[kind].model_fields
        raise InvalidSetting(f"executor {kind}: {'; '.join(_fault(e, known) for e in error.errors())}") from error


def _fault(error: Any, known: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown field '{where}'{did_you_mean(where, known) or ' (known: ' + ', '.join(sorted(known)) + ')'}"
    return f"{where}: {error['msg']}"
