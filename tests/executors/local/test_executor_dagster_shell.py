"""The executor over the package dagster-shell: the contract within the limits of that package."""

import gc
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from contract import ExecutorContract, Limit, Watched, build_command
from program import is_alive
from test_executor_shell import ShellHarness, cancel_when, list_pids, starts_children, write_script

from starlake_dagster_components.errors import CommandCanceled, CommandError, MissingDependency
from starlake_dagster_components.executors.base import StarlakeExecutor
from starlake_dagster_components.executors.local.dagster_shell import DagsterShellExecutor
from starlake_dagster_components.pipelines.pipeline import Pipeline
from starlake_dagster_components.project.model import DagConfig


class DagsterShellHarness(ShellHarness):
    limits: frozenset[Limit] = frozenset({"errors", "bytes"})

    def executor(self, *, env: Mapping[str, str] | None = None, timeout: float | None = None) -> StarlakeExecutor:
        return DagsterShellExecutor(env=dict(env or {}), timeout=timeout, grace_period=5)


class TestDagsterShellContract(ExecutorContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> DagsterShellHarness:
        return DagsterShellHarness(tmp_path)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def run(program: str, watched: Watched, project: Path, executor: DagsterShellExecutor | None = None) -> object:
    command = build_command(project=str(project), program=program)
    return (executor or DagsterShellExecutor(grace_period=5)).run(command, watched.invocation())


def test_only_the_program_s_own_lines_are_shown(tmp_path: Path, watched: Watched) -> None:
    run(write_script(tmp_path, "print('one')\nprint('two')"), watched, tmp_path)
    assert watched.texts[1:] == ["one", "two"]


def test_canceling_ends_the_children_too(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, starts_children("time.sleep(600)") + "time.sleep(600)")
    canceler = cancel_when(watched, lambda: len(list_pids(tmp_path)) == 2)
    with pytest.raises(CommandCanceled):
        run(program, watched, tmp_path)
    canceler.join()
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]


def test_children_that_outlive_the_program_are_ended(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, starts_children("time.sleep(600)") + "print('done')")
    run(program, watched, tmp_path)
    assert watched.texts[1] == "done"
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]


@pytest.fixture
def unreaped() -> Iterator[None]:
    """Let dagster-shell leave a child that it did not wait for, because an exception ended its wait."""
    yield
    gc.collect()


@pytest.mark.usefixtures("unreaped")
@pytest.mark.filterwarnings(r"ignore:subprocess \d+ is still running:ResourceWarning")
def test_an_interruption_from_within_ends_the_processes(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, starts_children("time.sleep(600)") + "print('started', flush=True)\ntime.sleep(600)")

    def interrupt(line: str) -> None:
        if line == "started":
            raise KeyboardInterrupt

    watched.on_line = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(program, watched, tmp_path)
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]


@pytest.mark.usefixtures("unreaped")
@pytest.mark.filterwarnings(r"ignore:subprocess \d+ is still running:ResourceWarning")
def test_bytes_that_are_not_text_name_the_executor_that_can_read_them(tmp_path: Path, watched: Watched) -> None:
    program = write_script(
        tmp_path,
        "import os, time\nopen('pid-%d' % os.getpid(), 'w').close()\nos.write(1, b'\\xe9\\n' * 9999)\ntime.sleep(600)",
    )
    with pytest.raises(CommandError, match="type: shell"):
        run(program, watched, tmp_path)
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False]


def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = write_script(tmp_path, "")
    monkeypatch.setitem(sys.modules, "dagster_shell", None)
    with pytest.raises(MissingDependency, match=r"pip install --no-deps dagster-shell"):
        run(program, watched, tmp_path)


def test_a_missing_package_is_found_when_definitions_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline("p", "load", DagConfig("d", "t", "f"), "shell", "f")
    assert DagsterShellExecutor().find_problems(pipeline) == ()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = DagsterShellExecutor().find_problems(pipeline)
    assert problem.severity == "error"
    assert "pip install" in problem.message
