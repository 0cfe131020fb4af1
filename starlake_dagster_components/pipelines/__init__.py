"""Plan a project: derive its pipelines, schedules and dependencies as data, without Dagster. Names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dependency_trees import build_dependency_diagram as build_dependency_diagram
    from .dependency_trees import build_dependency_tree as build_dependency_tree
    from .dependency_trees import format_starlake_json as format_starlake_json
    from .pipeline import Dependencies as Dependencies
    from .pipeline import Dependency as Dependency
    from .pipeline import Pipeline as Pipeline
    from .pipeline import Plan as Plan
    from .pipeline import PreLoad as PreLoad
    from .pipeline import Schedule as Schedule
    from .pipeline import TransformTrigger as TransformTrigger
    from .plan import plan_project as plan_project
    from .plan_loading import load_plan as load_plan
    from .sensor_triggers import Trigger as Trigger
    from .sensor_triggers import parse_trigger as parse_trigger

_HOMES = {
    "Dependencies": "pipeline",
    "Dependency": "pipeline",
    "Pipeline": "pipeline",
    "Plan": "pipeline",
    "PreLoad": "pipeline",
    "Schedule": "pipeline",
    "TransformTrigger": "pipeline",
    "Trigger": "sensor_triggers",
    "build_dependency_diagram": "dependency_trees",
    "build_dependency_tree": "dependency_trees",
    "format_starlake_json": "dependency_trees",
    "load_plan": "plan_loading",
    "parse_trigger": "sensor_triggers",
    "plan_project": "plan",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
