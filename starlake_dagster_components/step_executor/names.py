"""Find executor definitions for steps by name."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import dagster as dg

from ..errors import InvalidSetting, describe_unknown
from .definition import starlake_step_executor

_KNOWN: Mapping[str, Callable[[], dg.ExecutorDefinition]] = {
    "threads": starlake_step_executor,
    "multiprocess": lambda: dg.multiprocess_executor,
    "in_process": lambda: dg.in_process_executor,
}


def is_step_executor(value: object) -> bool:
    """Return whether a value is an executor definition."""
    return isinstance(value, dg.ExecutorDefinition)


def find_step_executor(name: str, config: Mapping[str, Any] | None = None) -> dg.ExecutorDefinition:
    """Return an executor definition by name.

    Args:
        name: ``threads`` (this package's), ``multiprocess`` or ``in_process`` (Dagster's), or an import path (``module.name``).
        config: its configuration, as in run config; None = its defaults.

    Raises:
        InvalidSetting: the executor does not exist, is not an executor definition, or does not accept the configuration.
    """
    definition = _find_definition(name)
    if not config:
        return definition
    try:
        configured: dg.ExecutorDefinition = definition.configured(dict(config))
    except dg.DagsterError as error:
        raise InvalidSetting(f"{name}: {error}") from error
    return configured


def _find_definition(name: str) -> dg.ExecutorDefinition:
    if name in _KNOWN:
        return _KNOWN[name]()
    module, _, attribute = name.rpartition(".")
    if not module:
        raise InvalidSetting(f"{describe_unknown('step executor', name, _KNOWN)}; or use an import path (module.name)")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidSetting(f"'{name}' cannot be imported: {error}") from error
    if not isinstance(found, dg.ExecutorDefinition):
        raise InvalidSetting(f"'{name}' is a {type(found).__name__} (expected an executor definition)")
    return found
