"""What the values of settings may be, whichever way they are given: YAML, Python, environment or command line."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from ..errors import InvalidSetting, unknown
from .names import check_style


def check_value(name: str, value: Any) -> Any:
    """Return the value of a setting in its own type.

    Args:
        name: a field of :class:`~starlake_dagster_components.Settings`.
        value: as somebody gave it.

    Raises:
        InvalidSetting: it cannot be used; the message names the setting, the value and what was expected.
    """
    check = _CHECKS.get(name)
    return check(name, value) if check else value


def _wrong(name: str, value: Any, expected: str) -> InvalidSetting:
    return InvalidSetting(f"{name}: {value!r} cannot be used (expected {expected})")


def _one_of(*known: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        for choice in known:
            if isinstance(value, str) and value.lower() == choice.lower():
                return choice
        raise InvalidSetting(unknown(name, str(value), known))

    return check


def _style(name: str, value: Any) -> str:
    return check_style(str(value))


def _truth(name: str, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _positive(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(name, value, "a whole number from 1")
    return value


def _text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _wrong(name, value, "a text")


def _path(name: str, value: Any) -> str | None:
    return _text(name, os.fspath(value) if isinstance(value, os.PathLike) else value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, value, "a list of texts")
    return tuple(value)


def _mapping(name: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a mapping of names to values")
    return {str(key): _scalar(f"{name}.{key}", item) for key, item in value.items()}


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise _wrong(name, value, "a text or a number")
    return str(value)


def _executor(name: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    from ..executors.base import StarlakeExecutor

    if isinstance(value, StarlakeExecutor):
        return value
    if isinstance(value, (str, Mapping)):
        from ..executors.given import executor_of

        return executor_of(value)
    if isinstance(value, type) and issubclass(value, StarlakeExecutor):
        raise InvalidSetting(f"executor: {value.__name__} is a class (expected an executor: {value.__name__}(...))")
    raise _wrong(name, value, "an executor, its type or a mapping with its type")


def _step_executor(name: str, value: Any) -> dg.ExecutorDefinition | None:
    if value is None or isinstance(value, dg.ExecutorDefinition):
        return value
    from ..step_executor.resolved import step_executor_of

    if isinstance(value, str):
        return step_executor_of(value)
    if isinstance(value, Mapping) and not set(value) - {"type", "config"}:
        return step_executor_of(str(value.get("type", "threads")), value.get("config"))
    raise _wrong(name, value, "an executor definition, its name, or a mapping with type and config")


def _translator(name: str, value: Any) -> Any:
    if not callable(getattr(value, "get_asset_spec", None)) or isinstance(value, type):
        raise _wrong(name, value, "a StarlakeTranslator")
    return value


def _prefix(name: str, value: Any) -> str:
    text = _text(name, value) or ""
    if not all(c.isascii() and (c.isalnum() or c == "_") for c in text):
        raise _wrong(name, value, "letters, digits and underscores")
    return text


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "executor": _executor,
    "env": _text,
    "variables": _mapping,
    "asset_keys": _style,
    "orchestrators": _texts,
    "dependencies": lambda name, value: _path(name, value) or "auto",
    "timezone": _text,
    "default_status": _one_of("RUNNING", "STOPPED"),
    "watch": _one_of("transitive", "direct"),
    "translator": _translator,
    "step_executor": _step_executor,
    "max_concurrent": _positive,
    "op_tags": _mapping,
    "pool": _text,
    "expectation_checks": _truth,
    "batch": _truth,
    "name_prefix": _prefix,
    "cache": _path,
}
