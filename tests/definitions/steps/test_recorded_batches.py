"""Loads of the real Starlake, played back through Dagster as single tables and as batches: rows, files, checks, failures, and retries."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from starlake_playback import Program
from test_recorded_starlake import LOADS, Model, deliver, load_recording

from starlake_dagster_components import ShellExecutor
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.project.model import Domain
from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.settings import Settings

DAG = """version: 1
dag:
  template: load/dagster__scheduled_table__shell.py.j2
  filename: "{{domain}}_all.py"
  options: { pre_load_strategy: none, retries: '1', retry_delay: '0' }
"""


pytestmark = pytest.mark.usefixtures("plain_environment")


def put_files(step: Any, case: Path, root: Path, domain: Domain, model: Model) -> None:
    """Put the files of a step into the stage folder."""
    staged = {"put": [(source, target.replace("incoming", "stage")) for source, target in step.get("put", ())]}
    deliver(staged, case, root)
    for source, _ in staged["put"]:
        found = case / source
        for file in sorted(found.iterdir()) if found.is_dir() else [found]:
            model.add(next(t.name for t in domain.tables if re.fullmatch(t.pattern or "", file.name)), file)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [False, True], ids=["alone", "batch"])
@pytest.mark.parametrize("name", [name for name in LOADS if name.endswith(".native")])
def test_recorded_loads_have_the_same_results_in_dagster(shared: Path, tmp_path: Path, name: str, batch: bool) -> None:
    commands, _, case = load_recording(shared, name)
    steps = [s for s in json.loads((case / "steps.json").read_text())["steps"] if "command" in s]
    root = tmp_path / "project"
    shutil.copytree(case / "metadata", root / "metadata")
    (root / "metadata/dags").mkdir(exist_ok=True)
    (root / "metadata/dags/l.sl.yml").write_text(DAG)
    application = root / "metadata/application.sl.yml"
    application.write_text(application.read_text().replace("application:\n", "application:\n  dagRef: {load: l}\n", 1))
    program = Program(tmp_path / "bin", root, root / "datasets/duckdb.db")
    settings = Settings(executor=ShellExecutor(starlake_path=str(program.path)), batch=batch)
    domain = read_project(root).domains[0]
    model = Model(root, root / "datasets/duckdb.db", domain.name)
    for number, (recorded, step) in enumerate(zip(commands, steps, strict=True)):
        put_files(step, case, root, domain, model)
        arguments = recorded["arguments"]
        if arguments[0] != "load":
            continue
        program.play(recorded)
        started = len(program.commands)
        names = [arguments[arguments.index("--tables") + 1]] if "--tables" in arguments else [t.name for t in domain.tables]
        # If one command loads all tables of a domain, only a batch can run this command.
        chosen = names if batch else names[-1:]
        (result,) = run_headless(root, settings, selection=" or ".join(f'key:"{domain.name}_{table}"' for table in chosen))
        with dg.DagsterInstance.get() as instance:
            events = [e.dagster_event for e in instance.all_logs(result.run_id) if e.dagster_event]
        kinds = [event.event_type_value for event in events]
        after_commit = name.startswith("expectations_load") and number in (5, 6, 7)
        assert result.success == (recorded["exit_code"] == 0)
        bad_values = name.startswith(("types_bad", "load_grouped"))
        hopeless = after_commit or bad_values
        assert kinds.count("STEP_UP_FOR_RETRY") == (0 if result.success or hopeless else 1), "only what can succeed is tried again"
        assert len(program.commands) - started == kinds.count("STEP_UP_FOR_RETRY") + 1
        without_files = [table for table in chosen if table not in [delivered for delivered, *_ in model.delivered]]
        assert kinds.count("ASSET_MATERIALIZATION") == len(chosen if result.success else without_files)
        if name.startswith("expectations_load"):
            passed = [e.asset_check_evaluation_data.passed for e in events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
            recorded_checks = [[True, True], [False], [False], [False], [False], [], [False], [True, False], []]
            assert sorted(passed) == sorted(recorded_checks[number])
        model.check()
