"""What ``starlake dag-generate`` would have written as files, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from ..errors import Location, Problem
from ..project.model import EMPTY, DagConfig, Project, Table, Task

Kind = Literal["load", "transform"]
PreLoadStrategy = Literal["none", "imported", "pending", "ack"]
NodeKind = Literal["task", "table", "external"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a pipeline starts.

    Attributes:
        name: preset name, or ``cronN`` for an inline cron of a load pipeline.
        cron: five-field cron text.
        timezone: IANA name; None = the setting of the definitions (UTC).
        location: where the schedule was given.
    """

    name: str
    cron: str
    timezone: str | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class PreLoad:
    """``pre_load_strategy`` of a load pipeline and what belongs to it."""

    strategy: PreLoadStrategy = "none"
    global_ack_file_path: str | None = None
    """Rendered per domain already. ``{SL_DATASETS}/pending/{domain}/{YYYY-MM-DD}.ack`` by default (starlake-orchestration); the date is that of the run."""
    ack_wait_timeout: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class TransformTrigger:
    """How a transform pipeline without a schedule is started by what it reads. Option names are starlake-orchestration's."""

    strategy: str = "all"
    """``all``, ``any`` or an expression over dataset names (``dataset_triggering_strategy``)."""
    optional_dataset_enabled: bool = False
    data_cycle_enabled: bool = False
    data_cycle: str | None = None
    beyond_data_cycle_enabled: bool = True
    min_timedelta_between_runs: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One job: tables or tasks that one generated DAG file (and one of its schedules) would have run."""

    name: str
    """The job's name: base name of the rendered file name, lower case, plus the schedule's name where a load file has several."""
    kind: Kind
    dag_config: DagConfig
    executor: str
    """``shell``, ``cloud_run``, ``dataproc`` or ``fargate``: what the template's name says."""
    filename: str
    """The rendered file name of the generated file."""
    comment: str = ""
    options: Mapping[str, str] = EMPTY
    """All options, rendered."""
    schedule: Schedule | None = None
    tables: tuple[Table, ...] = ()
    """Of a load pipeline, by domain and name."""
    tasks: tuple[Task, ...] = ()
    """Of a transform pipeline, by full name."""
    pre_load: Mapping[str, PreLoad] = EMPTY
    """Logical domain name -> pre-load, for load pipelines."""
    run_dependencies_first: bool = False
    trigger: TransformTrigger = TransformTrigger()
    environment: Mapping[str, str] = field(default=EMPTY, repr=False)
    """``sl_env_var``, parsed."""
    tags: tuple[str, ...] = ()
    retries: int = 0
    retry_delay: timedelta = timedelta(seconds=300)
    starlake_path: str = "starlake"
    """``SL_STARLAKE_PATH``."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing that a task reads.

    Attributes:
        kind: ``task``, ``table`` (a load table of this project) or ``external``.
        name: ``Task.full_name``, ``Table.full_name`` (logical), or the external name as written.
        location: the SQL line or the JSON file that says so.
        source: ``sql`` or ``json``.
    """

    kind: NodeKind
    name: str
    location: Location | None = None
    source: Literal["sql", "json"] = "sql"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What every task reads: full task name -> its direct dependencies, each once, self references left out."""

    direct: Mapping[str, tuple[Dependency, ...]] = EMPTY

    def of(self, task: str) -> tuple[Dependency, ...]:
        """Return what a task reads directly."""
        return self.direct.get(task, ())

    def transitive(self, task: str) -> tuple[Dependency, ...]:
        """Return everything upstream of a task, each once, nearest first. Iterative: any depth."""
        seen: dict[tuple[str, str], Dependency] = {}
        queue = list(self.of(task))
        for dependency in queue:
            key = (dependency.kind, dependency.name)
            if key not in seen and key != ("task", task):
                seen[key] = dependency
                if dependency.kind == "task":
                    queue.extend(self.of(dependency.name))
        return tuple(seen.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """A project with everything that is derived from it before Dagster comes in."""

    project: Project
    pipelines: tuple[Pipeline, ...] = ()
    """By name."""
    dependencies: Dependencies = Dependencies()
    problems: tuple[Problem, ...] = ()
    """Those of the project and those found while planning."""
    settings: Mapping[str, Any] = EMPTY

    def pipeline_of(self, node: Table | Task) -> Pipeline | None:
        """Return the pipeline that runs a table or task (the first by name when several do)."""
        for pipeline in self.pipelines:
            if node in (pipeline.tables if isinstance(node, Table) else pipeline.tasks):
                return pipeline
        return None
