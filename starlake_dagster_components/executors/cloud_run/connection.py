"""The clients of the Cloud Run API. Each process has one set per account, created on first use."""

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ...errors import CommandError, MissingDependency
from .shared import share_in_process

if TYPE_CHECKING:
    from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
    from google.cloud.run_v2 import ExecutionsClient, JobsClient, TasksClient

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_NO_CREDENTIALS = (
    "Google Cloud credentials are missing or not usable ({detail}): run `gcloud auth application-default login`, or set "
    "GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or run Dagster where a service account is attached"
)


@dataclass(frozen=True, slots=True)
class Access:
    """Parameters of a connection to the API.

    Attributes:
        service_account: the account to act as (impersonation); None = the account of the credentials.
        api_endpoint: ``host:port`` instead of ``run.googleapis.com``; None = the real one.
        insecure: whether to connect without TLS and credentials, to an emulator.
        universe_domain: the domain of all APIs in clouds other than Google's own; None = ``googleapis.com``.
        logging_endpoint, storage_endpoint: ``host:port`` of Cloud Logging and Cloud Storage; None = those of the domain.
    """

    service_account: str | None = None
    api_endpoint: str | None = None
    insecure: bool = False
    universe_domain: str | None = None
    logging_endpoint: str | None = None
    storage_endpoint: str | None = None

    @property
    def storage_address(self) -> str:
        """Host of Cloud Storage."""
        return self.storage_endpoint or f"storage.{self.universe_domain or 'googleapis.com'}"

    def find_endpoint(self, service: str) -> str | None:
        """Return the host that is set for a service; None = that of the domain."""
        return self.logging_endpoint if service == "Logging" else self.api_endpoint


class Connection:
    """Clients for one account, created lazily. Thread-safe."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._lock = threading.RLock()
        self._credentials: Any = None
        self._project: str | None = None
        self._clients: dict[str, Any] = {}

    def find_project(self) -> str:
        """Return the project of the credentials.

        Raises:
            CommandError: the credentials do not name a project.
        """
        if not self.access.insecure:
            self._authenticate()
        project = self._project or os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("GCP_PROJECT")
        if not project:
            raise CommandError(
                "no Google Cloud project: set cloud_run_project_id in the DAG config's options, project_id in the executor, "
                "or GOOGLE_CLOUD_PROJECT in the environment (the credentials do not name one)",
                retry=False,
            )
        return project

    @property
    def jobs(self) -> "JobsClient":
        """Client of ``google.cloud.run.v2.Jobs``."""
        return cast("JobsClient", self._find_client("Jobs"))

    @property
    def executions(self) -> "ExecutionsClient":
        """Client of ``google.cloud.run.v2.Executions``."""
        return cast("ExecutionsClient", self._find_client("Executions"))

    @property
    def tasks(self) -> "TasksClient":
        """Client of ``google.cloud.run.v2.Tasks``."""
        return cast("TasksClient", self._find_client("Tasks"))

    @property
    def logs(self) -> "LoggingServiceV2Client":
        """Client of Cloud Logging.

        Raises:
            MissingDependency: google-cloud-logging is not installed.
        """
        return cast("LoggingServiceV2Client", self._find_client("Logging"))

    def open_storage(self) -> Any:
        """Return an HTTP session for Cloud Storage with the same credentials (``requests``)."""
        import requests
        from google.auth.transport.requests import AuthorizedSession

        if self.access.insecure or os.environ.get("STORAGE_EMULATOR_HOST"):
            return requests.Session()
        self._authenticate()
        return AuthorizedSession(self._credentials)  # type: ignore[no-untyped-call]

    def _find_client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._build_client(service)
            return self._clients[service]

    def _build_client(self, service: str) -> Any:
        client, access = _import_client(service), self.access
        if access.insecure:
            channel = self._open_plain_channel(access.find_endpoint(service) or access.api_endpoint)
            return client(transport=client.get_transport_class("grpc")(channel=channel))
        self._authenticate()
        options = {"api_endpoint": access.find_endpoint(service), "universe_domain": access.universe_domain}
        return client(credentials=self._credentials, client_options={name: value for name, value in options.items() if value} or None)

    def _open_plain_channel(self, address: str | None) -> Any:
        import grpc

        if not address:
            raise CommandError("insecure: true needs api_endpoint: only an emulator can be reached without TLS", retry=False)
        if address not in self._clients:
            unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
            self._clients[address] = grpc.insecure_channel(address, options=unlimited)
        return self._clients[address]

    def _authenticate(self) -> None:
        with self._lock:
            if self._credentials is not None:
                return
            _require_sdk()
            import google.auth
            from google.auth import exceptions, impersonated_credentials

            try:
                credentials, self._project = google.auth.default(scopes=_SCOPES)
            except exceptions.DefaultCredentialsError as error:
                raise explain_missing_credentials(str(error)) from error
            if self.access.service_account:
                credentials = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
                    source_credentials=credentials, target_principal=self.access.service_account, target_scopes=list(_SCOPES)
                )
            self._credentials = credentials


def explain_missing_credentials(detail: str) -> CommandError:
    """Return the error for missing or rejected credentials, with the ways to get credentials."""
    return CommandError(_NO_CREDENTIALS.format(detail=detail.split("\n", 1)[0].rstrip(". ")[:300]), retry=False)


@share_in_process
def connect(access: Access) -> Connection:
    """Return this process's connection for an account."""
    return Connection(access)


def _require_sdk() -> None:
    try:
        import google.cloud.run_v2  # noqa: F401
    except ImportError:
        raise MissingDependency(package="google-cloud-run", extra="cloud-run", purpose="The cloud_run executor") from None


def _import_client(service: str) -> Any:
    """Return the client class of a service."""
    if service == "Logging":
        try:
            from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
        except ImportError:
            raise MissingDependency(package="google-cloud-logging", extra="cloud-run-logs", purpose="Reading an execution's logs") from None
        return LoggingServiceV2Client
    _require_sdk()
    from google.cloud import run_v2

    return {"Jobs": run_v2.JobsClient, "Executions": run_v2.ExecutionsClient, "Tasks": run_v2.TasksClient}[service]
