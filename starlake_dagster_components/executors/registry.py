"""Find executors by their ``type``. Each is imported on first use."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from ..errors import InvalidSetting, describe_unknown, suggest_name
from .base import StarlakeExecutor

EXECUTOR_TYPES: Mapping[str, str] = {
    "shell": "local.shell:ShellExecutor",
    "cloud_run": "cloud_run:CloudRunExecutor",
    "dagster_shell": "local.dagster_shell:DagsterShellExecutor",
    "duckdb": "duckdb:DuckDBExecutor",
}
"""``type`` -> module of this package and class."""


def find_executor(type_: str) -> type[StarlakeExecutor]:
    """Return the executor class of a type.

    Raises:
        InvalidSetting: there is no such type.
    """
    if type_ not in EXECUTOR_TYPES:
        raise InvalidSetting(describe_unknown("executor", type_, EXECUTOR_TYPES))
    module, _, name = EXECUTOR_TYPES[type_].partition(":")
    found: type[StarlakeExecutor] = getattr(import_module(f".{module}", __package__), name)
    return found


@cache
def import_executors() -> Mapping[str, type[StarlakeExecutor]]:
    """Return all classes by their type."""
    return {type_: find_executor(type_) for type_ in EXECUTOR_TYPES}


def build_executor(chosen: str | Mapping[str, Any]) -> StarlakeExecutor:
    """Return an executor from its type, or from a mapping with ``type`` and fields.

    Raises:
        InvalidSetting: the type is missing or unknown, or a field is missing, unknown, or invalid.
    """
    fields = {"type": chosen} if isinstance(chosen, str) else dict(chosen)
    type_ = fields.get("type")
    if type_ is None:
        raise InvalidSetting(f"the type is missing (known: {', '.join(EXECUTOR_TYPES)})")
    executor = find_executor(str(type_))
    try:
        return executor.model_validate(fields)
    except ValidationError as error:
        raise InvalidSetting(f"{type_}: {'; '.join(_describe_error(e, executor.model_fields) for e in error.errors())}") from error


def _describe_error(error: Any, known: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown field '{where}'{suggest_name(where, known) or ' (known: ' + ', '.join(sorted(known)) + ')'}"
    return f"{where}: {error['msg']}"
