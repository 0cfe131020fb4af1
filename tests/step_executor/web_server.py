"""A web server with a code server, and the calls that the UI makes."""

import json
import socket
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from free_port import find_free_port
from waiting import wait_until

LAUNCH = """mutation($of: JobOrPipelineSelector!, $config: RunConfigData) {
  launchRun(executionParams: {selector: $of, runConfigData: $config}) {
    __typename ...on LaunchRunSuccess { run { runId } } ...on PythonError { message } }
}"""
REEXECUTE = """mutation($parent: String!, $strategy: ReexecutionStrategy!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $parent, strategy: $strategy}) {
    __typename ...on LaunchRunSuccess { run { runId } } ...on PythonError { message }
  }
}"""
TERMINATE = "mutation($run: String!) { terminateRun(runId: $run) { __typename ...on PythonError { message } } }"
REPOSITORIES = "{ repositoriesOrError { ...on RepositoryConnection { nodes { name location { name } } } } }"


class WebServer:
    """A web server for the definitions of a module.

    Args:
        start: starts a process that ends with the test.
        module: the module with ``defs``, or with the only definitions.
    """

    def __init__(self, start: Callable[..., Any], module: str) -> None:
        self._port = find_free_port()
        start("-m", "dagster_webserver", "-m", module, "-h", "127.0.0.1", "-p", str(self._port))
        wait_until(self._is_listening, "the web server")
        (repository,) = self._ask(REPOSITORIES)["repositoriesOrError"]["nodes"]
        self._repository = {"repositoryName": repository["name"], "repositoryLocationName": repository["location"]["name"]}

    def launch(self, job: str, run_config: Mapping[str, Any] | None = None) -> str:
        """Launch a run; return its id."""
        found = self._ask(LAUNCH, of={**self._repository, "jobName": job}, config=run_config or {})["launchRun"]
        return str(found["run"]["runId"])

    def reexecute(self, run_id: str, strategy: str = "FROM_FAILURE") -> str:
        """Re-execute a run; return the id of the new one."""
        return str(self._ask(REEXECUTE, parent=run_id, strategy=strategy)["launchRunReexecution"]["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """Terminate a run."""
        assert self._ask(TERMINATE, run=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def _is_listening(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self._port)) == 0

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        assert "errors" not in found, found
        data: dict[str, Any] = found["data"]
        return data
