"""The ``cloud_run`` executor: its YAML fields, and the checks before anything runs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...errors import Problem
from ...pipelines.pipeline import Pipeline
from ..base import CommandResult, Environment, Invocation, Seconds, StarlakeExecutor

# Every component imports this class for its fields. Other modules are imported only if a pipeline uses this executor.
if TYPE_CHECKING:
    from ...commands import Command


class CloudRunExecutor(StarlakeExecutor):
    """Runs every command as one execution of a Google Cloud Run job.

    The fields take precedence over the options of the pipeline's DAG config (``cloud_run_job_name`` and so on).
    """

    type: Literal["cloud_run"] = Field(default="cloud_run", description="Run every command as an execution of a Cloud Run job.")
    job_name: str | None = Field(
        default=None, description="The Cloud Run job, or projects/P/locations/R/jobs/NAME. Default: the cloud_run_job_name option."
    )
    project_id: str | None = Field(
        default=None, description="Project of the job. Default: the cloud_run_project_id option, else the project of the credentials."
    )
    region: str | None = Field(
        default=None, description="Region of the job. Default: the cloud_run_job_region or cloud_run_region option, else europe-west1."
    )
    service_account: str | None = Field(
        default=None, description="Service account to act as (impersonation). Default: the cloud_run_service_account option, else none."
    )
    container_name: str | None = Field(default=None, description="Container of the job that runs Starlake, if it has several.")
    root: str | None = Field(
        default=None,
        description="SL_ROOT in the container (a path or gs://...). It replaces the project's path in arguments and environment. "
        "Default: that of the image.",
    )
    env: Environment = Field(
        default_factory=dict,
        description="Environment variables of every execution, in addition to those of the job. sl_env_var of a DAG config overrides them. "
        "Everyone who may read executions in the console sees their values: secrets belong in the job (Secret Manager).",
    )
    arguments_prefix: list[str] = Field(
        default_factory=list, description="Arguments before Starlake's verb, for an image whose entry point is not Starlake."
    )
    task_timeout: Seconds | None = Field(
        default=None, le=604_800, description="Seconds that Cloud Run allows a task, at most 168 hours (604,800). Default: that of the job."
    )
    timeout: Seconds | None = Field(
        default=None, description="Seconds after which an execution is canceled and the step fails. They include the wait for resources."
    )
    poll_interval: Seconds | None = Field(
        default=None,
        description="Seconds between two polls of the executions of a job. Default: the cloud_run_async_poke_interval option, else 10.",
    )
    retry_on_failure: bool | None = Field(
        default=None, description="Retry a failed step once if the DAG config does not set retries. Default: the retry_on_failure option."
    )
    retry_delay_in_seconds: float | None = Field(
        default=None, ge=0, description="Delay of that retry. Default: the retry_delay_in_seconds option, else 10."
    )
    allow_task_retries: bool = Field(
        default=False,
        description="Accept a load that succeeded only after Cloud Run had retried its task: the first attempt may have lost its file.",
    )
    logs: Literal["none", "tail", "follow"] = Field(
        default="tail",
        description="Output from Cloud Logging: none, the last lines of a failure, or all lines while it runs. Needs google-cloud-logging.",
    )
    log_interval: Seconds = Field(default=10.0, description="Seconds between two queries of followed logs (60 a minute are allowed).")
    log_settle: float = Field(
        default=4.0, ge=0, description="Seconds without a new line after which a finished execution's log is complete."
    )
    tail_lines: int = Field(default=50, ge=0, description="Number of lines at the end of the output that a failure shows.")
    not_ready_folder: str | None = Field(
        default=None,
        description="Folder for the sentinels of preload (gs://bucket/folder, or a path that the container and Dagster share). "
        "Default: exit code 1 of a preload means not ready.",
    )
    start_timeout: Seconds = Field(default=900.0, description="Seconds to keep trying if the API does not start an execution.")
    start_settle: float = Field(
        default=20.0, ge=0, description="Seconds to look for an execution whose start was not answered, before starting another one."
    )
    cancel_timeout: Seconds = Field(default=600.0, description="Seconds to wait for the end of an execution that was canceled.")
    max_executions: int = Field(
        default=100, gt=0, description="Maximum number of concurrent commands in one run, unless max_concurrent is set."
    )
    api_endpoint: str | None = Field(
        default=None, description="host:port of the API instead of run.googleapis.com: a regional endpoint or an emulator."
    )
    logging_endpoint: str | None = Field(
        default=None, description="host:port of Cloud Logging instead of logging.googleapis.com: a regional endpoint or an emulator."
    )
    storage_endpoint: str | None = Field(
        default=None, description="host:port of Cloud Storage instead of storage.googleapis.com: a regional endpoint or an emulator."
    )
    universe_domain: str | None = Field(
        default=None,
        description="Domain of all APIs in a cloud other than Google's own (Trusted Partner Cloud). Default: googleapis.com.",
        examples=["apis-example.goog"],
    )
    insecure: bool = Field(default=False, description="Connect to api_endpoint, an emulator, without TLS and credentials.")

    def run(self, command: "Command", invocation: Invocation) -> CommandResult:
        """Run one command as one execution and wait for its end; see the base class.

        If an earlier attempt of the step started an execution and was then lost, this execution is taken over instead of starting another.

        Raises:
            MissingDependency: google-cloud-run is not installed.
        """
        from .run_execution import run_command

        return run_command(self, command, invocation)

    def find_problems(self, pipeline: Pipeline) -> Sequence[Problem]:
        """Return the problems of the Cloud Run settings of a pipeline, above all a missing job name."""
        from .job_options import check_options

        return check_options(self, pipeline.options, lambda key: pipeline.dag_config.origin.locate(f"options.{key}"))

    def get_retries(self, pipeline: Pipeline) -> tuple[int, timedelta] | None:
        """Return the retries that ``retry_on_failure`` requests."""
        from .job_options import find_retries

        return find_retries(self, pipeline.options)

    @property
    def max_concurrent(self) -> int:
        """A high number, because each command needs only a sleeping thread on this machine."""
        return self.max_executions
