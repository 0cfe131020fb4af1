"""``plan_project``: what dag-generate would have written as files, as data."""

from collections.abc import Sequence
from dataclasses import replace

from ..errors import InvalidSetting, Problem, unknown
from ..project.model import Project
from .dag_files import Planning, unique_pipelines
from .dag_refs import DagConfigs
from .dag_templates import ORCHESTRATORS
from .dag_variables import DagRenderer
from .dependencies import plan_dependencies
from .job_names import prefixed
from .load_pipelines import load_pipelines
from .pipeline import Plan
from .schedule_presets import ScheduleReader, check_timezone
from .transform_pipelines import transform_pipelines


def plan_project(
    project: Project,
    *,
    orchestrators: Sequence[str] = ("dagster",),
    dependencies: str = "auto",
    timezone: str | None = None,
    name_prefix: str = "",
) -> Plan:
    """Derive the pipelines and dependencies of a project.

    Args:
        project: the project, read.
        orchestrators: whose templates make jobs: ``dagster``, ``airflow``, ...; DAG configs for others get a warning.
        dependencies: ``auto``, ``sql``, or a path or glob of dependency JSON relative to the project.
        timezone: IANA name for schedules whose DAG config gives none; None leaves it open.
        name_prefix: text before the names of all jobs.

    Returns:
        The plan. Whatever is wrong is among its problems, after those of the project; nothing is raised for it.

    Raises:
        InvalidSetting: ``timezone`` is no time zone, or one of ``orchestrators`` is none.
    """
    timezone = check_timezone(timezone)
    problems: list[Problem] = []
    project, found = plan_dependencies(project, dependencies, problems)
    configs = DagConfigs(project, orchestrators, problems)
    _check_orchestrators(project, orchestrators, configs)
    planning = Planning(project, timezone, problems, configs, DagRenderer(project, problems), ScheduleReader(project, problems))
    drafts = [
        *load_pipelines(planning, configs.members(project.tables, "load")),
        *transform_pipelines(planning, configs.members(project.tasks, "transform")),
    ]
    if name_prefix:
        drafts = [replace(draft, name=prefixed(name_prefix, draft.name)) for draft in drafts]
    pipelines = unique_pipelines(drafts, problems)
    return Plan(
        project=project,
        pipelines=pipelines,
        dependencies=found,
        problems=tuple(dict.fromkeys((*project.problems, *problems))),
        settings={
            "orchestrators": tuple(orchestrators),
            "dependencies": dependencies,
            "timezone": timezone,
            "name_prefix": name_prefix,
        },
    )


def _check_orchestrators(project: Project, orchestrators: Sequence[str], configs: DagConfigs) -> None:
    """Refuse a name that Starlake does not know; a template of the project's own may be for an orchestrator of its own."""
    unheard = [name for name in orchestrators if name.lower() not in ORCHESTRATORS]
    if unheard:
        own = {template.orchestrator for config in project.dag_configs.values() if (template := configs.template(config)).orchestrator}
        for name in unheard:
            if name.lower() not in own:
                raise InvalidSetting(f"orchestrators: {unknown('orchestrator', name, ORCHESTRATORS)}")
