"""Find executor definitions for steps by name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import dagster as dg

from ..errors import InvalidSetting, describe_unknown
from .definition import starlake_step_executor

_KNOWN = ("threads", "multiprocess", "in_process")


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
    if name == "threads":
        return starlake_step_executor()
    if name == "multiprocess":
        return dg.multiprocess_executor
    if name == "in_process":
        return dg.in_process_executor
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
