"""PLAN: a project becomes pipelines, schedules and dependencies, as data. Nothing here knows Dagster."""

from .model import Dependencies, Dependency, Pipeline, Plan, PreLoad, Schedule, TransformTrigger
from .plan import plan_project
from .tree import dependency_diagram, dependency_tree, starlake_json
from .triggers import Trigger, parse_trigger

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
    "parse_trigger",
    "plan_project",
    "starlake_json",
]
