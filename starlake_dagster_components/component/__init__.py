"""The component that adds a Starlake project to a Dagster project."""

from .component import StarlakeProjectComponent as StarlakeProjectComponent
