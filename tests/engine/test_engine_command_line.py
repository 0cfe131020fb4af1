"""The engine's command line: arguments, exit codes, processes that wait for each other, and canceled commands."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest
from engine_help import Sandbox, make

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.engine import run_command
from starlake_dagster_components.engine.arguments import parse_arguments
from starlake_dagster_components.engine.engine_errors import BadArguments
from starlake_dagster_components.engine.sqltext import split_statements
from starlake_dagster_components.errors import CommandCanceled

ENGINE = (sys.executable, "-m", "starlake_dagster_components.engine")


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def start(box: Sandbox, *argv: str, **env: str) -> "subprocess.Popen[str]":
    environ = {**os.environ, "SL_ROOT": str(box.root), **env}
    return subprocess.Popen([*ENGINE, *argv], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=box.root)


def test_arguments_are_parsed_as_by_starlake() -> None:
    found = parse_arguments(
        ["load", "--domains", "a,b", "--tables=t", "--options", "k=v,x=1=2", "--scheduledDate", "'2024-01-01T00:00:00'"]
    )
    assert (found.domains, found.tables, dict(found.options)) == (("a", "b"), ("t",), {"k": "v", "x": "1=2"})
    assert found.scheduled_date == "2024-01-01T00:00:00"
    found = parse_arguments(
        ["job", "--name", "a.b", "--options", "k=1", "--options", "l=2", "--recursive", "--truncate", "true", "--pageSize", "5"]
    )
    assert (found.verb, found.name, dict(found.options), found.recursive, found.truncate, found.page_size) == (
        "transform", "a.b", {"k": "1", "l": "2"}, True, True, 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "Unknown command"),
        (["lod"], "Unknown command lod (did you mean 'load'?)"),
        (["load", "--domain", "x"], "Error: Unknown option --domain (did you mean 'domains'?)"),
        (["load", "x"], "Error: Unknown argument 'x'"),
        (["preload", "--tables", "x"], "Error: Missing option --domain"),
        (["transform"], "Error: Missing option --name"),
        (["load", "--domains"], "Error: Missing value after --domains"),
        (["load", "--options", "k"], "Error: Option --options expects k1=v1,k2=v2, not 'k'"),
        (["transform", "--name", "a.b", "--pageSize", "x"], "Error: Option --pageSize expects a number, not 'x'"),
        (["transform", "--name", "a.b", "--truncate", "x"], "Error: Option --truncate expects true or false, not 'x'"),
        (["transform", "--name", "a.b", "--sync-apply"], "Error: Option --sync-apply of transform is not supported by the embedded engine"),
        (["load", "--inPlace"], "Error: --inPlace needs --files"),
    ],
)
def test_wrong_arguments_are_rejected(argv: list[str], said: str) -> None:
    with pytest.raises(BadArguments) as error:
        parse_arguments(argv)
    assert said in str(error.value)
    log: list[str] = []
    result = run_command(argv, environ={}, out=lambda line: None, log=lambda level, line: log.append(line))
    assert (result.exit_code, result.retry) == (1, False)
    assert said in log[0]


def test_a_command_runs_as_a_process_with_exit_code_and_messages(box: Sandbox) -> None:
    box.table("sales", "orders", "{ name: id, type: long }").stage("sales", {"orders-1.csv": "id\n1\n", "orders-2.csv": "id\nx\n"})
    process = start(box, "load", "--domains", "sales")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert out.splitlines()[:2] == ["Loading", "Format: DSV"]
    assert "line 2: column 'id': 'x' is not of type long" in err
    process = start(box, "load", "--nosuch")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Error: Unknown option --nosuch" in err


def test_a_folder_without_a_project_is_an_error(tmp_path: Path) -> None:
    log: list[str] = []
    result = run_command(["load"], environ={"SL_ROOT": str(tmp_path)}, out=lambda line: None, log=lambda level, line: log.append(line))
    assert result.exit_code == 1
    assert str(tmp_path) in (result.reason or "")


def test_a_broken_project_is_rejected_with_all_its_problems(box: Sandbox) -> None:
    box.table("sales", "orders", "{ name: id, type: nosuch }")
    result = box.run("load", check=False)
    assert "metadata/load/sales/orders.sl.yml" in (result.reason or "")
    assert not result.retry


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("jdbc:duckdb::memory:", "its data would be lost"),
        ("jdbc:postgresql://host/db", "connection 'duckdb' uses postgres; the embedded engine writes only to DuckDB files"),
    ],
)
def test_connections_that_are_not_duckdb_files_are_rejected(box: Sandbox, url: str, said: str) -> None:
    path = box.root / "metadata/application.sl.yml"
    path.write_text(path.read_text().replace("jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db", url))
    box.task("kpi.out", "select 1 as x")
    result = box.run("transform", "--name", "kpi.out", check=False)
    assert "metadata/application.sl.yml:5" in (result.reason or "")
    assert said in (result.reason or "")


def test_an_unknown_connection_of_a_sink_fails_that_task_and_is_named(box: Sandbox) -> None:
    box.task("kpi.out", "select 1 as x", "  sink: { connectionRef: nowhere }\n")
    box.task("kpi.other", "select 1 as x")
    result = box.run("transform", "--name", "kpi.out", check=False)
    assert (result.exit_code, result.reason) == (1, "kpi.out: unknown connection 'nowhere' (known: duckdb, second)")
    assert box.run("transform", "--name", "kpi.other").exit_code == 0


def test_a_database_that_another_program_has_open_is_reported(box: Sandbox) -> None:
    box.table("sales", "orders", "{ name: id, type: long }").stage("sales", {"orders.csv": "id\n1\n"})
    code = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(box.root / "datasets/duckdb.db")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        result = box.run("load", check=False)
    finally:
        other.kill()
        other.communicate()
    assert "another program has it open" in (result.reason or "")
    assert result.retry
    assert box.files("stage") == ["sales/orders.csv"]
    box.run("load")
    assert box.rows("select id from sales.orders") == [(1,)]


def test_commands_of_several_processes_wait_for_each_other(box: Sandbox) -> None:
    box.table("sales", "orders", "{ name: id, type: long }")
    box.task("kpi.out", "select count(*) as n from range(1000000)")
    box.stage("sales", {f"orders-{n}.csv": f"id\n{n}\n" for n in range(20)})
    processes = [start(box, "load", "--domains", "sales") for _ in range(2)] + [
        start(box, "transform", "--name", "kpi.out") for _ in range(3)
    ]
    ended = [(p.communicate(timeout=300), p.returncode) for p in processes]
    assert [code for _, code in ended] == [0] * 5, ended
    assert box.rows("select id from sales.orders order by id") == [(n,) for n in range(20)]
    assert box.rows("select count(*) from kpi.out") == [(3,)]
    assert [name for name in box.files("") if not name.startswith("archive")] == ["duckdb.db"]


def test_commands_of_several_threads_wait_for_each_other(box: Sandbox) -> None:
    box.task("kpi.out", "select 1 as x")
    box.run("transform", "--name", "kpi.out")
    project = box.project
    codes: list[int] = []

    def work() -> None:
        result = run_command(
            ["transform", "--name", "kpi.out"],
            environ={"SL_ROOT": str(box.root)},
            out=lambda line: None,
            log=lambda level, line: None,
            canceled=Canceled(),
            project=project,
        )
        codes.append(result.exit_code)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 8
    assert box.rows("select count(*) from kpi.out") == [(9,)]


SLOW = "select count(*) as n from range(100000000) a, range(100000) b where a.range + b.range < 0"


def test_a_canceled_command_stops_and_leaves_no_table(box: Sandbox) -> None:
    box.task("kpi.slow", SLOW)
    canceled = Canceled()
    threading.Timer(0.5, canceled.set).start()
    with pytest.raises(CommandCanceled):
        run_command(
            ["transform", "--name", "kpi.slow"],
            environ={"SL_ROOT": str(box.root)},
            out=lambda line: None,
            log=lambda level, line: None,
            canceled=canceled,
        )
    with duckdb.connect(str(box.root / "datasets/duckdb.db")) as connection:
        assert connection.execute("select table_name from duckdb_tables()").fetchall() == []


def test_a_terminated_process_has_exit_code_128_plus_the_signal(box: Sandbox) -> None:
    box.task("kpi.slow", SLOW)
    process = start(box, "transform", "--name", "kpi.slow")
    while not (box.root / "datasets/duckdb.db").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("select 1; select 'a;b' -- x;\n; ", ["select 1", "select 'a;b' -- x;"]),
        ("-- only a comment;\n/* and ; another */ ;", []),
        ("select $$a;b$$; select $x$c;d$x$", ["select $$a;b$$", "select $x$c;d$x$"]),
        ("select e'it\\';s'; select 'it'';s'; select \"a;b\"", ["select e'it\\';s'", "select 'it'';s'", 'select "a;b"']),
    ],
)
def test_scripts_are_split_at_semicolons_outside_of_strings_and_comments(script: str, expected: list[str]) -> None:
    found = split_statements(script)
    assert [s.text for s in found] == expected
    assert all(script[s.offset :].startswith(s.text) for s in found)
