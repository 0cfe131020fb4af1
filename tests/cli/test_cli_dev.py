"""``sl-dagster dev`` with real services: edits of projects, and cleaning up at the end."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from dev_process import WAIT, Dev
from project_folder import ProjectFolder
from waiting import wait_until

from starlake_dagster_components.cli import main
from starlake_dagster_components.cli.dev import Watcher, choose_port, name_locations
from starlake_dagster_components.errors import StarlakeError

pytest.importorskip("dagster_webserver")


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


def test_a_taken_port_is_an_error_unless_it_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
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
            # The file is written repeatedly, because the time at which the watcher starts is not known.
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
def test_invalid_settings_start_nothing(shop: ProjectFolder, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["dev", str(shop.root), *arguments])
    assert result.exit_code in (1, 2)
    assert message in result.output


def test_a_folder_without_a_project_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SL_ROOT", raising=False)
    result = CliRunner().invoke(main, ["dev"])
    assert result.exit_code in (1, 2)
    assert f"no Starlake project at {tmp_path}: it has no 'metadata' folder" in result.output
    assert "Give the folder as PROJECT, or set SL_ROOT" in result.output


@pytest.fixture
def two_projects(shop: ProjectFolder, tmp_path: Path) -> tuple[ProjectFolder, ProjectFolder]:
    other = ProjectFolder(tmp_path / "other")
    other.write("metadata/application.sl.yml", (shop.root / "metadata/application.sl.yml").read_text().partition("  dagRef:")[0])
    other.write("metadata/transform/more/numbers.sql", "select 1 as n\n")
    return shop, other


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
def test_edits_appear_on_the_page_and_broken_ones_keep_the_last_good_graph(
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
        run_id = json.loads(done.stdout)["jobs"][0]["run_id"]
        assert dev.list_runs(shop.root.name, "shop_tables") == [run_id]
        assert dev.list_timeline() == {run_id: (shop.root.name, "shop_tables")}
        again = dev.re_execute(run_id)
        assert dev.list_timeline()[again] == (shop.root.name, "shop_tables")

        shop.write("metadata/transform/kpi/added.sql", "select amount from kpi.daily\n")
        dev.wait_for(f"{shop.root.name}: metadata/transform/kpi/added.sql changed; reloaded in ")
        assert "kpi_added" in dev.list_assets()[shop.root.name]

        orders = (shop.root / "metadata/load/shop/orders.sl.yml").read_text()
        shop.write("metadata/load/shop/orders.sl.yml", "version: 1\ntable: [\n")
        dev.wait_for("orders.sl.yml changed; reloaded in ")
        assert dev.wait_for(": error: ").startswith("metadata/load/shop/orders.sl.yml:")
        assets = dev.list_assets()
        assert {"kpi_added", "shop_orders"} <= assets[shop.root.name]

        shop.write("metadata/load/shop/orders.sl.yml", orders)
        (shop.root / "metadata/transform/kpi/added.sql").unlink()
        dev.wait_for("metadata/transform/kpi/added.sql changed; reloaded in ")
        assert "kpi_added" not in dev.list_assets()[shop.root.name]
        started = dev.list_processes()
        assert len(started) >= 4
    finally:
        code = dev.end()
    assert code == 0
    # The processes of code servers end a moment after their parents.
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "the end of all processes")


@pytest.mark.slow
def test_inferred_columns_of_tasks_appear_on_the_page(
    two_projects: tuple[ProjectFolder, ProjectFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "plans"))
    other = two_projects[1]
    dev = Dev(tmp_path / "home", str(other.root))
    try:
        dev.wait_for("other: the columns of its tasks were found; reloaded in ")
        assert dev.list_columns("more_numbers") == ["n"]
        other.write("metadata/transform/more/numbers.sql", "select 1 as n, 2 as m\n")
        dev.wait_for("other: metadata/transform/more/numbers.sql changed; reloaded in ")
        dev.wait_for("other: the columns of its tasks were found; reloaded in ")
        assert dev.list_columns("more_numbers") == ["n", "m"]
    finally:
        dev.end()
