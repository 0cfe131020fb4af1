"""The checks and parsers of settings. Each function takes the setting's name (for messages) and a value.

All of them raise :class:`InvalidSetting` for an invalid value. The message contains the name, the value, and what was expected.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from ..cache import OFF
from ..errors import InvalidSetting, describe_unknown, suggest_name


@dataclass(frozen=True, slots=True)
class ExpectationChecks:
    """The ``expectation_checks`` setting.

    Attributes:
        enabled: whether expectations become asset checks.
        blocking: whether a failed check keeps downstream assets from running; ``auto``: if ``failOnError`` is true for the
            expectation and for the application.
        severity: severity of a failed check; None = error if the expectation's ``failOnError`` is true, else warning.
    """

    enabled: bool = True
    blocking: bool | Literal["auto"] = "auto"
    severity: Literal["error", "warn"] | None = None


def check_secrets(name: str, value: Any) -> tuple[str, ...]:
    """Convert a mapping with the key ``names``, or a list of names. ``*`` matches any characters."""
    if isinstance(value, Mapping):
        check_keys(name, value, ("names",))
        name, value = f"{name}.names", value.get("names") or ()
    names = () if value is None else check_strings(name, value)
    if any(not pattern.strip("*? ") for pattern in names):
        raise build_error(name, value, "names or patterns of variables; a pattern must not match every name")
    return names


def build_error(name: str, value: Any, expected: str) -> InvalidSetting:
    """Return the error for an invalid value."""
    return InvalidSetting(f"{name}: invalid value {value!r} (expected {expected})")


def check_keys(name: str, value: Mapping[Any, Any], known: Sequence[str]) -> None:
    """Check that a mapping has only known keys."""
    for key in value:
        if key not in known:
            raise InvalidSetting(f"{name}: {describe_unknown('key', str(key), known)}")


def check_choice(name: str, value: Any, known: Sequence[str]) -> str:
    """Return the matching known value, ignoring case. YAML reads a plain ``on`` as true, and ``off`` as false."""
    if isinstance(value, bool) and (word := "on" if value else "off") in known:
        return word
    for choice in known:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise InvalidSetting(f"{name}: {describe_unknown('value', str(value), known)}")


def check_automation(name: str, value: Any) -> str:
    """Convert the ``automation`` setting. YAML's ``null`` and ``false`` mean ``none``.

    Raises:
        InvalidSetting: the value is unknown, or this version of Dagster does not support it.
    """
    chosen: str = check_choice(name, "none" if value is None or value is False else value, ("sensors", "conditions", "none"))
    if chosen == "conditions":
        import dagster as dg

        if not hasattr(dg.AutomationCondition, "any_job_root_assets_match"):
            raise InvalidSetting(f"{name}: conditions requires Dagster 1.13.14 or later, and this is Dagster {dg.__version__}")
    return chosen


def check_boolean(name: str, value: Any) -> bool:
    """Return a boolean; the strings ``true`` and ``false`` are converted."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise build_error(name, value, "true or false")
    return value


def check_count(name: str, value: Any) -> int | None:
    """Return a whole number of at least 1, or None. A string of digits is converted."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise build_error(name, value, "a whole number of at least 1")


def check_share(name: str, value: Any) -> float:
    """Return a number greater than 0 and at most 1. A string is converted."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    raise build_error(name, value, "a number greater than 0 and at most 1")


def check_string(name: str, value: Any) -> str | None:
    """Return a string, or None if it is empty."""
    if value is None or isinstance(value, str):
        return value or None
    raise build_error(name, value, "a string")


def check_strings(name: str, value: Any) -> tuple[str, ...]:
    """Return a list of strings as a tuple."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise build_error(name, value, "a list of strings")
    return tuple(value)


def check_mapping(name: str, value: Any) -> Mapping[str, str]:
    """Return a mapping of strings to strings. Numbers and booleans are converted to strings as in YAML."""
    if not isinstance(value, Mapping):
        raise build_error(name, value, "a mapping of names to values")
    for key, item in value.items():
        if not isinstance(key, str):
            hint = "put it in quotes (YAML reads on, off, yes, and no as true and false)"
            raise InvalidSetting(f"{name}: the name {key!r} is not a string: {hint}")
        if not isinstance(item, (str, int, float)):
            raise build_error(f"{name}.{key}", item, "a string or a number")
    return {key: str(item).lower() if isinstance(item, bool) else str(item) for key, item in value.items()}


def check_tags(name: str, value: Any) -> Mapping[str, str]:
    """Return tags as strings. As in Dagster, mappings and lists (such as a Kubernetes configuration) become JSON."""
    if isinstance(value, Mapping):
        value = {key: json.dumps(item) if isinstance(item, (Mapping, list)) else item for key, item in value.items()}
    return check_mapping(name, value)


def check_path(name: str, value: Any) -> str | None:
    """Return a path as a string."""
    return check_string(name, os.fspath(value) if isinstance(value, os.PathLike) else value)


def check_cache(name: str, value: Any) -> str | None:
    """Return the cache folder, or ``off``."""
    # YAML reads ``off`` as false.
    return OFF if value is False else check_path(name, value)


def check_timezone(name: str, value: Any) -> str | None:
    """Return the IANA name of a time zone."""
    text = check_string(name, value)
    if text is None:
        return None
    from ..pipelines.schedule_presets import check_timezone

    try:
        return check_timezone(text)
    except InvalidSetting as error:
        raise InvalidSetting(f"{name}: {str(error).removeprefix('timezone: ')}") from error


def check_day(name: str, value: Any) -> str | None:
    """Return a date in ISO 8601."""
    # YAML reads 2026-01-01 as a date.
    text = value.isoformat() if isinstance(value, date) else check_string(name, value)
    if text is None:
        return None
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError as error:
        raise build_error(name, value, "a date such as 2026-01-31") from error


def check_orchestrators(name: str, value: Any) -> tuple[str, ...]:
    """Return names of orchestrators."""
    found = check_strings(name, value)
    if found != ("dagster",):
        from ..pipelines.dag_templates import ORCHESTRATORS

        for item in found:
            # Only typos are rejected here: custom templates may have other orchestrators, and planning rejects those without a template.
            if item.lower() not in ORCHESTRATORS and suggest_name(item, ORCHESTRATORS):
                raise InvalidSetting(f"{name}: {describe_unknown('orchestrator', item, ORCHESTRATORS)}")
    return found


def check_executor(name: str, value: Any) -> Any:
    """Return the executor that runs commands, created from a type or a mapping if necessary."""
    if value is None or value == "":
        return None
    if isinstance(value, (str, Mapping)):
        from ..executors.registry import build_executor

        try:
            return build_executor(value)
        except InvalidSetting as error:
            raise InvalidSetting(f"{name}: {error}") from error
    from ..executors.base import StarlakeExecutor

    if isinstance(value, type) and issubclass(value, StarlakeExecutor):
        raise InvalidSetting(f"{name}: {value.__name__} is a class (expected an instance: {value.__name__}(...))")
    if isinstance(value, StarlakeExecutor):
        return value
    raise build_error(name, value, "an executor, its type, or a mapping with its type")


def check_step_executor(name: str, value: Any) -> Any:
    """Return the executor definition that runs steps, found by name if necessary."""
    if value is None:
        return None
    from ..step_executor.names import find_step_executor, is_step_executor

    if is_step_executor(value):
        return value
    fields: Any = {"type": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping) or set(fields) - {"type", "config"}:
        raise build_error(name, value, "an executor definition, its name, or a mapping with type and config")
    try:
        return find_step_executor(str(fields.get("type", "threads")), fields.get("config"))
    except InvalidSetting as error:
        raise InvalidSetting(f"{name}: {error}") from error


def check_translator(name: str, value: Any) -> Any:
    """Return a translator."""
    if value is not None and (not callable(getattr(value, "get_asset_spec", None)) or isinstance(value, type)):
        raise build_error(name, value, "a StarlakeTranslator")
    return value


def check_expectation_checks(name: str, value: Any) -> bool | ExpectationChecks:
    """Convert a boolean or a mapping."""
    if isinstance(value, ExpectationChecks):
        return value
    if not isinstance(value, Mapping):
        return check_boolean(name, value)
    check_keys(name, value, ("enabled", "blocking", "severity"))
    blocking, severity = value.get("blocking", "auto"), value.get("severity")
    return ExpectationChecks(
        enabled=check_boolean(f"{name}.enabled", value.get("enabled", True)),
        blocking="auto" if blocking == "auto" else check_boolean(f"{name}.blocking", blocking),
        severity=None if severity is None else check_choice(f"{name}.severity", severity, ("error", "warn")),  # type: ignore[arg-type]
    )


def check_prefix(name: str, value: Any) -> str:
    """Return a prefix for the names of definitions."""
    text = check_string(name, value) or ""
    if not all(c.isascii() and (c.isalnum() or c == "_") for c in text):
        raise build_error(name, value, "letters, digits, and underscores")
    return text


def parse_json(name: str, text: str) -> Any:
    """Parse JSON, and report errors with the setting's name."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidSetting(f"{name}: invalid JSON: {error}") from error


def parse_name_or_json(name: str, text: str) -> Any:
    """Parse a JSON object, or return a name unchanged."""
    return parse_json(name, text) if text.startswith("{") else text


def parse_list(name: str, text: str) -> Any:
    """Parse ``a,b``, or a JSON list or object."""
    return parse_json(name, text) if text.startswith(("[", "{")) else [item.strip() for item in text.split(",") if item.strip()]


def parse_pairs(name: str, text: str) -> Any:
    """Parse ``a=1,b=2`` (like Starlake's ``--options``), or a JSON object."""
    if text.startswith("{"):
        return parse_json(name, text)
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    wrong = [key for key, sign, _ in pairs if not sign]
    if wrong:
        raise InvalidSetting(f"{name}: '{wrong[0]}' has no value (expected name=value,name=value)")
    return {key.strip(): value for key, _, value in pairs}
