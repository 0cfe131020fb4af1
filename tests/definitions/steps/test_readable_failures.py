"""The error of a failed step shows the message of the database or Starlake first, then the SQL, then the command. Some are not retried."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from cloud_run_harness import connect_executor
from cloud_run_server import CloudRunServer, shorten_log_waits
from project_folder import ProjectFolder
from starlake_playback import Program

from starlake_dagster_components import DagsterShellExecutor, DuckDBExecutor, ShellExecutor, load_definitions_from_starlake_project
from starlake_dagster_components.executors.base import StarlakeExecutor

STARLAKE = ["shell", "dagster_shell", "cloud_run"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudRunServer]:
    for name in ("SL_ENV", "SL_ROOT"):
        monkeypatch.delenv(name, raising=False)
    shorten_log_waits(monkeypatch)
    with CloudRunServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    folder = ProjectFolder(tmp_path / "project")
    folder.write(
        "metadata/application.sl.yml",
        """
        application:
          connectionRef: duck
          loader: native
          dagRef: {load: loads, transform: tasks}
          connections: {duck: {type: jdbc, options: {url: 'jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db'}}}
        """,
    )
    for name, kind in (("loads", "load/dagster__scheduled_table"), ("tasks", "transform/dagster__scheduled_task")):
        folder.write(
            f"metadata/dags/{name}.sl.yml",
            f"dag: {{template: {kind}__shell.py.j2, filename: '{name}.py', options: {{retries: '1', retry_delay: '0'}}}}\n",
        )
    folder.write("metadata/load/t/_config.sl.yml", "load: {name: t, metadata: {withHeader: true, separator: ';'}}\n")
    folder.write(
        "metadata/load/t/badlong.sl.yml",
        "table: {name: badlong, pattern: badlong.*.csv, attributes: [{name: id, type: long}, {name: name, type: string}]}\n",
    )
    folder.write("metadata/transform/kpi/bad.sql", "select 1 as x,\n       nosuch\nfrom (select 2 as amount)\n")
    return folder


def run(folder: ProjectFolder, executor: StarlakeExecutor, job: str) -> tuple[dg.Failure, list[str]]:
    """Run a job. Return the failure of its step, and the types of all events."""
    definitions = load_definitions_from_starlake_project(folder.root, executor=executor)
    result = definitions.resolve_job_def(job).execute_in_process(raise_on_error=False)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure: Any = event.step_failure_data.user_failure_data
    return failure, [event.event_type_value for event in result.all_events]


def build_executor(kind: str, program: Program, server: CloudRunServer) -> StarlakeExecutor:
    starlake = str(program.path)
    if kind == "cloud_run":
        server.add_job(command=[starlake])
        return connect_executor(server, logs="tail")
    return make_local_executor(kind, starlake)


def make_local_executor(kind: str, starlake: str) -> StarlakeExecutor:
    return ShellExecutor(starlake_path=starlake) if kind == "shell" else DagsterShellExecutor(starlake_path=starlake)


def find_recorded(shared: Path, case: str, name: str) -> dict[str, Any]:
    commands = json.loads((shared / f"oracle/shell/{case}.json").read_text())["commands"]
    (command,) = [c for c in commands if name in c["arguments"] and c["exit_code"]]
    found: dict[str, Any] = command
    return found


def make_program(folder: ProjectFolder, tmp_path: Path, kind: str) -> Program:
    return Program(tmp_path / "bin", folder.root, folder.root / "datasets/duckdb.db", audit=kind != "cloud_run")


def make_playing_executor(
    shared: Path, tmp_path: Path, folder: ProjectFolder, kind: str, server: CloudRunServer, case: str, name: str
) -> tuple[StarlakeExecutor, Program]:
    """Return an executor whose program plays a recorded failure."""
    program = make_program(folder, tmp_path, kind)
    program.play(find_recorded(shared, case, name))
    return build_executor(kind, program, server), program


@pytest.mark.parametrize("kind", STARLAKE)
def test_failed_sql_shows_the_error_and_its_place(
    shared: Path, tmp_path: Path, folder: ProjectFolder, server: CloudRunServer, kind: str
) -> None:
    executor, program = make_playing_executor(shared, tmp_path, folder, kind, server, "transform_features.native", "kpi.bad")
    failure, events = run(folder, executor, "tasks")
    first, place, sql, caret, last = (failure.description or "").split("\n")
    assert first.startswith('Binder Error: Referenced column "nosuch" not found in FROM clause! Candidate bindings: "amount"')
    assert place == "  in the statement:"
    assert sql[caret.index("^") :].startswith("nosuch")
    assert last == f"transform failed with exit code 1 (executor {kind})"
    assert failure.metadata["starlake/executor"].value == kind
    assert "STEP_UP_FOR_RETRY" not in events
    assert len(program.commands) == 1


def test_failed_sql_shows_file_and_line_with_the_embedded_engine(folder: ProjectFolder) -> None:
    failure, events = run(folder, DuckDBExecutor(), "tasks")
    first, *rest = (failure.description or "").split("\n")
    assert first.startswith('metadata/transform/kpi/bad.sql:2:8: Binder Error: Referenced column "nosuch" not found in FROM clause!')
    assert rest == [
        "  in the statement:",
        "    select 1 as x,",
        "           nosuch",
        "           ^",
        "    from (select 2 as amount)",
        "transform failed with exit code 1 (executor duckdb)",
    ]
    assert "STEP_UP_FOR_RETRY" not in events


@pytest.mark.parametrize("kind", STARLAKE)
def test_a_bad_value_is_in_the_failure(shared: Path, tmp_path: Path, folder: ProjectFolder, server: CloudRunServer, kind: str) -> None:
    executor, program = make_playing_executor(shared, tmp_path, folder, kind, server, "types_bad.native", "badlong")
    folder.write("datasets/stage/t/badlong.csv", "id;name\n1;Ann\nx;Bob\n")
    failure, events = run(folder, executor, "loads")
    text = failure.description or ""
    assert "Conversion Error: CSV Error on Line: 3 Original Line: x;Bob;20" in text.split("\n")[0]
    assert f"(executor {kind})" in text
    assert "STEP_UP_FOR_RETRY" not in events
    assert len(program.commands) == 1


def test_a_bad_value_is_in_the_failure_with_the_embedded_engine(folder: ProjectFolder) -> None:
    folder.write("datasets/stage/t/badlong.csv", "id;name\n1;Ann\nx;Bob\n")
    failure, events = run(folder, DuckDBExecutor(), "loads")
    text = failure.description or ""
    assert "line 3: column 'id': 'x' is not " in text
    assert text.endswith("load failed with exit code 1 (executor duckdb)")
    assert "STEP_UP_FOR_RETRY" not in events


@pytest.mark.parametrize("kind", STARLAKE)
def test_a_temporary_failure_is_retried(tmp_path: Path, folder: ProjectFolder, server: CloudRunServer, kind: str) -> None:
    program = make_program(folder, tmp_path, kind)
    lines = ['Exception in thread "main" java.sql.SQLException: IO Error: Could not set lock on file "x.db"']
    program.play({"arguments": ["transform"], "exit_code": 1, "stdout": [], "stderr": lines})
    failure, events = run(folder, build_executor(kind, program, server), "tasks")
    assert (failure.description or "").startswith('IO Error: Could not set lock on file "x.db"')
    assert "STEP_UP_FOR_RETRY" in events
    assert len(program.commands) == 2


@pytest.mark.parametrize("kind", ["shell", "dagster_shell"])
def test_a_missing_program_is_in_the_failure_and_not_retried(
    tmp_path: Path, folder: ProjectFolder, server: CloudRunServer, kind: str
) -> None:
    missing = str(tmp_path / "nowhere/starlake")
    failure, events = run(folder, make_local_executor(kind, missing), "tasks")
    assert missing in (failure.description or "").split("\n")[0]
    assert failure.metadata["starlake/executor"].value == kind
    assert "STEP_UP_FOR_RETRY" not in events


def test_a_missing_cloud_run_job_is_in_the_failure(folder: ProjectFolder, server: CloudRunServer) -> None:
    failure, events = run(folder, connect_executor(server), "tasks")
    assert "starlake" in (failure.description or "").split("\n")[0]
    assert failure.metadata["starlake/executor"].value == "cloud_run"
    assert "STEP_UP_FOR_RETRY" not in events
