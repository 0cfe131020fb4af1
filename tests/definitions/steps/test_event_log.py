"""The lines of Starlake that go to the event log. All of them are in the step's standard output."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_home import make_home
from starlake_playback import Program

from starlake_dagster_components import ShellExecutor
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.settings import Settings


@pytest.mark.parametrize(
    ("level", "statements", "first"),
    [("warning", False, True), ("info", True, True), ("debug", True, True)],
    ids=["warning", "info", "debug"],
)
def test_lines_of_a_command_are_in_the_event_log(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: Any, statements: bool, first: bool
) -> None:
    root = tmp_path / "project"
    monkeypatch.setenv("DAGSTER_HOME", str(make_home(tmp_path / "home")))
    shutil.copytree(shared / "cases/real/half0", root)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    program = Program(tmp_path / "bin", root, root / "datasets/duckdb.db")
    program.double("native")
    (root / "incoming/d").mkdir(parents=True)
    (root / "incoming/d/ev_1.csv").write_text("id,name\n1,fine\n")
    (root / "incoming/d/ev_2.csv").write_text("id,name\n2,first\n")
    (result,) = run_headless(root, Settings(executor=ShellExecutor(starlake_path=str(program.path)), event_log_level=level))
    assert not result.success
    with dg.DagsterInstance.get() as instance:
        lines = [e.user_message for e in instance.all_logs(result.run_id)]
        (captured,) = [
            e.dagster_event.logs_captured_data
            for e in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
            if e.dagster_event and any(key.startswith("d_ev") for key in e.dagster_event.logs_captured_data.step_keys or ())
        ]
        manager = instance.compute_log_manager
        text = (manager.get_log_data(manager.build_log_key_for_run(result.run_id, captured.file_key)).stdout or b"").decode()
    assert any("'LOAD' AS STEP" in line for line in lines) == statements
    assert any(line.startswith("File(s): file:") for line in lines)
    assert any("ERROR IngestionWorkflow: java.sql.SQLException" in line for line in lines)
    assert any("Watch Domain: d" in line for line in lines) == first
    for shown in ("'LOAD' AS STEP", "File(s): file:", "ERROR IngestionWorkflow: java.sql.SQLException", "Original Line: first"):
        assert shown in text
