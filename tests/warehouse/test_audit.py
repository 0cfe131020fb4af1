"""Starlake's audit in a real PostgreSQL is read like the same rows in a DuckDB file."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from contract import Watched, build_command
from postgres_server import PASSWORD, PostgresServer
from postgres_starlake import AUDIT, EXPECTATIONS

from starlake_dagster_components.commands import Audit, Command, LoadTable
from starlake_dagster_components.executors.starlake_output.audit import Findings, read_findings
from starlake_dagster_components.project.model import Connection
from starlake_dagster_components.warehouse.address import find_address
from starlake_dagster_components.warehouse.audit import WarehouseAudit
from starlake_dagster_components.warehouse.query import QueryFailed, TableMissing, run_query


@pytest.fixture
def books(postgres: PostgresServer) -> Iterator[PostgresServer]:
    postgres.execute("drop schema if exists audit cascade")
    postgres.execute("create schema audit")
    yield postgres
    postgres.execute("drop schema if exists audit cascade")


def make_warehouse(server: PostgresServer, job_id: str, **options: str) -> WarehouseAudit:
    address = find_address(Connection("pg", "jdbc", {**server.options, **options}))
    assert address is not None
    return WarehouseAudit("pg", address, "audit", job_id)


def list_recorded() -> list[str]:
    shell = Path(__file__).resolve().parents[2].parent / "shared/oracle/shell"
    return sorted(path.name.removesuffix(".audit.json") for path in shell.glob("*.audit.json")) or ["none"]


def fill(recorded: Mapping[str, Any], server: PostgresServer, database: Path) -> None:
    """Write recorded audit tables into both databases."""
    with duckdb.connect(str(database)) as connection, server.connect() as pg:
        connection.execute("create schema audit")
        for table, definition in (("audit", AUDIT), ("expectations", EXPECTATIONS)):
            if table not in recorded:
                continue
            connection.execute(f"create table audit.{table} ({definition})")
            pg.execute(f"create table audit.{table} ({definition})")
            columns, rows = recorded[table]["columns"], recorded[table]["rows_in_write_order"]
            names = ", ".join(columns)
            for row in rows:
                connection.execute(f"insert into audit.{table} ({names}) values ({', '.join('?' for _ in row)})", row)
            for row in reversed(rows) if table == "audit" else rows:
                # A warehouse does not keep the order in which rows were written.
                pg.execute(f"insert into audit.{table} ({names}) values ({', '.join(['%s'] * len(row))})", row)


@pytest.mark.parametrize("case", list_recorded())
def test_recorded_audits_give_the_same_rows_in_postgres_and_duckdb(shared: Path, case: str, books: PostgresServer, tmp_path: Path) -> None:
    recorded = json.loads((shared / f"oracle/shell/{case}.audit.json").read_text())
    fill(recorded, books, tmp_path / "noted.db")
    jobs = list(dict.fromkeys(row[0] for row in recorded["audit"]["rows_in_write_order"]))
    assert jobs
    for job in jobs:
        command = make_command(recorded, job)
        watched = Watched()
        in_duckdb = read_findings(replace(command, audit=Audit(str(tmp_path / "noted.db"), "audit", job)), watched.log)
        in_postgres = read_findings(replace(command, warehouse=make_warehouse(books, job)), watched.log)
        assert watched.lines == []
        assert describe(in_postgres, command) == describe(in_duckdb, command)
        assert in_duckdb.rows


def make_command(recorded: Mapping[str, Any], job: str) -> Command:
    rows = [dict(zip(recorded["audit"]["columns"], row, strict=True)) for row in recorded["audit"]["rows_in_write_order"] if row[0] == job]
    names = list(dict.fromkeys((row["DOMAIN"], row["SCHEMA"]) for row in rows if row["STEP"] == "LOAD"))
    tables = tuple(LoadTable(name, domain, domain, name, ".*", appends=True) for domain, name in names)
    return build_command(tables=tables, expectations=("anything()",))


def describe(found: Findings, command: Command) -> Any:
    """Return the findings that steps show. Loads that ended in the same second may be in any order."""
    return {
        "expectations": sorted(found.expectations, key=lambda e: e.expect),
        "failure": found.failure,
        "loads": sorted((load.load.files, load.in_table, load.transform is not None) for load in found.loads),
        "counts": [found.count_rows(table) for table in command.tables] if len(command.tables) == 1 else None,
        "tables": {
            name: (noted.failure, sorted(load.load.files for load in noted.loads), noted.expectations)
            for name, noted in found.tables.items()
        },
    }


def test_rows_of_tables_are_counted_in_the_same_query(books: PostgresServer) -> None:
    books.execute(f"create table audit.audit ({AUDIT})")
    books.execute('create schema if not exists "Odd Name"')
    books.execute('create table if not exists "Odd Name".t as select generate_series(1, 7) as i')
    warehouse = replace(make_warehouse(books, "j"), counted=(("Odd Name", "t"), ("audit", "audit")))
    tables = (LoadTable("one", "d", "d", "one", ".*"), LoadTable("two", "d", "d", "two", ".*"))
    found = read_findings(build_command(warehouse=warehouse, tables=tables), Watched().log)
    assert {name: noted.row_count for name, noted in found.tables.items()} == {"one": 7, "two": 0}


def test_an_audit_without_expectations_is_read(books: PostgresServer) -> None:
    books.execute(f"create table audit.audit ({AUDIT})")
    books.execute(
        "insert into audit.audit values ('j', 'f', 'd', 'k', false, -1, -1, -1, now(), 1, 'no such column', 'TRANSFORM', '', '', now())"
    )
    watched = Watched()
    found = read_findings(build_command(warehouse=make_warehouse(books, "j"), expectations=("x()",)), watched.log)
    assert "no such column" in str(found.failure)
    assert watched.lines == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "audit.audit"),
        ({"password": "wrong-secret-77"}, "authentication failed"),
        ({"url": "jdbc:postgresql://127.0.0.1:1/shop"}, "refused"),
        ({"url": "jdbc:postgresql://no-such-host.invalid:5432/shop"}, ""),
    ],
)
def test_failures_to_read_are_warnings_without_secrets(books: PostgresServer, options: Mapping[str, str], said: str) -> None:
    watched = Watched()
    command = build_command(warehouse=make_warehouse(books, "j", **options), expectations=("x()",))
    assert read_findings(command, watched.log) == Findings()
    ((level, line),) = watched.lines
    assert level == "warning"
    assert "connection 'pg'" in line
    assert said in line
    assert PASSWORD not in line
    assert "wrong-secret-77" not in line
    assert PASSWORD not in repr(command)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snowflake.sqlalchemy", None)
    address = find_address(Connection("sf", "jdbc", {"url": "jdbc:snowflake://acme.snowflakecomputing.com/", "user": "u", "password": "p"}))
    assert address is not None
    with pytest.raises(QueryFailed, match="install starlake-dagster-components with the 'snowflake' extra"):
        run_query(address, "select 1")


def test_a_query_that_takes_too_long_is_given_up(books: PostgresServer) -> None:
    warehouse = make_warehouse(books, "j")
    with pytest.raises(QueryFailed, match=r"no response within 0\.2 seconds"):
        run_query(warehouse.address, "select pg_sleep(3)", seconds=0.2)


def test_queries_are_read_only(books: PostgresServer) -> None:
    with pytest.raises(QueryFailed, match="read-only"):
        run_query(make_warehouse(books, "j").address, "create table audit.made (i int)")
    with pytest.raises(TableMissing):
        run_query(make_warehouse(books, "j").address, "select * from audit.made")


def test_steps_of_loads_in_the_same_second_are_distinguished_by_growth(books: PostgresServer) -> None:
    books.execute(f"create table audit.audit ({AUDIT})")
    steps = [
        ("file:/a-2.csv", "LOAD", True, 0, "2026-01-01 00:00:01"),
        ("a", "TRANSFORM", False, -1, "2026-01-01 00:00:01"),
        ("a", "TRANSFORM", True, -1, "2026-01-01 00:00:01"),
        ("file:/a-1.csv", "LOAD", True, 3, "2026-01-01 00:00:01"),
        ("file:/a-0.csv", "LOAD", False, 0, "2026-01-01 00:00:00"),
    ]
    for paths, step, success, count, time in steps:
        rejected = 0 if paths.endswith("a-0.csv") else -1
        books.execute(
            "insert into audit.audit values ('j', %s, 'd', 'a', %s, %s, %s, %s, %s, 1, 'why', %s, '', '', now())",
            (paths, success, count, count, rejected, time, step),
        )
    found = read_findings(build_command(warehouse=make_warehouse(books, "j"), tables=(LoadTable("a", "d", "d", "a", ".*"),)), Watched().log)
    assert {load.load.files[0]: load.in_table for load in found.loads} == {"a-0.csv": False, "a-1.csv": True, "a-2.csv": False}
