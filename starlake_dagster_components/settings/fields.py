"""The settings, each defined once: type, default, description, check, and parser.

Everything else is derived from the fields of :class:`Settings`: the component's YAML (``component/fields.py``), the arguments of
``load_definitions_from_starlake_project``, the variables ``SL_DAGSTER_<SETTING>`` (``text.py``), the options of ``sl-dagster``
(``cli/options.py``), and the tables of docs/settings.md (``cli/docs.py``). To add a setting, add a field and use it.

This module imports neither Dagster nor the executors, so that ``sl-dagster --help`` is fast.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from .checks import (
    ExpectationChecks,
    check_automation,
    check_cache,
    check_day,
    check_executor,
    check_expectation_checks,
    check_orchestrators,
    check_path,
    check_prefix,
    check_secrets,
    check_share,
    check_step_executor,
    check_tags,
    check_timezone,
    check_translator,
    parse_list,
    parse_name_or_json,
    parse_pairs,
)
from .samples import Samples, check_samples
from .selection import check_op_rules, check_patterns
from .setting import Translator, describe_setting
from .values import AnyChecks, AnyExecutor, AnyPath, AnySecrets, AnyStepExecutor, check_values

if TYPE_CHECKING:
    from ..executors.base import StarlakeExecutor
    from ..pipelines.pipeline import Pipeline

AssetKeyStyle = Literal["flat", "flat_lower", "path"]


class SharedSettings(BaseModel):
    """The settings that the component, the function, the environment, and the command line share."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True, hide_input_in_errors=True)

    executor: AnyExecutor = describe_setting(
        None,
        "Where Starlake's commands run: shell (the starlake command), dagster_shell, cloud_run, or duckdb (embedded, without Starlake). "
        "Set a type, or a mapping with a type and its fields.",
        examples=[{"type": "shell", "starlake_path": "/opt/starlake/starlake"}, {"type": "duckdb"}],
        options="read",
        check=check_executor,
        parse=parse_name_or_json,
        metavar="TYPE|JSON",
        values="`{type: shell \\| dagster_shell \\| cloud_run \\| duckdb, ...}`",
        shown_default="chosen by the template of each DAG config",
        more="See [Running commands](running.md). For your own executor, see [below](#your-own-executor)",
    )
    env: str | None = describe_setting(
        None,
        "Starlake's environment (SL_ENV). It selects metadata/env.<name>.sl.yml when the project loads and for every command. It "
        "overrides the sl_env_var of a DAG config.",
        examples=["PROD"],
        options="read",
        values="name",
        shown_default="`SL_ENV`, as in Starlake",
    )
    variables: Mapping[str, str] = describe_setting(
        dict,
        "Starlake variables that override env files and the environment. Every command also gets them as --options. {{NAME}} and "
        "${NAME} in a value refer to other Starlake variables.",
        examples=[{"country": "FR"}],
        options="read",
        parse=parse_pairs,
    )
    asset_keys: AssetKeyStyle = describe_setting(
        "flat",
        "Format of asset keys. sales.Orders becomes sales_Orders (flat, as in generated DAGs of starlake-dagster before 0.3), "
        "sales_orders (flat_lower, 0.3 and later), or sales/Orders (path).",
        options="read",
    )
    orchestrators: Sequence[str] = describe_setting(
        ("dagster",),
        "Orchestrators whose DAG configs become jobs. The template of a DAG config determines its orchestrator. Add airflow to migrate "
        "a project without editing it.",
        examples=[["dagster"], ["dagster", "airflow"]],
        options="read",
        check=check_orchestrators,
        parse=parse_list,
        values="list of `dagster`, `airflow`, `snowflake`, `databricks`, `starlake`",
    )
    dependencies: str = describe_setting(
        "auto",
        "Source of task dependencies: auto (metadata/dependencies*.json if such files exist, or else the SQL), sql, or a path or glob "
        "of JSON files, relative to the project.",
        examples=["auto", "sql", "metadata/deps.json"],
        options="read",
        check=lambda name, value: check_path(name, value) or "auto",
        values="`auto`, `sql`, path, or glob",
    )
    timezone: str | None = describe_setting(
        None,
        "Time zone of schedules whose DAG config does not set SL_TIMEZONE.",
        examples=["Europe/Paris"],
        options="read",
        check=check_timezone,
        values="IANA name",
        shown_default="`UTC`",
    )
    default_status: Literal["RUNNING", "STOPPED"] = describe_setting(
        "RUNNING",
        "Status of schedules and sensors when Dagster first loads them.",
        options="serve",
    )
    watch: Literal["transitive", "direct"] = describe_setting(
        "transitive",
        "Assets that a sensor watches: everything upstream of its job (transitive), or only the assets that its tasks read directly "
        "(direct).",
        options="read",
    )
    automation: Literal["sensors", "conditions", "none"] = describe_setting(
        "sensors",
        "How transform jobs without a schedule start: with sensors (sensors), with Dagster's automation conditions (conditions), or "
        "only manually (none). Automation conditions for jobs are a preview feature of Dagster, and less strict.",
        options="read",
        check=check_automation,
        more="See [Automation conditions](triggers.md#automation-conditions)",
    )
    file_sensors: Literal["off", "on"] = describe_setting(
        "off",
        "Whether a sensor starts a load job when its files arrive. The sensor lists folders, without starting Starlake. The DAG config "
        "option pre_load_sensor overrides this setting.",
        options="read",
        more="See [Files that start a load](triggers.md#files-that-start-a-load)",
    )
    partitions: Literal["incremental", "scheduled", "off"] = describe_setting(
        "incremental",
        "Tasks that are partitioned by the schedule of their job: those whose SQL uses the data interval (incremental), all "
        "(scheduled), or none (off).",
        options="read",
        more="See [Partitions and backfills](triggers.md#partitions-and-backfills)",
    )
    partitions_start: str | None = describe_setting(
        None,
        "First day of the partitions of jobs whose DAG config does not set start_date.",
        examples=["2026-01-01"],
        options="read",
        check=check_day,
        values="day",
        shown_default="January 1 of last year",
    )
    backfill: Literal["runs", "single_run"] = describe_setting(
        "runs",
        "Whether a backfill starts one run per partition (runs), or one run for the whole range of partitions (single_run).",
        options="read",
    )
    max_concurrent: int | None = describe_setting(
        None,
        "Maximum number of commands that run at the same time in one run.",
        examples=[8],
        options="run",
        shown_default="suggested by the executor",
    )
    name_prefix: str = describe_setting(
        "",
        "Prefix of the names of all jobs, schedules, and sensors. Set it if a code location contains a project twice, or two projects "
        "with the same job names. For asset keys, use translation: {key_prefix: ...}.",
        examples=["north_"],
        options="read",
        check=check_prefix,
        values="letters, digits, `_`",
        more="See [Several projects](#several-projects-or-one-project-twice)",
    )
    cache: AnyPath = describe_setting(
        None,
        "Folder in which plans are cached, so that an unchanged project is not read again. Use off to disable the cache. In YAML, a "
        "relative path is relative to the file.",
        examples=["off", "/var/cache/starlake-plans"],
        check=check_cache,
        path=True,
        values="folder, `off`",
        shown_default="`SL_DAGSTER_CACHE`, else the user's cache folder",
        more="See [The cache of plans](loading.md#the-cache-of-plans)",
    )
    on_error: Literal["fail", "last_good", "leave_out"] = describe_setting(
        "last_good",
        "How a project loads if some of its tables, tasks, or DAG configs have errors. fail: it does not load. last_good: with the "
        "definitions of its last plan without errors, if there is one. leave_out: without anything that depends on the broken files.",
        options="serve",
        more="See [A project with errors](loading.md#a-project-with-errors)",
    )
    dropped_jobs: float = describe_setting(
        1.0,
        "A reload that drops at least this share of the load jobs, or of the transform jobs, logs a prominent warning: 1 = all, 0.5 = "
        "half.",
        values="number from 0 to 1",
        examples=[0.5, 1],
        options="serve",
        check=check_share,
        more="See [A project with errors](loading.md#a-project-with-errors)",
    )
    step_executor: AnyStepExecutor = describe_setting(
        None,
        "How Dagster runs the steps of a job: threads, multiprocess, in_process, or the import path of an executor definition. Set a "
        "name, or a mapping with a type and its config.",
        examples=["multiprocess", {"type": "threads", "config": {"max_concurrent": 16}}],
        options="serve",
        check=check_step_executor,
        parse=parse_name_or_json,
        metavar="TYPE|JSON",
        values="`{type: threads \\| multiprocess \\| in_process, config: ...}`",
        shown_default="`threads`, as many as the executor suggests",
        more="See [How steps run](steps.md)",
    )
    expectation_checks: AnyChecks = describe_setting(
        True,
        "Whether expectations become asset checks: true, false, or a mapping with any of these keys. enabled: true or false. blocking: "
        "whether a failed check keeps downstream assets from running (true, false, or auto: if failOnError is true for the expectation "
        "and for the application). severity: error or warn (default: error if the expectation's failOnError is true).",
        examples=[True, {"blocking": False, "severity": "warn"}],
        options="run",
        check=check_expectation_checks,
        parse=parse_name_or_json,
        values="`true`, `false`, `{enabled: ..., blocking: auto \\| true \\| false, severity: error \\| warn}`",
        switch=True,
    )
    rejected_rows: Literal["ignore", "warn", "block"] = describe_setting(
        "warn",
        "Response to rows that Starlake's Spark loader (the default) rejects. warn: the table's rejected_rows check fails with a "
        "warning. block: the load fails, and nothing downstream runs. ignore: there is no such check. The log always contains a "
        "warning.",
        examples=["block"],
        options="run",
        more="See [Rejected rows](running.md#rejected-rows)",
    )
    schema_checks: bool = describe_setting(
        False,
        "Whether tables and tasks with attributes have a declared_schema check. After each load or transform, it warns about columns "
        "of the actual table that are missing, not declared, or of another type. It requires a DuckDB file or a warehouse that Dagster "
        "can read.",
        examples=[True],
        options="run",
        switch=True,
        more="See [Declared schema](running.md#declared-schema)",
    )
    event_log_level: Literal["warning", "info", "debug"] = describe_setting(
        "warning",
        "Lines of a command's output that become events of the run: warnings, errors, results, and the first lines (warning), or all "
        "lines of at least this level (info, debug). Starlake writes about 270 lines per command. The step's stdout always contains all "
        "of them.",
        examples=["info"],
        options="run",
    )
    batch: bool = describe_setting(
        False,
        "Whether one step loads all tables of a domain, with one command for all tables that a run selects, so that Starlake starts "
        "only once. Each table still gets its own materialization, counts, and checks.",
        examples=[True],
        options="run",
        more="See [Batches of tables](running.md#batches-of-tables)",
    )
    select: Sequence[Any] = describe_setting(
        (),
        "Tables and tasks that become definitions: names (sales.*), or mappings with any of name, domain, table, task, tag, kind, and "
        "dagRef. Other tables and tasks that they read become external assets with the same keys.",
        examples=[["sales.*", {"tag": "pii", "kind": "table"}]],
        options="serve",
        check=check_patterns,
        parse=parse_list,
        metavar="PATTERNS",
        values="list of names with `*`, `key: value` mappings",
        shown_default="everything",
        more="See [below](#load-part-of-a-project)",
    )
    exclude: Sequence[Any] = describe_setting(
        (),
        "Tables and tasks to remove from the selection, in the same format as select.",
        examples=[["sales.tmp_*", {"dagRef": "archive"}]],
        options="serve",
        check=check_patterns,
        parse=parse_list,
        metavar="PATTERNS",
        values="like `select`",
        shown_default="nothing",
    )
    samples: Any = describe_setting(
        Samples(),
        "Whether materializations show the first rows of the table, rejected rows, and rows that violate an expectation. Set a number "
        "of rows, or a mapping with rows (the number) and mask (columns to hide; * matches any characters). Columns with privacy, and "
        "the columns that tasks derive from them, are always hidden.",
        examples=[{"rows": 10, "mask": ["*email*"]}],
        options="run",
        check=check_samples,
        parse=parse_name_or_json,
        metavar="ROWS|JSON",
        values="`{rows: ..., mask: [...]}`, number",
        shown_default="no rows",
        more="See [Sample rows](running.md#sample-rows)",
    )
    warehouse_counts: Literal["off", "audit", "tables"] = describe_setting(
        "audit",
        "Data that one query reads from the warehouse after each command. audit: row counts and results of expectations from Starlake's "
        "audit tables. tables: also the number of rows in the table. off: no query.",
        examples=["tables"],
        options="run",
        more="See [Counts and checks from a warehouse](running.md#counts-and-checks-from-a-warehouse)",
    )
    secrets: AnySecrets = describe_setting(
        (),
        "Names of further variables, options, and connection properties whose values are secret. Names that contain PASSWORD, SECRET, "
        "TOKEN, KEY, or the like are always secret. * matches any characters. Secret values are shown as ***.",
        examples=[{"names": ["CUSTOMER_PIN", "*_LICENSE"]}],
        options="read",
        check=check_secrets,
        parse=parse_list,
        metavar="NAMES|JSON",
        values="`{names: [...]}`",
        more="See [Secrets](running.md#secrets)",
    )
    show_sql: bool = describe_setting(
        True,
        "Whether a task's asset shows its SQL: in the description as written in the project, and in each materialization with the "
        "variables of the run.",
        examples=[True],
    )

    @model_validator(mode="before")
    @classmethod
    def _check(cls, values: Any) -> Any:
        return check_values(values, cls) if isinstance(values, dict) else values


class Settings(SharedSettings):
    """All settings of a project's definitions. They are keyword arguments, which are checked and converted.

    Raises:
        InvalidSetting: a setting is unknown, or a value is invalid.
    """

    model_config = ConfigDict(defer_build=False)

    op_tags: Mapping[str, str] = describe_setting(
        dict,
        "Tags of every step: dagster/priority, concurrency keys, or Kubernetes configuration.",
        examples=[{"team": "data"}],
        options="run",
        check=check_tags,
        parse=parse_pairs,
    )
    pool: str | None = describe_setting(None, "Concurrency pool of every step.", examples=["warehouse"], options="run", values="name")
    op_rules: Sequence[Any] = describe_setting(
        (),
        "Rules for the steps of some domains, tables, and tasks, with match, pool, retry_policy, and tags. Later rules override earlier "
        "ones.",
        examples=[[{"match": {"domain": "sales"}, "pool": "warehouse", "retry_policy": {"max_retries": 3, "delay": 30}}]],
        check=check_op_rules,
        parse=parse_list,
        values="list of `{match: ..., pool: ..., retry_policy: ..., tags: ...}`",
        more="See [below](#set-pools-retries-and-tags-of-steps)",
    )
    translator: Translator | None = describe_setting(
        None,
        "Object that creates the asset specs.",
        check=check_translator,
        values="`StarlakeTranslator`",
        shown_default="`StarlakeTranslator()`",
    )

    @property
    def checks(self) -> ExpectationChecks:
        """The ``expectation_checks`` setting, always as an object."""
        checks = self.expectation_checks
        return checks if isinstance(checks, ExpectationChecks) else ExpectationChecks(enabled=bool(checks))

    def get_executor(self, pipeline: "Pipeline | None") -> "StarlakeExecutor | None":
        """Return the executor of a pipeline's commands: the setting, or else the one of the pipeline's template (None = ``shell``).

        The result is None if this package does not have the template's executor.
        """
        return self.executor or _build_executor_of_template(pipeline.executor if pipeline else "shell")  # type: ignore[return-value]

    def override(self, **changes: Any) -> "Settings":
        """Return a copy in which ``changes`` replace values.

        Raises:
            InvalidSetting: a setting is unknown, or a value is invalid.
        """
        return Settings(**{**dict(self), **changes})


@cache
def _build_executor_of_template(name: str) -> "StarlakeExecutor | None":
    # Imported only if needed, because every import slows down startup.
    from ..executors.registry import EXECUTOR_TYPES, build_executor

    return build_executor(name) if name in EXECUTOR_TYPES else None
