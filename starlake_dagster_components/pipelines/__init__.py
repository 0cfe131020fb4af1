"""PLAN: a project becomes pipelines, schedules and dependencies, as data. Nothing here knows Dagster. Names are imported at first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loading import load_plan as load_plan
    from .model import Dependencies as Dependencies
    from .model import Dependency as Dependency
    from .model import Pipeline as Pipeline
    from .model import Plan as Plan
    from .model import PreLoad as PreLoad
    from .model import Schedule as Schedule
    from .model import TransformTrigger as TransformTrigger
    from .plan import plan_project as plan_project
    from .tree import dependency_diagram as dependency_diagram
    from .tree import dependency_tree as dependency_tree
    from .tree import starlake_json as starlake_json
    from .triggers import Trigger as Trigger
    from .triggers import parse_trigger as parse_trigger

__all__ = [
    "Dependencies",
    "Dependency",
    "Pipeline",
    "Plan",
    "PreLoad",
    "Schedule",
    "TransformTrigger",
    "Trigger",
    "dependency_diagram",
    "dependency_tree",
    "load_plan",
    "parse_trigger",
    "plan_project",
    "starlake_json",
]

_HOMES = {
    "Dependencies": "model",
    "Dependency": "model",
    "Pipeline": "model",
    "Plan": "model",
    "PreLoad": "model",
    "Schedule": "model",
    "TransformTrigger": "model",
    "Trigger": "triggers",
    "dependency_diagram": "tree",
    "dependency_tree": "tree",
    "load_plan": "loading",
    "parse_trigger": "triggers",
    "plan_project": "plan",
    "starlake_json": "tree",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
