"""The example project's rows after each batch, with the embedded engine."""

import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from starlake_dagster_components.cli.selection import order_jobs
from starlake_dagster_components.engine import run_command
from starlake_dagster_components.pipelines.pipeline import Pipeline, Plan
from starlake_dagster_components.pipelines.plan import plan_project
from starlake_dagster_components.project.reader import read_project

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tallow_lane"
ROWS = re.findall(r"^\| `([\w.]+)` \| (\d+) \| (\d+) \|$", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


class Library:
    """A copy of the project to which batches are delivered, and its database."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(EXAMPLE / "metadata", root / "metadata")
        self.environment = {"SL_ROOT": str(root), "PATH": ""}
        self.plan: Plan = plan_project(read_project(root, environ=self.environment))
        self.log: list[str] = []

    def command(self, *argv: str) -> None:
        result = run_command(
            argv, environ=self.environment, out=self.log.append, log=lambda level, line: self.log.append(f"{level}: {line}")
        )
        assert result.exit_code == 0, (argv, self.log[-20:])
        assert not result.not_ready, argv

    def batch(self, number: int) -> None:
        """Deliver a batch, and run the commands of the jobs in their order."""
        shutil.copytree(EXAMPLE / "batches" / str(number), self.root / "datasets", dirs_exist_ok=True)
        pipelines = {p.name: p for p in self.plan.pipelines}
        for name in order_jobs(self.plan.pipelines, self.plan.dependencies):
            self.load(pipelines[name])
            self.transform(pipelines[name])

    def load(self, pipeline: Pipeline) -> None:
        for domain, pre_load in pipeline.pre_load.items():
            tables = [t.name for t in pipeline.tables if t.domain == domain]
            ack = ["--globalAckFilePath", str(pre_load.global_ack_file_path)] if pre_load.strategy == "ack" else []
            self.command("preload", "--domain", domain, "--tables", ",".join(tables), "--strategy", pre_load.strategy, *ack)
            if pre_load.strategy == "imported":
                self.command("stage", "--domains", domain, "--tables", ",".join(tables))
            for table in tables:
                self.command("load", "--domains", domain, "--tables", table)

    def transform(self, pipeline: Pipeline) -> None:
        left = {t.full_name for t in pipeline.tasks}
        while left:
            name = min(n for n in left if not {d.name for d in self.plan.dependencies.get_direct(n)} & left)
            self.command("transform", "--name", name)
            left.remove(name)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.root / "datasets" / "tallow_lane.db"), read_only=True) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return rows


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Library, Library]:
    """The library after the first batch, and after both."""
    both = Library(tmp_path_factory.mktemp("library") / "project")
    both.batch(1)
    first = Library(both.root.parent / "after_first")
    shutil.copytree(both.root / "datasets", first.root / "datasets")
    both.batch(2)
    return first, both


@pytest.mark.parametrize("after", [1, 2])
def test_row_counts_match_the_readme(libraries: tuple[Library, Library], after: int) -> None:
    expected = {row[0]: int(row[after]) for row in ROWS}
    assert len(expected) == 33
    assert {name: libraries[after - 1].query(f"SELECT count(*) FROM {name}")[0][0] for name in expected} == expected


def test_every_file_was_archived(libraries: tuple[Library, Library]) -> None:
    for library in libraries:
        left = [
            p for area in ("incoming", "stage", "ingesting", "unresolved", "pending") for p in (library.root / "datasets" / area).rglob("*")
        ]
        assert [str(p) for p in left if p.is_file()] == []
        assert len([p for p in (library.root / "datasets" / "archive").rglob("*") if p.is_file()]) in (12, 24)


def test_changed_members_have_two_versions_and_late_ones_are_ignored(libraries: tuple[Library, Library]) -> None:
    assert libraries[1].query("SELECT versions, count(*) FROM core.member GROUP BY ALL ORDER BY ALL") == [(1, 366), (2, 38)]
    assert libraries[1].query("SELECT count(*) FROM desk.members WHERE sl_end_ts IS NOT NULL") == [(38,)]
    assert libraries[1].query("SELECT count(*) FROM catalogue.items WHERE title LIKE '%first entered%'") == [(0,)]


def test_private_columns_do_not_reach_the_database(libraries: tuple[Library, Library]) -> None:
    assert libraries[1].query("SELECT count(*) FROM desk.members WHERE email LIKE '%@%' OR length(email) <> 64") == [(0,)]
    assert libraries[1].query("SELECT count(*) FROM desk.members WHERE length(phone) > 0") == [(0,)]
    assert "note" not in [row[0] for row in libraries[1].query("DESCRIBE desk.members")]


def test_a_withdrawn_tariff_keeps_its_history(libraries: tuple[Library, Library]) -> None:
    sql = "SELECT count(*) FROM {} WHERE category_code = 'SHR' AND period = 'weekend'"
    assert [library.query(sql.format("catalogue.tariffs"))[0][0] for library in libraries] == [1, 0]
    assert libraries[1].query(sql.format("core.tariff_history")) == [(1,)]


def test_the_ledger_continues_where_it_stopped(libraries: tuple[Library, Library]) -> None:
    first, both = libraries
    assert both.query("FROM core.ledger ORDER BY entry_no")[:1153] == first.query("FROM core.ledger ORDER BY entry_no")
    assert both.query("SELECT min(entry_no), max(entry_no), count(DISTINCT entry_no) FROM core.ledger") == [(1, 1262, 1262)]
    assert both.query("SELECT max_by(balance, entry_no) = sum(amount) FROM core.ledger") == [(True,)]


def test_values_survive_separators_quotes_and_line_ends(libraries: tuple[Library, Library]) -> None:
    both = libraries[1]
    assert both.query("SELECT street FROM desk.branches WHERE branch_code = 'TAN'") == [('17 Hide Street, "the vats"',)]
    assert both.query("SELECT label FROM workshop.spare_parts WHERE sku = 'SP100'") == [('Hose 1/2" ^ 2 m',)]
    assert {r[0] for r in both.query("SELECT DISTINCT remark FROM lending.reservations")} >= {'for the "big" hedge', "back \\ shelf"}
    assert both.query("SELECT count(*) > 0 FROM workshop.inspections WHERE contains(remarks, chr(10))") == [(True,)]
    assert both.query("SELECT min(inspected_on), max(inspected_on) FROM workshop.inspections")[0][0].isoformat() == "2026-07-07"
    assert both.query("SELECT sum(len(parts_used)) = (SELECT count(*) FROM core.repair_part) FROM workshop.repairs") == [(True,)]


def test_only_the_empty_drawer_fails_its_expectation(libraries: tuple[Library, Library]) -> None:
    failed = [library.query("SELECT DISTINCT domain, schema FROM audit.expectations WHERE NOT success") for library in libraries]
    assert failed == [[], [("workshop", "spare_parts")]]
