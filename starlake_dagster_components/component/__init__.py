"""The component: a Starlake project in a ``defs.yaml``."""

from .component import StarlakeProjectComponent as StarlakeProjectComponent
