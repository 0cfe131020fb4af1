"""``plan_project``: what dag-generate would have written as files, as data."""

from collections.abc import Sequence

from ..errors import Problem
from ..project.model import Project
from .dag_refs import DagConfigs
from .dependencies import plan_dependencies
from .drafts import Planning, unique_pipelines
from .load_pipelines import load_pipelines
from .model import Plan
from .rendering import DagRenderer
from .schedules import ScheduleReader, check_timezone
from .transform_pipelines import transform_pipelines


def plan_project(
    project: Project, *, orchestrators: Sequence[str] = ("dagster",), dependencies: str = "auto", timezone: str | None = None
) -> Plan:
    """Derive the pipelines and dependencies of a project.

    Args:
        project: the project, read.
        orchestrators: whose templates make jobs: ``dagster``, ``airflow``, ...; DAG configs for others get a warning.
        dependencies: ``auto``, ``sql``, or a path or glob of dependency JSON relative to the project.
        timezone: IANA name for schedules whose DAG config gives none; None leaves it open.

    Returns:
        The plan. Whatever is wrong is among its problems, after those of the project; nothing is raised for it.

    Raises:
        InvalidSetting: ``timezone`` is no time zone.
    """
    timezone = check_timezone(timezone)
    problems: list[Problem] = []
    project, found = plan_dependencies(project, dependencies, problems)
    configs = DagConfigs(project, orchestrators, problems)
    planning = Planning(project, timezone, problems, configs, DagRenderer(project, problems), ScheduleReader(project, problems))
    drafts = [
        *load_pipelines(planning, configs.members(project.tables, "load")),
        *transform_pipelines(planning, configs.members(project.tasks, "transform")),
    ]
    pipelines = unique_pipelines(drafts, problems)
    return Plan(
        project=project,
        pipelines=pipelines,
        dependencies=found,
        problems=tuple(dict.fromkeys((*project.problems, *problems))),
        settings={"orchestrators": tuple(orchestrators), "dependencies": dependencies, "timezone": timezone},
    )
