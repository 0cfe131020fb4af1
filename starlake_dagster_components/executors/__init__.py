"""Executors: where commands run. One file each; the registry is imported at its first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .registry import EXECUTORS as EXECUTORS
    from .registry import ResolvedExecutor as ResolvedExecutor


def __getattr__(name: str) -> Any:
    """Import the registry at its first use."""
    if name not in ("EXECUTORS", "ResolvedExecutor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(".registry", __name__), name)
    globals()[name] = value
    return value
