"""Combine the executor's YAML fields with the options of the pipeline's DAG config. The fields take precedence."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ...errors import CommandError, Location, Problem, suggest_name

if TYPE_CHECKING:
    from .executor import CloudRunExecutor

DEFAULT_REGION = "europe-west1"
INTERVAL = 10.0
"""Default polling interval in seconds."""
SYNC_INTERVAL = 2.0
"""Polling interval in seconds with ``cloud_run_async: false``: the end is noticed earlier, but more calls are made."""

_JOB = re.compile(r"^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$")
_FULL_JOB = re.compile(r"^projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs/(?P<job>[^/]+)$")
_REGION = re.compile(r"^[a-z]+-[a-z]+\d+$")
_PROJECT = re.compile(r"^(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$|^\d+$")
_ACCOUNT = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0", ""))

JOB_NAME = "cloud_run_job_name"
PROJECT_ID = "cloud_run_project_id"
REGION = "cloud_run_region"
JOB_REGION = "cloud_run_job_region"
SERVICE_ACCOUNT = "cloud_run_service_account"
ASYNC = "cloud_run_async"
POKE_INTERVAL = "cloud_run_async_poke_interval"
RETRY_ON_FAILURE = "retry_on_failure"
RETRY_DELAY = "retry_delay_in_seconds"


@dataclass(frozen=True, slots=True)
class Target:
    """The job that runs a command and how its executions are watched.

    Attributes:
        project: the project id; None = the project of the credentials, which is known after a client is created.
        region: the region of the job.
        job: the short name of the job.
        service_account: the account to act as; None = the account of the credentials.
        interval: polling interval of the executions of the job, in seconds.
    """

    project: str | None
    region: str
    job: str
    service_account: str | None = None
    interval: float = INTERVAL


def resolve_target(executor: "CloudRunExecutor", options: Mapping[str, str]) -> Target:
    """Return the target of a command.

    Args:
        executor: the executor, whose fields take precedence.
        options: the DAG config's options (Starlake: the ``cloud_run`` templates). An empty string is not a value.

    Raises:
        CommandError: the job has no name, or a value cannot be used. :func:`check_options` finds both when definitions are built.
    """
    problems = [p.message for p in check_options(executor, options, lambda key: None) if p.severity == "error"]
    if problems:
        raise CommandError("; ".join(problems), retry=False)
    name = executor.job_name or _read_text(options, JOB_NAME) or ""
    full = _FULL_JOB.match(name)
    named = full.groupdict() if full else {"job": name}
    interval = executor.poll_interval or _read_number(options, POKE_INTERVAL) or INTERVAL
    if executor.poll_interval is None and _read_boolean(options, ASYNC) is False:
        interval = min(interval, SYNC_INTERVAL)
    return Target(
        project=executor.project_id or named.get("project") or _read_text(options, PROJECT_ID),
        region=executor.region or named.get("region") or _read_text(options, JOB_REGION) or _read_text(options, REGION) or DEFAULT_REGION,
        job=named["job"],
        service_account=executor.service_account or _read_text(options, SERVICE_ACCOUNT),
        interval=interval,
    )


def find_retries(executor: "CloudRunExecutor", options: Mapping[str, str]) -> tuple[int, timedelta] | None:
    """Return the retries that ``retry_on_failure`` requests: one more attempt of the step after ``retry_delay_in_seconds`` (10).

    Each attempt is a separate execution. One attempt never starts two executions.
    """
    wanted = executor.retry_on_failure if executor.retry_on_failure is not None else _read_boolean(options, RETRY_ON_FAILURE)
    if not wanted:
        return None
    delay = executor.retry_delay_in_seconds
    if delay is None:
        delay = _read_number(options, RETRY_DELAY)
    return 1, timedelta(seconds=10.0 if delay is None else delay)


def check_options(executor: "CloudRunExecutor", options: Mapping[str, str], where: Callable[[str], Location | None]) -> list[Problem]:
    """Return the problems of the Cloud Run settings of a pipeline: its executor's fields, and the options of its DAG config."""
    found: list[Problem] = []

    def report(key: str, message: str) -> None:
        found.append(Problem(where(key), "error", message))

    def check(key: str, value: str | None, field: object, pattern: re.Pattern[str], expected: str) -> None:
        if field is None and value and not pattern.match(value):
            report(key, f"{key} '{value}' is not {expected}")

    name = executor.job_name or _read_text(options, JOB_NAME)
    if not name:
        similar = [key for key in options if suggest_name(key, [JOB_NAME])]
        hint = f" (is '{similar[0]}' a misspelling of it?)" if similar else ""
        report(
            JOB_NAME,
            f"the cloud_run executor needs the name of the Cloud Run job: set {JOB_NAME} in the options of this DAG config, "
            f"or job_name in the component's executor{hint}",
        )
    elif not _JOB.match(name) and not _FULL_JOB.match(name):
        report(
            JOB_NAME, f"{JOB_NAME} '{name}' is neither a job name (lowercase letters, digits, and -) nor projects/P/locations/R/jobs/NAME"
        )
    check(PROJECT_ID, _read_text(options, PROJECT_ID), executor.project_id, _PROJECT, "a Google Cloud project id")
    for key in (REGION, JOB_REGION):
        check(key, _read_text(options, key), executor.region, _REGION, "a Google Cloud region (like europe-west1)")
    check(
        SERVICE_ACCOUNT, _read_text(options, SERVICE_ACCOUNT), executor.service_account, _ACCOUNT, "the email address of a service account"
    )
    for key in (ASYNC, RETRY_ON_FAILURE):
        if _read_text(options, key) and _read_boolean(options, key) is None:
            report(key, f"{key} '{options[key]}' is neither true nor false")
    for key in (POKE_INTERVAL, RETRY_DELAY):
        number = _read_number(options, key)
        if _read_text(options, key) and (number is None or number < 0 or (key == POKE_INTERVAL and number == 0)):
            report(key, f"{key} '{options[key]}' is not a positive number of seconds")
    regions = {_read_text(options, key) for key in (REGION, JOB_REGION)} - {None}
    if executor.region is None and len(regions) > 1:
        found.append(
            Problem(
                where(REGION),
                "warning",
                f"{REGION} '{options[REGION]}' is overridden by {JOB_REGION} '{options[JOB_REGION]}', the newer name of the same option",
            )
        )
    return found


def _read_text(options: Mapping[str, str], key: str) -> str | None:
    return str(options.get(key, "")).strip() or None


def _read_number(options: Mapping[str, str], key: str) -> float | None:
    try:
        number = float(options[key])
    except (KeyError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _read_boolean(options: Mapping[str, str], key: str) -> bool | None:
    text = str(options.get(key, "")).strip().lower()
    if key not in options:
        return None
    return True if text in _TRUE else False if text in _FALSE else None
