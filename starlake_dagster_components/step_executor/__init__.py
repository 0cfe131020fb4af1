"""Execute the steps of a run in threads of its process (see docs/steps.md). Names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cancellation import get_cancellation as get_cancellation
    from .cancellation import get_printer as get_printer
    from .cancellation import run_cancellable as run_cancellable
    from .definition import starlake_step_executor as starlake_step_executor

__all__ = [
    "get_cancellation",
    "get_printer",
    "run_cancellable",
    "starlake_step_executor",
]

_HOMES = {
    "get_cancellation": "cancellation",
    "get_printer": "cancellation",
    "run_cancellable": "cancellation",
    "starlake_step_executor": "definition",
}


def __getattr__(name: str) -> Any:
    """Import a name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
