"""The steps of deploy/Dockerfile, in folders that stand for the images."""

import shutil
import subprocess
import sys
import sysconfig
import time

import pytest
from dockerfile import Image, build, make_offline_environment, read_steps
from free_port import find_free_port
from markdown_blocks import REPOSITORY

DOCKERFILE = REPOSITORY / "deploy/Dockerfile"


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """All stages. Packages come from the environment of the tests, not from an index."""
    for package in ("dagster_postgres", "hatchling", "dagster_webserver"):
        pytest.importorskip(package, reason="needs what requirements/dev.in lists")
    folder = tmp_path_factory.mktemp("image")
    context = folder / "context"
    for name in ("starlake_dagster_components", "deploy", "examples"):
        shutil.copytree(REPOSITORY / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, context / name)
    (context / "starlake").mkdir()
    (context / "starlake/starlake").write_text("#!/bin/sh\necho starlake 1.8.2\n", encoding="utf-8")
    # A venv of this program uses the packages of the tests' environment, and installs nothing from the network.
    programs = folder / "programs"
    programs.mkdir()
    wrapper = programs / "python"
    packages = sysconfig.get_paths()["purelib"]
    wrapper.write_text(
        f'#!/bin/bash\nset -eu\n{sys.executable} "$@"\n'
        f'if [ "$1 $2" = "-m venv" ]; then for d in "$3"/lib/python3.*/site-packages; do echo {packages} > "$d/tests.pth"; done; fi\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    return build(DOCKERFILE, context, folder / "stages", {}, make_offline_environment(wrapper))


def run_in(image: Image, *command: str) -> str:
    environment = {**image.environment, "PATH": f"{image.root}/opt/dagster/venv/bin:/usr/bin:/bin"}
    python = f"{image.root}/opt/dagster/venv/bin/python"
    done = subprocess.run([python, *command], env=environment, cwd=image.root, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_package_is_installed_with_its_extra_and_the_plan_is_in_the_image(stages: dict[str, Image]) -> None:
    image = stages[""]
    code = "import starlake_dagster_components as package, dagster_postgres, duckdb; print(package.__file__)"
    assert f"{image.root}/opt/dagster/venv/lib" in run_in(image, "-c", code)
    assert list((image.root / "opt/dagster/plans").rglob("*")), "sl-dagster cache kept nothing"
    assert (image.root / "opt/dagster/project/metadata/application.sl.yml").is_file()
    assert (image.root / "opt/dagster/home/dagster.yaml").is_file()


@pytest.mark.slow
def test_the_command_of_the_image_serves_the_project(stages: dict[str, Image]) -> None:
    image = stages[""]
    port = str(find_free_port())
    command = [port if word == "4000" else word for word in image.command]
    python = f"{image.root}/opt/dagster/venv/bin/python"
    # The tests' environment has the program `dagster`, but that of the image has only the package.
    command = [python, "-m", *command]
    environment = {**image.environment, "SL_DAGSTER_EXECUTOR": "duckdb", "DAGSTER_HOME": ""}
    health = [python, "-m", "dagster", "api", "grpc-health-check", "-p", port]
    server = subprocess.Popen(command, env=environment, cwd=image.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 600
        while subprocess.run(health, env=environment, capture_output=True, check=False).returncode:
            assert server.poll() is None, f"the code server ended with exit code {server.returncode}"
            assert time.monotonic() < end, "the code server does not answer"
    finally:
        server.terminate()
        server.wait(300)


@pytest.mark.slow
def test_only_the_starlake_stage_contains_starlake(stages: dict[str, Image]) -> None:
    assert [text.split("&&")[0].strip() for text in stages["java"].skipped if "apt-get" in text] == ["apt-get update"]
    assert stages["java"].environment["SL_STARLAKE_PATH"].endswith("/opt/starlake/starlake")
    assert not (stages["java"].root / "opt/starlake").exists()
    assert (stages["starlake"].root / "opt/starlake/starlake").is_file()
    assert not (stages[""].root / "opt/starlake").exists()


def test_base_images_name_their_debian_release() -> None:
    """Otherwise, the next release, which may not have OpenJDK 17, replaces it without notice."""
    bases = [step.text.split()[0] for step in read_steps(DOCKERFILE) if step.name == "FROM" and step.text.startswith("python:")]
    assert bases == ["python:${PYTHON}-slim-${DEBIAN}"] * 2


def test_only_users_packages_and_owners_need_an_image() -> None:
    """Check the steps that the other tests of this file do not run."""
    runs = [step.text.split()[0] for step in read_steps(DOCKERFILE) if step.name == "RUN"]
    assert sorted(word for word in runs if word in ("apt-get", "useradd", "chown")) == ["apt-get", "chown", "useradd"]
    assert len(runs) - 3 == 5
