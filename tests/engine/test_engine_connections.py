"""Options of connections: settings of DuckDB, initial statements, files that others have open, and time zones."""

import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from engine_help import Sandbox

from starlake_dagster_components.engine import database

APPLICATION = """version: 1
application:
  connectionRef: duckdb
  connections:
    duckdb:
      type: jdbc
      options:
        url: "jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db"
"""


def make_box(root: Path, *options: str) -> Sandbox:
    lines = "".join(f"        {option}\n" for option in options)
    box = Sandbox(root).write({"metadata/application.sl.yml": APPLICATION + lines})
    return box.table("d", "x", "{ name: id, type: long }", "format: DSV, withHeader: true").stage("d", {"x1.csv": "id\n1\n"})


def reject(box: Sandbox, *argv: str) -> str:
    result = box.run(*(argv or ("load",)), check=False)
    assert result.exit_code == 1
    assert box.files("stage") == ["d/x1.csv"]
    return result.reason or ""


def test_pre_actions_run_first(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "other.db")) as connection:
        connection.execute("create schema s; create table s.t as select 7 as n")
    box = make_box(
        tmp_path, "preActions: \"SET default_null_order = 'nulls_first'; ATTACH IF NOT EXISTS '{{SL_ROOT}}/other.db' AS other (READ_ONLY)\""
    )
    box.run("load")
    box.task("k.a", "select n, current_setting('default_null_order') as nulls from other.s.t")
    box.run("transform", "--name", "k.a")
    assert box.rows("select lower(nulls), n from k.a") == [("nulls_first", 7)]
    assert box.rows("select id from d.x") == [(1,)]


def test_a_database_that_pre_actions_use_is_written_to(tmp_path: Path) -> None:
    box = make_box(tmp_path, "preActions: \"ATTACH IF NOT EXISTS '{{SL_ROOT}}/datasets/other.db' AS other; USE other\"")
    box.task("k.a", "select count(*) as n from d.x")
    box.run("load")
    box.run("transform", "--name", "k.a")
    assert box.rows("select n from k.a", "other.db") == [(1,)]
    assert box.rows("select count(*) from audit.audit where success", "other.db") == [(3,)]
    assert box.rows("select count(*) from duckdb_tables()") == [(0,)]


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ("DELETE FROM d.x", "does not run 'DELETE FROM d.x' there"),
        ("SET no_such_setting = 1", "unrecognized configuration parameter"),
        ("ATTACH ':memory:' AS m; USE m", "make m the current database, which is not a DuckDB file"),
    ],
)
def test_pre_actions_that_cannot_be_run_are_rejected_with_their_line(tmp_path: Path, actions: str, said: str) -> None:
    reason = reject(make_box(tmp_path, f'preActions: "{actions}"'))
    assert said in reason
    assert "metadata/application.sl.yml:9: preActions of connection 'duckdb'" in reason


def test_options_are_passed_to_duckdb(tmp_path: Path) -> None:
    box = make_box(tmp_path, "memory_limit: 300MiB", "jdbc_stream_results: true", "numPartitions: 2")
    box.task("k.a", "select current_setting('memory_limit') as m")
    box.run("transform", "--name", "k.a")
    assert box.rows("select m from k.a") == [("300.0 MiB",)]
    # The next project has its own options.
    other = make_box(tmp_path / "other")
    other.task("k.a", "select current_setting('memory_limit') as m")
    other.run("transform", "--name", "k.a")
    assert other.rows("select m from k.a") != [("300.0 MiB",)]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("memory_limitt: 1GB", "application.sl.yml:9: option 'memory_limitt' of connection 'duckdb'"),
        ('duckdb.read_only: "true"', "application.sl.yml:9: connection 'duckdb' is read-only"),
        ("access_mode: READ_ONLY", "application.sl.yml:9: connection 'duckdb' is read-only"),
        ("postActions: CHECKPOINT", "application.sl.yml:9: connection 'duckdb': postActions are not run"),
    ],
)
def test_options_that_the_engine_cannot_honor_are_rejected_with_their_line(tmp_path: Path, option: str, said: str) -> None:
    assert said in reject(make_box(tmp_path, option))


def test_a_read_only_database_can_be_queried(tmp_path: Path) -> None:
    make_box(tmp_path).run("load")
    box = make_box(tmp_path, 'duckdb.read_only: "true"')
    box.task("k.a", "select count(*) as n from d.x")
    box.run("transform", "--name", "k.a", "--interactive", "csv")
    assert box.out == ["n", "1"]
    assert "k.a: connection 'duckdb' is read-only" in (box.run("transform", "--name", "k.a", check=False).reason or "")


@pytest.mark.parametrize("size", [0, 20, 4096, 8192])
def test_a_database_that_a_full_disk_left_incomplete_is_created_again(tmp_path: Path, size: int) -> None:
    box = make_box(tmp_path)
    (tmp_path / "datasets").mkdir(exist_ok=True)
    with duckdb.connect(str(tmp_path / "new.db")) as new:
        new.execute("select 1")
    (tmp_path / "datasets/duckdb.db").write_bytes((tmp_path / "new.db").read_bytes()[:size])
    box.run("load")
    assert box.rows("select id from d.x") == [(1,)]


@pytest.mark.parametrize("url", ["jdbc:duckdb:{{SL_ROOT}}/metadata/application.sl.yml/x/duckdb.db", "jdbc:duckdb:/proc/nowhere/duckdb.db"])
def test_a_folder_that_cannot_be_created_fails_the_tables_of_its_database(tmp_path: Path, url: str) -> None:
    box = make_box(tmp_path).table("d", "y", "{ name: id, type: long }", "format: DSV, sink: { connectionRef: second }")
    second = '    second: { type: jdbc, options: { url: "jdbc:duckdb:{{SL_ROOT}}/datasets/second.db" } }\n'
    box.write({"metadata/application.sl.yml": APPLICATION.replace("jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db", url) + second})
    result = box.load("d", {"y.csv": "id\n2\n"}, env={"SL_AUDIT_ACTIVE": "false"}, check=False)
    assert "cannot open the database " in (result.reason or "")
    assert "duckdb.db: N" in (result.reason or "")
    assert list(result.failures) == ["d.x"]
    assert box.files("stage") == ["d/x1.csv"]
    assert box.rows("select id from d.y", "second.db") == [(2,)]


def test_a_file_that_another_program_has_open_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = make_box(tmp_path)
    (tmp_path / "datasets").mkdir(exist_ok=True)
    script = f"import duckdb, sys\nc = duckdb.connect({str(tmp_path / 'datasets/duckdb.db')!r})\nprint(1, flush=True)\nsys.stdin.readline()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        other.stdout.readline()
        monkeypatch.setattr(database, "WAIT_FOR_OTHERS", 0.3)
        reason = reject(box)
        assert "another program has it open (" in reason
        assert f"PID {other.pid}" in reason
        assert any(level == "error" and "has it open" in line for level, line in box.log)
        monkeypatch.setattr(database, "WAIT_FOR_OTHERS", 60)
        threading.Timer(0.5, other.stdin.close).start()
        box.run("load")
    assert box.rows("select id from d.x") == [(1,)]


def test_a_file_that_another_connection_of_the_process_has_open_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = make_box(tmp_path)
    (tmp_path / "datasets").mkdir(exist_ok=True)
    connection = duckdb.connect(str(tmp_path / "datasets/duckdb.db"))
    monkeypatch.setattr(database, "WAIT_FOR_OTHERS", 0.3)
    assert "a connection of this process (PID " in reject(box)
    monkeypatch.setattr(database, "WAIT_FOR_OTHERS", 60)
    threading.Timer(0.5, connection.close).start()
    box.run("load")
    assert box.rows("select id from d.x") == [(1,)]


def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    box = make_box(tmp_path)
    box.write({"datasets/duckdb.db": "id;a\n" * 5000})
    assert "duckdb.db: IO Error" in reject(box)
    assert any(level == "error" and "cannot open the database" in line for level, line in box.log)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"])
def test_times_are_in_the_time_zone_of_the_command(tmp_path: Path, zone: str) -> None:
    box = make_box(tmp_path)
    box.task(
        "k.s",
        "select 1 as id, current_timestamp::varchar as now, '{{sl_datetime}}' as sl from range(1)",
        "  writeStrategy: { type: SCD2, key: [id] }\n",
    )
    box.run("load", "--scheduledDate", "2024-01-01T00:00:00Z", env={"TZ": zone})
    box.run("transform", "--name", "k.s", env={"TZ": zone})
    local = datetime.now(ZoneInfo(zone)).replace(tzinfo=None)
    ((start, now, sl),) = box.rows("select sl_start_ts, now, sl from k.s")
    ((scheduled, written),) = box.rows("select scheduled_date, timestamp from audit.audit where step = 'LOAD'")
    for moment in (start, written, datetime.fromisoformat(now[:19]), datetime.strptime(sl, "%Y%m%d%H%M%S")):
        assert abs(moment - local) < timedelta(minutes=30)
    assert scheduled == datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def test_the_threads_option_of_a_connection_limits_every_query(tmp_path: Path) -> None:
    box = make_box(tmp_path, "threads: 3")
    # A query that reads external data may be large, so it uses all processors.
    box.task("k.a", "select current_setting('threads') as threads, count(*) as n from range(10) group by 1")
    box.run("transform", "--name", "k.a")
    assert box.rows("select threads, n from k.a") == [(3, 10)]
