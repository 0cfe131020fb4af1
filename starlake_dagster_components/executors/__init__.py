"""Executors: where commands run. One file each, imported at its first use."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import StarlakeExecutor

    EXECUTORS: Mapping[str, type[StarlakeExecutor]]
    """``type`` -> class."""


def __getattr__(name: str) -> Any:
    """Import all executors at the first use of ``EXECUTORS``."""
    if name != "EXECUTORS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .registry import import_executors

    globals()[name] = import_executors()
    return globals()[name]
