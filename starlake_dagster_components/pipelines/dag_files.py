"""Render a DAG config for one generated file, and read the options that load and transform pipelines share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..errors import Problem, join_names
from ..project.model import EMPTY, DagConfig, Project
from .dag_options import OptionReader
from .dag_refs import DagConfigs
from .dag_templates import Template
from .dag_variables import DagRenderer
from .pipeline import Pipeline
from .schedule_presets import ScheduleReader

_RETRY_DELAY = timedelta(seconds=300)
"""The default of starlake-orchestration."""


@dataclass(slots=True)
class Planning:
    """The inputs of planning a project, and the list to which problems are added."""

    project: Project
    timezone: str | None
    problems: list[Problem]
    configs: DagConfigs
    renderer: DagRenderer
    schedules: ScheduleReader


@dataclass(frozen=True, slots=True)
class DagFile:
    """A file that dag-generate would write: its DAG config with rendered values. ``jobs`` in a custom template overrides the options."""

    config: DagConfig
    filename: str
    comment: str
    template: Template
    reader: OptionReader


def render_dag_file(planning: Planning, config: DagConfig, variables: Mapping[str, str]) -> DagFile:
    """Render the values of a DAG config for one file."""
    renderer = planning.renderer
    options = {name: renderer.render(config, f"options.{name}", value, variables) for name, value in config.options.items()}
    template = planning.configs.read_template(config)
    jobs = template.literals.get("jobs")
    if isinstance(jobs, Mapping):
        # The generated files merge `jobs` into the options: strings override options; mappings belong to tasks.
        options.update({str(k): renderer.render(config, "template", v, variables) for k, v in jobs.items() if isinstance(v, str)})
    return DagFile(
        config=config,
        filename=renderer.render_filename(config, variables),
        comment=renderer.render(config, "comment", config.comment, variables),
        template=template,
        reader=OptionReader(config, options, planning.problems),
    )


def read_common_values(planning: Planning, file: DagFile) -> dict[str, Any]:
    """Return the fields of :class:`Pipeline` that load and transform pipelines share, by name."""
    options = file.reader
    path, scripts = options.read_text("SL_STARLAKE_PATH", "starlake"), planning.project.variables.get("SL_SCRIPT_DIR")
    return {
        "dag_config": file.config,
        "executor": file.template.executor or "shell",
        "filename": file.filename,
        "comment": file.comment,
        "options": options.options,
        "environment": options.read_environment(),
        "tags": options.read_words("tags"),
        "retries": options.read_number("retries"),
        "retry_delay": options.read_seconds("retry_delay", _RETRY_DELAY),
        # A plain "starlake" is expected in SL_SCRIPT_DIR, if that is set. Starlake: DagHandler.
        "starlake_path": f"{scripts}/starlake" if scripts and path == "starlake" else path,
        "start_date": options.read_date("start_date"),
        "end_date": options.read_date("end_date"),
        "spark": _read_spark(file),
    }


def _read_spark(file: DagFile) -> Mapping[str, str]:
    """Return the Spark configuration of the options and of a custom template. starlake-orchestration: StarlakeSparkConfig."""
    found: dict[str, str] = {}
    for name in ("memory", "cores", "instances"):
        value = file.template.literals.get(f"spark_executor_{name}") or file.reader.read_text(f"spark_executor_{name}")
        if value:
            found[f"spark.executor.{name}"] = str(value)
    properties = file.template.literals.get("spark_properties")
    if isinstance(properties, Mapping):
        found.update({str(k): str(v) for k, v in properties.items()})
    return found or EMPTY


def keep_unique_pipelines(drafts: Iterable[Pipeline], problems: list[Problem]) -> tuple[Pipeline, ...]:
    """Return the pipelines, sorted by name.

    If several have the same name, the first is kept. An error is added for each other one, and for each pipeline without a name.
    """
    taken: dict[str, Pipeline] = {}
    for draft in drafts:
        other = taken.setdefault(draft.name, draft) if draft.name else None
        if other is draft:
            continue
        written = draft.dag_config.filename
        if other is None:
            message = (
                f"filename '{written}' gives the job of {_describe_members(draft)} an empty name ('{draft.filename}'); "
                "Starlake groups only by plain variables like {{domain}}, without a filter"
            )
        else:
            at = f" ({other.dag_config.origin.locate('filename')})" if other.dag_config != draft.dag_config else ""
            variable = "{{table}} or {{schedule}}" if "{{domain}}" in written.replace(" ", "") else "{{domain}}"
            message = (
                f"two jobs would be named '{draft.name}': {_describe_members(other)} in '{other.filename}'{at} and "
                f"{_describe_members(draft)} in '{draft.filename}'; add {variable} to the filename"
            )
        problems.append(Problem(draft.dag_config.origin.locate("filename"), "error", message))
    return tuple(taken[name] for name in sorted(taken))


def _describe_members(pipeline: Pipeline) -> str:
    names = [t.full_name for t in pipeline.tables] + [t.full_name for t in pipeline.tasks]
    kind = "table" if pipeline.kind == "load" else "task"
    return f"the {kind}{'s' if len(names) != 1 else ''} {join_names(names, 3)}"
