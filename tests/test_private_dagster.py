"""Private names of Dagster: they exist, are as expected, and are imported in one place only."""

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster
import pytest

import starlake_dagster_components

PACKAGE = Path(starlake_dagster_components.__file__).parent


def test_dagster_has_all_private_names_that_are_used() -> None:
    """If this fails, a release of Dagster has changed: update _dagster.py. Until then, runs use Dagster's multiprocess executor."""
    code = "import starlake_dagster_components._dagster"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"dagster {dagster.__version__}: {done.stderr.strip().splitlines()[-1]}"


def test_missing_private_names_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from starlake_dagster_components import _dagster, _dagster_check

    monkeypatch.delattr(_dagster.ActiveExecution, "plan_events_iterator")
    parameters = ((_dagster.run_hooks, "", "step_context new"), (_dagster.ActiveExecution, "gone", ""))
    attributes = ((_dagster.ActiveExecution, "plan_events_iterator handle_event"),)
    with pytest.raises(ImportError) as raised:
        _dagster_check.reject_changes(_dagster_check.find_changes(parameters, attributes))
    assert str(raised.value) == (
        f"dagster {dagster.__version__} is not supported: "
        "dagster._core.execution.plan.execute_plan._trigger_hook has no parameter 'new'; "
        "dagster._core.execution.plan.active.ActiveExecution.gone does not exist; "
        "dagster._core.execution.plan.active.ActiveExecution has no 'plan_events_iterator'"
    )


def test_jobs_have_everything_that_they_use() -> None:
    """If this fails, a release of Dagster has changed something: update _dagster_jobs.py. Until then, Dagster resolves the jobs."""
    code = "import starlake_dagster_components._dagster_jobs"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"dagster {dagster.__version__}: {done.stderr.strip().splitlines()[-1]}"


def test_only_some_modules_import_private_names() -> None:
    found = []
    for file in PACKAGE.rglob("*.py"):
        if file.name in ("_dagster.py", "_dagster_jobs.py", "_dagster_load.py", "_dagster_cli.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            modules = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            found += [f"{file.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)} {m}" for m in modules if m.startswith("dagster._")]
    assert found == []


def test_nothing_private_is_imported_before_a_run() -> None:
    """Code servers and definitions do not depend on private names, so they load with every release of Dagster."""
    code = (
        "import sys; from starlake_dagster_components.step_executor.definition import starlake_step_executor as s; s();"
        "sys.exit('starlake_dagster_components._dagster' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_code_servers_describe_their_definitions_once_until_they_are_reloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._grpc.__generated__ import dagster_api_pb2
    from dagster._grpc.server import DagsterApiServer

    from starlake_dagster_components import _dagster_cli

    described = []

    def describe(server: Any, request: Any) -> str:
        described.append(server._loaded_repositories)
        return f"{server._loaded_repositories}, {request.defer_snapshots}"

    monkeypatch.setattr(DagsterApiServer, "_get_serialized_external_repository_data", describe)
    _dagster_cli.describe_once()
    server: Any = SimpleNamespace(_loaded_repositories="first")
    with_jobs = dagster_api_pb2.ExternalRepositoryRequest(serialized_repository_python_origin="o", defer_snapshots=False)
    without = dagster_api_pb2.ExternalRepositoryRequest(serialized_repository_python_origin="o", defer_snapshots=True)
    ask = DagsterApiServer._get_serialized_external_repository_data
    assert [ask(server, request) for request in (with_jobs, without, with_jobs, without)] == ["first, False", "first, True"] * 2
    assert described == ["first", "first"]
    server._loaded_repositories = "second"
    assert ask(server, without) == ask(server, without) == "second, True"
    assert described == ["first", "first", "second"]


def test_migrations_of_databases_are_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from alembic.script import ScriptDirectory

    from starlake_dagster_components import _dagster_cli

    monkeypatch.setattr(ScriptDirectory, "from_config", ScriptDirectory.from_config)
    _dagster_cli.read_migrations_once()
    read: list[str] = []
    load = ScriptDirectory._load_revisions

    def load_revisions(self: ScriptDirectory) -> Any:
        read.append(self.dir)
        return load(self)

    monkeypatch.setattr(ScriptDirectory, "_load_revisions", load_revisions)
    (tmp_path / "dagster.yaml").touch()
    for _ in range(2):
        with dagster.DagsterInstance.from_config(str(tmp_path)) as instance:
            assert instance.get_runs() == []
    assert len(read) == 1
