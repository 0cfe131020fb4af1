"""Derive the pipelines and dependencies of a project, as dag-generate does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import InvalidSetting, Problem, describe_unknown
from ..project.model import EMPTY, Project
from .dag_files import Planning, keep_unique_pipelines
from .dag_refs import DagConfigs
from .dag_templates import ORCHESTRATORS
from .dag_variables import DagRenderer
from .dependencies import plan_dependencies
from .environments import apply_environments
from .job_names import add_prefix
from .load_pipelines import build_load_pipelines
from .pipeline import Environment, Plan
from .schedule_presets import ScheduleReader, check_timezone
from .transform_pipelines import build_transform_pipelines


def plan_project(
    project: Project,
    *,
    orchestrators: Sequence[str] = ("dagster",),
    timezone: str | None = None,
    name_prefix: str = "",
    environments: Mapping[str, Environment] = EMPTY,
) -> Plan:
    """Derive the pipelines and dependencies of a project. Problems do not raise; they are in the plan's ``problems``.

    Args:
        project: the project.
        orchestrators: orchestrators whose DAG configs become jobs, such as ``dagster``. DAG configs for others cause a warning.
        timezone: IANA name of the time zone of schedules whose DAG config does not set one; None for that of the definitions.
        name_prefix: prefix of all job names.
        environments: name of a DAG config -> the environment of its commands, if that differs from the project's
            (:func:`~starlake_dagster_components.pipelines.environments.read_environments`).

    Raises:
        InvalidSetting: ``timezone`` is not an IANA name, or one of ``orchestrators`` is unknown.
    """
    timezone = check_timezone(timezone)
    problems: list[Problem] = []
    project = apply_environments(project, environments)
    project, found = plan_dependencies(project, problems)
    configs = DagConfigs(project, orchestrators, problems)
    _check_orchestrators(project, orchestrators, configs)
    planning = Planning(project, timezone, problems, configs, DagRenderer(project, problems), ScheduleReader(project, problems))
    drafts = [
        *build_load_pipelines(planning, configs.find_members(project.tables, "load")),
        *build_transform_pipelines(planning, configs.find_members(project.tasks, "transform")),
    ]
    if name_prefix:
        drafts = [replace(draft, name=add_prefix(name_prefix, draft.name)) for draft in drafts]
    pipelines = keep_unique_pipelines(drafts, problems)
    return Plan(
        project=project,
        pipelines=pipelines,
        dependencies=found,
        problems=tuple(dict.fromkeys((*project.problems, *problems))),
        settings={"orchestrators": tuple(orchestrators), "timezone": timezone, "name_prefix": name_prefix},
        environments=environments,
    )


def _check_orchestrators(project: Project, orchestrators: Sequence[str], configs: DagConfigs) -> None:
    """Raise InvalidSetting for an orchestrator that neither Starlake nor a custom template of the project uses."""
    unknown_names = [name for name in orchestrators if name.lower() not in ORCHESTRATORS]
    own = {configs.read_template(config).orchestrator for config in project.dag_configs.values()} if unknown_names else ()
    for name in unknown_names:
        if name.lower() not in own:
            raise InvalidSetting(f"orchestrators: {describe_unknown('orchestrator', name, ORCHESTRATORS)}")
