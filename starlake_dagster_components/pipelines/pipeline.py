"""Define pipelines, schedules, and dependencies: the content of the files that ``starlake dag-generate`` writes, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from ..errors import Location, Problem
from ..project.model import EMPTY, DagConfig, Domain, Project, Table, Task

Kind = Literal["load", "transform"]
PreLoadStrategy = Literal["none", "imported", "pending", "ack"]
NodeKind = Literal["task", "table", "external"]
InferredColumns = Mapping[str, tuple[tuple[str, str], ...]]
"""Full name of a task -> (name, SQL type) of its columns. The type is empty if it is unknown."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule of a pipeline.

    Attributes:
        name: preset name, or ``cronN`` for an inline cron of a load pipeline.
        cron: five-field cron.
        timezone: IANA name; None for that of the ``timezone`` setting (default UTC).
        location: where the schedule is set: on a table or task, or in the configuration of its domain.
        preset: where the project defines the preset; None for an inline cron or one of Starlake's presets.
    """

    name: str
    cron: str
    timezone: str | None = None
    location: Location | None = None
    preset: Location | None = None


NOT_VARIABLES = frozenset(("SL_ROOT", "SL_ENV", "SL_LOG_LEVEL"))
"""Keys of ``sl_env_var`` that are not variables of the project. ``SL_ROOT`` is the project's path for commands, maybe in a container."""

ACK_DAY = "{YYYY-MM-DD}"
"""Placeholder for the day of the run in the path of an ack file."""


def name_ack_path(datasets: str, final_domain: str) -> str:
    """Return the default path of a domain's ack file. starlake-orchestration: ``IStarlakeJob.sl_pre_load``."""
    return f"{datasets}/pending/{final_domain}/{ACK_DAY}.ack"


def insert_day(path: str, day: date) -> str:
    """Return the path of an ack file for a day."""
    return path.replace(ACK_DAY, day.strftime("%Y-%m-%d"))


@dataclass(frozen=True, slots=True)
class PreLoad:
    """The ``pre_load_strategy`` of a load pipeline and its parameters."""

    strategy: PreLoadStrategy = "none"
    global_ack_file_path: str | None = None
    """Rendered path; None unless the strategy is ``ack``. The default is ``<SL_DATASETS>/pending/<domain>/{YYYY-MM-DD}.ack``
    (starlake-orchestration), in which ``{YYYY-MM-DD}`` is replaced by the date of the run."""
    ack_wait_timeout: timedelta = timedelta(hours=1)

    def find_ack_file(self, project: Project, domain: Domain) -> str:
        """Return the path of a domain's ack file, with :data:`ACK_DAY` in place of the day."""
        return self.global_ack_file_path or name_ack_path(project.areas.datasets, domain.final_name)


@dataclass(frozen=True, slots=True)
class TransformTrigger:
    """The rule by which updated datasets start a transform pipeline without a schedule. Names are those of starlake-orchestration."""

    strategy: str = "all"
    """``dataset_triggering_strategy``, see :func:`~starlake_dagster_components.pipelines.parse_trigger`."""
    optional_dataset_enabled: bool = False
    data_cycle_enabled: bool = False
    data_cycle: str | None = None
    """The option as a five-field cron; None if it is not enabled."""
    beyond_data_cycle_enabled: bool = True
    min_timedelta_between_runs: timedelta = timedelta()
    filtered_datasets: frozenset[str] = frozenset()
    """Names that sensors ignore: the literal ``filtered_datasets`` of a custom template."""
    timezone: str | None = None
    """IANA name of the time zone of the data cycle; None for that of the ``timezone`` setting (default UTC)."""

    @property
    def plain(self) -> bool:
        """True if the strategy is ``all`` or ``any``, and no other option restricts it."""
        cycle = self.data_cycle_enabled or self.optional_dataset_enabled
        return not cycle and not self.filtered_datasets and self.strategy.strip().lower() in ("all", "any")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A job: the tables or tasks that one generated DAG file runs for one of its schedules."""

    name: str
    """The job's name, see :func:`~starlake_dagster_components.pipelines.job_names.build_job_name`."""
    kind: Kind
    dag_config: DagConfig
    executor: str
    """The executor of the template: ``shell``, ``cloud_run``, ``dataproc``, or ``fargate``."""
    filename: str
    """The rendered file name of the generated file."""
    comment: str = ""
    options: Mapping[str, str] = EMPTY
    """All options, rendered."""
    schedule: Schedule | None = None
    tables: tuple[Table, ...] = ()
    """Tables of a load pipeline, sorted by domain and name."""
    tasks: tuple[Task, ...] = ()
    """Tasks of a transform pipeline, sorted by full name."""
    pre_load: Mapping[str, PreLoad] = EMPTY
    """Logical domain name -> pre-load, for load pipelines."""
    file_sensor: bool | None = None
    """True if arriving files start the job (``pre_load_sensor``); None if the ``file_sensors`` setting decides."""
    file_sensor_interval: timedelta | None = None
    """Time between two checks for files (``pre_load_poke_interval``)."""
    run_dependencies_first: bool = False
    trigger: TransformTrigger = TransformTrigger()
    environment: Mapping[str, str] = field(default=EMPTY, repr=False)
    """``sl_env_var``, parsed."""
    tags: tuple[str, ...] = ()
    retries: int = 0
    retry_delay: timedelta = timedelta(seconds=300)
    starlake_path: str = "starlake"
    """``SL_STARLAKE_PATH``."""
    start_date: date | None = None
    """First day with a tick of the schedule (option ``start_date``)."""
    end_date: date | None = None
    """Last day with a tick of the schedule (option ``end_date``)."""
    task_options: Mapping[str, Mapping[str, str]] = EMPTY
    """Full task name -> additional ``--options`` of its command, from the literal ``jobs`` of a custom template."""
    spark: Mapping[str, str] = EMPTY
    """Spark configuration: ``spark.executor.*`` from the options ``spark_executor_*``, and the literal ``spark_properties`` of a custom
    template. Only values that are set."""
    dag_refs: Mapping[str, Location] = field(default=EMPTY, repr=False)
    """Full (logical) name of each table or task -> location of the reference to its DAG config."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """One dependency of a task.

    Attributes:
        kind: ``task``, ``table`` (a load table of this project) or ``external``.
        name: ``Task.full_name``, ``Table.full_name`` (logical), or the name of the external table.
        location: the line of the SQL or JSON file that names it.
        source: ``sql`` or ``json``.
        written: the name as written in SQL or JSON, which Starlake's formats show.
    """

    kind: NodeKind
    name: str
    location: Location | None = None
    source: Literal["sql", "json"] = "sql"
    written: str = field(default="", compare=False)

    @property
    def awaited(self) -> bool:
        """True if a sensor waits for it.

        The sensors of starlake-dagster wait only for tasks and load tables, because external tables have no materializations. An external
        table in dependency JSON, however, is a task or table of another part of the project.
        """
        return self.kind != "external" or self.source == "json"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies of all tasks.

    Attributes:
        direct: full task name -> direct dependencies of the task, each once, without the task itself.
    """

    direct: Mapping[str, tuple[Dependency, ...]] = EMPTY

    def get_direct(self, task: str) -> tuple[Dependency, ...]:
        """Return the direct dependencies of a task."""
        return self.direct.get(task, ())

    def get_transitive(self, *tasks: str) -> tuple[Dependency, ...]:
        """Return everything upstream of tasks, except the tasks themselves, each once, nearest first."""
        own = {("task", task) for task in tasks}
        seen: dict[tuple[str, str], Dependency] = {}
        queue = [dependency for task in tasks for dependency in self.get_direct(task)]
        for dependency in queue:
            key = (dependency.kind, dependency.name)
            if key not in seen and key not in own:
                seen[key] = dependency
                if dependency.kind == "task":
                    queue.extend(self.get_direct(dependency.name))
        return tuple(seen.values())


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment that a DAG config's commands get from ``sl_env_var``.

    Attributes:
        profile: Starlake's environment (``SL_ENV``); None if there is none.
        location: where it is set.
        variables: variables that commands get as ``--options``.
        inherited: variables that commands get only as environment variables, because ``--options`` does not support their values.
        project: the project, read in this environment.
    """

    profile: str | None
    location: Location
    variables: Mapping[str, str]
    inherited: Mapping[str, str]
    project: Project = field(repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """A project with the pipelines and dependencies derived from it."""

    project: Project
    pipelines: tuple[Pipeline, ...] = ()
    """Sorted by name."""
    dependencies: Dependencies = Dependencies()
    problems: tuple[Problem, ...] = ()
    """The problems of the project, then those found while planning."""
    settings: Mapping[str, Any] = EMPTY
    environments: Mapping[str, Environment] = EMPTY
    """Name of a DAG config -> the environment of its commands, if that differs from the project's."""
    left_out: frozenset[tuple[str, str]] = frozenset()
    """(kind, full name) of tables and tasks that have no definitions. The pipelines and dependencies do not contain them."""
    inferred_columns: InferredColumns = EMPTY
    """Columns of tasks whose YAML does not declare them, if they have been inferred from the SQL."""

    _pipelines: Mapping[tuple[NodeKind, str], Pipeline] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the index behind :meth:`find_pipeline`."""
        index: dict[tuple[NodeKind, str], Pipeline] = {}
        for pipeline in sorted(self.pipelines, key=lambda p: p.name):
            for table in pipeline.tables:
                index.setdefault(("table", table.full_name), pipeline)
            for task in pipeline.tasks:
                index.setdefault(("task", task.full_name), pipeline)
        object.__setattr__(self, "_pipelines", index)

    def list_projects(self) -> list[Project]:
        """Return the project in each of its environments, without duplicates."""
        return list({id(p): p for p in (self.project, *(e.project for e in self.environments.values()))}.values())

    def find_project(self, pipeline: Pipeline | None) -> Project:
        """Return the project in the environment of a pipeline's commands."""
        environment = self.environments.get(pipeline.dag_config.name) if pipeline else None
        return environment.project if environment else self.project

    def find_pipeline(self, node: Table | Task) -> Pipeline | None:
        """Return the pipeline that runs a table or task (the first by name if there are several)."""
        return self._pipelines.get(("table" if isinstance(node, Table) else "task", node.full_name))
