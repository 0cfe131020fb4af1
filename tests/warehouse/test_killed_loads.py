"""A load into PostgreSQL that is killed between the rows of a file and its audit row: its file is neither lost nor loaded twice."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from contract import Watched, build_command
from postgres_server import PostgresServer
from postgres_starlake import AUDIT
from project_folder import ProjectFolder

from starlake_dagster_components.commands import Command, LoadFiles, LoadTable, RunContext, build_load_command
from starlake_dagster_components.errors import CommandCanceled
from starlake_dagster_components.executors.base import CommandResult
from starlake_dagster_components.executors.local.guarded import run_locally
from starlake_dagster_components.executors.starlake_output.load_log import LoadLines
from starlake_dagster_components.executors.starlake_output.process_output import OutputTrail
from starlake_dagster_components.project.model import Connection
from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.warehouse.address import find_address
from starlake_dagster_components.warehouse.audit import WarehouseAudit


@dataclass
class Books:
    """Folders and tables ``s.a`` and ``s.b`` of a load that is killed in the middle."""

    root: Path
    server: PostgresServer

    def build_command(self, *, appends: bool = True, tables: str = "a", counted: bool = True) -> Command:
        address = find_address(Connection("pg", "jdbc", self.server.options))
        assert address is not None
        appended = tuple((name, "s", name) for name in tables) if appends and counted else ()
        return build_command(
            verb="load",
            arguments=(),
            warehouse=WarehouseAudit("pg", address, "audit", "j", appended=appended),
            tables=tuple(LoadTable(name, "s", "s", name, f"{name}.*", appends=appends) for name in tables),
            files=LoadFiles(
                str(self.root / "stage"), str(self.root / "ingesting"), tuple(f"{n}.*" for n in tables), str(self.root / "archive")
            ),
        )

    def put(self, *names: str) -> None:
        (self.root / "stage").mkdir(exist_ok=True)
        for name in names:
            (self.root / "stage" / name).write_text("id\n1\n2\n")

    def load(self, *names: str, rows: int, last_rows: int) -> OutputTrail:
        """Do what Starlake does until it is killed: the last file has its rows but no audit row, and the others have both."""
        lines = LoadLines()
        (self.root / "ingesting").mkdir(exist_ok=True)
        (self.root / "archive").mkdir(exist_ok=True)
        lines.take("INFO IngestionWorkflow: Watch Domain: s")
        for name in names:
            table, file = f"s.{name[0]}", self.root / "ingesting" / name
            shutil.move(self.root / "stage" / name, file)
            lines.take(f"File(s): file:{file}")
            lines.take(f"Table: {table}")
            self.server.execute(f"create table if not exists {table} (id int)")
            last = name == names[-1]
            self.server.execute(f"insert into {table} select generate_series(1, {last_rows if last else rows})")
            if not last:
                self.server.execute(
                    "insert into audit.audit values ('j', %s, 's', %s, true, %s, %s, 0, now(), 1, 'success', 'LOAD', '', '', now())",
                    (f"file:{file}", name[0], rows, rows),
                )
                shutil.move(file, self.root / "archive" / name)
                lines.take("Archive duration takes 1 ms")
        return OutputTrail((), (), lines)

    def list_files(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.root / folder).iterdir())


@pytest.fixture
def books(postgres: PostgresServer, tmp_path: Path) -> Iterator[Books]:
    drop = "drop schema if exists s cascade; drop schema if exists audit cascade"
    postgres.execute(drop)
    postgres.execute("create schema s; create schema audit")
    postgres.execute(f"create table audit.audit ({AUDIT})")
    yield Books(tmp_path, postgres)
    postgres.execute(drop)


@pytest.mark.parametrize("exists", [True, False], ids=["there before", "made by the load"])
@pytest.mark.parametrize("before", [(), ("a0.csv",)], ids=["first file", "second file"])
def test_a_table_that_grew_has_its_file_set_aside(books: Books, before: tuple[str, ...], exists: bool) -> None:
    if exists:
        books.server.execute("create table s.a (id int); insert into s.a values (1)")
    books.put(*before, "a1.csv")
    watched = Watched()

    def run(command: Command) -> CommandResult:
        return CommandResult(137, trail=books.load(*before, "a1.csv", rows=2, last_rows=2))

    result = run_locally(books.build_command(), watched.invocation(), run)
    assert result.exit_code == 137
    assert not result.retry
    assert "it is not known whether the rows of these files are in the table" in str(result.reason)
    assert books.list_files("ingesting") == ["a1.csv.sl-unclear"]
    assert books.list_files("stage") == []


def test_a_table_that_did_not_grow_has_its_file_loaded_again(books: Books) -> None:
    books.put("a0.csv", "a1.csv")
    trail: list[OutputTrail] = []

    def run(command: Command) -> CommandResult:
        trail.append(books.load("a0.csv", "a1.csv", rows=2, last_rows=0))
        return CommandResult(137, trail=trail[0])

    assert run_locally(books.build_command(), Watched().invocation(), run).retry
    assert books.list_files("stage") == ["a1.csv"]


def test_a_canceled_load_reports_the_file_that_is_set_aside(books: Books) -> None:
    books.put("a1.csv", "b1.csv")
    watched = Watched()

    def run(command: Command) -> CommandResult:
        error = CommandCanceled("canceled")
        error.trail = books.load("a1.csv", rows=2, last_rows=2)
        raise error

    with pytest.raises(CommandCanceled) as caught:
        run_locally(books.build_command(tables="ab"), watched.invocation(), run)
    assert {name: table.outcome for name, table in caught.value.tables.items()} == {"a": "failed", "b": "open"}
    assert [line for level, line in watched.lines if level == "error"] == [
        "it is not known whether the rows of these files are in the table, so they are not loaded again: "
        f"{books.root / 'ingesting' / 'a1.csv.sl-unclear'}"
    ]
    assert books.list_files("stage") == ["b1.csv"]


def test_only_tables_beside_the_audit_that_are_appended_to_are_counted(tmp_path: Path) -> None:
    folder = ProjectFolder(tmp_path / "shop")
    pg = "{type: jdbc, options: {url: 'jdbc:postgresql://127.0.0.1/shop', user: u, password: p}}"
    folder.write(
        "metadata/application.sl.yml",
        f"application: {{connectionRef: pg, audit: {{sink: {{connectionRef: pg}}}}, connections: {{pg: {pg}, other: {pg}}}}}\n",
    )
    folder.write("metadata/load/s/_config.sl.yml", "load: {name: s, rename: shop_s, metadata: {withHeader: true}}\n")
    for name, metadata in (
        ("plain", "{}"),
        ("replaced", "{writeStrategy: {type: OVERWRITE}}"),
        ("merged", "{writeStrategy: {type: UPSERT_BY_KEY, key: [id]}}"),
        ("elsewhere", "{sink: {connectionRef: other}}"),
    ):
        folder.write(
            f"metadata/load/s/{name}.sl.yml",
            f"table: {{name: {name}, pattern: '{name}.*', metadata: {metadata}, attributes: [{{name: id, type: string}}]}}\n",
        )
    project = read_project(folder.root)
    (domain,) = project.domains
    command = build_load_command(RunContext(project, job_id="j"), domain, domain.tables)
    assert command.warehouse is not None
    assert command.warehouse.appended == (("plain", "shop_s", "plain"),)
    assert build_load_command(RunContext(project, job_id="j", warehouse_counts="off"), domain, domain.tables).warehouse is None


@pytest.mark.parametrize(("appends", "counted"), [(False, False), (True, False)], ids=["replaced", "not counted"])
def test_files_of_other_tables_are_loaded_again(books: Books, appends: bool, counted: bool) -> None:
    books.put("a1.csv")

    def run(command: Command) -> CommandResult:
        return CommandResult(137, trail=books.load("a1.csv", rows=2, last_rows=2))

    run_locally(books.build_command(appends=appends, counted=counted), Watched().invocation(), run)
    assert books.list_files("stage") == ["a1.csv"]


def test_a_warehouse_that_does_not_answer_lets_the_load_run(books: Books) -> None:
    books.put("a1.csv")
    watched = Watched()
    address = find_address(Connection("pg", "jdbc", {**books.server.options, "url": "jdbc:postgresql://127.0.0.1:1/shop"}))
    command = books.build_command()
    assert address is not None
    assert command.warehouse is not None
    command = replace(command, warehouse=replace(command.warehouse, address=address))

    def run(command: Command) -> CommandResult:
        return CommandResult(137, trail=books.load("a1.csv", rows=2, last_rows=2))

    run_locally(command, watched.invocation(), run)
    assert any("rows of tables cannot be counted in the connection 'pg'" in line for line in watched.texts)
    assert books.list_files("stage") == ["a1.csv"]
