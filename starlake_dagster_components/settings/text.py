"""Read settings from strings: environment variables ``SL_DAGSTER_<SETTING>`` and options of ``sl-dagster``."""

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from ..errors import InvalidSetting
from .fields import Settings
from .setting import get_setting
from .values import check_field

PREFIX = "SL_DAGSTER_"
"""Prefix of the environment variables of settings."""


def build_option_name(name: str) -> str:
    """Return the command line option of a setting, such as ``--asset-keys``."""
    return f"--{name.replace('_', '-')}"


def build_variable_name(name: str) -> str:
    """Return the environment variable of a setting, such as ``SL_DAGSTER_ASSET_KEYS``."""
    return f"{PREFIX}{name.upper()}"


def find_project(environ: Mapping[str, str]) -> str:
    """Return the project's folder: ``SL_ROOT``, or else the current folder, as in ``starlake.sh``."""
    return environ.get("SL_ROOT") or os.getcwd()


def read_settings(environ: Mapping[str, str], options: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from environment variables and command line options.

    ``SL_DAGSTER_EXECUTOR`` and ``SL_DAGSTER_STEP_EXECUTOR`` are a type (``duckdb``) or a JSON object (``{"type": "shell", "env": {...}}``).
    Lists are separated by commas. Mappings are ``name=value,name=value`` or a JSON object. Everything else is written as in YAML.
    ``options`` has the values of command line options by the names of fields. They override the environment.

    Raises:
        InvalidSetting: a setting is unknown, or a value is invalid; the message begins with the variable or option.
    """
    texts = {name[len(PREFIX) :].lower(): text for name, text in environ.items() if name.startswith(PREFIX) and text.strip()}
    values = {name: _read_text(name, text, build_variable_name) for name, text in texts.items()}
    values.update({name: _read_text(name, text, build_option_name) for name, text in (options or {}).items()})
    return Settings(**values)


def _read_text(name: str, text: str, show: Callable[[str], str]) -> Any:
    field = Settings.model_fields.get(name)
    if field is None or name in _NOT_AS_TEXT:
        raise InvalidSetting(f"unknown setting '{show(name)}'{_explain_unknown(name, show)}")
    shown, text = show(name), text.strip()
    parse = get_setting(field).parse
    return check_field(Settings, name, parse(shown, text) if parse else text, shown)


_NOT_AS_TEXT: Mapping[str, str] = {
    "project": "the project is SL_ROOT, or an argument",
    "root": "the project is SL_ROOT, or an argument",
    "op": "use {op_tags} or {pool}",
    "translation": "only the component and the function (as translator) support it",
    "translator": "only the function and the component (as translation) support it",
}
"""Settings that have no variable and no option, and the alternative."""


def _explain_unknown(name: str, show: Callable[[str], str]) -> str:
    """Return a hint for an unknown name: the alternative, a similar name, or all known names."""
    known = {n: show(n) for n in Settings.model_fields if n not in _NOT_AS_TEXT}
    if name in _NOT_AS_TEXT:
        return f" ({_NOT_AS_TEXT[name].format_map(known)})"
    # Compared without the prefix, which makes all names similar.
    for close in get_close_matches(name, known, n=1):
        return f" (did you mean '{known[close]}'?)"
    return f" (known: {', '.join(known.values())})"
