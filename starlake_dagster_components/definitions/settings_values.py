"""What the values of settings may be, whichever way they are given: YAML, Python, environment or command line."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from ..cache import OFF
from ..errors import InvalidSetting, did_you_mean, unknown
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
        return value or None
    raise _wrong(name, value, "a text")


def _path(name: str, value: Any) -> str | None:
    return _text(name, os.fspath(value) if isinstance(value, os.PathLike) else value)


def _cache(name: str, value: Any) -> str | None:
    # YAML reads ``off`` as false.
    return OFF if value is False else _path(name, value)


def _timezone(name: str, value: Any) -> str | None:
    text = _text(name, value)
    if text is None:
        return None
    from ..pipelines.schedule_presets import check_timezone

    return check_timezone(text)


def _orchestrators(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, value, "a list of texts")
    if tuple(value) != ("dagster",):
        from ..pipelines.dag_templates import ORCHESTRATORS

        for item in value:
            # A template of the project's own may be for another orchestrator: planning knows, and refuses what nobody knows.
            if item.lower() not in ORCHESTRATORS and did_you_mean(item, ORCHESTRATORS):
                raise InvalidSetting(f"{name}: {unknown('orchestrator', item, ORCHESTRATORS)}")
    return tuple(value)


def _mapping(name: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a mapping of names to values")
    for key in value:
        if not isinstance(key, str):
            raise InvalidSetting(
                f"{name}: the name {key!r} is no text: put it in quotes (YAML reads on, off, yes and no as true and false)"
            )
    return {str(key): _scalar(f"{name}.{key}", item) for key, item in value.items()}


def _tags(name: str, value: Any) -> Mapping[str, str]:
    if isinstance(value, Mapping):
        # As Dagster takes them: a mapping (a configuration of Kubernetes, say) as JSON.
        value = {key: json.dumps(item) if isinstance(item, (Mapping, list)) else item for key, item in value.items()}
    return _mapping(name, value)


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
    "orchestrators": _orchestrators,
    "dependencies": lambda name, value: _path(name, value) or "auto",
    "timezone": _timezone,
    "default_status": _one_of("RUNNING", "STOPPED"),
    "watch": _one_of("transitive", "direct"),
    "translator": _translator,
    "step_executor": _step_executor,
    "max_concurrent": _positive,
    "op_tags": _tags,
    "pool": _text,
    "expectation_checks": _truth,
    "batch": _truth,
    "name_prefix": _prefix,
    "cache": _cache,
}
