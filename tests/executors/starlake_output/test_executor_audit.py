"""Starlake's audit of a command, read from real DuckDB files with the columns that the real Starlake writes."""

import sys
from pathlib import Path

import duckdb
import pytest
from contract import Watched, build_command

from starlake_dagster_components.commands import Audit, Command, LoadTable, Target
from starlake_dagster_components.executors.base import Counters, ExpectationResult
from starlake_dagster_components.executors.starlake_output.audit import Findings, read_findings

AUDIT = """create table audit.audit(JOBID varchar, PATHS varchar, DOMAIN varchar, SCHEMA varchar,
SUCCESS boolean, COUNT bigint, COUNTACCEPTED bigint,
COUNTREJECTED bigint, TIMESTAMP timestamp, DURATION bigint, MESSAGE varchar, STEP varchar,
DATABASE varchar, TENANT varchar, SCHEDULED_DATE timestamp)"""
EXPECTATIONS = """create table audit.expectations(JOBID varchar, DATABASE varchar, DOMAIN varchar, SCHEMA varchar,
TIMESTAMP timestamp, NAME varchar,
PARAMS varchar, SQL varchar, COUNT bigint, EXCEPTION varchar, SUCCESS boolean)"""


class Book:
    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "duckdb.db")
        with duckdb.connect(self.path) as connection:
            connection.execute("create schema audit; create schema sales")
            connection.execute(AUDIT)
            connection.execute(EXPECTATIONS)

    def note(
        self, step: str, success: bool, *, paths: str = "orders", table: str = "orders", job: str = "j", message: str = "success"
    ) -> None:
        with duckdb.connect(self.path) as connection:
            connection.execute(
                "insert into audit.audit values (?, ?, 'sales', ?, ?, -1, -1, -1, now(), 1, ?, ?, '', '', now())",
                [job, paths, table, success, message, step],
            )

    def add_expectation(self, call: str, success: bool, count: int, exception: str = "", job: str = "j") -> None:
        with duckdb.connect(self.path) as connection:
            connection.execute(
                "insert into audit.expectations values (?, '', 'sales', 'orders', now(), ?, ?, 'select 1', ?, ?, ?)",
                [job, call, call, count, exception, success],
            )

    def look(self, *expectations: str, log: Watched | None = None) -> Findings:
        command = build_command(
            audit=Audit(self.path, "audit", "j"), expectations=expectations, target=Target(self.path, "sales", "Orders")
        )
        return read_findings(command, (log or Watched()).log)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def test_audit_rows_of_other_jobs_are_ignored(book: Book) -> None:
    book.note("TRANSFORM", False, job="another")
    assert book.look().failure is None


def test_an_unsuccessful_row_is_a_failure_with_its_message(book: Book) -> None:
    book.note("TRANSFORM", False, message="Binder Error: no column x", table="top")
    assert book.look().failure == "Binder Error: no column x (according to Starlake's audit, step TRANSFORM of sales.top failed)"


def test_steps_of_loads_are_paired_per_table_in_order(book: Book) -> None:
    for name, first, second in (
        ("o-1.csv", True, True),
        ("o-2.csv", False, None),
        ("o-3.csv", True, False),
        ("o-4.csv", True, True),
        ("o-5.csv", True, None),
    ):
        if second is not None:
            book.note("TRANSFORM", second)
        book.note("LOAD", True, paths=f"file:/x/ingesting/sales/c-{name}", table="clients")
        book.note("LOAD", first, paths=f"file:/x/ingesting/sales/{name}")
    findings = book.look()
    inside = {name: load.in_table for load in findings.loads for name in load.load.files}
    assert {name: known for name, known in inside.items() if name.startswith("o-")} == {
        "o-1.csv": True,
        "o-2.csv": False,
        "o-3.csv": False,
        "o-4.csv": True,
        "o-5.csv": True,
    }
    assert all(known for name, known in inside.items() if name.startswith("c-"))


def test_a_group_of_files_is_one_load(book: Book) -> None:
    book.note("TRANSFORM", False)
    book.note("LOAD", True, paths="file:/x/o-1.csv,file:/x/o,2.csv")
    (load,) = book.look().loads
    assert (load.load.files, load.in_table) == (("o-1.csv", "o,2.csv"), False)


def test_expectations_are_named_as_the_project_writes_them_and_counted_once(book: Book) -> None:
    book.add_expectation('is_unique("id")', False, 3)
    book.add_expectation('is_unique("id")', True, 0)
    book.add_expectation("not_null(name)", False, 2)
    book.add_expectation("broken()", False, -1, "no such macro")
    assert book.look("is_unique('id')", "not_null(name)", "broken()").expectations == (
        ExpectationResult("is_unique('id')", True, 0, "select 1"),
        ExpectationResult("not_null(name)", False, 2, "select 1"),
        ExpectationResult("broken()", False, None, "select 1", "no such macro"),
    )


def test_rows_of_a_table_are_counted_ignoring_case_of_its_name(book: Book) -> None:
    assert book.look().row_count is None
    with duckdb.connect(book.path) as connection:
        connection.execute('create table sales."ORDERS" as select * from range(7)')
    assert book.look().row_count == 7


def test_the_query_of_a_view_is_not_run(book: Book) -> None:
    with duckdb.connect(book.path) as connection:
        connection.execute("create view sales.orders as select 1 from range(10)")
    assert book.look().row_count is None


def test_nothing_is_known_without_tables_file_or_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    path = str(tmp_path / "new.db")
    command: Command = build_command(audit=Audit(path, "audit", "j"), expectations=("x()",), target=Target(path, "sales", "orders"))
    assert read_findings(command, watched.log) == Findings()
    assert not Path(path).exists(), "looking makes no file"
    duckdb.connect(path).close()
    assert read_findings(command, watched.log) == Findings()
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert read_findings(command, watched.log) == Findings()
    assert watched.lines == []


def test_a_file_that_cannot_be_read_is_reported_and_not_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_text("this is no database at all" * 1000)
    watched = Watched()
    command = build_command(audit=Audit(str(path), "audit", "j"))
    assert read_findings(command, watched.log) == Findings()
    assert "cannot read Starlake's audit" in watched.texts[0]


def test_each_table_of_a_load_has_its_own_findings_under_all_its_names(book: Book) -> None:
    """Rows of the first half have logical names, those of the second half and of expectations the names in the database."""
    tables = tuple(
        LoadTable(name, "crm", "sales", f"{name}_v2", f"{name}.*", ("unique()",), Target(book.path, "sales", f"{name}_v2"))
        for name in ("orders", "clients", "items")
    )
    with duckdb.connect(book.path) as connection:
        connection.execute(
            "create table sales.orders_v2 as select * from range(3); create table sales.clients_v2 as select * from range(5)"
        )
        for domain, table, step, success, paths, count in (
            ("sales", "orders_v2", "TRANSFORM", True, "orders_v2", -1),
            ("crm", "orders", "LOAD", True, "file:/x/o-1.csv", 3),
            ("sales", "clients_v2", "TRANSFORM", False, "clients_v2", -1),
            ("crm", "clients", "LOAD", True, "file:/x/c-1.csv", 0),
            ("sales", "clients_v2", "TRANSFORM", True, "clients_v2", -1),
            ("crm", "clients", "LOAD", True, "file:/x/c-2.csv", 5),
        ):
            connection.execute(
                "insert into audit.audit values ('j', ?, ?, ?, ?, ?, ?, -1, now(), 1, 'why', ?, '', '', now())",
                [paths, domain, table, success, count, count, step],
            )
        for table, success in (("orders_v2", True), ("clients_v2", False)):
            connection.execute(
                "insert into audit.expectations values ('j', '', 'sales', ?, now(), 'unique()', 'unique()', '', 0, '', ?)", [table, success]
            )
    command = build_command(verb="load", audit=Audit(book.path, "audit", "j"), expectations=("unique()",), tables=tables)
    found = read_findings(command, Watched().log).tables
    assert {t.name: found[t.name].count_rows(t) for t in tables} == {
        "orders": Counters(3, 3, None, ("o-1.csv",)),
        "clients": Counters(5, 5, None, ("c-2.csv",)),
        "items": None,
    }
    assert {name: f.row_count for name, f in found.items()} == {"orders": 3, "clients": 5, "items": None}
    assert {name: [e.success for e in f.expectations] for name, f in found.items()} == {"orders": [True], "clients": [False], "items": []}
    assert found["clients"].failure == "why (according to Starlake's audit, the second step of the load of crm.clients failed)"
    assert found["orders"].failure is None
    assert {load.load.files: load.in_table for load in found["clients"].loads} == {("c-1.csv",): False, ("c-2.csv",): True}
