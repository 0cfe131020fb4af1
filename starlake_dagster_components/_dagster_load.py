"""Pass values from the loading of a code location to the processes of its runs.

Dagster keeps the values with the execution plan of each run. Its own state-backed components use ``DefinitionsLoadContext``, which is
not public. If it is missing or has changed, no value is passed.
"""

import logging
from typing import Any

logger = logging.getLogger("starlake_dagster_components")


def note_for_runs(key: str, value: str) -> None:
    """Store a value for :func:`find_noted` in the processes of runs of the code location that is being loaded."""
    context = _get_context()
    try:
        if is_code_server():
            context.add_to_pending_reconstruction_metadata(key, value)
    except AttributeError as error:
        logger.debug("runs cannot use the plan that they were launched with: %s", error)


def is_code_server() -> bool:
    """Return whether a code location is being loaded for display, rather than by a process of a run or by a function call."""
    context = _get_context()
    return context is not None and getattr(getattr(context, "load_type", None), "name", "") == "INITIALIZATION"


def find_noted(key: str) -> str:
    """Return the value that was stored when the run of this process was launched; empty outside of runs or if there is none."""
    context = _get_context()
    try:
        if context is None or context.load_type.name != "RECONSTRUCTION":
            return ""
        value = context.reconstruction_metadata.get(key, "")
    except AttributeError as error:
        logger.debug("the plan that the run was launched with is unknown: %s", error)
        return ""
    return value if isinstance(value, str) else ""


def _get_context() -> Any:
    try:
        from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
    except ImportError:
        return None
    return DefinitionsLoadContext.get() if DefinitionsLoadContext.is_set() else None
