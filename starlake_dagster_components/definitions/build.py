"""Build Dagster definitions from a project's folder and settings. All entry points use this module."""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_shared.libraries import DagsterLibraryRegistry

from .._dagster_load import find_passed_value, is_code_server, pass_to_runs
from ..cache import open_cache
from ..errors import InvalidProject, Problem, join_names
from ..garbage_collection import pause_garbage_collection
from ..masking import mask_text, register_secret_names, register_secrets
from ..pipelines.pipeline import Pipeline, Plan
from ..pipelines.plan_loading import Loaded, load_plan
from ..project.model import EMPTY
from ..settings import Settings
from ..step_executor.definition import starlake_step_executor
from ..version import __version__
from .assets import build_assets
from .dagster_limits import find_tag_problems
from .graph import AssetGraph, build_graph
from .jobs import build_job, build_job_tags
from .masked import hide_in_errors
from .partitions import choose_partition
from .schedules import build_schedule, find_cron_problems
from .selecting import select_nodes
from .sensors.definition import build_sensor
from .sensors.incoming import add_incoming_assets, build_file_sensors, build_incoming_assets, find_file_sensors
from .sensors.watched import CONDITIONS_SENSOR, add_other_names, find_sensor_problems, find_timings, find_watched_assets
from .steps.bodies import Bodies
from .warnings import add_warnings, collect_job_warnings, describe_assets_without_job, log_warnings

if TYPE_CHECKING:
    from ..step_executor.run_tags import ChooseTags
    from .recovery import Recovered
    from .sensors.evaluation import Evaluation

# The page of a code location shows the versions of these libraries.
DagsterLibraryRegistry.register("starlake-dagster-components", __version__, is_dagster_package=False)

MAX_WATCHED = 100
"""Maximum number of assets to name on a sensor's page."""


class InvalidProjectDefinition(InvalidProject, dg.DagsterInvalidDefinitionError):
    """An :class:`InvalidProject` that Dagster recognizes as an error in definitions, so that the UI shows the whole message."""


@dataclass(frozen=True, slots=True)
class Built:
    """The definitions of a project, its plan, its nodes with their asset specs, and all of its problems, errors first."""

    plan: Plan
    graph: AssetGraph
    definitions: dg.Definitions
    problems: tuple[Problem, ...]


def prepare_graph(root: str | Path, settings: Settings) -> tuple[Plan, AssetGraph, tuple[Problem, ...]]:
    """Read and plan a project and determine its assets, without building the definitions.

    Returns:
        The plan, the asset graph, and all problems of the project, errors first. They are not raised.

    Raises:
        ProjectNotFound: the folder does not exist, or does not contain a Starlake project.
    """
    loaded, graph, problems = _load_and_examine(root, settings)
    recovered = _recover(loaded, problems, settings)
    return graph.plan, graph, (*problems, recovered.problems[0]) if recovered else problems


def _load_and_examine(
    root: str | Path, settings: Settings, find_pinned: Callable[[str], str] | None = None
) -> tuple[Loaded, AssetGraph, tuple[Problem, ...]]:
    """Load the plan of a project, determine its assets, and cache the plan if it has no errors."""
    loaded = load_project_plan(root, settings, find_pinned=find_pinned)
    graph, problems = examine_plan(loaded.plan, settings)
    if not any(p.severity == "error" for p in problems):
        if not loaded.from_cache and (last := loaded.find_last_good()):
            from .recovery import find_dropped_jobs

            problems = (*find_dropped_jobs(last.plan, loaded.plan, settings.dropped_jobs), *problems)
        loaded.keep()
    return loaded, graph, problems


def _recover(loaded: Loaded, problems: Sequence[Problem], settings: Settings) -> "Recovered | None":
    if not any(p.severity == "error" or p.skips_file for p in problems):
        return None
    from .recovery import recover

    return recover(loaded, problems, settings, examine_plan)


def examine_plan(plan: Plan, settings: Settings) -> tuple[AssetGraph, tuple[Problem, ...]]:
    """Return the asset graph of the selected part of a plan, and all problems of the project and its definitions, errors first."""
    plan, idle = select_nodes(plan, settings)
    with silence_beta_warnings(), pause_garbage_collection():
        graph = build_graph(plan, settings)
    found = [*plan.problems, *idle, *graph.problems]
    if settings.variables:
        from ..commands import explain_rejected_variable

        rejected = (explain_rejected_variable(str(name), str(value)) for name, value in settings.variables.items())
        found += [Problem(None, "error", f"variables: {reason}") for reason in rejected if reason]
    for pipeline in plan.pipelines:
        found.extend(_find_executor_problems(plan, pipeline, settings))
        found.extend(find_sensor_problems(graph, pipeline, settings))
        found.extend(find_cron_problems(pipeline))
        found.extend(find_tag_problems(pipeline))
    if any(p.rejected for p in found) and any((e := settings.get_executor(p)) and e.rejects_files for p in plan.pipelines):
        found = [replace(p, severity="error") if p.rejected else p for p in found]
    errors = {(p.location, p.message) for p in found if p.severity == "error"}
    unique = dict.fromkeys(p for p in found if p.severity == "error" or (p.location, p.message) not in errors)
    masked = [replace(p, message=mask_text(p.message)) for p in unique]
    return graph, tuple(sorted(masked, key=lambda p: (p.severity != "error", p.location is None, p.location or 0, p.message)))


def load_project_plan(
    root: str | Path, settings: Settings, *, readable: bool = False, find_pinned: Callable[[str], str] | None = None
) -> Loaded:
    """Read and plan a project, or get its plan from the cache.

    ``readable``: whether all users may read the cached plan. ``find_pinned``: see
    :func:`~starlake_dagster_components.pipelines.plan_loading.load_plan`.

    Raises:
        ProjectNotFound: the folder does not exist, or does not contain a Starlake project.
    """
    folder = os.path.abspath(os.path.expanduser(root))
    register_secret_names(folder, tuple(settings.secrets))
    register_secrets(folder, "settings", settings.variables, settings.executor)
    with pause_garbage_collection():
        return load_plan(
            root,
            profile=settings.env,
            options=settings.variables,
            orchestrators=tuple(settings.orchestrators),
            dependencies=settings.dependencies,
            timezone=settings.timezone,
            name_prefix=settings.name_prefix,
            cache=open_cache(settings.cache, os.environ, readable=readable),
            find_pinned=find_pinned,
        )


def build_definitions(root: str | Path, settings: Settings) -> Built:
    """Build the definitions of a project.

    Raises:
        InvalidProjectDefinition: the project has errors; the message lists all of them.
        ProjectNotFound: the folder does not exist, or does not contain a Starlake project.
    """
    with hide_in_errors(), silence_beta_warnings(), pause_garbage_collection():
        return _build_definitions(root, settings)


@contextlib.contextmanager
def silence_beta_warnings() -> Iterator[None]:
    """Hide Dagster's warnings about beta and preview features, such as code references, because it is not the user who chose them."""
    with warnings.catch_warnings():
        for category in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", category)
        yield


def _build_definitions(root: str | Path, settings: Settings) -> Built:
    graph, problems = _load_graph(root, settings)
    plan = graph.plan
    # Messages about programs that commands require but this machine lacks.
    missing = dict.fromkeys((e.find_missing_program(plan.project, p) if (e := settings.get_executor(p)) else None) for p in plan.pipelines)
    notes = [Problem(None, "warning", text) for text in (describe_assets_without_job(graph), *missing) if text]
    log_warnings(plan.project, (*problems, *notes))
    file_sensors = find_file_sensors(plan, settings)
    graph = add_incoming_assets(add_warnings(graph, problems), file_sensors)
    # Dagster follows dependencies recursively when it builds jobs, with a few calls per asset.
    if graph.depth > 200:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 4 * graph.depth))
    # Steps stay in memory, and do not need the specs.
    bodies = Bodies(replace(graph, specs={}), settings)
    conditions = _build_conditions(graph, settings)
    definitions = dg.Definitions(
        assets=[*build_assets(graph, bodies, settings), *build_incoming_assets(graph, file_sensors)],
        jobs=[_build_job(graph, p, settings, problems, conditions.get(p.name)) for p in plan.pipelines],
        schedules=[_build_schedule(graph, p, settings) for p in plan.pipelines if p.schedule],
        sensors=[
            *(s for p in plan.pipelines if (s := _build_sensor(graph, p, settings))),
            *_build_conditions_sensor(conditions, settings),
            *build_file_sensors(graph, file_sensors, settings),
        ],
    )
    return Built(plan, graph, definitions, problems)


def _load_graph(root: str | Path, settings: Settings) -> tuple[AssetGraph, tuple[Problem, ...]]:
    """Return the asset graph of a project, or of the part that can be used, and all problems.

    The state of reading ends here, because Dagster keeps the local variables of functions that build definitions.
    """
    loaded, graph, problems = _load_and_examine(root, settings, find_passed_value)
    identity = loaded.identity
    recovered = _recover(loaded, problems, settings)
    if recovered:
        graph, problems, identity = recovered
    elif any(p.severity == "error" for p in problems):
        raise InvalidProjectDefinition(str(graph.plan.project.root), problems)
    if loaded.stored and identity:
        # The processes of a run use the plan with which it was launched, even if files are edited in the meantime.
        pass_to_runs(loaded.stored.name, identity)
        if is_code_server() and identity == loaded.identity and loaded.lacks_columns():
            from ..lineage.inferred import start_filling

            start_filling(loaded)
    return graph, problems


def choose_job_executor(pipeline: Pipeline | None, settings: Settings, choose_tags: "ChooseTags | None" = None) -> dg.ExecutorDefinition:
    """Return the executor of a job's steps: the ``step_executor`` setting, or else threads, as many as the command executor suggests.

    ``pipeline`` is None for the implicit job behind the Materialize buttons. ``choose_tags`` returns the tags to add to a run; None = the
    last complete partition, for runs without one.
    """
    choose_tags = choose_tags or choose_partition
    if isinstance(settings.step_executor, dg.ExecutorDefinition):
        from ..step_executor.run_tags import tag_runs

        return tag_runs(settings.step_executor, choose_tags)
    max_concurrent = settings.max_concurrent
    if max_concurrent is None:
        executor = settings.get_executor(pipeline)
        max_concurrent = executor.max_concurrent if executor else None
    return starlake_step_executor(
        max_concurrent=max_concurrent,
        # In a batch, a table may be loaded although another one fails, and its readers must then run.
        require_upstream_step_success=not settings.batch,
        choose_tags=choose_tags,
    )


def _find_executor_problems(plan: Plan, pipeline: Pipeline, settings: Settings) -> Sequence[Problem]:
    executor, config = settings.get_executor(pipeline), pipeline.dag_config
    if executor is None:
        message = (
            f"the template requires the executor '{pipeline.executor}', which is not supported (known: shell, cloud_run); "
            "set 'executor' in the component to use another one"
        )
        return [Problem(config.origin.locate("template"), "error", message)]
    unsupported = executor.find_unsupported(plan.find_project(pipeline), pipeline)
    environment = plan.environments.get(config.name)
    if environment:
        name = f"the environment '{environment.profile}'" if environment.profile else "no environment"
        setter = f"the DAG config '{config.name}' sets {name} ({environment.location})"
        unsupported = [replace(p, message=f"{p.message}; {setter}") for p in unsupported]
    idle: list[Problem] = []
    if config.options and hasattr(executor, "type"):
        # Imported only if a DAG config has options.
        from ..pipelines.dag_options import check_executor_options

        idle = check_executor_options(config, str(executor.type))
    return (*executor.find_problems(pipeline), *unsupported, *idle)


def _build_schedule(graph: AssetGraph, pipeline: Pipeline, settings: Settings) -> dg.ScheduleDefinition:
    schedule = pipeline.schedule
    assert schedule is not None
    return build_schedule(
        name=f"{pipeline.name}_schedule",
        job_name=pipeline.name,
        cron=schedule.cron,
        timezone=schedule.timezone or settings.timezone,
        default_status=dg.DefaultScheduleStatus[settings.default_status],
        description=f"{schedule.name}: {schedule.cron}",
        tags=build_job_tags(pipeline),
        start_date=pipeline.start_date,
        end_date=pipeline.end_date,
        partitions=graph.partitions.get(pipeline.name),
        identity="/".join((graph.plan.project.root.name, settings.env or "", f"{pipeline.name}_schedule")),
    )


def _build_conditions(graph: AssetGraph, settings: Settings) -> "dict[str, Evaluation]":
    """Return the rules of the jobs that start with automation conditions, by job name."""
    if settings.automation != "conditions":
        return {}
    from .sensors.evaluation import Evaluation

    found: dict[str, Evaluation] = {}
    for p in graph.plan.pipelines:
        watched = find_watched_assets(graph, p, settings) if p.name not in graph.partitions else {}
        if watched:
            trigger = replace(p.trigger, timezone=p.trigger.timezone or settings.timezone)
            names = watched if trigger.plain else add_other_names(graph, watched)
            found[p.name] = Evaluation(trigger, names, EMPTY, p.name, p.start_date)
    return found


def _build_conditions_sensor(conditions: "Mapping[str, Evaluation]", settings: Settings) -> Iterator[dg.SensorDefinition]:
    if conditions:
        from .sensors.conditions import build_conditions_sensor

        name = f"{settings.name_prefix}{CONDITIONS_SENSOR}"
        yield build_conditions_sensor(name, conditions, dg.DefaultSensorStatus[settings.default_status])


def _build_job(
    graph: AssetGraph, pipeline: Pipeline, settings: Settings, problems: Sequence[Problem], evaluation: "Evaluation | None"
) -> Any:
    metadata = collect_job_warnings(pipeline, problems)
    if evaluation is None:
        return build_job(graph, pipeline, choose_job_executor(pipeline, settings), metadata)
    from .sensors.conditions import build_job_condition, choose_condition_tags

    executor = choose_job_executor(pipeline, settings, partial(choose_condition_tags, evaluation))
    return build_job(graph, pipeline, executor, metadata, build_job_condition(evaluation))


def _build_sensor(graph: AssetGraph, pipeline: Pipeline, settings: Settings) -> dg.MultiAssetSensorDefinition | None:
    partitions = graph.partitions.get(pipeline.name)
    # An automation condition would start a run for every partition.
    has_sensor = settings.automation == "sensors" or (settings.automation == "conditions" and partitions is not None)
    watched = find_watched_assets(graph, pipeline, settings) if has_sensor else {}
    if not watched:
        return None
    plain = pipeline.trigger.plain
    names = sorted({key.to_user_string() for key in watched.values()})
    return build_sensor(
        name=f"{pipeline.name}_sensor",
        job_name=pipeline.name,
        watched=watched if plain else add_other_names(graph, watched),
        trigger=replace(pipeline.trigger, timezone=pipeline.trigger.timezone or settings.timezone),
        timings=EMPTY if plain else find_timings(graph, watched, settings),
        default_status=dg.DefaultSensorStatus[settings.default_status],
        description=f"Starts {pipeline.name} when its inputs have been materialized: {join_names(names, MAX_WATCHED)}",
        tags=build_job_tags(pipeline),
        start_date=pipeline.start_date,
        partitions=partitions,
    )
