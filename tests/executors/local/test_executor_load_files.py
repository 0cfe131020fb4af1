"""No file of a load is lost, with a program that loses files in all ways that were observed with the real Starlake."""

import multiprocessing
import os
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract import Behavior, Watched, build_command
from program import Program
from waiting import wait_until

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import Audit, Command, LoadFiles, Target
from starlake_dagster_components.errors import CommandCanceled, CommandError
from starlake_dagster_components.executors.base import CommandResult
from starlake_dagster_components.executors.local.load_files import hold_files
from starlake_dagster_components.executors.local.shell import ShellExecutor

LOSSY = r"""
import json, os, re, shutil, sys
import duckdb
pattern, job = sys.argv[2], os.environ["SL_JOB_ID"]
stage, ingesting, archive = "datasets/stage/sales", "datasets/ingesting/sales", "datasets/archive/sales"
for folder in (ingesting, archive):
    os.makedirs(folder, exist_ok=True)
connection = duckdb.connect("duckdb.db")
connection.execute("create schema if not exists audit; create schema if not exists sales")
connection.execute("create table if not exists sales.orders(id varchar)")
connection.execute("create table if not exists audit.audit(JOBID varchar, PATHS varchar, DOMAIN varchar, SCHEMA varchar, SUCCESS boolean, "
                   "MESSAGE varchar, STEP varchar)")
def note(step, paths, success, message="success"):
    connection.execute("insert into audit.audit values (?, ?, 'sales', 'orders', ?, ?, ?)", [job, paths, success, message, step])
code, paths = 0, []
for name in sorted(os.listdir(stage)):
    if not re.fullmatch(pattern, name):
        continue
    here = os.path.abspath(os.path.join(ingesting, name))
    if os.path.exists(here):
        os.remove(here)
    shutil.move(os.path.join(stage, name), here)
    text = open(here).read().strip()
    if text == "bad":
        note("LOAD", "file:" + here, False, "Could not convert 'bad'")
        code = 1
        continue
    if text == "left":
        continue
    if text == "killed":
        os.kill(os.getpid(), 9)
    paths.append("file:" + here)
    if text == "lost":
        note("TRANSFORM", "orders", False, "no such strategy")
    else:
        connection.execute("insert into sales.orders values (?)", [text])
        note("TRANSFORM", "orders", True)
    note("LOAD", "file:" + here, True)
    if text == "expectation":
        code = 1
        continue
    shutil.move(here, os.path.join(archive, name))
if code:
    print('Exception in thread "main" java.lang.Exception: some tables failed', file=sys.stderr)
else:
    counters = {"inputCount": len(paths), "acceptedCount": len(paths), "rejectedCount": -1, "paths": paths, "jobid": ""}
    print("IngestionCounters:" + json.dumps(counters))
sys.exit(code)
"""


class Shop:
    """A project whose ``starlake`` is the program above."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for area in ("stage", "ingesting", "archive"):
            self.get_folder(area).mkdir(parents=True)
        self.program = root / "starlake"
        self.program.write_text(f"#!{sys.executable}\n{LOSSY}")
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        self.watched = Watched()

    def get_folder(self, area: str) -> Path:
        return self.root / "datasets" / area / "sales"

    def names(self, area: str) -> list[str]:
        return sorted(p.name for p in self.get_folder(area).iterdir())

    def put(self, name: str, text: str, area: str = "stage") -> None:
        (self.get_folder(area) / name).write_text(text)

    def command(self, pattern: str = r"orders-.*\.csv", **changes: Any) -> Command:
        database = str(self.root / "duckdb.db")
        files = LoadFiles(str(self.get_folder("stage")), str(self.get_folder("ingesting")), (pattern,), str(self.get_folder("archive")))
        values: dict[str, Any] = {
            "verb": "load",
            "arguments": (pattern,),
            "project": str(self.root),
            "program": str(self.program),
            "files": files,
            "databases": (database,),
            "environment": {"SL_JOB_ID": "run-1.orders"},
            "audit": Audit(database, "audit", "run-1.orders"),
            "target": Target(database, "sales", "orders"),
        }
        return build_command(**{**values, **changes})

    def load(self, attempt: int = 0, **changes: Any) -> CommandResult:
        return ShellExecutor(grace_period=5).run(self.command(**changes), self.watched.invocation(attempt=attempt))

    def rows(self) -> list[str]:
        import duckdb

        with duckdb.connect(str(self.root / "duckdb.db"), read_only=True) as connection:
            return [row[0] for row in connection.execute("select id from sales.orders order by 1").fetchall()]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_successful_load_leaves_no_files(shop: Shop) -> None:
    shop.put("orders-1.csv", "1")
    shop.put("clients-1.csv", "other")
    result = shop.load()
    assert (result.exit_code, result.reason, result.row_count) == (0, None, 1)
    assert result.counters is not None
    assert result.counters.accepted == 1
    assert (shop.names("stage"), shop.names("ingesting"), shop.names("archive")) == (["clients-1.csv"], [], ["orders-1.csv"])
    assert [level for level, _ in shop.watched.lines if level != "info"] == []


def test_the_file_of_a_load_that_fails_is_loaded_by_the_next_one(shop: Shop) -> None:
    shop.put("orders-1.csv", "1")
    shop.put("orders-2.csv", "bad")
    shop.put("orders-3.csv", "3")
    result = shop.load()
    assert (result.exit_code, result.reason) == (1, "some tables failed")
    assert (shop.names("stage"), shop.names("ingesting")) == (["orders-2.csv"], [])
    shop.put("orders-2.csv", "2")
    assert shop.load(attempt=1).exit_code == 0
    assert shop.rows() == ["1", "2", "3"]


def test_a_retry_is_not_blamed_for_the_audit_of_the_attempt_before(shop: Shop) -> None:
    shop.put("orders-1.csv", "bad")
    assert shop.load().exit_code == 1
    shop.put("orders-1.csv", "1")
    assert shop.load(attempt=1).exit_code == 0


def test_a_load_that_leaves_a_file_fails_with_any_exit_code(shop: Shop) -> None:
    shop.put("orders-1.csv", "left")
    result = shop.load(audit=None)
    assert result.exit_code == 1
    assert result.reason is not None
    assert "left orders-1.csv in" in result.reason
    assert shop.names("stage") == ["orders-1.csv"]


def test_rows_that_were_lost_with_exit_code_0_are_a_failure_and_the_file_is_restored(shop: Shop) -> None:
    shop.put("orders-1.csv", "1")
    shop.put("orders-2.csv", "lost")
    result = shop.load()
    assert result.exit_code == 1
    assert result.reason == "no such strategy (according to Starlake's audit, the second step of the load of sales.orders failed)"
    assert (shop.names("stage"), shop.names("archive")) == (["orders-2.csv"], ["orders-1.csv"])


def test_a_file_whose_rows_are_in_the_table_is_not_loaded_twice(shop: Shop) -> None:
    shop.put("orders-1.csv", "expectation")
    assert shop.load().exit_code == 1
    assert (shop.names("stage"), shop.names("ingesting"), shop.names("archive")) == ([], [], ["orders-1.csv"])
    assert shop.load(attempt=1).exit_code == 0
    assert shop.rows() == ["expectation"]


def test_a_file_left_by_an_abandoned_load_is_loaded(shop: Shop) -> None:
    shop.put("orders-1.csv", "1", area="ingesting")
    shop.put("clients-1.csv", "not ours", area="ingesting")
    assert shop.load().exit_code == 0
    assert shop.rows() == ["1"]
    assert shop.names("ingesting") == ["clients-1.csv"]
    assert any("earlier load" in line and "orders-1.csv" in line for line in shop.watched.texts)


def test_a_program_that_was_killed_loses_nothing(shop: Shop) -> None:
    shop.put("orders-1.csv", "killed")
    assert shop.load().exit_code == 137
    assert shop.names("stage") == ["orders-1.csv"]


def test_a_newer_file_of_the_same_name_is_not_replaced(shop: Shop) -> None:
    shop.put("orders-1.csv", "old", area="ingesting")
    shop.put("orders-1.csv", "new")
    assert shop.load().exit_code == 0
    assert shop.rows() == ["new", "old"]
    assert shop.names("archive") == ["orders-1.1.csv", "orders-1.csv"]


def test_the_same_file_delivered_again_is_loaded_once(shop: Shop) -> None:
    shop.put("orders-1.csv", "same", area="ingesting")
    shop.put("orders-1.csv", "same")
    assert shop.load().exit_code == 0
    assert shop.rows() == ["same"]


def test_two_files_that_can_only_have_one_name_stop_the_load_before_it_starts(shop: Shop) -> None:
    shop.put("orders.csv", "old", area="ingesting")
    shop.put("orders.csv", "new")
    with pytest.raises(CommandError, match="another file of the same name"):
        shop.load(pattern=r"orders\.csv")
    assert (shop.names("stage"), shop.names("ingesting")) == (["orders.csv"], ["orders.csv"])


@pytest.mark.parametrize("same_file_system", [True, False])
def test_files_are_moved_between_file_systems_too(shop: Shop, monkeypatch: pytest.MonkeyPatch, same_file_system: bool) -> None:
    link = os.link

    def link_within(source: Any, target: Any) -> None:
        if not same_file_system and Path(source).parent != Path(target).parent:
            raise OSError(18, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", link_within)
    shop.put("orders-1.csv", "1", area="ingesting")
    os.utime(shop.get_folder("ingesting") / "orders-1.csv", (1_000_000_000, 1_000_000_000))
    with hold_files(shop.command().files, log=shop.watched.log, canceled=Canceled()) as files:  # type: ignore[arg-type]
        assert files.put_back(files.list_left()) == ["orders-1.csv"]
    assert shop.names("ingesting") == []
    assert shop.names("stage") == ["orders-1.csv"], "and no part of a copy"
    assert (shop.get_folder("stage") / "orders-1.csv").stat().st_mtime == 1_000_000_000, "Starlake loads in the order of these times"


def test_a_file_of_the_same_name_size_and_time_is_different_if_its_content_is(shop: Shop) -> None:
    for area, content in (("ingesting", "1"), ("stage", "2")):
        shop.put("orders-1.csv", content, area=area)
        os.utime(shop.get_folder(area) / "orders-1.csv", (1_000_000_000, 1_000_000_000))
    with hold_files(shop.command().files, log=shop.watched.log, canceled=Canceled()) as files:  # type: ignore[arg-type]
        (name,) = files.put_back(files.list_left())
    assert name != "orders-1.csv"
    assert sorted(shop.names("stage")) == sorted(["orders-1.csv", name])
    assert (shop.get_folder("stage") / "orders-1.csv").read_bytes() != (shop.get_folder("stage") / name).read_bytes()


def test_other_files_are_left_alone(shop: Shop) -> None:
    for name in (".orders-1.csv", "orders-1.csv.part", "xorders-1.csv"):
        shop.put(name, "1", area="ingesting")
    (shop.get_folder("ingesting") / "orders-9.csv").mkdir()
    assert shop.load().exit_code == 0
    assert len(shop.names("ingesting")) == 4


def test_a_canceled_load_puts_its_file_back(shop: Shop, tmp_path: Path) -> None:
    program = tmp_path / "slow"
    program.write_text(
        f"#!{sys.executable} -IS\nimport os, time\n"
        "os.rename('datasets/stage/sales/orders-1.csv', 'datasets/ingesting/sales/orders-1.csv')\n"
        "print('moved', flush=True)\ntime.sleep(600)"
    )
    program.chmod(0o755)
    shop.put("orders-1.csv", "1")
    shop.watched.on_line = lambda line: shop.watched.canceled.set() if line == "moved" else None
    with pytest.raises(CommandCanceled):
        shop.load(program=str(program))
    assert (shop.names("stage"), shop.names("ingesting")) == (["orders-1.csv"], [])


SLOW = """
import os, time
os.rename("datasets/stage/sales/orders-1.csv", "datasets/ingesting/sales/orders-1.csv")
open("moved", "w").close()
end = time.monotonic() + 600
while not os.path.exists("go on") and time.monotonic() < end:
    time.sleep(0.01)
os.rename("datasets/ingesting/sales/orders-1.csv", "datasets/archive/sales/orders-1.csv")
"""


def write_slow_program(path: Path) -> str:
    """Write a program whose load lasts until the file ``go on`` exists."""
    path.write_text(f"#!{sys.executable} -IS\n{SLOW}", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_load_of_the_same_table_waits_and_does_not_take_the_other_s_files(shop: Shop, tmp_path: Path) -> None:
    """The first load has its file in ingesting for some time. The second must not put it back."""
    slow = write_slow_program(tmp_path / "slow")
    shop.put("orders-1.csv", "1")
    first = Watched()
    command = shop.command(program=slow, databases=(), audit=None, target=None)
    results: list[CommandResult] = []
    thread = threading.Thread(target=lambda: results.append(ShellExecutor().run(command, first.invocation())))
    thread.start()
    wait_until((shop.root / "moved").exists)
    shop.put("orders-2.csv", "2")
    shop.watched.on_line = lambda line: (shop.root / "go on").touch() if line.startswith("waiting for files of") else None
    assert shop.load().exit_code == 0
    thread.join()
    assert results[0].exit_code == 0
    assert shop.rows() == ["2"]


def test_a_load_of_another_table_that_accepts_the_same_file_does_not_take_it(shop: Shop) -> None:
    shop.put("orders-1.csv", "1", area="ingesting")
    wide = replace(shop.command().files, patterns=(".*",))  # type: ignore[type-var]
    done = threading.Event()
    inside = threading.Event()

    def other() -> None:
        with hold_files(shop.command().files, log=Watched().log, canceled=Canceled()):  # type: ignore[arg-type]
            inside.set()
            done.wait()

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    with hold_files(wide, log=shop.watched.log, canceled=Canceled()) as files:  # type: ignore[arg-type]
        assert files.list_left() == []
        done.set()
        thread.join()
        assert files.list_left() == ["orders-1.csv"]


def _load_in_threads(root: str, patterns: list[str]) -> None:
    shop = Shop.__new__(Shop)
    shop.root, shop.program = Path(root), Path(root, "starlake")
    run = ShellExecutor().run
    threads = [threading.Thread(target=run, args=(shop.command(pattern), Watched().invocation())) for pattern in patterns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_loads_at_once_load_everything_once(shop: Shop) -> None:
    """Tables in threads and processes, one database, one ingesting folder."""
    for table in "abc":
        for number in range(3):
            shop.put(f"{table}-{number}.csv", f"{table}{number}")
    spawn = multiprocessing.get_context("spawn")
    patterns = [rf"{table}-\d\.csv" for table in "abc"]
    workers = [spawn.Process(target=_load_in_threads, args=(str(shop.root), each)) for each in (patterns, patterns[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert shop.rows() == sorted(f"{t}{n}" for t in "abc" for n in range(3))
    assert (shop.names("stage"), shop.names("ingesting")) == ([], [])


def test_folders_that_do_not_exist_yet_are_not_a_problem(tmp_path: Path) -> None:
    program = Program(tmp_path / "bin")
    program.behave(Behavior())
    files = LoadFiles(str(tmp_path / "no/stage"), str(tmp_path / "no/ingesting"), (".*",), str(tmp_path / "no/archive"))
    command = build_command(verb="load", project=str(tmp_path), program=str(program.path), files=files)
    assert ShellExecutor().run(command, Watched().invocation()).exit_code == 0
    assert not (tmp_path / "no").exists()


def test_a_load_whose_worker_was_killed_keeps_its_file_until_it_has_ended(shop: Shop, tmp_path: Path) -> None:
    """The worker is killed, but its Starlake process continues. A retry must wait for it, and not take its file."""
    orphan = write_slow_program(tmp_path / "orphan")
    shop.put("orders-1.csv", "1")
    worker = multiprocessing.get_context("spawn").Process(target=_load_with, args=(str(shop.root), orphan))
    worker.start()
    wait_until((shop.root / "moved").exists)
    worker.kill()
    worker.join()
    assert shop.names("ingesting") == ["orders-1.csv"]
    shop.watched.on_line = lambda line: (shop.root / "go on").touch() if line.startswith("waiting for files of") else None
    assert shop.load().exit_code == 0
    assert (shop.names("stage"), shop.names("archive")) == ([], ["orders-1.csv"])
    assert not any("earlier load left" in line for line in shop.watched.texts)


def _load_with(root: str, program: str) -> None:
    shop = Shop.__new__(Shop)
    shop.root, shop.program, shop.watched = Path(root), Path(program), Watched()
    ShellExecutor().run(shop.command(), shop.watched.invocation())
