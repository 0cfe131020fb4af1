"""The component that adds a Starlake project with a ``defs.yaml``."""

from .component import StarlakeProjectComponent as StarlakeProjectComponent
