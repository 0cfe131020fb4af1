"""The context in which Dagster loads a code location: what was noted at its start, the processes of its runs get back.

Dagster keeps the noted values with the execution plan of each run. ``DefinitionsLoadContext`` is what its own state-backed components use;
it is not public. Where it is missing or has changed, nothing is noted.
"""

import logging
from typing import Any

logger = logging.getLogger("starlake_dagster_components")


def note_for_runs(key: str, value: str) -> None:
    """Note a value that the processes of runs get from :func:`find_noted`; runs are those of the code location that is being loaded."""
    context = _get_context()
    try:
        if context is not None and context.load_type.name == "INITIALIZATION":
            context.add_to_pending_reconstruction_metadata(key, value)
    except AttributeError as error:
        logger.debug("runs do not get the plan that they were launched with: %s", error)


def find_noted(key: str) -> str:
    """Return the value that was noted when the run of this process was launched; empty outside runs and where there is none."""
    context = _get_context()
    try:
        if context is None or context.load_type.name != "RECONSTRUCTION":
            return ""
        value = context.reconstruction_metadata.get(key, "")
    except AttributeError as error:
        logger.debug("the plan that the run was launched with is not known: %s", error)
        return ""
    return value if isinstance(value, str) else ""


def _get_context() -> Any:
    try:
        from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
    except ImportError:
        return None
    return DefinitionsLoadContext.get() if DefinitionsLoadContext.is_set() else None
