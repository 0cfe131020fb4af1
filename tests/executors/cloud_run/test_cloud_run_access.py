"""Access to the API without the SDK, without credentials and as a service account, and the sentinel in Cloud Storage."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cloud_run_harness import SHELL, connect_executor
from cloud_run_server import CloudRunServer
from contract import Watched, build_command
from google.auth import impersonated_credentials
from grpc import StatusCode
from injected_faults import Fault

from starlake_dagster_components.errors import CommandError
from starlake_dagster_components.executors.cloud_run import CloudRunExecutor
from starlake_dagster_components.executors.cloud_run.connection import Access, Connection

WITHOUT = """
import sys
class Reject:
    def find_spec(self, name, path=None, target=None):
        if name in {rejected!r} or name.startswith(tuple(n + "." for n in {rejected!r})):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Reject())
"""


def run_python(code: str, *rejected: str, **environment: str) -> str:
    """Run code in a fresh interpreter in which some modules are not installed."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(rejected=rejected) + code],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_GCE_CHECK": "true", **environment},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


RUN = """
from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import StarlakeError
from starlake_dagster_components.executors.base import Invocation
from starlake_dagster_components.executors.cloud_run import CloudRunExecutor
try:
    CloudRunExecutor(job_name="starlake").run(Command("load", (), "/p"), Invocation(lambda level, line: None, Canceled()))
except StarlakeError as error:
    print(type(error).__name__, error)
"""


def test_importing_needs_no_google_and_does_not_import_it() -> None:
    code = "import starlake_dagster_components.executors.cloud_run as c; c.CloudRunExecutor(); print('ok')"
    assert run_python(code, "google", "grpc", "requests") == "ok\n"
    loaded = run_python(code + "; print([m for m in sys.modules if m.split('.')[0] in ('grpc',) or m.startswith('google.cloud')])")
    assert "google.cloud" not in loaded


def test_a_missing_sdk_is_an_error_that_names_the_extra() -> None:
    said = run_python(RUN, "google.cloud.run_v2")
    assert said.startswith("MissingDependency ")
    assert "install starlake-dagster-components with the 'cloud-run' extra" in said


def test_missing_credentials_are_an_error_with_advice(tmp_path: Path) -> None:
    said = run_python(RUN, HOME=str(tmp_path), CLOUDSDK_CONFIG=str(tmp_path), GOOGLE_APPLICATION_CREDENTIALS="")
    assert said.startswith("CommandError ")
    assert "gcloud auth application-default login" in said
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said


@pytest.fixture
def user_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials.json"
    content = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "quota_project_id": "quota-1"}
    file.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    for name in ("GOOGLE_CLOUD_PROJECT", "GCP_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("user_credentials")
def test_a_service_account_is_impersonated() -> None:
    connection = Connection(Access(service_account="sl@lake-1.iam.gserviceaccount.com", api_endpoint="europe-west1-run.googleapis.com"))
    transport = connection.jobs.transport
    assert isinstance(connection._credentials, impersonated_credentials.Credentials)
    assert connection._credentials.service_account_email == "sl@lake-1.iam.gserviceaccount.com"
    assert transport.host == "europe-west1-run.googleapis.com:443"
    assert connection.executions.transport._credentials is not None


@pytest.mark.usefixtures("user_credentials")
def test_the_project_comes_from_the_credentials_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="cloud_run_project_id"):
        Connection(Access()).find_project()
    monkeypatch.setenv("GCP_PROJECT", "gcp-1")
    assert Connection(Access()).find_project() == "gcp-1"
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "cloud-1")
    assert Connection(Access()).find_project() == "cloud-1"


def test_credentials_that_are_rejected_are_not_tried_again(watched_server: CloudRunServer) -> None:
    message = "Getting metadata from plugin failed with error: RefreshError('Reauthentication is needed')"
    watched_server.faults = lambda method, request: Fault(code=StatusCode.UNAVAILABLE, message=message)
    with pytest.raises(CommandError, match="gcloud auth application-default login") as error:
        connect_executor(watched_server).run(build_command(), Watched().invocation(run_id="rejected"))
    assert not error.value.retry
    assert watched_server.calls["ListExecutions"] == 1


def test_an_emulator_needs_its_address() -> None:
    with pytest.raises(CommandError, match="api_endpoint"):
        CloudRunExecutor(job_name="starlake", project_id="shop", insecure=True).run(build_command(), Watched().invocation(run_id="none"))


@pytest.fixture
def watched_server() -> Iterator[CloudRunServer]:
    with CloudRunServer() as server:
        server.add_job(command=[*SHELL, "exit 0", "sh"])
        yield server


class Bucket:
    """The objects of a bucket, with the two calls of the storage API that are used."""

    def __init__(self) -> None:
        self.objects: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.answers: list[int] = []
        self.permissions: list[str] | None = None
        """Those of the account; None = it may not ask."""
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                bucket.calls.append((self.command, self.path))
                if "/iam/testPermissions" in self.path:
                    self.answer_permissions()
                    return
                name = self.path.rpartition("/")[2]
                status = bucket.answers.pop(0) if bucket.answers else 200 if name in bucket.objects else 404
                if self.command == "DELETE":
                    bucket.objects.discard(name)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def answer_permissions(self) -> None:
                body = json.dumps({"permissions": bucket.permissions}).encode()
                self.send_response(403 if bucket.permissions is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    bucket = Bucket()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{bucket.server.server_port}")
    yield bucket
    bucket.server.shutdown()
    bucket.server.server_close()


def test_a_sentinel_in_cloud_storage_means_not_ready(watched_server: CloudRunServer, bucket: Bucket) -> None:
    executor = connect_executor(watched_server, not_ready_folder="gs://shop-lake/not ready/")
    invocation = Watched().invocation(run_id="gs", step_key="sales")
    assert not executor.run(build_command(verb="preload"), invocation).not_ready
    args = watched_server.list_all()[0].args
    uri = args[args.index("--notReadySentinel") + 1]
    assert uri.startswith("gs://shop-lake/not ready/")
    name = uri.removeprefix("gs://shop-lake/").replace("/", "%2F").replace(" ", "%20")
    assert bucket.calls == [("GET", f"/storage/v1/b/shop-lake/o/{name}")]

    watched_server.add_job(command=[*SHELL, "exit 0", "sh"])
    bucket.answers = [503, 200]
    result = executor.run(build_command(verb="preload"), Watched().invocation(run_id="gs", step_key="other"))
    assert (result.not_ready, result.exit_code) == (True, 0)
    assert [method for method, _ in bucket.calls[1:]] == ["GET", "GET", "DELETE"]


def test_a_sentinel_that_cannot_be_read_is_an_error(watched_server: CloudRunServer, bucket: Bucket) -> None:
    bucket.answers = [403]
    with pytest.raises(CommandError, match=r"storage\.objects\.list"):
        connect_executor(watched_server, not_ready_folder="gs://shop-lake/x").run(
            build_command(verb="preload"), Watched().invocation(run_id="gs", step_key="denied")
        )
