"""One job of 50 tables, built from a Starlake project: the same events whatever executes its steps and whatever runs its commands."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import table_jobs
from cloud_run_harness import QUICK
from cloud_run_server import CloudRunServer

TABLES, QUIET = 45, 5

OF_PROCESSES = {
    "STEP_WORKER_STARTING",
    "STEP_WORKER_STARTED",
    "ENGINE_EVENT",
    "LOGS_CAPTURED",
    "RESOURCE_INIT_STARTED",
    "RESOURCE_INIT_SUCCESS",
}
"""Events that say in which process a step runs and where its output is kept. All others must be the same, in the same order."""

OF_COMMANDS = ("starlake/seconds", "dagster/row_count", "starlake/cloud_run_", "starlake/waiting_files", "starlake/staged_files")
"""Prefixes of the names of metadata that may differ between executors: durations, row counts (only some executors can read the table),
names and links of remote executions, and the files that preload and stage found (only the embedded engine reports them). All other
metadata must be equal in name, type, and value."""

QUIETLY = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

Events = dict[str, list[str]]
Metadata = dict[str, dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return table_jobs.write_tables(tmp_path / "project", TABLES, quiet=QUIET, connection="duckdb", pre_load="imported")


def build_shell(root: Path, type_: str = "shell") -> Mapping[str, Any]:
    return {"type": type_, "starlake_path": str(root / "program/starlake")}


class Runs:
    """Runs the job of a project, and returns its events."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def __call__(
        self, root: Path, commands: Mapping[str, Any], steps: Mapping[str, Any], *, success: bool = True
    ) -> tuple[Events, Metadata]:
        result = dg.execute_job(table_jobs.build_reconstructable(root, commands, steps), self._instance, run_config=QUIETLY)
        assert result.success is success, [e.message for e in result.all_events if e.is_failure or e.is_engine_event]
        events: Events = {}
        metadata: Metadata = {}
        for entry in self._instance.all_logs(result.run_id):
            event = entry.dagster_event
            if event is None or event.step_key is None or event.event_type_value in OF_PROCESSES:
                continue
            events.setdefault(event.step_key, []).append(event.event_type_value)
            if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
                key = event.materialization.asset_key.to_user_string()
                assert key not in metadata, "materialized twice"
                metadata[key] = {
                    name: (type(value).__name__, value.value)
                    for name, value in event.materialization.metadata.items()
                    if not name.startswith(OF_COMMANDS)
                }
        return events, metadata


@pytest.fixture
def runs(instance: dg.DagsterInstance) -> Runs:
    return Runs(instance)


IN_THREADS = {"type": "threads", "config": {"max_concurrent": 8}}


def check(events: Events, metadata: Metadata, tables: int = TABLES, quiet: int = QUIET) -> None:
    """Check that the job did everything, because doing nothing would be the same with all executors, too."""
    loaded, skipped = {f"busy_table_{i:02d}" for i in range(tables)}, {f"quiet_quiet_{i:02d}" for i in range(quiet)}
    assert set(events) == loaded | skipped | {"busy", "quiet"}
    assert {step for step, kinds in events.items() if "STEP_SKIPPED" in kinds} == skipped
    assert set(metadata) == loaded | {"busy"}
    assert all(events[step].count("STEP_SUCCESS") == 1 for step in loaded | {"busy", "quiet"})
    for key in loaded:
        assert metadata[key]["starlake/rows_loaded"] == ("IntMetadataValue", 2)
        assert metadata[key]["starlake/file_names"][1] == [f"{key.removeprefix('busy_')}-1.csv"]


@pytest.mark.slow
def test_events_are_the_same_with_every_command_executor(project: Path, runs: Runs, tmp_path: Path) -> None:
    """shell, dagster_shell, cloud_run (a server on loopback) and the embedded engine, 50 tables each."""
    expected = runs(project, build_shell(project), IN_THREADS)
    check(*expected)
    assert runs(project, build_shell(project, "dagster_shell"), IN_THREADS) == expected
    sentinels = tmp_path / "sentinels"
    sentinels.mkdir()
    with CloudRunServer() as server:
        server.add_job(command=[str(project / "program/starlake")], cwd=str(project))
        cloud_run = {"type": "cloud_run", "job_name": "starlake", "project_id": "shop", "region": "europe-west1", "logs": "follow"}
        where = {"api_endpoint": server.address, "insecure": True, "not_ready_folder": str(sentinels), "root": str(project)}
        assert runs(project, {**cloud_run, **where, **QUICK}, IN_THREADS) == expected
        assert len(server.list_all()) == TABLES + 3
    commands = Counter(table_jobs.list_commands(project))
    assert runs(project, {"type": "duckdb"}, IN_THREADS) == expected
    assert Counter(table_jobs.list_commands(project)) == commands
    assert Counter(c[1] for c in commands.elements()) == {verb: 2 * 3 * n for verb, n in (("preload", 2), ("stage", 1), ("load", TABLES))}


def test_events_are_the_same_as_in_process(project: Path, runs: Runs) -> None:
    assert runs(project, build_shell(project), {"type": "in_process"}) == runs(project, build_shell(project), IN_THREADS)


FEW = 4
"""Tables for executors that start a process of Python per step; bench/steps.py compares all 50."""


def write_few(tmp_path: Path, name: str) -> Path:
    options = "    retries: '1'\n    retry_delay: '1'\n"
    root = table_jobs.write_tables(tmp_path / name, FEW, quiet=1, pre_load="imported", options=options)
    (root / "program/fails.table_01").write_text("1\n")
    (root / "program/fails.table_02").write_text("always\n")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("start_method", [{"spawn": {}}, {"forkserver": {"preload_modules": ["table_jobs"]}}], ids=["spawn", "forkserver"])
def test_events_are_the_same_as_with_multiprocess(start_method: Mapping[str, Any], runs: Runs, tmp_path: Path) -> None:
    """With a table that fails, one that is tried again, and one that is skipped."""
    root = write_few(tmp_path, "expected")
    expected, metadata = runs(root, build_shell(root), IN_THREADS, success=False)
    assert expected["busy_table_01"].count("STEP_UP_FOR_RETRY") == expected["busy_table_01"].count("STEP_RESTARTED") == 1
    assert expected["busy_table_02"][-1] == "STEP_FAILURE"
    assert expected["quiet_quiet_00"][-1] == "STEP_SKIPPED"
    assert set(metadata) == {"busy", "busy_table_00", "busy_table_01", "busy_table_03"}
    root = write_few(tmp_path, "processes")
    config = {"max_concurrent": 2, "start_method": start_method}
    found, found_metadata = runs(root, build_shell(root), {"type": "multiprocess", "config": config}, success=False)
    assert found == expected
    assert found_metadata == metadata
