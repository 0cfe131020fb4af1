"""Transform pipelines: tasks grouped by rendered file name. Starlake: ``DagGenerateJob.generateTaskDags``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..errors import Problem
from ..project.model import Task
from .dag_files import DagFile, Planning, common_values, dag_file, named
from .dag_refs import Member, dag_refs
from .job_names import name_of_schedule_text
from .pipeline import Pipeline, TransformTrigger
from .schedule_presets import is_inline, schedule_location, schedule_text, timezone_of
from .sensor_triggers import InvalidTrigger, parse_trigger


def transform_pipelines(planning: Planning, members: Iterable[Member[Task]]) -> Iterator[Pipeline]:
    """Yield the pipelines of tasks: one per rendered file name.

    Schedule, options and comment are those of the group's first task by name; tasks that say otherwise get a warning.

    Args:
        planning: the project at hand.
        members: the tasks with their DAG configs.
    """
    groups: dict[str, list[Member[Task]]] = {}
    for member in sorted(members, key=lambda m: m.node.full_name):
        groups.setdefault(planning.renderer.render_filename(member.config, _variables(member.node)), []).append(member)
    for group in groups.values():
        yield _pipeline(planning, group)


def _variables(task: Task) -> dict[str, str]:
    """Return the variables of a task's file. Starlake: DagGenerateJob; ``name`` is deprecated there."""
    return {
        "table": task.table,
        "domain": task.domain,
        "name": task.full_name,
        "task": task.full_name,
        "schedule": schedule_text(task),
    }


def _pipeline(planning: Planning, group: Sequence[Member[Task]]) -> Pipeline:
    head = group[0]
    _warn_if_different(planning, group)
    file = dag_file(planning, head.config, _variables(head.node))
    values = common_values(planning, file)
    text = schedule_text(head.node)
    timezone = timezone_of(file.config, file.reader, planning.timezone)
    schedule = planning.schedules.read(text, text, schedule_location(head.node), timezone)
    for member in group[1:]:
        # Not followed here, but it is a cron in the dependencies, and a wrong one should not wait for its day.
        planning.schedules.read(schedule_text(member.node), "", schedule_location(member.node), timezone)
    draft = Pipeline(
        name="",
        kind="transform",
        schedule=schedule,
        tasks=tuple(m.node for m in group),
        run_dependencies_first=file.reader.boolean("run_dependencies_first"),
        trigger=_trigger(file, timezone),
        task_options=_task_options(planning, file, head.node),
        dag_refs=dag_refs(group),
        **values,
    )
    readable = planning.renderer.render_filename(
        head.config, {**_variables(head.node), "schedule": name_of_schedule_text(text) if is_inline(text) else text}
    )
    return named(draft, filename=readable)


def _warn_if_different(planning: Planning, group: Sequence[Member[Task]]) -> None:
    head = group[0]
    what = planning.renderer.render_filename(head.config, _variables(head.node))
    schedules = {schedule_text(m.node): m.node for m in reversed(group)}
    if len(schedules) > 1:
        said = ", ".join(f"'{s}' ({t.full_name}, {schedule_location(t)})" for s, t in sorted(schedules.items()))
        planning.problems.append(
            Problem(
                schedule_location(head.node),
                "warning",
                f"the tasks of '{what}' have different schedules: {said}; that of the first task by name, {head.node.full_name}, holds",
            )
        )
    configs = {m.config.name: m for m in reversed(group)}
    if len(configs) > 1:
        said = ", ".join(f"'{name}' ({m.node.full_name}, {m.dag_ref})" for name, m in sorted(configs.items()))
        planning.problems.append(
            Problem(
                head.dag_ref,
                "warning",
                f"the tasks of '{what}' have different DAG configs: {said}; that of the first task by name, {head.node.full_name}, holds",
            )
        )
    for member in group:
        if member.node.dataset_triggering_strategy:
            planning.problems.append(
                Problem(
                    member.node.origin.at("dataset_triggering_strategy"),
                    "warning",
                    f"dataset_triggering_strategy has no effect on a task; make it an option of the DAG config '{member.config.name}'",
                )
            )


def _trigger(file: DagFile, timezone: str | None) -> TransformTrigger:
    options = file.reader
    default = TransformTrigger()
    strategy = options.text("dataset_triggering_strategy", default.strategy)
    if strategy.lower() in ("any", "all"):
        strategy = strategy.lower()
    else:
        try:
            parse_trigger(strategy)
        except InvalidTrigger as error:
            options.error("dataset_triggering_strategy", f"option 'dataset_triggering_strategy': {error}")
            strategy = default.strategy
    filtered = file.template.literals.get("filtered_datasets") or ()
    enabled = options.boolean("data_cycle_enabled")
    return TransformTrigger(
        strategy=strategy,
        optional_dataset_enabled=options.boolean("optional_dataset_enabled"),
        data_cycle_enabled=enabled,
        data_cycle=options.cycle() if enabled else None,
        beyond_data_cycle_enabled=options.boolean("beyond_data_cycle_enabled", default.beyond_data_cycle_enabled),
        min_timedelta_between_runs=options.seconds("min_timedelta_between_runs", default.min_timedelta_between_runs),
        filtered_datasets=frozenset(str(name) for name in filtered) if isinstance(filtered, (set, list, tuple)) else frozenset(),
        timezone=timezone,
    )


def _task_options(planning: Planning, file: DagFile, head: Task) -> Mapping[str, Mapping[str, str]]:
    """Return ``jobs`` of a custom template: ``{"domain.task": {"options": "k=v,k2=v2"}}``. starlake-orchestration: ``sl_transform``."""
    jobs = file.template.literals.get("jobs")
    if not isinstance(jobs, Mapping):
        return {}
    found: dict[str, dict[str, str]] = {}
    for name, value in jobs.items():
        text = value.get("options") if isinstance(value, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            continue
        rendered = planning.renderer.render(file.config, "template", text, _variables(head))
        pairs = (item.partition("=") for item in rendered.split(",") if "=" in item)
        found[str(name)] = {key.strip(): given.strip() for key, _, given in pairs}
    return found
