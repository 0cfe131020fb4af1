"""The executor of the embedded engine: the contract. The tests of the engine are elsewhere."""

import importlib.util
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract import Behavior, ExecutorContract, Limit, Seen, Watched, build_command
from project_folder import ProjectFolder

import starlake_dagster_components.engine as engine
from starlake_dagster_components.commands import Command
from starlake_dagster_components.engine.engine_errors import NotSupported
from starlake_dagster_components.engine.result import EngineResult, ExpectationOutcome, TableLoad
from starlake_dagster_components.engine.session import Session
from starlake_dagster_components.errors import CommandCanceled, Location, MissingDependency
from starlake_dagster_components.executors import duckdb as executor_module
from starlake_dagster_components.executors.base import Counters, ExpectationResult, StarlakeExecutor
from starlake_dagster_components.executors.duckdb import DuckDBExecutor
from starlake_dagster_components.executors.projects import PROJECTS, Projects
from starlake_dagster_components.pipelines.pipeline import Pipeline
from starlake_dagster_components.project.model import (
    Application,
    Areas,
    Connection,
    DagConfig,
    Metadata,
    Origin,
    Project,
    Sink,
    Table,
    Task,
)
from starlake_dagster_components.project.reader import read_project

AREAS = Areas(*[f"/p/{i}" for i in range(8)])


def build_project(root: Path, **changes: Any) -> Project:
    return Project(**{"root": root, "profile": None, "application": Application(), "areas": AREAS, **changes})


class EngineHarness:
    """An engine that behaves as a Behavior says."""

    limits: frozenset[Limit] = frozenset({"bytes"})

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.behavior = Behavior()
        self._seen: list[Seen] = []
        self._inside = 0
        self.threads: list[int] = []
        self.strict = False

    def behave(self, behavior: Behavior) -> None:
        self.behavior = behavior

    def make_executor(self, *, env: Mapping[str, str] | None = None, timeout: float | None = None) -> StarlakeExecutor:
        return DuckDBExecutor(env=dict(env or {}), timeout=timeout)

    def make_command(self, **changes: Any) -> Command:
        return build_command(**{"project": str(self.folder), "loaded": build_project(self.folder), **changes})

    def read_seen(self) -> list[Seen]:
        return self._seen

    def is_running(self) -> bool:
        return self._inside > 0

    def run_command(
        self,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        out: Callable[[str], None],
        log: Callable[[Any, str], None],
        canceled: threading.Event | None = None,
        project: Project | None = None,
        strict: bool = False,
    ) -> EngineResult:
        assert canceled is not None
        self.strict = strict
        self._inside += 1
        try:
            self.threads.append(threading.get_ident())
            self._seen.append(Seen(tuple(argv), dict(environ)))
            behavior = self.behavior
            for stream, text in behavior.output:
                for line in text.splitlines():
                    if stream == "out":
                        out(line)
                    else:
                        log("error" if line.startswith("ERROR") else "info", line)
            for number in range(1, behavior.lines + 1):
                out(f"line {number}")
            while behavior.hang:
                if canceled.wait(0.05):
                    raise CommandCanceled("canceled")
            loaded = TableLoad("sales.orders", 120, 118, 2, ("file:/data/orders 1.csv",), row_count=400)
            return EngineResult(
                behavior.exit_code,
                not_ready=behavior.not_ready,
                counters={"sales.orders": loaded} if argv[0] == "load" else {},
                reason="it broke" if behavior.exit_code else None,
            )
        finally:
            self._inside -= 1


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineHarness:
    harness = EngineHarness(tmp_path)
    monkeypatch.setitem(vars(engine), "run_command", harness.run_command)
    monkeypatch.setattr(PROJECTS, "get", lambda command, environment: build_project(tmp_path))
    return harness


class TestDuckDBContract(ExecutorContract):
    @pytest.fixture
    def harness(self, harness: EngineHarness) -> EngineHarness:
        return harness

    def test_the_row_counts_of_a_load_are_read(self, harness: EngineHarness, watched: Watched) -> None:  # type: ignore[override]
        """They come as numbers, not as a line."""
        result = harness.make_executor().run(harness.make_command(verb="load"), watched.invocation())
        assert result.counters == Counters(120, 118, 2, ("file:/data/orders 1.csv",))
        assert result.row_count == 400


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_the_command_runs_in_the_calling_thread(harness: EngineHarness, watched: Watched) -> None:
    harness.make_executor().run(harness.make_command(), watched.invocation())
    assert harness.threads == [threading.get_ident()]


def test_commands_on_one_database_wait_for_each_other(harness: EngineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    plain = harness.run_command

    def count_commands(*args: Any, **kwargs: Any) -> EngineResult:
        nonlocal most
        most = max(most, harness._inside + 1)
        return plain(*args, **kwargs)

    monkeypatch.setitem(vars(engine), "run_command", count_commands)
    harness.behave(Behavior(lines=200))
    command = harness.make_command(databases=(str(tmp_path / "a.db"),))
    threads = [threading.Thread(target=lambda: harness.make_executor().run(command, Watched().invocation())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(harness.read_seen())) == (1, 4)


def test_the_result_contains_all_values_of_the_engine(harness: EngineHarness, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = {"a.x": TableLoad("a.x", 1, 2, 3, ("f1",), row_count=7), "a.y": TableLoad("a.y", 10, 20, 30, ("f2",), row_count=8)}
    outcome = ExpectationOutcome("a.x", "is_unique('id')", False, 4, "select 4", "no", blocking=True)
    said = EngineResult(1, counters=loads, expectations=(outcome,), reason="line one\nline two", retry=False, metadata={"rows": 1})
    monkeypatch.setitem(vars(engine), "run_command", lambda *args, **kwargs: said)
    result = harness.make_executor().run(harness.make_command(), watched.invocation())
    assert result.counters == Counters(11, 22, 33, ("f1", "f2"))
    assert result.row_count is None, "of two tables"
    assert result.expectations == (ExpectationResult("is_unique('id')", False, 4, "select 4", "no"),)
    assert (result.exit_code, result.reason, result.retry, result.metadata) == (1, "line one\nline two", False, {"rows": 1})


def test_a_missing_package_is_an_error_that_names_the_extra(
    harness: EngineHarness, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline("p", "load", DagConfig("d", "t", "f"), "shell", "f")
    assert DuckDBExecutor().find_problems(pipeline) == ()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="install starlake-dagster-components with the 'duckdb' extra"):
        DuckDBExecutor().run(harness.make_command(), watched.invocation())
    (problem,) = DuckDBExecutor().find_problems(pipeline)
    assert "with the 'duckdb' extra" in problem.message


def test_the_time_zone_and_strictness_reach_the_engine(harness: EngineHarness, watched: Watched) -> None:
    DuckDBExecutor(env={"TZ": "Asia/Tokyo"}).run(harness.make_command(), watched.invocation())
    assert (harness.read_seen()[-1].environment["TZ"], harness.strict) == ("Asia/Tokyo", False)
    DuckDBExecutor(env={"TZ": "Asia/Tokyo"}, time_zone="UTC", strict=True).run(harness.make_command(), watched.invocation())
    assert (harness.read_seen()[-1].environment["TZ"], harness.strict) == ("UTC", True)


# ------------------------------------------------------------------------------------------------------------- projects


class Reader:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[Any, ...]] = []
        (root / "metadata").mkdir()
        (root / "metadata" / "application.sl.yml").write_text("one")

    def __call__(self, root: str, profile: str | None, environ: Mapping[str, str], options: Mapping[str, str]) -> Project:
        self.calls.append((root, profile, dict(environ), dict(options)))
        return build_project(self.root, profile=profile, files=("metadata/application.sl.yml",))


def test_commands_with_equal_variables_read_the_project_once(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    projects = Projects(reader)
    first = build_command(project=str(tmp_path), arguments=("--options", "a=1,sl_data_interval_end=2026-01-01T00:00:00"))
    second = build_command(project=str(tmp_path), arguments=("--options", "a=1,sl_data_interval_end=2026-01-02T00:00:00"))
    assert projects.get(first, {"SL_ENV": "DEV", "SL_JOB_ID": "1"}) is projects.get(second, {"SL_ENV": "DEV", "SL_JOB_ID": "2"})
    assert reader.calls == [(str(tmp_path), "DEV", {"SL_ENV": "DEV"}, {"a": "1"})]
    projects.get(build_command(project=str(tmp_path), arguments=("--options", "a=2")), {"SL_ENV": "DEV"})
    projects.get(first, {"SL_ENV": "PROD"})
    projects.get(first, {"SL_ENV": "DEV", "X": "1"})
    assert len(reader.calls) == 4


def test_a_project_is_read_again_when_a_file_changes_or_appears(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    projects = Projects(reader)
    command = build_command(project=str(tmp_path))
    for change in (
        lambda: None,
        lambda: (tmp_path / "metadata" / "application.sl.yml").write_text("three"),
        lambda: (tmp_path / "metadata" / "env.sl.yml").write_text("new"),
        lambda: (tmp_path / "metadata" / "env.sl.yml").unlink(),
    ):
        change()
        projects.get(command, {})
        projects.get(command, {})
    assert len(reader.calls) == 4


def test_threads_that_need_the_same_project_wait_for_one_to_read_it(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    gate = threading.Event()

    def read_slowly(*args: Any) -> Project:
        gate.wait()
        return reader(*args)

    projects = Projects(read_slowly)
    threads = [threading.Thread(target=projects.get, args=(build_command(project=str(tmp_path)), {})) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert len(reader.calls) == 1


def test_a_command_with_the_same_variables_uses_the_loaded_project(
    harness: EngineHarness, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setitem(vars(engine), "run_command", lambda *args, project, **kwargs: given.append(project) or EngineResult(0))  # type: ignore[func-returns-value]
    read = build_project(harness.folder)
    monkeypatch.setattr(executor_module, "PROJECTS", SimpleNamespace(get=lambda command, environment: read))
    command = harness.make_command()
    DuckDBExecutor().run(command, watched.invocation())
    DuckDBExecutor(env={"X": "1"}).run(command, watched.invocation())
    DuckDBExecutor().run(harness.make_command(loaded=None), watched.invocation())
    assert given == [command.loaded, read, read]
    assert "X" not in os.environ


# ------------------------------------------------------------------------------------------------------- what it cannot run


def build_project_with_connections(root: Path, **urls: str) -> Project:
    """Return a project with a connection for each keyword, named after it. The value is the URL."""
    places = {"options.url": Location("metadata/application.sl.yml", 9)}
    connections = {
        name: Connection(
            name, "jdbc" if url.startswith("jdbc") else name, options={"url": url} if url else {}, origin=Origin("a", 1, places)
        )
        for name, url in urls.items()
    }
    return build_project(root, application=Application(connections=connections, connection_ref=next(iter(urls), None), audit_active=False))


def build_table(connection: str | None = None) -> Table:
    sink = Sink(connection_ref=connection) if connection else None
    return Table("shop", f"of_{connection}", "shop", f"of_{connection}", "x.*", metadata=Metadata(sink=sink))


def build_job(*nodes: Table | Task) -> Pipeline:
    tables = tuple(n for n in nodes if isinstance(n, Table))
    return Pipeline(
        "j", "load", DagConfig("d", "t", "j.py"), "shell", "j.py", tables=tables, tasks=tuple(n for n in nodes if isinstance(n, Task))
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "jdbc:postgresql://h/db",
        "jdbc:duckdb:",
        "jdbc:duckdb::memory:",
        "jdbc:duckdb:md:db",
        "jdbc:duckdb:ducklake:x",
        "jdbc:duckdb:/a/b.db",
    ],
)
def test_connections_that_the_engine_rejects_are_rejected_when_the_project_is_loaded(url: str, tmp_path: Path) -> None:
    project = build_project_with_connections(tmp_path, spark=url)
    problems = DuckDBExecutor().find_unsupported(project, build_job(build_table()))
    rejected = find_rejection(project, "spark")
    if rejected is None:
        assert problems == ()
        return
    (problem,) = problems
    assert problem.severity == "error"
    assert str(problem) == rejected.replace("; the embedded engine writes only to DuckDB files", "").partition(": its data")[0] + (
        "; the duckdb executor writes only to DuckDB files: add a DuckDB connection to application.connections, "
        "set application.connectionRef to it, or use another executor"
    )


def test_a_rejected_connection_names_the_environment_that_has_a_duckdb_file(folder: ProjectFolder) -> None:
    application = (folder.root / "metadata/application.sl.yml").read_text()
    other = "    warehouse:\n      type: jdbc\n      options:\n        url: jdbc:postgresql://h/db\n"
    folder.write("metadata/application.sl.yml", application.replace("connectionRef: duckdb", "connectionRef: '{{target}}'") + other)
    folder.write("metadata/env.sl.yml", "version: 1\nenv:\n  target: warehouse\n").write(
        "metadata/load/d/_config.sl.yml", "load:\n  name: d\n"
    )
    folder.write("metadata/load/d/t.sl.yml", "version: 1\ntable:\n  name: t\n  pattern: t.csv\n")

    def propose() -> str:
        project = read_project(folder.root)
        (problem,) = DuckDBExecutor().find_unsupported(project, build_job(project.tables[0]))
        return problem.message.partition("to DuckDB files: ")[2]

    assert propose() == "set application.connectionRef to duckdb, or use another executor"
    folder.write("metadata/env.PG.sl.yml", "version: 1\nenv:\n  target: warehouse\n")
    folder.write("metadata/env.LOCAL.sl.yml", "version: 1\nenv:\n  target: duckdb\n")
    assert propose() == "set env to LOCAL, whose connection is a DuckDB file, or use another executor"


def find_rejection(project: Project, connection: str) -> str | None:
    """Return the engine's message if it has to write there."""
    try:
        Session.find_database(SimpleNamespace(project=project), build_table(connection))  # type: ignore[arg-type]
    except NotSupported as rejected:
        return str(rejected)
    return None


def test_a_job_with_some_steps_that_can_run_gets_a_warning(tmp_path: Path) -> None:
    project = build_project_with_connections(tmp_path, duckdb="jdbc:duckdb:/a/b.db", spark="")
    assert [p.severity for p in DuckDBExecutor().find_unsupported(project, build_job(build_table(), build_table("spark")))] == ["warning"]
    assert [p.severity for p in DuckDBExecutor().find_unsupported(project, build_job(build_table("spark")))] == ["error"]
    assert DuckDBExecutor().find_unsupported(project, build_job(build_table())) == ()


def test_python_tasks_and_projects_without_a_connection_are_reported(tmp_path: Path) -> None:
    python = Task(
        "kpi",
        "score",
        "score",
        "kpi",
        python_file="metadata/transform/kpi/score.py",
        origin=Origin("metadata/transform/kpi/score.sl.yml", 2),
    )
    project = build_project_with_connections(tmp_path, duckdb="jdbc:duckdb:/a/b.db")
    (problem,) = DuckDBExecutor().find_unsupported(project, build_job(python))
    assert str(problem) == (
        "metadata/transform/kpi/score.sl.yml:2: task kpi.score is Python (metadata/transform/kpi/score.py): "
        "the duckdb executor runs only SQL"
    )
    (problem,) = DuckDBExecutor().find_unsupported(build_project_with_connections(tmp_path), build_job(build_table()))
    assert problem.message.startswith("no connection: set application.connectionRef")
    # Reading the project reports the connection.
    assert list(DuckDBExecutor().find_unsupported(project, build_job(build_table("nowhere")))) == []


def test_the_connection_of_a_sink_is_rejected_where_the_sink_names_it(tmp_path: Path) -> None:
    project = build_project_with_connections(tmp_path, duckdb="jdbc:duckdb:/a/b.db", spark="")
    (problem,) = DuckDBExecutor().find_unsupported(project, build_job(build_table("spark")))
    assert problem.message == (
        "connection 'spark' uses spark, and shop.of_spark is written to it; the duckdb executor writes only to DuckDB files: "
        "set connectionRef of this sink to duckdb, or use another executor"
    )


def test_an_audit_elsewhere_fails_every_step(tmp_path: Path) -> None:
    project = build_project_with_connections(tmp_path, duckdb="jdbc:duckdb:/a/b.db", spark="")
    audited = replace(project, application=replace(project.application, audit_active=True, audit_connection_ref="spark"))
    (problem,) = DuckDBExecutor().find_unsupported(audited, build_job(build_table()))
    assert problem.severity == "error"
    assert problem.message.startswith("connection 'spark' uses spark, and the audit is written to it;")
