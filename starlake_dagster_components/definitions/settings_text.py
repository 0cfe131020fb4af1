"""Settings given as texts: environment variables ``SL_DAGSTER_*`` and options of the command line."""

import json
import re
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

    ``SL_DAGSTER_EXECUTOR`` and ``SL_DAGSTER_STEP_EXECUTOR`` are a type (``duckdb``) or a JSON object (``{"type": "shell", "env": {...}}``), lists are
    separated by commas, mappings are ``name=value,name=value`` or a JSON object, everything else is as in the component. The profile is
    Starlake's own ``SL_ENV``.

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
            raise InvalidSetting(f"unknown setting '{_shown(name, prefix)}'{_meant(name, prefix)}")
        try:
            values[name] = check_value(name, parse(text.strip()))
        except (ValueError, InvalidSetting) as error:
            raise InvalidSetting(f"{_shown(name, prefix)}: {error}" if prefix else str(error)) from error
    return Settings(**values)


def _shown(name: str, prefix: str) -> str:
    return prefix + name.upper() if prefix else name


def _meant(name: str, prefix: str) -> str:
    """Return what was meant by an unknown name, or what there is."""
    if name in _ELSEWHERE:
        return f" ({_ELSEWHERE[name].format(prefix=prefix)})"
    # Without the prefix, which makes all names alike.
    close = did_you_mean(name, _PARSERS)
    known = ", ".join(_shown(k, prefix) for k in _PARSERS)
    return re.sub(r"'(.*)'", lambda found: f"'{_shown(found[1], prefix)}'", close) or f" (known: {known})"


_ELSEWHERE = {
    "project": "the project is SL_ROOT, or an argument",
    "root": "the project is SL_ROOT, or an argument",
    "op": "{prefix}OP_TAGS or {prefix}POOL",
    "translation": "only the component and, as translator, the function have it",
    "translator": "only the component, as translation, and the function have it",
}
"""Settings that are given in another way as text."""


def executor_from_text(text: str) -> "StarlakeExecutor":
    """Return the executor for a type name or a JSON object with ``type``.

    Raises:
        InvalidSetting: an unknown type, broken JSON, a field that is missing, unknown or wrong.
    """
    from ..executors.given import executor_of

    return executor_of(_json(text) if text.startswith("{") else text)


def _pairs(text: str) -> Any:
    """Parse ``a=1,b=2`` (as Starlake's ``--options``), or a JSON object."""
    if text.startswith("{"):
        return _json(text)
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
    "variables": _pairs,
    "asset_keys": str,
    "orchestrators": lambda text: tuple(item.strip() for item in text.split(",") if item.strip()),
    "dependencies": str,
    "timezone": str,
    "name_prefix": str,
    "default_status": str,
    "watch": str,
    "step_executor": lambda text: _json(text) if text.startswith("{") else text,
    "max_concurrent": str,
    "op_tags": _pairs,
    "pool": str,
    "cache": str,
    "expectation_checks": str,
    "batch": str,
}
