"""Define the options of DAG configs, check their names, and read their values."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from ..errors import Problem, ProblemList, suggest_name
from ..project.application import PRESETS
from ..project.model import DagConfig
from .crons import InvalidCron, check_cron
from .pipeline import Kind, PreLoadStrategy

T = TypeVar("T")

PRE_LOAD_STRATEGIES: tuple[PreLoadStrategy, ...] = ("none", "imported", "pending", "ack")
DATA_CYCLES = {**PRESETS, "weekly": "0 0 * * 0"}
"""starlake-orchestration: ``IStarlakeJob.data_cycle``. Its weeks begin on Sunday, but those of Starlake's preset begin on Monday."""


@dataclass(frozen=True, slots=True)
class Option:
    """A known option of one kind of DAG (None for both) and one executor (empty for all).

    ``unsupported`` is the reason why it has no effect; empty if it is supported or not needed.
    """

    kind: Kind | None = None
    unsupported: str = ""
    executor: str = ""


def _build_options(names: str, kind: Kind | None = None, unsupported: str = "", executor: str = "") -> dict[str, Option]:
    return dict.fromkeys(names.split(), Option(kind, unsupported, executor))


OPTIONS: Mapping[str, Option] = {
    **_build_options(
        "sl_env_var SL_STARLAKE_PATH SL_TIMEZONE timezone start_date end_date tags retries retry_delay "
        "spark_executor_memory spark_executor_cores spark_executor_instances"
    ),
    **_build_options(
        "retry_on_failure retry_delay_in_seconds cloud_run_project_id cloud_run_job_name cloud_run_job_region cloud_run_region "
        "cloud_run_service_account cloud_run_async cloud_run_async_poke_interval",
        executor="cloud_run",
    ),
    **_build_options(
        "aws_task_definition_name aws_task_definition_container_name aws_cluster_name aws_profile aws_region "
        "aws_task_private_subnets aws_task_security_groups cpu memory fargate_async fargate_async_poke_interval",
        executor="fargate",
    ),
    **_build_options(
        "dataproc_name dataproc_project_id dataproc_region dataproc_subnet dataproc_service_account dataproc_image_version "
        "dataproc_master_machine_type dataproc_master_disk_size dataproc_master_disk_type dataproc_worker_machine_type "
        "dataproc_worker_disk_size dataproc_worker_disk_type dataproc_num_workers dataproc_idle_delete_ttl dataproc_job_wait_timeout "
        "dataproc_cluster_metadata cluster_config_name spark_jar_list spark_bucket spark_job_main_class",
        executor="dataproc",
    ),
    **_build_options(
        "GOOGLE_CLOUD_SDK AWS_SDK", unsupported="cloud services are called through their APIs, not through command line tools"
    ),
    "sl_include_env_vars": Option(unsupported="commands get all environment variables of Dagster's process"),
    "ack_wait_timeout": Option("load", "the pre-load checks for the ack file once per run"),
    **_build_options("pre_load_strategy global_ack_file_path pre_load_sensor pre_load_poke_interval", "load"),
    **_build_options(
        "run_dependencies_first dataset_triggering_strategy optional_dataset_enabled data_cycle_enabled data_cycle "
        "beyond_data_cycle_enabled min_timedelta_between_runs",
        "transform",
    ),
    "catchup": Option(
        unsupported="schedules do not run missed ticks; for a missed tick, start the job with the starlake/scheduled_date tag"
    ),
    "default_dag_args": Option(unsupported="it is for Airflow only"),
    "spark_config_name": Option(unsupported="Spark settings come from the spark_executor_* options"),
    "cron_period_frequency": Option("transform", "starlake-orchestration also ignores it"),
    **_build_options("sl_schedule_parameter_name sl_schedule_format", unsupported="asset keys do not contain a schedule"),
    **_build_options(
        "pre_load_timeout pre_load_sensor_soft_fail",
        "load",
        "a file sensor waits without a run; the freshness of the tables shows whether files are late",
    ),
    "pre_load_not_ready_sentinel_path": Option("load", "the command's result shows whether files are ready"),
    "default_pool": Option(),
}
"""All options that the Dagster templates mention or that starlake-orchestration 0.5 reads."""

REPLACED = {"load_dependencies": "run_dependencies_first", "run_dependencies": "run_dependencies_first"}
"""Option of an earlier version, which Starlake silently ignores -> its replacement."""


def check_names(config: DagConfig, kind: Kind) -> list[Problem]:
    """Return a warning for each option that is unknown, outdated, unsupported, or for the other kind of DAG."""
    problems = ProblemList()
    for name in config.options:
        if problems.is_full(config.origin.file):
            break
        where = config.origin.locate(f"options.{name}")
        option = OPTIONS.get(name)
        if name in REPLACED:
            message = f"option '{name}' no longer has an effect; use '{REPLACED[name]}'"
        elif option is None:
            message = f"unknown option '{name}'{suggest_name(name, OPTIONS)}; it has no effect here"
        elif option.unsupported:
            message = f"option '{name}' is not supported: {option.unsupported}"
        elif option.kind not in (None, kind):
            message = f"option '{name}' has no effect on a {kind} DAG; it belongs to {option.kind} DAGs"
        else:
            continue
        problems.append(Problem(where, "warning", message))
    return problems


def check_executor_options(config: DagConfig, executor: str) -> list[Problem]:
    """Return a warning about the options of each executor that does not run the commands."""
    idle: dict[str, list[str]] = {}
    for name in config.options:
        option = OPTIONS.get(name)
        if option and option.executor and option.executor != executor:
            idle.setdefault(option.executor, []).append(name)
    problems = []
    for other, names in idle.items():
        noun, verb = ("options", "have") if len(names) > 1 else ("option", "has")
        message = f"{noun} {', '.join(names)} of the {other} executor {verb} no effect with {executor}"
        problems.append(Problem(config.origin.locate(f"options.{names[0]}"), "warning", message))
    return problems


def check_validity(config: DagConfig, root: str) -> list[Problem]:
    """Return an error for each value of a load's DAG config that dag-generate rejects. Starlake: ``DagInfo.checkValidity``.

    ``root`` is the project's folder, which must contain all absolute paths.
    """
    problems = ProblemList()

    def check(key: str, what: str, text: str, *, free: bool = False) -> None:
        messages = []
        if not text:
            messages.append(f"{what} is empty")
        if ".." in text:
            messages.append(f"{what} '{text}' must not contain '..'")
        if text.startswith("/") and not text.startswith(root) and not free:
            messages.append(f"{what} '{text}' must not be an absolute path outside the project")
        problems.extend(Problem(config.origin.locate(key), "error", message) for message in messages)

    check("template", "template", config.template)
    check("filename", "filename", config.filename)
    for name, value in config.options.items():
        check(f"options.{name}", "the name of an option", name)
        check(f"options.{name}", f"option '{name}'", value, free=name == "SL_STARLAKE_PATH")
    return problems


@dataclass(frozen=True, slots=True)
class OptionReader:
    """Reads the rendered options of one pipeline. For an invalid value, it adds an error to the problems and returns the default.

    As in starlake-orchestration, an empty value counts as absent.
    """

    config: DagConfig
    options: Mapping[str, str]
    problems: list[Problem]

    def read_text(self, name: str, default: str = "") -> str:
        """Return the trimmed value, or the default if it is absent or blank."""
        return (self.options.get(name) or "").strip() or default

    def add_error(self, name: str, message: str) -> None:
        """Add an error with the location of an option."""
        self.problems.append(Problem(self.config.origin.locate(f"options.{name}"), "error", message))

    def read(self, name: str, parse: Callable[[str], T], default: T, expected: str) -> T:
        """Return the parsed value, or the default if it is absent or invalid.

        ``parse`` raises ValueError, OverflowError, or KeyError if the value is invalid. ``expected`` describes valid values in the message.
        """
        text = self.read_text(name)
        if not text:
            return default
        try:
            return parse(text)
        except (ValueError, OverflowError, KeyError):
            self.add_error(name, f"option '{name}': '{text}' is not {expected}")
            return default

    def read_boolean(self, name: str, default: bool = False) -> bool:
        """Return a boolean, which is written as ``true`` or ``false`` in any case."""
        return self.read(name, lambda text: {"true": True, "false": False}[text.lower()], default, "true or false")

    def read_number(self, name: str, default: int = 0) -> int:
        """Return a non-negative whole number."""
        return self.read(name, _parse_natural, default, "a number of 0 or more")

    def read_seconds(self, name: str, default: timedelta) -> timedelta:
        """Return a duration, which is written as a number of seconds."""
        return self.read(name, lambda text: timedelta(seconds=_parse_natural(text)), default, "a number of seconds")

    def read_date(self, name: str) -> date | None:
        """Return a date, which is written as ``2026-01-31``."""
        return self.read(name, _parse_day, None, "a date like 2026-01-31")

    def read_choice(self, name: str, known: Iterable[T], default: T) -> T:
        """Return one of the known values, in any case."""
        values = {str(value): value for value in known}
        text = self.read_text(name)
        if not text:
            return default
        if text.lower() not in values:
            hint = suggest_name(text, values)
            self.add_error(name, f"option '{name}': unknown value '{text}'{hint}; expected {', '.join(values)}")
        return values.get(text.lower(), default)

    def read_words(self, name: str) -> tuple[str, ...]:
        """Return the words of a value, which spaces or commas separate."""
        return tuple(dict.fromkeys(label for label in re.split(r"[\s,]+", self.read_text(name)) if label))

    def read_environment(self) -> Mapping[str, str]:
        """Return the variables in ``sl_env_var``, which is a JSON object."""
        try:
            return parse_variables(self.read_text("sl_env_var"))
        except ValueError as error:
            self.add_error("sl_env_var", str(error))
            return {}

    def read_data_cycle(self) -> str | None:
        """Return the cron of ``data_cycle``; None if it is absent or ``none``."""
        text = self.read_text("data_cycle", "none")
        if text.lower() == "none":
            return None
        try:
            return DATA_CYCLES.get(text.lower()) or check_cron(text)
        except InvalidCron as error:
            self.add_error("data_cycle", f"option 'data_cycle': {error}; instead of a cron, it may be {', '.join(DATA_CYCLES)} or none")
            return None


def _parse_natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _parse_day(text: str) -> date | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError(text)
    return date.fromisoformat(text)


def parse_variables(text: str) -> dict[str, str]:
    """Return the variables in the JSON of ``sl_env_var``. Values that are not strings stay JSON, such as ``true``; nulls are left out.

    Raises:
        ValueError: the text is not a JSON object.
    """
    try:
        values = json.loads(text) if text else {}
    except ValueError as error:
        raise ValueError(f"option 'sl_env_var' is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"option 'sl_env_var': expected a JSON object of variables, found {type(values).__name__}")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items() if value is not None}
