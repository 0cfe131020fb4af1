"""Reading a Starlake project: a folder on disk -> a frozen, typed :class:`Project`. Knows nothing of Dagster."""

from .model import Project
from .reader import read_project

__all__ = ["Project", "read_project"]
