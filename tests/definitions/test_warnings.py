import logging
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project

WARNINGS = "starlake/warnings"


@pytest.fixture
def warned(shop: ProjectFolder) -> ProjectFolder:
    """The shop with a warning about a DAG config, one about a task's SQL, and one without a file."""
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text() + '  options:\n    load_dependencies: "true"\n'
    shop.write("metadata/dags/transforms.sl.yml", config)
    shop.write("metadata/transform/kpi/top.sql", "select (((\n")
    return shop


@pytest.fixture(autouse=True)
def a_starlake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "starlake"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("SL_STARLAKE_PATH", str(program))


def list_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "starlake_dagster_components"]


def test_each_warning_is_one_line_with_its_location(warned: ProjectFolder, caplog: pytest.LogCaptureFixture) -> None:
    load_definitions_from_starlake_project(warned.root, env="NOPE")
    lines = sorted(list_logged(caplog))
    assert len(lines) == 3
    assert all("\n" not in line for line in lines)
    assert lines[0].startswith(f"{warned.root}/metadata/dags/transforms.sl.yml:7: option 'load_dependencies'")
    assert lines[1].startswith(f"{warned.root}/metadata/transform/kpi/top.sql:1: ")
    assert lines[2].startswith(f"{warned.root}: the environment 'NOPE'")


def test_a_warning_is_logged_once_and_again_when_it_returns(warned: ProjectFolder, caplog: pytest.LogCaptureFixture) -> None:
    load_definitions_from_starlake_project(warned.root)
    assert len(list_logged(caplog)) == 2
    load_definitions_from_starlake_project(warned.root)
    assert len(list_logged(caplog)) == 2
    broken = (warned.root / "metadata/transform/kpi/top.sql").read_text()
    warned.write("metadata/transform/kpi/top.sql", "select 1\n")
    load_definitions_from_starlake_project(warned.root)
    assert len(list_logged(caplog)) == 2
    warned.write("metadata/transform/kpi/top.sql", broken)
    load_definitions_from_starlake_project(warned.root)
    assert len(list_logged(caplog)) == 3
    assert "top.sql" in list_logged(caplog)[-1]


def load_in_a_process(root: Path, before: str = "") -> list[str]:
    code = (
        f"{before}\n"
        "from starlake_dagster_components import load_definitions_from_starlake_project as load\n"
        f"for _ in range(2): load({str(root)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    return [line for line in done.stderr.splitlines() if "top.sql" in line]


def test_without_a_configured_console_a_line_names_the_logger(warned: ProjectFolder) -> None:
    (line,) = load_in_a_process(warned.root)
    assert f" - starlake_dagster_components - WARNING - {warned.root}/metadata/transform/kpi/top.sql:1: " in line


def test_configured_logging_is_the_only_one_that_writes(warned: ProjectFolder) -> None:
    (line,) = load_in_a_process(warned.root, "import logging; logging.basicConfig(format='ours %(name)s %(message)s')")
    assert line.startswith(f"ours starlake_dagster_components {warned.root}/metadata/transform/kpi/top.sql:1: ")


def test_assets_and_jobs_show_the_warnings_about_their_files(warned: ProjectFolder) -> None:
    defs = load_definitions_from_starlake_project(warned.root)
    shown = {s.key.to_user_string(): s.metadata[WARNINGS] for s in defs.resolve_all_asset_specs() if WARNINGS in s.metadata}
    assert list(shown) == ["kpi_top"]
    assert "metadata/transform/kpi/top.sql:1: " in str(shown["kpi_top"])
    repository = defs.get_repository_def()
    assert "metadata/dags/transforms.sl.yml:7: option 'load_dependencies'" in str(repository.get_job("kpi_tasks").metadata[WARNINGS].value)
    assert WARNINGS not in repository.get_job("shop_tables").metadata


def test_without_warnings_nothing_is_logged(shop: ProjectFolder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "starlake_dagster_components"):
        defs = load_definitions_from_starlake_project(shop.root)
    assert list_logged(caplog) == []
    assert isinstance(defs, dg.Definitions)
    assert not any(WARNINGS in s.metadata for s in defs.resolve_all_asset_specs())
