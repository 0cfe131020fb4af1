"""Pass values from the load of a code location to the processes of its runs.

Dagster stores the values with the execution plan of each run. They are passed with ``DefinitionsLoadContext``, which Dagster's
state-backed components use but which is not public. If it is missing or has changed, no values are passed.
"""

import logging
from typing import Any

logger = logging.getLogger("starlake_dagster_components")


def pass_to_runs(key: str, value: str) -> None:
    """Store a value that the processes of runs read with :func:`find_passed_value`. Outside of a code server, this has no effect."""
    context = _get_context()
    try:
        if is_code_server():
            context.add_to_pending_reconstruction_metadata(key, value)
    except AttributeError as error:
        logger.debug("the plan of this load cannot be passed to runs: %s", error)


def is_code_server() -> bool:
    """Return whether a code server is loading a code location, as opposed to the process of a run or a plain function call."""
    context = _get_context()
    return context is not None and getattr(getattr(context, "load_type", None), "name", "") == "INITIALIZATION"


def find_passed_value(key: str) -> str:
    """Return the value that the code server stored for this process's run; empty outside of runs, or if there is none."""
    context = _get_context()
    try:
        if context is None or context.load_type.name != "RECONSTRUCTION":
            return ""
        value = context.reconstruction_metadata.get(key, "")
    except AttributeError as error:
        logger.debug("the plan with which the run was launched is unknown: %s", error)
        return ""
    return value if isinstance(value, str) else ""


def _get_context() -> Any:
    try:
        from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
    except ImportError:
        return None
    return DefinitionsLoadContext.get() if DefinitionsLoadContext.is_set() else None
