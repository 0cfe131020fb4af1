"""Secrets in every place of a project, printed by programs in all forms, are never stored or printed."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster_home import make_home
from planted import PlantedProject

from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.definitions.build import InvalidProjectDefinition, build_definitions, prepare_graph
from starlake_dagster_components.errors import InvalidSetting
from starlake_dagster_components.masking import forget_secrets
from starlake_dagster_components.settings import Settings

NAMES = {"names": ["customer_pin", "*_LICENSE"]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlantedProject:
    made = PlantedProject(tmp_path / "project")
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SL_ROOT", raising=False)
    # The environment is read only once, and a thread of an earlier test may have read it.
    forget_secrets()
    return made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_home(tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


def read_all(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


def find_leaks(project: PlantedProject, *folders: Path) -> list[str]:
    return [f"{path}: {leak}" for folder in folders for path, data in read_all(folder) for leak in project.secrets.find_leaks(data)]


def add_file(project: PlantedProject) -> None:
    project.write("datasets/stage/shop/orders-1.csv", "id\n1\n2\n")


def run_all(project: PlantedProject, executor: Any, caplog: pytest.LogCaptureFixture, selection: str = "kpi_good") -> str:
    settings = Settings(executor=executor, variables=project.variables, secrets=NAMES, event_log_level="debug")
    with caplog.at_level(logging.DEBUG):
        runs = run_headless(project.root, settings, selection=selection, log_level="DEBUG")
    return json.dumps([[asset.key, asset.status, asset.error] for run in runs for asset in run.assets]) + caplog.text


def expect_status(said: str, *, succeeds: bool) -> None:
    """Look only at the asset's status: clients of earlier tests may write about failed connections to the log at any time."""
    assert said.startswith(f'[["kpi_good", "{"done" if succeeds else "failed"}", ')


def test_the_planted_project_has_many_secrets(project: PlantedProject) -> None:
    assert len(project.secrets.places) >= 40
    assert len(project.lines) > 200


@pytest.mark.parametrize("succeeds", [True, False])
@pytest.mark.parametrize("type_", ["shell", "dagster_shell"])
def test_no_secret_is_shown_if_a_program_prints_everything(
    type_: str,
    succeeds: bool,
    project: PlantedProject,
    home: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip(type_ if type_ == "dagster_shell" else "dagster")
    program = project.write_program(tmp_path, succeeds=succeeds)
    add_file(project)
    said = run_all(project, {"type": type_, "starlake_path": str(program), "env": project.env}, caplog)
    expect_status(said, succeeds=succeeds)
    printed = "".join(capfd.readouterr())
    assert project.secrets.find_leaks((said + printed).encode()) == []
    assert find_leaks(project, home, tmp_path / "cache") == []
    logs = [data for path, data in read_all(home) if path.suffix in (".out", ".err")]
    assert any(b"jdbc:oracle:thin:scott/***@db" in data for data in logs), "the program's output is in the compute logs"


def test_no_secret_is_shown_by_the_embedded_engine(
    project: PlantedProject, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    add_file(project)
    said = run_all(project, {"type": "duckdb", "env": project.env}, caplog, "*")
    assert '"kpi_good", "done"' in said
    assert '"kpi_bad", "failed"' in said
    assert '"kpi_worse", "failed"' in said
    printed = "".join(capfd.readouterr())
    assert project.secrets.find_leaks((said + printed).encode()) == []
    assert find_leaks(project, home, tmp_path / "cache") == []


@pytest.mark.parametrize("succeeds", [True, False])
def test_no_secret_is_shown_with_cloud_run(
    succeeds: bool, project: PlantedProject, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("google.cloud.run_v2")
    from cloud_run_harness import connect_executor
    from cloud_run_server import CloudRunServer

    program = project.write_program(tmp_path, succeeds=succeeds)
    add_file(project)
    with CloudRunServer() as server:
        server.add_job(command=[str(program)], cwd=str(project.root))
        executor = connect_executor(server, logs="follow", root=str(project.root), env=project.env)
        said = run_all(project, executor, caplog)
    expect_status(said, succeeds=succeeds)
    printed = "".join(capfd.readouterr())
    assert project.secrets.find_leaks((said + printed).encode()) == []
    assert find_leaks(project, home, tmp_path / "cache") == []


COMMANDS = [
    ["check"],
    ["check", "--format", "json"],
    ["check", "--format", "github"],
    ["list"],
    ["list", "--format", "json"],
    ["explain", "kpi_good"],
    ["explain", "shop_loads"],
    ["dependencies", "--format", "json"],
    ["lineage", "--format", "json"],
    ["cache"],
]


@pytest.mark.slow
def test_no_secret_is_shown_by_the_command_line(project: PlantedProject, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "SL_DAGSTER_SECRETS": "CUSTOMER_PIN,*_LICENSE",
        "SL_DAGSTER_VARIABLES": f"RUN_TOKEN={project.variables['RUN_TOKEN']}",
    }
    project.write(
        "metadata/load/shop/broken.sl.yml", "version: 1\ntable: {name: broken, pattern: '(', metadata: {format: '{{API_TOKEN}}'}}\n"
    )
    project.write("metadata/transform/kpi/lost.sl.yml", "version: 1\ntask: {connectionRef: '{{API_TOKEN}}', dagRef: '{{DB_PASSWORD}}'}\n")
    project.write("metadata/transform/kpi/lost.sql", "select {{ API_TOKEN | nofilter }} from {{DB_PASSWORD}}.x\n")
    for command in COMMANDS:
        arguments = [*command[:1], *([str(project.root)] if command[0] != "x" else []), *command[1:]]
        done = subprocess.run(
            [sys.executable, "-m", "starlake_dagster_components.cli", *arguments],
            env=environment,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert project.secrets.find_leaks(done.stdout + done.stderr) == [], arguments
        assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert find_leaks(project, tmp_path / "cache") == []


def test_no_secret_is_in_definitions(project: PlantedProject, tmp_path: Path) -> None:
    settings = Settings(executor="duckdb", variables=project.variables, secrets=NAMES)
    definitions = build_definitions(project.root, settings).definitions
    shown = []
    for spec in definitions.resolve_all_asset_specs():
        shown += [spec.description, spec.tags, {k: str(getattr(v, "value", v)) for k, v in spec.metadata.items()}]
    for job in definitions.resolve_all_job_defs():
        shown += [job.description, job.tags, {k: str(v) for k, v in job.metadata.items()}]
    repository = definitions.get_repository_def()
    shown += [str(check) for check in repository.asset_graph.asset_check_keys]
    text = repr(shown)
    assert "from ***" in text
    assert project.secrets.find_leaks(text.encode()) == []
    assert find_leaks(project, tmp_path / "cache") == []


def test_no_secret_is_in_problems_of_a_project(project: PlantedProject, caplog: pytest.LogCaptureFixture) -> None:
    project.write(
        "metadata/load/shop/orders.sl.yml",
        "version: 1\ntable: {name: orders, pattern: 'x', metadata: {format: '{{API_TOKEN}}', writeStrategy: {type: '{{CUSTOMER_PIN}}'}}}\n",
    )
    project.write("metadata/transform/kpi/good.sl.yml", "version: 1\ntask: {connectionRef: '{{API_TOKEN}}'}\n")
    settings = Settings(executor="duckdb", variables=project.variables, secrets=NAMES, on_error="fail")
    _, _, problems = prepare_graph(project.root, settings)
    assert any("***" in problem.message for problem in problems)
    with pytest.raises(InvalidProjectDefinition) as raised:
        build_definitions(project.root, settings)
    said = "\n".join([*map(str, problems), str(raised.value), caplog.text])
    assert project.secrets.find_leaks(said.encode()) == []


def test_fields_that_cannot_be_used_are_not_echoed_even_if_nothing_is_known_of_them() -> None:
    for wrong in ({"type": "shell", "api_token": "Zx81zx81"}, {"type": "shell", "timeout": "Zx81zx81"}, "Zx81:zx81"):
        with pytest.raises(InvalidSetting) as raised:
            Settings(executor={"type": "shell", "env": wrong} if isinstance(wrong, str) else wrong)
        error: BaseException | None = raised.value
        while error is not None:
            assert "Zx81" not in str(error)
            error = error.__cause__ or error.__context__


def test_settings_that_cannot_be_used_are_not_echoed(project: PlantedProject) -> None:
    secret = project.environ["GITHUB_TOKEN"]
    for wrong in (
        {"executor": {"type": "shell", "env": {"A": "b"}, "api_token": secret}},
        {"executor": {"type": "shell", "timeout": secret}},
        {"timezone": secret},
    ):
        with pytest.raises(InvalidSetting) as raised:
            Settings(**wrong)
        error: BaseException | None = raised.value
        while error is not None:
            assert secret not in str(error)
            error = error.__cause__ or error.__context__
