"""How the steps of a run are executed: in threads of its process (see docs/steps.md). Names are imported at first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cancellation import cancellation_of as cancellation_of
    from .cancellation import printer_of as printer_of
    from .cancellation import run_cancellable as run_cancellable
    from .definition import starlake_step_executor as starlake_step_executor

__all__ = [
    "cancellation_of",
    "printer_of",
    "run_cancellable",
    "starlake_step_executor",
]

_HOMES = {
    "cancellation_of": "cancellation",
    "printer_of": "cancellation",
    "run_cancellable": "cancellation",
    "starlake_step_executor": "definition",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
