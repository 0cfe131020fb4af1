"""The files for Dagster+: ``dagster_cloud.yaml``, and a PEX with the example."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from markdown_blocks import REPOSITORY, read_blocks

PROGRAMS = Path(sys.executable).parent


def test_dagster_cloud_yaml_passes_the_check_of_the_command_line(tmp_path: Path) -> None:
    program = PROGRAMS / "dagster-cloud"
    if not program.exists():
        pytest.skip("needs the program dagster-cloud")
    texts = [(REPOSITORY / "dagster_cloud.yaml").read_text(encoding="utf-8")]
    page = REPOSITORY / "docs/how_to/dagster_plus.md"
    texts += [block.text for block in read_blocks(page) if block.title == "dagster_cloud.yaml"]
    assert len(texts) == 3
    code = (
        "import sys, yaml; from dagster_cloud_cli.config.models import load_dagster_cloud_yaml\n"
        "print(len(load_dagster_cloud_yaml(open(sys.argv[1]).read()).locations))"
    )
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "1"


def test_the_module_of_dagster_cloud_yaml_exists() -> None:
    (location,) = yaml.safe_load((REPOSITORY / "dagster_cloud.yaml").read_text(encoding="utf-8"))["locations"]
    assert (REPOSITORY / location["working_directory"] / f"{location['code_source']['module_name']}.py").is_file()


@pytest.mark.slow
def test_a_pex_with_the_code_location_loads(tmp_path: Path) -> None:
    program = PROGRAMS / "pex"
    if not program.exists():
        pytest.skip("needs the program pex")
    sources = tmp_path / "sources"
    for name in ("starlake_dagster_components", "examples", "defs"):
        shutil.copytree(REPOSITORY / name, sources / name, ignore=shutil.ignore_patterns("__pycache__", "batches"))
    shutil.copy(REPOSITORY / "definitions.py", sources)
    shutil.copy(REPOSITORY / "pyproject.toml", sources)
    built = tmp_path / "location.pex"
    requirements = ("dagster", "duckdb", "sqlglot", "jinja2", "pydantic", "pyyaml", "click", "rich")
    command = [program, "--venv-repository", PROGRAMS.parent, "-D", sources, "-o", built, "--disable-cache", *requirements]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=900, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    code = "import definitions; print(len(definitions.defs().resolve_all_asset_specs()))"
    environment = {"PATH": "/usr/bin:/bin", "PEX_ROOT": str(tmp_path / "root"), "SL_DAGSTER_CACHE": "off", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, built, "-c", code], capture_output=True, text=True, check=False, env=environment, cwd=sources, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 37
