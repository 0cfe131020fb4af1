"""Settings given as texts: environment variables ``SL_DAGSTER_*`` and options of the command line."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import InvalidSetting, did_you_mean, unknown
from ..executors import EXECUTORS
from ..executors.base import StarlakeExecutor
from .names import check_style
from .settings import Settings

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
            values[name] = parse(text.strip())
        except ValueError as error:
            raise InvalidSetting(f"{prefix + name.upper() if prefix else name}: {error}") from error
    return Settings(**values)


def executor_from_text(text: str) -> StarlakeExecutor:
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
    kind = str(fields.get("type", "shell"))
    if kind not in EXECUTORS:
        raise InvalidSetting(unknown("executor", kind, EXECUTORS))
    try:
        return EXECUTORS[kind].model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidSetting(f"executor {kind}: {wrong}") from error


def _choice(*known: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(unknown("value", text, known))
        return text

    return parse


def _truth(text: str) -> bool:
    return _choice("true", "false")(text.lower()) == "true"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is less than 1")
    return number


def _variables(text: str) -> dict[str, str]:
    """Parse ``a=1,b=2`` (as Starlake's ``--options``)."""
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    wrong = [key for key, sign, _ in pairs if not sign]
    if wrong:
        raise ValueError(f"'{wrong[0]}' has no value (expected name=value,name=value)")
    return {key.strip(): value for key, _, value in pairs}


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "executor": executor_from_text,
    "env": str,
    "variables": _variables,
    "asset_keys": check_style,
    "orchestrators": lambda text: tuple(item.strip() for item in text.split(",") if item.strip()),
    "dependencies": str,
    "timezone": str,
    "default_status": lambda text: _choice("RUNNING", "STOPPED")(text.upper()),
    "watch": _choice("transitive", "direct"),
    "max_concurrent": _positive,
    "pool": str,
    "cache": str,
    "expectation_checks": _truth,
    "batch": _truth,
}
