"""``kill -9`` of a run's process in the middle of a job of 50 tables, then re-execution from failure as the UI does it.

The run's process is the one that Dagster's default run launcher starts; the code server finds out that it is gone and marks the run as
failed. Each command is a process of its own and outlives its worker.
"""

import json
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import table_jobs
from waiting import wait_until
from web_server import WebServer

pytestmark = pytest.mark.slow
pytest.importorskip("dagster_webserver")

THREADS = {"type": "threads", "config": {"max_concurrent": 8}}
PROCESSES = {"type": "multiprocess", "config": {"max_concurrent": 3, "start_method": {"forkserver": {"preload_modules": ["table_jobs"]}}}}
QUIETLY = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Location:
    """A project, a web server for it, and what its runs and commands did."""

    def __init__(self, instance: dg.DagsterInstance, root: Path, web: WebServer) -> None:
        self.instance = instance
        self.root = root
        self.web = web

    def count_begun(self, run_id: str | None = None) -> Counter[str]:
        return Counter(name for what, _, name, run in table_jobs.list_commands(self.root) if what == "begin" and run_id in (None, run))

    def list_succeeded(self, run_id: str) -> set[str]:
        """Return the tables and tasks whose step's success is stored."""
        stored = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
        return {e.dagster_event.step_key.partition("_")[2] for e in stored if e.dagster_event and e.dagster_event.step_key}

    def list_materialized(self, run_id: str) -> set[str]:
        """Return the tables whose materialization is stored, as Dagster's FROM_ASSET_FAILURE finds them.

        SQLite stores each of these events twice: in the run's file, and an instant later in the file of all assets, which counts here.
        """
        keys = self.instance.get_asset_keys_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        return {key.path[-1].partition("_")[2] for key in keys}

    def finish(self, run_id: str) -> dg.DagsterRunStatus:
        def get_status() -> dg.DagsterRunStatus:
            run = self.instance.get_run_by_id(run_id)
            assert run is not None
            return run.status

        wait_until(lambda: get_status() in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE), "the end of the run")
        return get_status()

    def kill(self, run_id: str) -> None:
        """Kill the run's process and wait until Dagster knows."""
        (began,) = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_START)
        assert began.dagster_event is not None
        assert began.dagster_event.pid is not None
        os.kill(began.dagster_event.pid, signal.SIGKILL)
        assert self.finish(run_id) == dg.DagsterRunStatus.FAILURE

    def commands(self) -> Mapping[str, list[tuple[str, str]]]:
        """Return the records of the commands, oldest first: ``begin`` or ``end``, and the run."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for what, _, name, run in table_jobs.list_commands(self.root):
            found[name].append((what, run))
        return found


class Locations:
    def __init__(self, instance: dg.DagsterInstance, folder: Path, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._instance = instance
        self._folder = folder
        self._start = start
        self._monkeypatch = monkeypatch

    def __call__(self, tables: int, steps: Mapping[str, Any], **project: Any) -> Location:
        root = table_jobs.write_tables(self._folder / "project", tables, **project)
        self._monkeypatch.setenv("TABLES_PROJECT", str(root))
        self._monkeypatch.setenv("TABLES_COMMANDS", json.dumps({"type": "shell", "starlake_path": str(root / "program/starlake")}))
        self._monkeypatch.setenv("TABLES_STEPS", json.dumps(steps))
        return Location(self._instance, root, WebServer(self._start, "table_location"))


@pytest.fixture
def location(instance: dg.DagsterInstance, tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch) -> Locations:
    return Locations(instance, tmp_path, start, monkeypatch)


def check(found: Location, lost: str, again: str, done: set[str], names: set[str]) -> None:
    """Check that only steps that had not succeeded ran again, once, and not while commands of the lost run ran."""
    assert set(found.count_begun(again)) == names - done
    assert set(found.count_begun(again).values()) <= {1}
    assert set(found.count_begun(lost).values()) <= {1}
    assert found.list_succeeded(again) == names - done
    for name, said in found.commands().items():
        whole = [("begin", run) for run in (lost,) if found.count_begun(lost)[name]] + [
            ("begin", run) for run in (again,) if name not in done
        ]
        assert said == [(what, run) for _, run in whole for what in ("begin", "end")], name


MOMENTS = [int(text) for text in os.environ.get("KILL_MOMENTS", "1 2 3").split()]
"""Seeds of the moments at which a run is killed."""


@pytest.mark.parametrize(("strategy", "moments"), [("FROM_FAILURE", MOMENTS), ("FROM_ASSET_FAILURE", MOMENTS[:1])])
def test_runs_killed_at_any_moment_lose_nothing(location: Locations, strategy: str, moments: list[int]) -> None:
    """50 tables, 8 at a time, several runs of one code server, each killed at another moment."""
    names = {f"table_{i:02d}" for i in range(50)}
    found = location(50, THREADS)
    (found.root / "program/lasts").write_text("0.3")
    for seed in moments:
        chance = random.Random(seed)
        (found.root / "program/told").unlink(missing_ok=True)
        lost = found.web.launch(table_jobs.JOB, QUIETLY)
        begun = chance.randrange(1, 50)
        wait_until(lambda: sum(found.count_begun().values()) >= begun, "commands to begin")  # noqa: B023
        time.sleep(chance.uniform(0, 0.4))
        found.kill(lost)
        done = found.list_succeeded(lost) if strategy == "FROM_FAILURE" else found.list_materialized(lost)
        again = found.web.reexecute(lost, strategy)
        assert found.finish(again) == dg.DagsterRunStatus.SUCCESS
        check(found, lost, again, done, names)


@pytest.mark.parametrize(("job", "names"), [(table_jobs.JOB, {f"table_{i:02d}" for i in range(4)}), ("all_tasks", {"task_00", "task_01"})])
def test_the_next_run_waits_for_commands_that_outlived_their_worker(location: Locations, job: str, names: set[str]) -> None:
    found = location(4, THREADS, tasks=2)
    (found.root / "program/hold").touch()
    lost = found.web.launch(job, QUIETLY)
    wait_until(lambda: set(found.count_begun()) == names, "commands to begin")
    found.kill(lost)
    again = found.web.reexecute(lost)

    def list_waiting() -> set[str]:
        lines = [e for e in found.instance.all_logs(again) if e.dagster_event is None and e.user_message.startswith("waiting for ")]
        return {str(e.step_key) for e in lines}

    wait_until(lambda: len(list_waiting()) == len(names) or sum(found.count_begun().values()) > len(names), "the second run")
    assert found.count_begun() == Counter(names)
    (found.root / "program/hold").unlink()
    assert found.finish(again) == dg.DagsterRunStatus.SUCCESS
    check(found, lost, again, set(), names)


def test_runs_killed_under_dagsters_multiprocess_executor_lose_nothing(location: Locations) -> None:
    """Step processes outlive the run's process; the success of those that end before the re-execution counts."""
    names = {f"table_{i:02d}" for i in range(8)}
    found = location(8, PROCESSES)
    (found.root / "program/lasts").write_text("1")
    lost = found.web.launch(table_jobs.JOB, QUIETLY)
    wait_until(lambda: len(found.list_succeeded(lost)) >= 2 and len(found.count_begun()) > 3, "tables to be loaded")
    found.kill(lost)
    again = found.web.reexecute(lost)
    run = found.instance.get_run_by_id(again)
    assert run is not None
    done = names - {key.partition("_")[2] for key in run.step_keys_to_execute or ()}
    assert len(done) >= 2
    assert done <= found.list_succeeded(lost)
    assert found.finish(again) == dg.DagsterRunStatus.SUCCESS
    check(found, lost, again, done, names)


def test_a_step_process_that_is_left_behind_begins_nothing(location: Locations) -> None:
    """It was still starting when its run's process was killed; the run may have been re-executed by the time it is ready."""
    found = location(2, PROCESSES)
    lost = found.web.launch(table_jobs.JOB, QUIETLY)

    def list_events(kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        return [e.dagster_event for e in found.instance.all_logs(lost, of_type=kind) if e.dagster_event]

    wait_until(lambda: list_events(dg.DagsterEventType.RUN_START), "the run to begin")
    (found.root / "program/hold_loading").touch()
    wait_until(lambda: len(list_events(dg.DagsterEventType.STEP_WORKER_STARTED)) == 2, "step processes")
    found.kill(lost)
    (found.root / "program/hold_loading").unlink()
    wait_until(lambda: len(list_events(dg.DagsterEventType.STEP_FAILURE)) == 2, "step processes to give up")
    for event in list_events(dg.DagsterEventType.STEP_FAILURE):
        assert f"run {lost} ended (FAILURE) before this step's process began its work" in str(event.step_failure_data)
    assert not found.count_begun()
