"""``sl-dagster dev`` in a process, for tests that talk to its web server."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagster_home import make_home
from free_port import find_free_port

WAIT = 600.0
"""Seconds after which something that must happen counts as not happening."""

ASSETS = "{ repositoriesOrError { ...on RepositoryConnection { nodes { location { name } assetNodes { assetKey { path } } } } } }"


class Dev:
    """A ``sl-dagster dev`` in a process."""

    def __init__(self, home: Path, *arguments: str) -> None:
        make_home(home, "telemetry: {enabled: false}\nnux: {enabled: false}\n")
        self.port = find_free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "starlake_dagster_components.cli", "dev", *arguments, "--executor", "duckdb", "--port", str(self.port)],
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self._read: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read_lines, daemon=True)
        self._reader.start()

    def _read_lines(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._read.put(line.rstrip("\n"))
        self._read.put(None)

    def wait_for(self, text: str) -> str:
        """Wait for a line that contains a string."""
        end = time.monotonic() + WAIT
        while True:
            line = self._read.get(timeout=max(0.1, end - time.monotonic()))
            assert line is not None, "\n".join(self.lines)
            self.lines.append(line)
            if text in line:
                return line

    def _ask(self, query: str) -> dict[str, Any]:
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
        return found

    def list_assets(self) -> dict[str, set[str]]:
        """Return the assets of each code location, as the browser requests them."""
        nodes = self._ask(ASSETS)["repositoriesOrError"]["nodes"]
        return {node["location"]["name"]: {"/".join(a["assetKey"]["path"]) for a in node["assetNodes"]} for node in nodes}

    def list_columns(self, asset: str) -> list[str]:
        """Return the columns of an asset's definition, as its page shows them."""
        schema = "... on TableSchemaMetadataEntry { schema { columns { name } } }"
        definition = f"... on Asset {{ definition {{ metadataEntries {{ {schema} }} }} }}"
        query = f'{{ assetOrError(assetKey: {{path: ["{asset}"]}}) {{ {definition} }} }}'
        entries = self._ask(query)["assetOrError"]["definition"]["metadataEntries"]
        return [column["name"] for entry in entries for column in entry.get("schema", {}).get("columns", ())]

    def list_runs(self, location: str, job: str) -> list[str]:
        """Return the runs on the page of a job."""
        selector = json.dumps({"repositoryName": "__repository__", "repositoryLocationName": location, "pipelineName": job})
        selector = re.sub(r'"(\w+)":', r"\1:", selector)
        query = f"{{ pipelineOrError(params: {selector}) {{ ...on Pipeline {{ runs {{ runId }} }} }} }}"
        return [run["runId"] for run in self._ask(query)["pipelineOrError"]["runs"]]

    def list_timeline(self) -> dict[str, tuple[str, str]]:
        """Return the location and the job of each run, by which the timeline groups them."""
        query = "{ runsOrError { ...on Runs { results { runId jobName repositoryOrigin { repositoryName repositoryLocationName } } } } }"
        runs = [run for run in self._ask(query)["runsOrError"]["results"] if run["repositoryOrigin"]]
        return {run["runId"]: (run["repositoryOrigin"]["repositoryLocationName"], run["jobName"]) for run in runs}

    def re_execute(self, run_id: str) -> str:
        """Re-execute all steps of a run, as its page does. Return the new run, or the error."""
        query = f"""mutation {{ launchRunReexecution(reexecutionParams: {{ parentRunId: "{run_id}", strategy: ALL_STEPS }}) {{
            __typename ...on LaunchRunSuccess {{ run {{ runId }} }} ...on PythonError {{ message }} }} }}"""
        found = self._ask(query)["launchRunReexecution"]
        return str(found["run"]["runId"]) if found["__typename"] == "LaunchRunSuccess" else f"{found}"

    def launch_backfill(self, asset: str, partitions: Sequence[str]) -> str:
        """Backfill partitions of an asset, as its page does. Return the backfill, or the error."""
        query = f"""mutation {{ launchPartitionBackfill(backfillParams: {{
            assetSelection: [{{ path: ["{asset}"] }}], partitionNames: {json.dumps(list(partitions))} }}) {{
            __typename ...on LaunchBackfillSuccess {{ backfillId }} ...on PythonError {{ message }} }} }}"""
        found = self._ask(query)["launchPartitionBackfill"]
        return str(found["backfillId"]) if found["__typename"] == "LaunchBackfillSuccess" else f"{found}"

    def list_processes(self) -> list[int]:
        """Return the processes that it started, and their descendants."""
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(stat.parent.name)] = int(fields[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found[1:]

    def end(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(WAIT)
        finally:
            self._reader.join(WAIT)
            assert self.process.stdout
            self.process.stdout.close()
