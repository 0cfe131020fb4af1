"""Build Starlake commands as data, regardless of where they run."""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Literal

from .errors import InvalidSetting
from .masking import Mask, build_mask
from .pipelines.pipeline import NOT_VARIABLES, Pipeline, PreLoad, insert_day
from .project.loaders import Loader, explain_unmasked_columns, find_loader, starts_spark
from .project.model import Connection, Domain, Project, Table, Task
from .project.sinks import find_duckdb_file, find_written_table
from .project.sql.intervals import write_interval
from .warehouse.audit import WarehouseAudit, WarehouseCounts, find_warehouse_audit

Verb = Literal["stage", "preload", "load", "transform"]


@dataclass(frozen=True, slots=True)
class LoadFiles:
    """The folders of the files that a command loads. Executors use them to recover files after a failed load.

    Attributes:
        stage: absolute folder of the domain in the stage area.
        ingesting: absolute folder of the domain in the ingesting area, where a failed load leaves its file.
        patterns: Java regular expressions of the tables' file names.
        archive: absolute folder of the domain in the archive area, where loaded files go; empty if unknown.
    """

    stage: str
    ingesting: str
    patterns: tuple[str, ...]
    archive: str = ""


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of a command in a DuckDB file.

    Attributes:
        database: absolute path of the DuckDB file with the audit tables.
        schema: schema of the audit tables (usually ``audit``).
        job_id: ``JOBID`` of the command's rows.
    """

    database: str
    schema: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Target:
    """The table in a DuckDB file that a command writes: absolute path of the file, schema, and table."""

    database: str
    schema: str
    table: str


@dataclass(frozen=True, slots=True)
class LoadTable:
    """A table of a ``load``, with all names that Starlake uses for it.

    Attributes:
        name: the logical name, used on the command line and in the audit rows of step LOAD.
        domain: the logical name of its domain.
        final_domain, final_name: its names in the database, on stdout, and in the audit rows of step TRANSFORM.
        pattern: Java regular expression of its file names.
        expectations: the calls of its expectations, as written in the project.
        target: the table in the database, if it is in a DuckDB file.
        loader: the Starlake loader that loads it.
        appends: whether a load only adds rows and does not change others.
    """

    name: str
    domain: str
    final_domain: str
    final_name: str
    pattern: str
    expectations: tuple[str, ...] = ()
    target: Target | None = None
    loader: Loader = "spark"
    appends: bool = True

    @property
    def final_full_name(self) -> str:
        """The full name in the database, which Starlake prints when it loads a file."""
        return f"{self.final_domain}.{self.final_name}"


@dataclass(frozen=True, slots=True)
class Command:
    """A Starlake command.

    Attributes:
        verb: ``stage``, ``preload``, ``load``, or ``transform``.
        arguments: all arguments after the verb, unquoted.
        environment: variables of Starlake's process, in addition to the executor's own environment. They may contain secrets.
        project: absolute path of the project: SL_ROOT and the working directory.
        program: the executable (``SL_STARLAKE_PATH``), for executors that start a process.
        files: the folders of the files to load (only for ``load``).
        databases: absolute paths of the DuckDB files that the command writes. Commands that write the same file wait for each other.
        options: rendered options of the pipeline's DAG config, from which executors read their own (``cloud_run_job_name``).
        audit: the audit, if it is in a DuckDB file (only for ``load`` and ``transform``).
        target: the table that the command writes, if it is in a DuckDB file (only for ``transform``, and a ``load`` of one table).
        warehouse: the audit, if it is in a warehouse. It contains a password.
        expectations: the calls of the expectations that the command evaluates, as written in the project.
        tables: the tables to load, in the order of the command line (only for ``load``).
        caveats: messages about project settings that Starlake ignores. Executors that run Starlake log them as warnings.
        starts_spark: whether Starlake starts Spark for the command.
        loaded: the project, if the command would read the same one in its environment.
        job_id: ``SL_JOB_ID`` of the command; empty if the project sets its own.
    """

    verb: Verb
    arguments: tuple[str, ...]
    project: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    program: str = "starlake"
    files: LoadFiles | None = None
    databases: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    audit: Audit | None = None
    target: Target | None = None
    warehouse: WarehouseAudit | None = field(default=None, repr=False, compare=False)
    expectations: tuple[str, ...] = ()
    tables: tuple[LoadTable, ...] = ()
    caveats: tuple[str, ...] = ()
    starts_spark: bool = False
    loaded: Project | None = field(default=None, repr=False, compare=False)
    job_id: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """The verb and its arguments, without the program."""
        return (self.verb, *self.arguments)

    @property
    def shown(self) -> str:
        """The command line as it would be typed in a shell, with secrets masked."""
        return self.mask()(shlex.join((self.program, *self.argv)))

    def mask(self, *environments: Mapping[str, str]) -> Mask:
        """Return the mask for all known secrets, including those in the command's environment and ``--options``."""
        return build_mask(os.environ, *environments, self.environment, self.given_options, self.options)

    @property
    def given_options(self) -> Mapping[str, str]:
        """The variables in ``--options``: name -> value."""
        values = [value for option, value in zip(self.arguments, self.arguments[1:], strict=False) if option == "--options"]
        pairs = (item.partition("=") for value in values for item in value.split(","))
        return {name: value for name, sign, value in pairs if sign}

    def with_environment(self, extra: Mapping[str, str]) -> "Command":
        """Return the command with additional environment variables, which override existing ones."""
        return replace(self, environment={**self.environment, **extra})

    def with_arguments(self, *extra: str) -> "Command":
        """Return the command with additional arguments at the end."""
        return replace(self, arguments=(*self.arguments, *extra))

    def number_attempt(self, attempt: int, *, run_id: str = "", earlier_run: str = "") -> "Command":
        """Return the command with the job ID of one attempt, which has its own audit rows. If the project sets ``SL_JOB_ID``, it is kept.

        Args:
            attempt: number of earlier attempts.
            run_id: Dagster's run.
            earlier_run: the run of the attempt, if it is a different one.
        """
        noted = self.audit or self.warehouse
        before = now = self.job_id or (noted.job_id if noted else "")
        if not before:
            return self
        if earlier_run and run_id and now.startswith(run_id):
            now = earlier_run + now[len(run_id) :]
        now = f"{now}.{attempt}" if attempt else now
        return replace(
            self.with_environment({name: now for name, value in self.environment.items() if value == before}),
            job_id=now,
            audit=self.audit and replace(self.audit, job_id=now),
            warehouse=self.warehouse and replace(self.warehouse, job_id=now),
        )


@dataclass(frozen=True, slots=True)
class RunContext:
    """The parts of a command that depend on the run and the settings.

    Attributes:
        project: the project.
        pipeline: the pipeline that the command belongs to; None for a table or task outside of any pipeline.
        profile: the ``env`` setting, which overrides ``SL_ENV`` in ``sl_env_var``; None = not set.
        variables: the ``variables`` setting, which overrides all other Starlake variables.
        scheduled_date: the logical time of the run (``--scheduledDate``); None = Starlake uses the current time.
        interval_start: start of the data interval (``sl_data_interval_start`` of transforms).
        interval_end: end of the data interval (``sl_data_interval_end`` of transforms).
        job_id: ``SL_JOB_ID``, which identifies the audit rows: ``<run id>.<step>``.
        warehouse_counts: the ``warehouse_counts`` setting.
    """

    project: Project
    pipeline: Pipeline | None = None
    profile: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    scheduled_date: datetime | None = None
    interval_start: datetime | None = None
    interval_end: datetime | None = None
    job_id: str = ""
    warehouse_counts: WarehouseCounts = "audit"


def build_stage_command(run: RunContext, domain: Domain, tables: Sequence[Table]) -> Command:
    """Return the command that moves the files of tables from the incoming folder to the stage area (Starlake's ``StageCmd``).

    Raises:
        InvalidSetting: a name or value cannot be passed on Starlake's command line.
    """
    arguments = ("--domains", _check_name(domain.name), "--tables", _join_names(tables))
    return _build_command(run, "stage", (*arguments, *_format_options(run)))


def build_preload_command(run: RunContext, domain: Domain, tables: Sequence[Table], pre_load: PreLoad) -> Command:
    """Return the command that checks whether there are files to load (Starlake's ``PreLoadCmd``).

    Raises:
        InvalidSetting: a name or value cannot be passed on Starlake's command line.
    """
    arguments = ["--domain", _check_name(domain.name), "--tables", _join_names(tables), "--strategy", pre_load.strategy]
    if pre_load.strategy == "ack":
        path = insert_day(pre_load.find_ack_file(run.project, domain), run.scheduled_date or datetime.now())
        arguments += ["--globalAckFilePath", path]
    return _build_command(run, "preload", (*arguments, *_format_options(run)))


def build_load_command(run: RunContext, domain: Domain, tables: Sequence[Table]) -> Command:
    """Return the command that loads the staged files of a domain's tables (Starlake's ``LoadCmd``).

    Raises:
        InvalidSetting: a name or value cannot be passed on Starlake's command line.
    """
    names = ("--domains", _check_name(domain.name), "--tables", _join_names(tables))
    # With SL_API, LoadCmd prints the row counts as a line of JSON.
    command = _build_command(run, "load", (*names, *_format_scheduled_date(run), *_format_options(run)), tables)
    described = tuple(_describe_table(run.project, table) for table in tables)
    return replace(
        command.with_environment({"SL_API": "1"}),
        files=_find_load_files(run.project, domain, tables),
        caveats=tuple(explain_unmasked_columns(run.project, tables)),
        tables=described,
        target=described[0].target if len(described) == 1 else None,
        starts_spark=any(table.loader != "native" for table in described),
    )


def build_transform_command(run: RunContext, task: Task) -> Command:
    """Return the command that runs a task (Starlake's ``TransformCmd``).

    Raises:
        InvalidSetting: a value cannot be passed on Starlake's command line.
    """
    own: dict[str, str] = dict(run.pipeline.task_options.get(task.full_name, {})) if run.pipeline else {}
    start, end = (_format_timestamp(moment) if moment else None for moment in (run.interval_start, run.interval_end))
    own.update(write_interval(task, start, end))
    arguments = ("--name", _check_name(task.full_name), *_format_scheduled_date(run), *_format_options(run, own))
    command = _build_command(run, "transform", arguments, [task], reads=run.project.application.connections.get(task.connection_ref or ""))
    return replace(command, target=_find_target(run.project, task), starts_spark=starts_spark(run.project, task))


def _build_command(
    run: RunContext, verb: Verb, arguments: tuple[str, ...], nodes: Sequence[Table | Task] = (), *, reads: Connection | None = None
) -> Command:
    """Return a command that writes the tables and tasks in ``nodes``, and reads from the connection ``reads``."""
    project, pipeline, application = run.project, run.pipeline, run.project.application
    environment = _build_environment(run)
    # Otherwise its audit rows could not be distinguished from those of other commands.
    has_job_id = environment.get(_get_job_id_name(project)) == run.job_id
    audit = warehouse = None
    if nodes and run.job_id and has_job_id and application.audit_active:
        database = find_duckdb_file(project, application.audit_connection)
        audit = Audit(database, application.audit_domain, run.job_id) if database else None
        appended = [node for node in nodes if isinstance(node, Table) and _appends(node)]
        warehouse = None if audit else find_warehouse_audit(project, run.job_id, nodes, appended, run.warehouse_counts)
    connections = (*(project.find_connection(node) for node in nodes), reads)
    files = {path for c in connections if (path := find_duckdb_file(project, c))} | ({audit.database} if audit else set())
    return Command(
        verb,
        arguments,
        str(project.root),
        environment=environment,
        program=choose_program(project, pipeline),
        databases=tuple(sorted(files)),
        options=pipeline.options if pipeline else {},
        audit=audit,
        warehouse=warehouse,
        expectations=_list_expectations(project, nodes),
        loaded=project if _is_same_project(run, environment) else None,
        job_id=run.job_id if has_job_id else "",
    )


def choose_program(project: Project, pipeline: Pipeline | None) -> str:
    """Return the executable: the option or else the variable SL_STARLAKE_PATH, as ``get_context_var`` of starlake-orchestration does."""
    path = pipeline.starlake_path if pipeline else ""
    return path if path not in ("", "starlake") else project.variables.get("SL_STARLAKE_PATH") or "starlake"


def _build_environment(run: RunContext) -> dict[str, str]:
    project = run.project
    own = run.pipeline.environment if run.pipeline else {}
    environment = {"SL_ROOT": str(project.root), "SL_LOG_LEVEL": project.variables.get("SL_LOG_LEVEL") or "info", **own}
    profile = run.profile or own.get("SL_ENV") or project.profile
    if profile:
        environment["SL_ENV"] = profile
    if run.job_id:
        environment.setdefault(_get_job_id_name(project), run.job_id)
    if run.pipeline and run.pipeline.spark:
        before = environment.get("SPARK_CONF_OPTIONS") or os.environ.get("SPARK_CONF_OPTIONS", "")
        environment["SPARK_CONF_OPTIONS"] = " ".join(filter(None, (before, *_format_spark_options(run.pipeline.spark))))
    return environment


def _get_job_id_name(project: Project) -> str:
    return project.application.job_id_env_name or "SL_JOB_ID"


def _format_spark_options(spark: Mapping[str, str]) -> Iterator[str]:
    for name, value in sorted(spark.items()):
        if any(c.isspace() for c in f"{name}{value}"):
            raise InvalidSetting(f"the Spark setting {name}='{value}' contains a space, so it cannot be passed in SPARK_CONF_OPTIONS")
        yield f"--conf {name}={value}"


def _is_same_project(run: RunContext, environment: Mapping[str, str]) -> bool:
    """Return whether a command in this environment would read the same project, with the same variables."""
    project = run.project
    if (environment.get("SL_ENV") or None) != project.profile or environment["SL_ROOT"] != str(project.root):
        return False
    wanted = {**(run.pipeline.environment if run.pipeline else {}), **run.variables}
    return all(project.variables.get(name) == value for name, value in wanted.items() if name not in NOT_VARIABLES)


def _format_scheduled_date(run: RunContext) -> tuple[str, ...]:
    return ("--scheduledDate", _format_timestamp(run.scheduled_date)) if run.scheduled_date else ()


def _format_timestamp(moment: datetime) -> str:
    """Return a time in ISO 8601 and UTC, without an offset (Starlake ignores it) and without spaces (the launcher would split it there)."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return moment.isoformat(timespec="seconds")


def _join_names(tables: Sequence[Table]) -> str:
    if not tables:
        raise InvalidSetting(
            "a command requires at least one table: without --tables, some of Starlake's commands use all tables, and others do nothing"
        )
    return ",".join(_check_name(t.name) for t in tables)


MAX_NAMES = 16_000
"""Maximum length of ``--tables``. Linux allows 128 KiB per argument, and services that start containers allow less."""


def split_into_batches(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Yield the tables in order, in batches for one ``load`` each that are as large as the command line allows."""
    batch: list[Table] = []
    length = 0
    for table in tables:
        if batch and length + len(table.name) + 1 > MAX_NAMES:
            yield batch
            batch, length = [], 0
        batch.append(table)
        length += len(table.name) + 1
    if batch:
        yield batch


def fits_command_line(name: str) -> bool:
    """Return whether a name can be passed on Starlake's command line, which separates names with commas."""
    return bool(name) and "," not in name


def _check_name(name: str) -> str:
    if not fits_command_line(name):
        raise InvalidSetting(f"the name '{name}' cannot be passed on Starlake's command line, which separates names with commas")
    return name


def _format_options(run: RunContext, own: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return ``--options`` with the variables of ``sl_env_var``, of the command itself (``own``), and of the settings.

    They override env files (``cliEnv`` in Starlake). SL_ROOT and SL_ENV are only passed as environment variables.
    """
    options: dict[str, str] = {}
    for name, value in (run.pipeline.environment if run.pipeline else {}).items():
        if name in _ENVIRONMENT_ONLY:
            continue
        rejected = explain_rejected_variable(name, value)
        if not rejected:
            options[name] = value
        elif not _reaches_as_environment(run.project, name):
            raise InvalidSetting(f"sl_env_var: {rejected}; as an environment variable, it would be overridden by an env file")
    for name, value in {**(own or {}), **run.variables}.items():
        rejected = explain_rejected_variable(name, value)
        if rejected:
            raise InvalidSetting(rejected)
        options[name] = value
    return ("--options", ",".join(f"{name}={value}" for name, value in options.items())) if options else ()


_ENVIRONMENT_ONLY = frozenset(("SL_ROOT", "SL_ENV"))


def explain_rejected_variable(name: str, value: str) -> str | None:
    """Return a message if a variable cannot be passed with ``--options``, or else None.

    The launcher script splits its arguments at spaces, and Starlake splits ``--options`` at commas and each item at the first ``=``.
    """
    if not name or "=" in name or any(c.isspace() or c == "," for c in name):
        return f"'{name}' cannot be passed to Starlake: a name must not be empty or contain a space, a comma, or '='"
    if any(c.isspace() or c == "," for c in value):
        return (
            f"{name} cannot be passed to Starlake: its value {build_mask({name: value})(value)!r} contains a space or a comma, "
            "at which --options is split"
        )
    return None


def _reaches_as_environment(project: Project, name: str) -> bool:
    """Return whether an environment variable reaches the project: no env file overrides it."""
    return name not in project.variables or project.variables[name] == os.environ.get(name)


def find_local_path(text: str) -> str | None:
    """Return the local path of an absolute path or ``file:`` URL; None for other URLs (``gs://...``) and relative paths."""
    if text.startswith("file:"):
        text = "/" + text[len("file:") :].lstrip("/")
    return os.path.normpath(text) if os.path.isabs(text) else None


def _find_load_files(project: Project, domain: Domain, tables: Sequence[Table]) -> LoadFiles | None:
    areas = project.areas
    stage, ingesting, archive = (find_local_path(f"{area}/{domain.name}") for area in (areas.stage, areas.ingesting, areas.archive))
    if stage is None or ingesting is None:
        return None
    return LoadFiles(stage, ingesting, tuple(dict.fromkeys(t.pattern for t in tables if t.pattern)), archive or "")


def _list_expectations(project: Project, nodes: Iterable[Table | Task]) -> tuple[str, ...]:
    """Return the calls of the expectations that Starlake evaluates, each once."""
    return tuple(dict.fromkeys(e.expect for node in nodes for e in node.expectations)) if project.application.expectations_active else ()


def _describe_table(project: Project, table: Table) -> LoadTable:
    return LoadTable(
        name=table.name,
        domain=table.domain,
        final_domain=table.final_domain,
        final_name=table.final_name,
        pattern=table.pattern or "",
        expectations=_list_expectations(project, [table]),
        target=_find_target(project, table),
        loader=find_loader(project, table),
        appends=_appends(table),
    )


def _appends(table: Table) -> bool:
    strategy = table.metadata.write_strategy
    only_appends = strategy is None or ((strategy.type or "APPEND").upper() == "APPEND" and not strategy.types)
    return only_appends and not table.presql and not table.postsql


def _find_target(project: Project, node: Table | Task) -> Target | None:
    database = find_duckdb_file(project, project.find_connection(node))
    return Target(database, *find_written_table(node)) if database else None
