"""Read the Starlake project in a folder into a frozen, typed :class:`Project`. Names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Project as Project
    from .reader import read_project as read_project

__all__ = [
    "Project",
    "read_project",
]

_HOMES = {
    "Project": "model",
    "read_project": "reader",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
