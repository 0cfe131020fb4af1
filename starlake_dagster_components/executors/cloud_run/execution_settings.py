"""The fields of the Cloud Run executor as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .job_options import Given


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """The fields of the executor that matter while a command runs; see :class:`CloudRunExecutor` for what each of them means.

    Attributes:
        given: the fields that stand for options of a DAG config.
        env, root, arguments_prefix, container_name, not_ready_folder: settings of the container.
        task_timeout, timeout, start_timeout, start_settle, cancel_timeout: durations in seconds.
        logs, log_interval, log_settle, tail_lines: which part of the output is read, and when.
        allow_task_retries: whether to accept a load that succeeded only after Cloud Run had retried its task.
        api_endpoint, logging_endpoint, storage_endpoint, universe_domain, insecure: how to connect to the APIs.
    """

    given: Given
    env: Mapping[str, str]
    root: str | None
    arguments_prefix: Sequence[str]
    container_name: str | None
    not_ready_folder: str | None
    task_timeout: float | None
    timeout: float | None
    start_timeout: float
    start_settle: float
    cancel_timeout: float
    logs: Literal["none", "tail", "follow"]
    log_interval: float
    log_settle: float
    tail_lines: int
    allow_task_retries: bool
    api_endpoint: str | None
    logging_endpoint: str | None
    storage_endpoint: str | None
    universe_domain: str | None
    insecure: bool
