"""Pages that readers follow with a project of their own, and code that is run after the project was."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from markdown_blocks import OUTPUT, REPOSITORY, list_pages, read_blocks
from workspaces import Workspace

from starlake_dagster_components import __file__ as package

MOVING_OVER = REPOSITORY / "docs/how_to/moving_over.md"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["StarBake", "starlake-docker-starbake-dagster"])
def test_the_migration_walkthrough_works_with_real_projects(name: str, shared: Path, tmp_path: Path) -> None:
    """Run the commands of the page on real projects, except those that are specific to the page's project."""
    workspace = Workspace(tmp_path, "example")
    subprocess.run(["cp", "-r", str(shared / "corpus" / name), str(workspace.root / "projects" / name)], check=True)
    subprocess.run(["chmod", "-R", "u+w", str(workspace.root / "projects" / name)], check=True)
    ran = 0
    for block in read_blocks(MOVING_OVER):
        if block.reason or block.title == OUTPUT or "examples/" in block.text:
            continue
        block = block.replace("projects/shop", f"projects/{name}").replace(" --strict", "")
        if block.title:
            workspace.write(block)
        elif block.language == "console":
            workspace.run(block)
            ran += 1
    assert ran >= 3
    defs = (workspace.root / "defs/shop/defs.yaml").read_text(encoding="utf-8")
    assert f"projects/{name}" in defs
    (workspace.root / "defs/__init__.py").touch()
    code = (
        "import dagster as dg; from pathlib import Path\n"
        "found = dg.load_from_defs_folder(path_within_project=Path.cwd())\n"
        "print('jobs:', *sorted(job.name for job in found.jobs))"
    )
    (workspace.root / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "defs"\ndefs_module = "defs"\n', encoding="utf-8"
    )
    environment = {"PYTHONPATH": f"{Path(package).parents[1]}:{workspace.root}", "PATH": "/usr/bin:/bin", "SL_DAGSTER_CACHE": "off"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workspace.root, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"jobs: \w+", done.stdout), done.stdout


@pytest.mark.slow
def test_downstream_assets_read_tables_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path, "example")
    (page,) = [page for page in list_pages() if page.name == "downstream_assets.md"]
    modules: dict[str, Any] = {block.title: block for block in read_blocks(page) if block.title}
    deliver = "cp -r examples/tallow_lane/batches/1/. projects/shop/datasets/"
    workspace.run_script(f"{deliver}\nsl-dagster run projects/shop --executor duckdb --quiet --select '+key:kpi_branch_day'", "the project")
    monkeypatch.chdir(workspace.root)
    for title, asset, metadata, least in (("reports.py", "branch_report", "branches", 5), ("frames.py", "busiest_days", "days", 299)):
        module: dict[str, Any] = {"__name__": title}
        exec(compile(modules[title].text, title, "exec"), module)
        defs = dg.Definitions.merge(module["defs"](), dg.Definitions(jobs=[dg.define_asset_job("own", [asset])]))
        result = defs.resolve_job_def("own").execute_in_process(instance=dg.DagsterInstance.ephemeral())
        (made,) = result.asset_materializations_for_node(asset)
        assert made.metadata[metadata].value == least
