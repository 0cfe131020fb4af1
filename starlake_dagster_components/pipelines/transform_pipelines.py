"""Build transform pipelines by grouping tasks by rendered file name. Starlake: ``DagGenerateJob.generateTaskDags``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..errors import Problem
from ..project.model import Task
from .dag_files import DagFile, Planning, read_common_values, render_dag_file
from .dag_refs import Member, collect_dag_refs
from .job_names import build_job_name, build_schedule_name
from .pipeline import Pipeline, TransformTrigger
from .schedule_presets import find_timezone, get_schedule_text, is_inline, locate_schedule
from .sensor_triggers import InvalidTrigger, parse_trigger


def build_transform_pipelines(planning: Planning, members: Iterable[Member[Task]]) -> Iterator[Pipeline]:
    """Yield the pipelines of tasks, one per rendered file name.

    Schedule, options, and comment are those of the first task by name. If other tasks of the file differ, a warning is added.
    """
    groups: dict[str, list[Member[Task]]] = {}
    for member in sorted(members, key=lambda m: m.node.full_name):
        groups.setdefault(planning.renderer.render_filename(member.config, _build_variables(member.node)), []).append(member)
    for group in groups.values():
        yield _build_pipeline(planning, group)


def _build_variables(task: Task) -> dict[str, str]:
    """Return the variables of a task's file. Starlake: DagGenerateJob, in which ``name`` is deprecated."""
    names = {"table": task.table, "domain": task.domain, "name": task.full_name, "task": task.full_name}
    return {**names, "schedule": get_schedule_text(task)}


def _build_pipeline(planning: Planning, group: Sequence[Member[Task]]) -> Pipeline:
    head = group[0]
    _warn_if_different(planning, group)
    file = render_dag_file(planning, head.config, _build_variables(head.node))
    values = read_common_values(planning, file)
    text = get_schedule_text(head.node)
    timezone = find_timezone(file.config, file.reader, planning.timezone)
    tasks = tuple(m.node for m in group)
    # Only the schedule of the first task is used, but invalid crons of the others are reported, too.
    schedules = [planning.schedules.read(get_schedule_text(t), get_schedule_text(t), locate_schedule(t), timezone) for t in tasks]
    schedule_name = build_schedule_name(text) if is_inline(text) else text
    readable = planning.renderer.render_filename(head.config, {**_build_variables(head.node), "schedule": schedule_name})
    return Pipeline(
        name=build_job_name(readable),
        kind="transform",
        schedule=schedules[0],
        tasks=tasks,
        run_dependencies_first=file.reader.read_boolean("run_dependencies_first"),
        trigger=_read_trigger(file, timezone),
        task_options=_read_task_options(planning, file, head.node),
        dag_refs=collect_dag_refs(group),
        **values,
    )


def _warn_if_different(planning: Planning, group: Sequence[Member[Task]]) -> None:
    head = group[0]
    file = planning.renderer.render_filename(head.config, _build_variables(head.node))
    schedules = {get_schedule_text(m.node): (m, locate_schedule(m.node)) for m in reversed(group)}
    configs = {m.config.name: (m, m.dag_ref) for m in reversed(group)}
    for kind, values, where in (("schedules", schedules, locate_schedule(head.node)), ("DAG configs", configs, head.dag_ref)):
        if len(values) > 1:
            listed = ", ".join(f"'{value}' ({m.node.full_name}, {location})" for value, (m, location) in sorted(values.items()))
            used = f"the one of {head.node.full_name}, the first task by name, is used"
            planning.problems.append(Problem(where, "warning", f"the tasks of '{file}' have different {kind}: {listed}; {used}"))
    for member in group:
        if member.node.dataset_triggering_strategy:
            message = f"dataset_triggering_strategy has no effect on a task; set it as an option of the DAG config '{member.config.name}'"
            planning.problems.append(Problem(member.node.origin.locate("dataset_triggering_strategy"), "warning", message))


def _read_trigger(file: DagFile, timezone: str | None) -> TransformTrigger:
    options = file.reader
    default = TransformTrigger()
    strategy = options.read_text("dataset_triggering_strategy", default.strategy)
    strategy = strategy.lower() if strategy.lower() in ("any", "all") else strategy
    try:
        parse_trigger(strategy)
    except InvalidTrigger as error:
        options.add_error("dataset_triggering_strategy", f"option 'dataset_triggering_strategy': {error}")
        strategy = default.strategy
    filtered = file.template.literals.get("filtered_datasets") or ()
    enabled = options.read_boolean("data_cycle_enabled")
    return TransformTrigger(
        strategy=strategy,
        optional_dataset_enabled=options.read_boolean("optional_dataset_enabled"),
        data_cycle_enabled=enabled,
        data_cycle=options.read_data_cycle() if enabled else None,
        beyond_data_cycle_enabled=options.read_boolean("beyond_data_cycle_enabled", default.beyond_data_cycle_enabled),
        min_timedelta_between_runs=options.read_seconds("min_timedelta_between_runs", default.min_timedelta_between_runs),
        filtered_datasets=frozenset(str(name) for name in filtered) if isinstance(filtered, (set, list, tuple)) else frozenset(),
        timezone=timezone,
    )


def _read_task_options(planning: Planning, file: DagFile, head: Task) -> Mapping[str, Mapping[str, str]]:
    """Return task -> options from ``jobs`` of a custom template. starlake-orchestration: ``sl_transform``.

    In the template, ``jobs`` is ``{"domain.task": {"options": "k=v,k2=v2"}}``.
    """
    jobs = file.template.literals.get("jobs")
    if not isinstance(jobs, Mapping):
        return {}
    found: dict[str, dict[str, str]] = {}
    for name, value in jobs.items():
        text = value.get("options") if isinstance(value, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            continue
        rendered = planning.renderer.render(file.config, "template", text, _build_variables(head))
        pairs = (item.partition("=") for item in rendered.split(",") if "=" in item)
        found[str(name)] = {key.strip(): option.strip() for key, _, option in pairs}
    return found
