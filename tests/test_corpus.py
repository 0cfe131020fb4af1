"""Real projects: each loads, or its problems are reported. Three run through Dagster, and give the same tables as Starlake."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest

from starlake_dagster_components import DuckDBExecutor, ShellExecutor
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.definitions.build import build_definitions, prepare_graph
from starlake_dagster_components.engine import run_command
from starlake_dagster_components.settings import Settings

BOTH = ("dagster", "airflow", "snowflake")

PROJECTS: dict[str, tuple[int, int, int, list[str]]] = {
    # tables, tasks, jobs (templates of every orchestrator counted), errors
    "StarBake": (4, 7, 8, []),
    "starlake-bootstrap-empty-project": (0, 0, 0, []),
    "starlake-bootstrap-sample-project": (3, 3, 4, []),
    "starlake-docker-starbake-dagster": (3, 3, 4, []),
    "starlake-samples-any-engine": (11, 3, -1, ["SL_DAG_REF is not set"]),
    "starlake-samples-ducklake": (8, 21, 0, []),
    "starlake-samples-postgres": (4, 1, 0, ["SL_CONNECTION is not set"]),
    "starlake-test-framework": (2, 3, 0, []),
    "zedach-StarBake-orchestration2": (4, 7, -1, ["expectations[0]: expected a mapping"]),
}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME", "SL_DAG_REF", "SL_CONNECTION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", PROJECTS)
def test_every_real_project_loads_or_lists_its_errors(shared: Path, name: str) -> None:
    tables, tasks, jobs, wrong = PROJECTS[name]
    settings = Settings(executor=ShellExecutor(), orchestrators=BOTH)
    plan, _, problems = prepare_graph(shared / "corpus" / name, settings)
    errors = [str(p) for p in problems if p.severity == "error"]
    assert len(errors) == len(wrong), errors
    for expected, error in zip(wrong, errors, strict=True):
        assert expected in error
        assert re.match(r"metadata/\S+:\d+: ", error)
    assert (len(plan.project.tables), len(plan.project.tasks)) == (tables, tasks)
    if not errors:
        assert len(plan.pipelines) == jobs
        build_definitions(shared / "corpus" / name, settings).definitions.get_repository_def().load_all_definitions()


def test_unsupported_connections_are_reported_when_a_project_is_loaded(shared: Path) -> None:
    _, _, problems = prepare_graph(shared / "corpus" / "StarBake", Settings(executor=DuckDBExecutor(), orchestrators=BOTH))
    (error,) = [str(p) for p in problems if p.severity == "error"]
    assert error.startswith(
        "metadata/application.sl.yml:18: connection 'localFileSystem' uses spark; the duckdb executor writes only to DuckDB files"
    )


def test_loading_writes_nothing_into_a_project(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(shared / "corpus" / "starlake-docker-starbake-dagster", root)
    before = sorted((str(p.relative_to(root)), p.stat().st_mtime_ns) for p in root.rglob("*"))
    build_definitions(root, Settings(executor=DuckDBExecutor(), env="DUCKDB"))
    assert sorted((str(p.relative_to(root)), p.stat().st_mtime_ns) for p in root.rglob("*")) == before


def _load_observer(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("observe", shared / "oracle" / "runs" / "observe.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _observe_tables(shared: Path, root: Path) -> dict[str, Any]:
    observer = _load_observer(shared)
    found = observer.tables(root, observer.Normalizer(root), 0)
    return {name: _simplify(table) for name, table in found.items() if not name.startswith("audit.")}


def _simplify(table: dict[str, Any]) -> dict[str, Any]:
    return {"count": table["count"], "md5": table["md5"], "columns": [(c["name"], c["type"]) for c in table["columns"]]}


def _read_expected(shared: Path, case: str, step: int) -> dict[str, Any]:
    """Return the tables as the Starlake command line left them after a step (counted from 0)."""
    observer = _load_observer(shared)
    recorded = observer.expand(json.loads((shared / "oracle" / "runs" / f"{case}.json").read_text(encoding="utf-8")))
    return {name: _simplify(t) for name, t in recorded["steps"][step]["tables"].items() if not name.startswith("audit.")}


def _run_all(root: Path, settings: Settings) -> None:
    results = run_headless(root, settings)
    assert results
    assert [a.error for r in results for a in r.assets if a.error] == []
    assert all(r.success for r in results)


def _stage(root: Path, domain: str) -> None:
    """Stage files by hand, because a load job with the pre-load strategy none does not."""
    lines: list[str] = []
    done = run_command(
        ["stage", "--domains", domain], environ={"SL_ROOT": str(root)}, out=lines.append, log=lambda level, line: lines.append(line)
    )
    assert done.exit_code == 0, lines


def test_the_bootstrap_sample_project_runs(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(shared / "corpus" / "starlake-bootstrap-sample-project", root)
    settings = Settings(executor=DuckDBExecutor(), orchestrators=BOTH)
    _stage(root, "starbake")
    _run_all(root, settings)
    case = "corpus.starlake-bootstrap-sample-project"
    assert _observe_tables(shared, root) == _read_expected(shared, case, 4)
    _run_all(root, settings)
    assert _observe_tables(shared, root) == _read_expected(shared, case, 7)


def test_the_docker_project_runs_with_imported_pre_load(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(shared / "corpus" / "starlake-docker-starbake-dagster", root)
    # its DAG configs set SL_ENV=PG, whose database does not exist here; the setting overrides it
    settings = Settings(executor=DuckDBExecutor(), env="DUCKDB")
    results = run_headless(root, settings, job="dagster_starbake_tables_daily")
    assert {a.key: a.status for a in results[0].assets} == {
        "starbake": "skipped",
        "starbake_customers": "skipped",
        "starbake_products": "skipped",
    }
    for file in (root / "datasets/archive/starbake").iterdir():
        shutil.copy(file, root / "datasets/incoming/starbake" / file.name)
    _run_all(root, settings)
    assert _observe_tables(shared, root) == _read_expected(shared, "corpus.starlake-docker-starbake-dagster", 6)


@pytest.mark.slow
def test_starbake_runs_five_days(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the application file of the recorded case names no DAG config
    monkeypatch.setenv("SL_DAG_REF_LOAD", "dagster_load_shell")
    monkeypatch.setenv("SL_DAG_REF_TRANSFORM", "dagster_transform_shell")
    case = shared / "oracle" / "runs" / "projects" / "corpus.StarBake"
    root = tmp_path / "project"
    shutil.copytree(shared / "corpus" / "StarBake", root)
    shutil.copytree(case / "metadata", root / "metadata", dirs_exist_ok=True)
    (root / "metadata/types/default.sl.yml").unlink()
    steps = json.loads((case / "steps.json").read_text(encoding="utf-8"))
    for pattern, old, new in steps["edit"]:
        for path in root.glob(pattern):
            path.write_text(re.sub(old, new, path.read_text(encoding="utf-8")), encoding="utf-8")
    settings = Settings(executor=DuckDBExecutor())
    incoming = root / "datasets/incoming/starbake/day_1"
    shutil.copytree(root / "_data/day_1", incoming)
    _stage(root, "starbake")
    _run_all(root, settings)
    assert _observe_tables(shared, root) == _read_expected(shared, "corpus.StarBake", 8)

    shutil.copytree(root / "_data/day_2", incoming, dirs_exist_ok=True)
    _stage(root, "starbake")
    (loaded,) = run_headless(root, settings, job="starbake")
    assert loaded.success
    for day in (3, 4, 5):
        shutil.copytree(root / f"_data/day_{day}", incoming, dirs_exist_ok=True)
    _stage(root, "starbake")
    for job in ("starbake", "customerlifetimevalue", "productperformance", "productprofitability"):
        (result,) = run_headless(root, settings, job=job)
        assert result.success
    assert _observe_tables(shared, root) == _read_expected(shared, "corpus.StarBake", 15)
    with duckdb.connect(str(root / "datasets/duckdb.db"), read_only=True) as connection:
        assert connection.execute("select count(*) from starbake.Orders").fetchone() == (50,)
