"""``sl-dagster warm-up``, which creates class data archives ahead of time."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from java_program import JavaProgram, find_jdks
from project_folder import ProjectFolder

from starlake_dagster_components.cli.main import main


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    jdks = find_jdks()
    if not jdks:
        pytest.skip("needs a JDK")
    program = JavaProgram(tmp_path / "program", jdks[0])
    program.folder.mkdir()
    program.build()
    program.write_launcher()
    monkeypatch.setenv("SL_STARLAKE_PATH", str(program.launcher))
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "cache"))
    return program.launcher


def test_archives_are_made_once_and_can_be_read_by_all(shop: ProjectFolder, launcher: Path, tmp_path: Path) -> None:
    first = CliRunner().invoke(main, ["warm-up", str(shop.root), "--executor", "shell"])
    assert first.exit_code == 0, first.output
    assert f"{launcher}, native: created:" in first.output
    made = [path for path in (tmp_path / "cache" / "jvm").iterdir() if path.suffix in (".jsa", ".aot")]
    assert len(made) == 1
    assert (made[0].stat().st_mode | (tmp_path / "cache").stat().st_mode) & 0o444 == 0o444
    assert not (shop.root / "datasets").exists(), "nothing of the project is run"
    second = CliRunner().invoke(main, ["warm-up", str(shop.root), "--executor", "shell"])
    assert "already exists" in second.output
    assert second.exit_code == 0


def test_a_launcher_without_java_is_reported(shop: ProjectFolder, launcher: Path) -> None:
    launcher.write_text("#!/bin/sh\necho 'no Starlake here'; exit 4\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["warm-up", str(shop.root), "--executor", "shell"])
    assert result.exit_code == 1
    assert "started no Java" in result.output
    assert "no Starlake here" in result.output


def test_a_missing_launcher_is_reported(shop: ProjectFolder, launcher: Path) -> None:
    shutil.rmtree(launcher.parent)
    result = CliRunner().invoke(main, ["warm-up", str(shop.root), "--executor", "shell"])
    assert result.exit_code == 1
    assert "does not exist" in result.output


def test_other_executors_have_nothing_to_warm_up(shop: ProjectFolder) -> None:
    result = CliRunner().invoke(main, ["warm-up", str(shop.root), "--executor", "duckdb"])
    assert (result.exit_code, "nothing to do" in result.output) == (0, True)


def test_jvm_off_creates_no_archives(shop: ProjectFolder, launcher: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["warm-up", str(shop.root), "--executor", '{"type": "shell", "jvm": "off"}'])
    assert (result.exit_code, "nothing to do" in result.output) == (0, True)
    assert not (tmp_path / "cache" / "jvm").exists()
