"""Settings given as text: variables ``SL_DAGSTER_<SETTING>`` of the environment, and options of ``sl-dagster``."""

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from .errors import InvalidSetting
from .settings import Settings, check_value, setting_of

PREFIX = "SL_DAGSTER_"
"""What the environment variables of settings begin with."""


def option_of(name: str) -> str:
    """Return the option of a setting: ``--asset-keys``."""
    return f"--{name.replace('_', '-')}"


def variable_of(name: str) -> str:
    """Return the environment variable of a setting: ``SL_DAGSTER_ASSET_KEYS``."""
    return f"{PREFIX}{name.upper()}"


def find_project(environ: Mapping[str, str]) -> str:
    """Return the project's folder as Starlake finds it: ``SL_ROOT``, else the current folder (Starlake: starlake.sh)."""
    return environ.get("SL_ROOT") or os.getcwd()


def read_settings(environ: Mapping[str, str], options: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that an environment and options of a command line give as text.

    ``SL_DAGSTER_EXECUTOR`` and ``SL_DAGSTER_STEP_EXECUTOR`` are a type (``duckdb``) or a JSON object (``{"type": "shell", "env": {...}}``),
    lists are separated by commas, mappings are ``name=value,name=value`` or a JSON object, everything else is as in YAML.

    Args:
        environ: the environment; of its variables those that begin with ``SL_DAGSTER_``.
        options: texts by field name; they win.

    Raises:
        InvalidSetting: an unknown setting or a value that cannot be used; the message begins with its variable or option.
    """
    given = {name[len(PREFIX) :].lower(): text for name, text in environ.items() if name.startswith(PREFIX) and text.strip()}
    values = {name: _read_text(name, text, variable_of) for name, text in given.items()}
    values.update({name: _read_text(name, text, option_of) for name, text in (options or {}).items()})
    return Settings(**values)


def _read_text(name: str, text: str, show: Callable[[str], str]) -> Any:
    field = Settings.model_fields.get(name)
    if field is None or name in _NOT_AS_TEXT:
        raise InvalidSetting(f"unknown setting '{show(name)}'{_explain_unknown(name, show)}")
    shown, text = show(name), text.strip()
    parse = setting_of(field).parse
    return check_value(name, parse(shown, text) if parse else text, shown)


_NOT_AS_TEXT: Mapping[str, str] = {
    "project": "the project is SL_ROOT, or an argument",
    "root": "the project is SL_ROOT, or an argument",
    "op": "{op_tags} or {pool}",
    "translation": "only the component and, as translator, the function have it",
    "translator": "only the component, as translation, and the function have it",
}
"""What is not given as text, and what to do instead."""


def _explain_unknown(name: str, show: Callable[[str], str]) -> str:
    """Return what was meant by an unknown name, or what there is."""
    known = {n: show(n) for n in Settings.model_fields if n not in _NOT_AS_TEXT}
    if name in _NOT_AS_TEXT:
        return f" ({_NOT_AS_TEXT[name].format_map(known)})"
    # Compared without the prefix, which makes all names alike.
    for close in get_close_matches(name, known, n=1):
        return f" (did you mean '{known[close]}'?)"
    return f" (known: {', '.join(known.values())})"
