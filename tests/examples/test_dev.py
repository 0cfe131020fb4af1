"""``make dev``: the project that it opens, and its settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from project_folder import ProjectFolder

REPOSITORY = Path(__file__).resolve().parents[2]

LOOK = """
import json
from starlake_dagster_components.code_location import defs
repository = defs.get_repository_def()
(ops,) = [sorted(n.name for n in j.nodes) for j in repository.get_all_jobs() if j.name == {job!r}]
print(json.dumps([ops, sorted({{type(s).__name__ for s in repository.sensor_defs}})]))
"""


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(REPOSITORY))
    from examples.dev import build_environment
    from examples.workspace import Workspace

    return lambda given: build_environment(given, Workspace(tmp_path / "demo"))


def test_another_project_has_its_own_settings_and_no_executor_of_the_example(dev, shop: ProjectFolder, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(shop.root.parent)
    environment = dev({"SL_ROOT": shop.root.name, "SL_DAGSTER_ASSET_KEYS": "path"})
    assert environment == {"SL_ROOT": str(shop.root), "SL_DAGSTER_ASSET_KEYS": "path"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK.format(job="shop_tables")],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)[0] == ["shop", "shop__items", "shop__orders"]


def test_the_example_runs_on_duckdb_by_default(dev, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    environment = dev({"PATH": "x"})
    project = tmp_path / "demo" / "project"
    assert environment == {
        "SL_ROOT": str(project),
        "SL_DAGSTER_EXECUTOR": "duckdb",
        "DAGSTER_HOME": str(tmp_path / "demo" / "dagster_home"),
        "PATH": "x",
    }
    assert list(project.glob("datasets/incoming/*/*"))
    assert dev({"SL_DAGSTER_EXECUTOR": "shell"})["SL_DAGSTER_EXECUTOR"] == "shell"
