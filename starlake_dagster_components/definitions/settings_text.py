"""Settings given as texts: environment variables ``SL_DAGSTER_*`` and options of the command line."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InvalidSetting, did_you_mean
from .settings import Settings
from .settings_values import check_value

if TYPE_CHECKING:
    from ..executors.base import StarlakeExecutor

PREFIX = "SL_DAGSTER_"


def settings_from_environment(environ: Mapping[str, str]) -> Settings:
    """Return the settings that the variables ``SL_DAGSTER_<SETTING>`` of an environment give.

    ``SL_DAGSTER_EXECUTOR`` is a type (``duckdb``) or a JSON object (``{"type": "shell", "env": {...}}``), lists are separated by commas,
    everything else is as in the component. The profile is Starlake's own ``SL_ENV``.

    Raises:
        InvalidSetting: an unknown setting or a value that cannot be used.
    """
    given = {name[len(PREFIX) :].lower(): value for name, value in environ.items() if name.startswith(PREFIX) and value.strip()}
    return settings_from_texts(given, PREFIX)


def settings_from_texts(given: Mapping[str, str], prefix: str = "") -> Settings:
    """Return the settings that texts give, by field name.

    Raises:
        InvalidSetting: an unknown setting or a value that cannot be used.
    """
    values: dict[str, Any] = {}
    for name, text in given.items():
        parse = _PARSERS.get(name)
        if parse is None:
            known = [prefix + k.upper() if prefix else k for k in _PARSERS]
            shown = prefix + name.upper() if prefix else name
            raise InvalidSetting(f"unknown setting '{shown}'{did_you_mean(shown, known) or ' (known: ' + ', '.join(known) + ')'}")
        try:
            values[name] = check_value(name, parse(text.strip()))
        except (ValueError, InvalidSetting) as error:
            raise InvalidSetting(f"{prefix}{name.upper()}: {error}" if prefix else str(error)) from error
    return Settings(**values)


def executor_from_text(text: str) -> "StarlakeExecutor":
    """Return the executor for a type name or a JSON object with ``type``.

    Raises:
        InvalidSetting: an unknown type, broken JSON, a field that is missing, unknown or wrong.
    """
    if text.startswith("{"):
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidSetting(f"the executor is no valid JSON: {error}") from error
    else:
        fields = {"type": text}
    from ..executors.given import executor_of

    return executor_of(fields)


def _variables(text: str) -> dict[str, str]:
    """Parse ``a=1,b=2`` (as Starlake's ``--options``)."""
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    wrong = [key for key, sign, _ in pairs if not sign]
    if wrong:
        raise ValueError(f"'{wrong[0]}' has no value (expected name=value,name=value)")
    return {key.strip(): value for key, _, value in pairs}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidSetting(f"no valid JSON: {error}") from error


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "executor": executor_from_text,
    "env": str,
    "variables": _variables,
    "asset_keys": str,
    "orchestrators": lambda text: tuple(item.strip() for item in text.split(",") if item.strip()),
    "dependencies": str,
    "timezone": str,
    "name_prefix": str,
    "default_status": str,
    "watch": str,
    "step_executor": lambda text: _json(text) if text.startswith("{") else text,
    "max_concurrent": str,
    "op_tags": _variables,
    "pool": str,
    "cache": str,
    "expectation_checks": str,
    "batch": str,
}
