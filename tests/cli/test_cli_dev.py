"""``sl-dagster dev``: real services, edited projects, and what is left when it ends."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from project_folder import ProjectFolder

from starlake_dagster_components.cli import main
from starlake_dagster_components.cli.dev import Watcher, choose_port, name_locations
from starlake_dagster_components.errors import StarlakeError

pytest.importorskip("dagster_webserver")
WAIT = 240.0
"""Seconds after which something that must happen counts as not happening."""

ASSETS = "{ repositoriesOrError { ...on RepositoryConnection { nodes { location { name } assetNodes { assetKey { path } } } } } }"


def test_locations_are_named_after_their_folders(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "shop", tmp_path / "b" / "shop", tmp_path / "the library", tmp_path / "a" / "shop"]
    found = name_locations(folders)
    assert [(location.name, location.root) for location in found] == [
        ("a_shop", folders[0]),
        ("b_shop", folders[1]),
        ("the_library", folders[2]),
    ]
    assert [location.name for location in name_locations(folders[:1])] == ["shop"]


def test_names_that_become_equal_are_numbered(tmp_path: Path) -> None:
    assert [location.name for location in name_locations([tmp_path / "a b", tmp_path / "a_b"])] == ["a_b", "a_b_2"]


def test_a_taken_port_is_an_error_and_the_default_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StarlakeError, match=f"--port: 127.0.0.1:{port} is taken"):
            choose_port("127.0.0.1", port)
        monkeypatch.setattr("starlake_dagster_components.cli.dev.DEFAULT_PORT", port)
        assert port < choose_port("127.0.0.1", None) < port + 100


def test_a_watcher_names_the_changed_files_of_each_project(tmp_path: Path) -> None:
    projects = [ProjectFolder(tmp_path / name).write("metadata/load/a.sl.yml", "a: 1\n") for name in ("one", "two")]
    locations = name_locations([project.root for project in projects])
    stop = threading.Event()
    watcher = Watcher(locations, stop)
    try:
        found: dict[str, set[str]] = {}
        end = time.monotonic() + WAIT
        number = 0
        while "two" not in found and time.monotonic() < end:
            # Written again and again: it is not known when the watcher has begun.
            number += 1
            projects[1].write("metadata/load/a.sl.yml", f"a: {number}\n").write("datasets/x.csv", f"{number}\n")
            for location, files in watcher.take_changes(0.3).items():
                found.setdefault(location.name, set()).update(files)
        assert found == {"two": {"metadata/load/a.sl.yml"}}
    finally:
        stop.set()
        watcher.join(WAIT)
    assert not watcher.is_alive()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--default-status", "running_"], "--default-status: unknown value 'running_'"),
        (["/no/such/folder"], "the folder '/no/such/folder' does not exist"),
    ],
)
def test_what_is_wrong_starts_nothing(shop: ProjectFolder, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["dev", str(shop.root), *arguments])
    assert result.exit_code in (1, 2)
    assert message in result.output


class Dev:
    """A ``sl-dagster dev`` in a process."""

    def __init__(self, home: Path, *arguments: str) -> None:
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "starlake_dagster_components.cli", "dev", *arguments, "--executor", "duckdb", "--port", str(self.port)],
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
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
        """Wait for a line with a text."""
        end = time.monotonic() + WAIT
        while True:
            line = self._read.get(timeout=max(0.1, end - time.monotonic()))
            assert line is not None, "\n".join(self.lines)
            self.lines.append(line)
            if text in line:
                return line

    def _ask(self, query: str) -> dict[str, Any]:
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
        return found

    def list_assets(self) -> dict[str, set[str]]:
        """Return the assets of each location, as the browser gets them."""
        nodes = self._ask(ASSETS)["repositoriesOrError"]["nodes"]
        return {node["location"]["name"]: {"/".join(a["assetKey"]["path"]) for a in node["assetNodes"]} for node in nodes}

    def list_runs(self, location: str, job: str) -> list[str]:
        """Return the runs on the page of a job."""
        selector = json.dumps({"repositoryName": "__repository__", "repositoryLocationName": location, "pipelineName": job})
        selector = re.sub(r'"(\w+)":', r"\1:", selector)
        query = f"{{ pipelineOrError(params: {selector}) {{ ...on Pipeline {{ runs {{ runId }} }} }} }}"
        return [run["runId"] for run in self._ask(query)["pipelineOrError"]["runs"]]

    def list_processes(self) -> list[int]:
        """Return the processes that it started, theirs included."""
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


@pytest.fixture
def two_projects(shop: ProjectFolder, tmp_path: Path) -> tuple[ProjectFolder, ProjectFolder]:
    other = ProjectFolder(tmp_path / "other")
    other.write("metadata/application.sl.yml", (shop.root / "metadata/application.sl.yml").read_text().partition("  dagRef:")[0])
    other.write("metadata/transform/more/numbers.sql", "select 1 as n\n")
    return shop, other


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
def test_an_edit_is_on_the_page_and_a_broken_one_leaves_the_last_good_graph(
    two_projects: tuple[ProjectFolder, ProjectFolder], tmp_path: Path
) -> None:
    shop, other = two_projects
    dev = Dev(tmp_path / "home", str(shop.root), str(other.root))
    started: list[int] = []
    try:
        dev.wait_for("Dagster is at http://127.0.0.1:")
        assets = dev.list_assets()
        assert "shop_orders" in assets[shop.root.name]
        assert assets["other"] == {"more_numbers"}

        environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "home")}
        command = [
            sys.executable,
            "-m",
            "starlake_dagster_components.cli",
            "run",
            str(shop.root),
            "--job",
            "shop_tables",
            "--executor",
            "duckdb",
        ]
        done = subprocess.run([*command, "--format", "json"], env=environment, capture_output=True, text=True, check=True)
        assert dev.list_runs(shop.root.name, "shop_tables") == [json.loads(done.stdout)["jobs"][0]["run_id"]]

        shop.write("metadata/transform/kpi/added.sql", "select amount from kpi.daily\n")
        dev.wait_for(f"{shop.root.name}: metadata/transform/kpi/added.sql changed: reloaded in ")
        assert "kpi_added" in dev.list_assets()[shop.root.name]

        orders = (shop.root / "metadata/load/shop/orders.sl.yml").read_text()
        shop.write("metadata/load/shop/orders.sl.yml", "version: 1\ntable: [\n")
        dev.wait_for("orders.sl.yml changed: reloaded in ")
        assert dev.wait_for(": error: ").startswith("metadata/load/shop/orders.sl.yml:")
        assets = dev.list_assets()
        assert {"kpi_added", "shop_orders"} <= assets[shop.root.name]

        shop.write("metadata/load/shop/orders.sl.yml", orders)
        (shop.root / "metadata/transform/kpi/added.sql").unlink()
        dev.wait_for("metadata/transform/kpi/added.sql changed: reloaded in ")
        assert "kpi_added" not in dev.list_assets()[shop.root.name]
        started = dev.list_processes()
        assert len(started) >= 4
    finally:
        code = dev.end()
    assert code == 0
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
