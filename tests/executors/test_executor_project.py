"""A whole project through each local executor: the engine in process, and its command line in place of the ``starlake`` command."""

import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from contract import Watched
from waiting import wait_until

from starlake_dagster_components.commands import (
    Command,
    RunContext,
    build_load_command,
    build_preload_command,
    build_stage_command,
    build_transform_command,
)
from starlake_dagster_components.errors import CommandCanceled
from starlake_dagster_components.executors.base import CommandResult, ExpectationResult, StarlakeExecutor
from starlake_dagster_components.executors.duckdb import DuckDBExecutor
from starlake_dagster_components.executors.local.dagster_shell import DagsterShellExecutor
from starlake_dagster_components.executors.local.shell import ShellExecutor
from starlake_dagster_components.pipelines.pipeline import Pipeline, PreLoad
from starlake_dagster_components.project.model import DagConfig
from starlake_dagster_components.project.reader import read_project

FILES = {
    "metadata/application.sl.yml": """
version: 1
application:
  connectionRef: duckdb
  loader: native
  connections:
    duckdb:
      type: jdbc
      options: {url: "jdbc:duckdb:{{SL_ROOT}}/datasets/shop.db", driver: org.duckdb.DuckDBDriver}
""",
    "metadata/env.sl.yml": "version: 1\nenv: {country: FR}\n",
    "metadata/env.DE.sl.yml": "version: 1\nenv: {country: DE}\n",
    "metadata/load/sales/_config.sl.yml": (
        "version: 1\nload:\n  name: sales\n  metadata: {directory: '{{SL_ROOT}}/datasets/incoming/sales'}\n"
    ),
    "metadata/load/sales/orders.sl.yml": r"""
version: 1
table:
  name: orders
  rename: order_lines
  pattern: "orders-.*\\.csv"
  metadata: {format: DSV, withHeader: true, separator: ";", writeStrategy: {type: APPEND}}
  expectations: [{expect: "is_unique('id')", failOnError: false}]
  attributes: [{name: id, type: long}, {name: amount, type: double}]
""",
    "metadata/load/sales/clients.sl.yml": r"""
version: 1
table:
  name: clients
  pattern: "clients-.*\\.csv"
  metadata: {format: DSV, withHeader: true, separator: ";"}
  attributes: [{name: id, type: long}]
""",
    "metadata/expectations/unique.j2": "{% macro is_unique(col) %}SELECT count(*) FROM "
    "(SELECT {{ col }} FROM sl_this GROUP BY ALL HAVING count(*) > 1){% endmacro %}",
    "metadata/transform/kpi/total.sl.yml": "version: 1\ntask:\n  name: total\n  writeStrategy: {type: OVERWRITE}\n",
    "metadata/transform/kpi/total.sql": "SELECT '{{country}}' AS country, sum(amount) AS total, '{{sl_data_interval_end}}' AS until "
    "FROM sales.order_lines",
    "metadata/transform/kpi/slow.sql": "SELECT count(*) AS n FROM range(100000000000) a, range(100000) b WHERE a.range * b.range = 7",
}


class Shop:
    """A project and an executor for it."""

    def __init__(self, root: Path, make: Callable[[Path], StarlakeExecutor]) -> None:
        self.root = root
        for name, text in FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        self.program = root / "starlake"
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m starlake_dagster_components.engine "$@"\n')
        self.program.chmod(0o755)
        self.executor = make(self.program)
        self.project = read_project(root)
        assert self.project.problems == ()
        self.watched = Watched()

    def run(self, command: Command, **invocation: Any) -> CommandResult:
        return self.executor.run(command, self.watched.invocation(**invocation))

    def build_context(self, **changes: Any) -> RunContext:
        return RunContext(self.project, **{"job_id": "run-1.step", **changes})

    def deliver(self, name: str, *rows: str, header: str = "id;amount", area: str = "incoming") -> None:
        path = self.root / "datasets" / area / "sales" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *rows]) + "\n")

    def names(self, area: str) -> list[str]:
        return sorted(p.name for p in (self.root / "datasets" / area / "sales").glob("*"))

    def find_tables(self, *names: str) -> Sequence[Any]:
        return [next(t for t in self.project.tables if t.name == name) for name in names]

    @property
    def sales(self) -> Any:
        return self.project.domains[0]

    def task(self, name: str) -> Any:
        return next(t for t in self.project.tasks if t.full_name == name)

    def preload(self, strategy: Any, *names: str) -> CommandResult:
        return self.run(build_preload_command(self.build_context(), self.sales, self.find_tables(*names), PreLoad(strategy)))

    def stage(self, *names: str) -> CommandResult:
        return self.run(build_stage_command(self.build_context(), self.sales, self.find_tables(*names)))

    def load(self, *names: str, attempt: int = 0, **context: Any) -> CommandResult:
        return self.run(build_load_command(self.build_context(**context), self.sales, self.find_tables(*names)), attempt=attempt)

    def transform(self, name: str, **context: Any) -> CommandResult:
        return self.run(build_transform_command(self.build_context(**context), self.task(name)))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.root / "datasets" / "shop.db"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


EXECUTORS: dict[str, Callable[[Path], StarlakeExecutor]] = {
    "duckdb": lambda program: DuckDBExecutor(),
    "shell": lambda program: ShellExecutor(starlake_path=str(program), grace_period=20),
    "dagster_shell": lambda program: DagsterShellExecutor(starlake_path=str(program), grace_period=20),
}


@pytest.fixture(params=sorted(EXECUTORS))
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    return Shop(tmp_path, EXECUTORS[request.param])


def test_preload_stage_load_and_transform_run_in_order(shop: Shop) -> None:
    assert shop.preload("imported", "orders").not_ready
    shop.deliver("orders-1.csv", "1;10", "2;20", "2;30")
    shop.deliver("clients-1.csv", "7", header="id")
    ready = shop.preload("imported", "orders")
    assert (ready.exit_code, ready.not_ready) == (0, False)
    assert shop.stage("orders").exit_code == 0
    assert (shop.names("incoming"), shop.names("stage")) == (["clients-1.csv"], ["orders-1.csv"])
    assert not shop.preload("pending", "orders").not_ready

    loaded = shop.load("orders", scheduled_date=datetime(2026, 1, 31))
    assert (loaded.exit_code, loaded.reason, loaded.row_count) == (0, None, 3)
    assert loaded.counters is not None
    assert (loaded.counters.input, loaded.counters.accepted) == (3, 3)
    assert [Path(f).name for f in loaded.counters.files] == ["orders-1.csv"]
    (expectation,) = loaded.expectations
    assert isinstance(expectation, ExpectationResult)
    assert (expectation.expect, expectation.success, expectation.violations) == ("is_unique('id')", False, 1)
    assert (shop.names("stage"), shop.names("ingesting"), shop.names("archive")) == ([], [], ["orders-1.csv"])

    done = shop.transform("kpi.total", interval_start=datetime(2026, 1, 30), interval_end=datetime(2026, 1, 31))
    assert (done.exit_code, done.row_count) == (0, 1)
    assert shop.rows("select * from kpi.total") == [("FR", 60.0, "2026-01-31T00:00:00")]
    assert shop.load("orders").exit_code == 0
    assert shop.rows("select count(*) from sales.order_lines") == [(3,)]


def test_a_bad_file_names_its_value_and_is_loaded_after_it_is_corrected(shop: Shop) -> None:
    shop.deliver("orders-1.csv", "1;10", "2;twenty", area="stage")
    failed = shop.load("orders")
    assert failed.exit_code == 1
    assert failed.reason is not None
    assert "twenty" in f"{failed.reason} {failed.tail}"
    (area,) = [a for a in ("stage", "ingesting") if shop.names(a)]
    assert area == "stage" or isinstance(shop.executor, DuckDBExecutor), "Starlake itself does not look into ingesting, the engine does"
    shop.deliver("orders-1.csv", "1;10", "2;20", area=area)
    assert shop.load("orders", attempt=1).exit_code == 0
    assert shop.rows("select id, amount from sales.order_lines order by id") == [(1, 10.0), (2, 20.0)]


def test_the_profile_and_variables_of_the_dag_config_are_used(shop: Shop) -> None:
    shop.deliver("orders-1.csv", "1;10", area="stage")
    assert shop.load("orders").exit_code == 0

    def run_total(**context: Any) -> str:
        assert shop.transform("kpi.total", **context).exit_code == 0
        return str(shop.rows("select country from kpi.total")[0][0])

    of = Pipeline("p", "transform", DagConfig("d", "t", "f"), "shell", "f")
    assert run_total() == "FR"
    assert run_total(profile="DE") == "DE"
    assert run_total(pipeline=replace(of, environment={"SL_ENV": "DE"})) == "DE"
    assert run_total(pipeline=replace(of, environment={"country": "IT"})) == "IT"
    assert run_total(pipeline=replace(of, environment={"country": "IT"}), variables={"country": "ES"}) == "ES"


def test_one_command_loads_several_tables(shop: Shop) -> None:
    shop.deliver("orders-1.csv", "1;10", area="stage")
    shop.deliver("clients-1.csv", "7", "8", header="id", area="stage")
    result = shop.load("orders", "clients")
    assert (result.exit_code, result.row_count) == (0, None)
    assert result.counters is not None
    assert result.counters.accepted == 3


def test_commands_on_one_database_can_run_at_the_same_time(shop: Shop) -> None:
    for number in range(4):
        shop.deliver(f"orders-{number}.csv", f"{number};{number}", area="stage")
    shop.deliver("clients-1.csv", "7", header="id", area="stage")
    results: list[CommandResult] = []

    def work(name: str) -> None:
        command = build_load_command(shop.build_context(job_id=f"run-1.{name}"), shop.sales, shop.find_tables(name))
        results.append(shop.executor.run(command, Watched().invocation(step_key=name)))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("orders", "clients", "orders")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(r.exit_code, r.reason) for r in results] == [(0, None)] * 3
    assert shop.rows("select count(*), sum(amount) from sales.order_lines") == [(4, 6.0)]


def test_canceling_a_slow_statement_leaves_nothing(shop: Shop) -> None:
    def cancel() -> None:
        wait_until(lambda: (shop.root / "datasets" / "shop.db").exists())
        threading.Timer(0.5, shop.watched.canceled.set).start()

    canceler = threading.Thread(target=cancel)
    canceler.start()
    with pytest.raises(CommandCanceled):
        shop.transform("kpi.slow")
    canceler.join()
    assert shop.rows("select table_name from information_schema.tables where table_schema = 'kpi'") == []


def test_a_failed_task_reports_its_reason(shop: Shop) -> None:
    result = shop.transform("kpi.total")
    assert result.exit_code == 1
    assert result.reason is not None
    assert "order_lines" in f"{result.reason} {result.tail}"


def test_a_project_folder_may_have_spaces_and_non_ascii_letters(tmp_path: Path) -> None:
    for name, make in EXECUTORS.items():
        root = tmp_path / f"mein Projekt é {name}"
        shop = Shop(root, make)
        shop.deliver("orders-1.csv", "1;10", area="stage")
        assert shop.load("orders").exit_code == 0
        assert shop.rows("select id from sales.order_lines") == [(1,)]
        shutil.rmtree(root)
