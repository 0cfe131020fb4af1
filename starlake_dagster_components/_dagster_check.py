"""Check that this release of Dagster has the private names that the package uses."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import dagster

Parameters = tuple[tuple[Any, str, str], ...]
"""Functions, and methods of classes (the name is empty for a function), with the names of the parameters that are passed."""

Attributes = tuple[tuple[type, str], ...]
"""Classes, with the names of the attributes and methods that are used."""


def find_changes(parameters: Parameters, attributes: Attributes) -> Iterator[str]:
    """Yield a message for each required name that this release of Dagster lacks."""
    for owner, method, names in parameters:
        name = f"{owner.__module__}.{owner.__qualname__}" + (f".{method}" if method else "")
        called = getattr(owner, method, None) if method else owner
        if called is None:
            yield f"{name} does not exist"
            continue
        known = inspect.signature(called).parameters
        yield from (f"{name} has no parameter '{parameter}'" for parameter in names.split() if parameter not in known)
    for owner, names in attributes:
        yield from (f"{owner.__module__}.{owner.__qualname__} has no '{name}'" for name in names.split() if not hasattr(owner, name))


def reject_changes(found: Iterable[str]) -> None:
    """Raise an ImportError with all messages, if there are any."""
    if messages := "; ".join(found):
        raise ImportError(f"dagster {dagster.__version__} is not supported: {messages}")
