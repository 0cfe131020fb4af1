"""Executors run commands. Each is in its own module, which is imported on first use."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import StarlakeExecutor

    EXECUTORS: Mapping[str, type[StarlakeExecutor]]
    """``type`` -> class."""


def __getattr__(name: str) -> Any:
    """Import all executors on the first use of ``EXECUTORS``."""
    if name != "EXECUTORS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .registry import import_executors

    globals()[name] = import_executors()
    return globals()[name]
