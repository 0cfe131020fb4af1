"""Recorded behavior of the real Starlake, played back: rows are not lost or loaded twice, and failures, counts, and checks are right."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from contract import Watched
from starlake_playback import Loader, Mode, Program, read_rows

from starlake_dagster_components.commands import Command, RunContext, build_load_command, build_transform_command
from starlake_dagster_components.errors import CommandError
from starlake_dagster_components.executors.base import CommandResult
from starlake_dagster_components.executors.local.dagster_shell import DagsterShellExecutor
from starlake_dagster_components.executors.local.shell import ShellExecutor
from starlake_dagster_components.project.reader import read_project

EXECUTORS = {"shell": ShellExecutor, "dagster_shell": DagsterShellExecutor}
pytestmark = pytest.mark.slow

LOADS = [f"{case}.{loader}" for case in ("expectations_load", "load_grouped", "smoke", "types_bad") for loader in ("native", "spark")]


def load_recording(shared: Path, name: str) -> tuple[list[dict[str, Any]], dict[str, Any], Path]:
    """Return the commands of a recorded case, its audit tables, and its project with the steps that prepare each command."""
    shell = shared / "oracle/shell"
    commands = json.loads((shell / f"{name}.json").read_text())["commands"]
    audit = shell / f"{name}.audit.json"
    return commands, json.loads(audit.read_text()) if audit.exists() else {}, shared / "oracle/runs/projects" / name.partition(".")[0]


def deliver(step: Mapping[str, Any], case: Path, root: Path) -> None:
    for source, target in step.get("put", ()):
        found = case / source
        for file in sorted(found.iterdir()) if found.is_dir() else [found]:
            (root / target).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, root / target / file.name)


class Model:
    """A model in which each delivered row is in its table exactly once, or its file waits in the stage folder."""

    def __init__(self, root: Path, database: Path, domain: str) -> None:
        self.root, self.database, self.domain = root, database, domain
        self.delivered: list[tuple[str, Path, list[list[str]]]] = []

    def add(self, table: str, file: Path) -> None:
        self.delivered.append((table, file, read_rows(file)[1]))

    def list_staged(self) -> list[str]:
        folder = self.root / "datasets/stage" / self.domain
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    def rows(self, table: str) -> Counter[tuple[str, ...]]:
        if not self.database.exists():
            return Counter()
        with duckdb.connect(str(self.database), read_only=True) as connection:
            found = connection.execute(
                "select 1 from information_schema.tables where table_schema = ? and table_name = ?", [self.domain, table]
            )
            if not found.fetchall():
                return Counter()
            return Counter(tuple(row) for row in connection.execute(f'select * from "{self.domain}"."{table}"').fetchall())

    def check(self) -> None:
        ingesting = self.root / "datasets/ingesting" / self.domain
        assert not ingesting.is_dir() or [p.name for p in ingesting.iterdir()] == []
        waiting = Counter(self.list_staged())
        expected: dict[str, Counter[tuple[str, ...]]] = {}
        for table, file, rows in reversed(self.delivered):
            of_table = expected.setdefault(table, Counter())
            if waiting[file.name]:
                waiting[file.name] -= 1
            else:
                of_table.update(tuple(row) for row in rows if "reject" not in row)
        assert {table: self.rows(table) for table in expected} == expected


@pytest.mark.parametrize(
    "name", [*LOADS, "expectations_transform.native", "preload.native", "stage_ack.native", "transform_features.native"]
)
def test_the_playback_prints_the_recorded_output(shared: Path, tmp_path: Path, name: str) -> None:
    commands, audit, case = load_recording(shared, name)
    steps = [s for s in json.loads((case / "steps.json").read_text())["steps"] if "command" in s]
    root, database = tmp_path / "project", tmp_path / "project/datasets/duckdb.db"
    program = Program(tmp_path / "bin", root, database)
    for number, (command, step) in enumerate(zip(commands, steps, strict=True)):
        deliver(step, case, root)
        program.play(command)
        done = subprocess.run(
            [program.path, *command["arguments"]], capture_output=True, env={**os.environ, "SL_JOB_ID": f"run1.step{number:02}"}
        )
        assert done.returncode == command["exit_code"]
        for stream, lines in ((done.stdout, command["stdout"]), (done.stderr, command["stderr"])):
            assert stream.decode().replace(str(root), "${SL_ROOT}").splitlines() == [
                part for line in lines for part in (line + "\n").splitlines()
            ]
    with duckdb.connect(str(database), read_only=True) as connection:
        for table, recorded in audit.items():
            rows = connection.execute(f"select * from audit.{table} order by rowid").fetchall()
            noted_rows = [[str(v).replace(str(root), "${SL_ROOT}") for v in row] for row in rows]
            names = recorded["columns"]
            compared = [i for i, n in enumerate(names) if n not in ("TIMESTAMP", "SCHEDULED_DATE")]
            assert [[row[i] for i in compared] for row in noted_rows] == [
                [row[i] for i in compared] for row in recorded["rows_in_write_order"]
            ]


@pytest.mark.parametrize("mode", ["main", "submit"])
@pytest.mark.parametrize("kind", EXECUTORS)
@pytest.mark.parametrize("audit", [True, False], ids=["duckdb", "elsewhere"])
@pytest.mark.parametrize("name", LOADS)
def test_recorded_loads_neither_lose_nor_duplicate_rows(
    shared: Path, tmp_path: Path, name: str, kind: str, audit: bool, mode: Mode
) -> None:
    if name.endswith(".spark") and (kind, mode) != ("shell", "main"):
        pytest.skip("the project asks for the native loader: both recordings are alike")
    commands, _, case = load_recording(shared, name)
    steps = [s for s in json.loads((case / "steps.json").read_text())["steps"] if "command" in s]
    root, database = tmp_path / "project", tmp_path / "project/datasets/duckdb.db"
    shutil.copytree(case / "metadata", root / "metadata")
    program = Program(tmp_path / "bin", root, database, audit=audit, mode=mode)
    project = read_project(root)
    domain = project.domains[0]
    model = Model(root, database, domain.name)
    executor = EXECUTORS[kind](starlake_path=str(program.path))
    for number, (recorded, step) in enumerate(zip(commands, steps, strict=True)):
        deliver(step, case, root)
        for source, target in step.get("put", ()):
            found = case / source
            for file in sorted(found.iterdir()) if found.is_dir() else [found]:
                table = next(t for t in domain.tables if re.fullmatch(t.pattern or "", file.name))
                if "stage" in target or "incoming" in target:
                    model.add(table.name, file)
        program.play(recorded)
        arguments = recorded["arguments"]
        names = arguments[arguments.index("--tables") + 1].split(",") if "--tables" in arguments else [t.name for t in domain.tables]
        command = build_load_command(RunContext(project, job_id=f"r.{number}"), domain, [t for t in domain.tables if t.name in names])
        if arguments[0] != "load":
            command = replace(command, verb=arguments[0], files=None, tables=(), audit=None)
        if not audit:
            command = replace(command, audit=None)
        watched = Watched()
        result = executor.run(command, watched.invocation(run_id=f"r{number}"))
        assert (result.exit_code == 0) == (recorded["exit_code"] == 0), result
        if arguments[0] == "load":
            model.check()
            check_recorded_result(name, number, names, result)


def check_recorded_result(name: str, number: int, names: Sequence[str], result: CommandResult) -> None:
    """Failed expectations are results, and are not retried. Failures before the commit are retried."""
    if not name.startswith("expectations_load"):
        assert result.retry
        assert not result.failed_in_table
        return
    checks = {e.expect: (e.success, e.violations) for e in result.expectations}
    expected: list[dict[str, tuple[bool, int | None]]] = [
        {"is_unique('id')": (True, 0), "no_null('name')": (True, 0)},
        {"is_unique('id')": (False, 1)},
        {"is_unique('id')": (False, 1)},
        {"broken()": (False, None)},
        {"two_rows()": (False, None)},
        {},
        {"is_unique('id')": (False, 1)},
        {"is_unique('id')": (False, 2), "no_null('name')": (True, 0)},
        {},
    ]
    assert checks == expected[number]
    after_commit = number in (5, 6, 7)
    assert (result.failed_in_table, result.retry) == (after_commit, not after_commit)
    if number in (6, 7):
        assert "expectations failed: is_unique('id')" in str(result.reason)


# ------------------------------------------------------------------------------------------------------- made-up failures


HEADER = "id,name\n"


class Shop:
    """A project of three tables whose ``starlake`` is a double."""

    def __init__(self, tmp_path: Path, loader: Loader, audit: str, kind: str = "shell", mode: Mode = "main", **options: Any) -> None:
        self.root, self.database = tmp_path / "shop", tmp_path / "shop/datasets/duckdb.db"
        self.audit = audit == "duckdb"
        self.program = Program(tmp_path / "bin", self.root, self.database, audit=self.audit, mode=mode)
        self.options = {"expectations": {"a": "no_boom('x')", "b": "no_boom('x')", "c": "no_boom('x')"}, **options}
        self.loader = loader
        if audit == "silent":
            self.options["level"] = "error"
        self.program.double(loader, **self.options)
        self._write(loader)
        self.project = read_project(self.root)
        self.domain = self.project.domains[0]
        self.model = Model(self.root, self.database, "d")
        self.executor = EXECUTORS[kind](starlake_path=str(self.program.path))
        self.watched = Watched()
        self.attempt = 0

    def _write(self, loader: str) -> None:
        metadata = self.root / "metadata"
        (metadata / "load/d").mkdir(parents=True)
        connections = f'{{duck: {{type: jdbc, options: {{url: "jdbc:duckdb:{self.database}", driver: org.duckdb.DuckDBDriver}}}}}}'
        (metadata / "application.sl.yml").write_text(
            f"version: 1\napplication:\n  connectionRef: duck\n  loader: {loader}\n  connections: {connections}\n"
        )
        (metadata / "load/d/_config.sl.yml").write_text(
            'version: 1\nload:\n  name: d\n  metadata: { directory: "{{SL_ROOT}}/incoming/d" }\n'
        )
        for table in "abc":
            (metadata / f"load/d/{table}.sl.yml").write_text(
                f'version: 1\ntable:\n  name: {table}\n  pattern: "{table}.*.csv"\n'
                f"  attributes: [{{name: id, type: long}}, {{name: name, type: string}}]\n"
                "  expectations: [{expect: \"no_boom('x')\", failOnError: true}]\n"
            )

    def put(self, name: str, *names: str) -> None:
        """Deliver a file with a row for each name."""
        file = self.root / "datasets/stage/d" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEADER + "".join(f"{name}-{number},{value}\n" for number, value in enumerate(names)))
        self.model.add(name[0], file)

    def command(self, tables: str) -> Command:
        described = [t for t in self.domain.tables if t.name in tables]
        command = build_load_command(RunContext(self.project, job_id=f"r.{self.attempt}"), self.domain, described)
        return command if self.audit else replace(command, audit=None)

    def load(self, tables: str = "a") -> CommandResult:
        self.attempt += 1
        try:
            result: CommandResult = self.executor.run(self.command(tables), self.watched.invocation(run_id=f"r{self.attempt}"))
        except CommandError as error:
            result = CommandResult(1, reason=str(error), tables=error.tables)
        return result


AUDITS = ["duckdb", "elsewhere", "silent"]
"""In a DuckDB file; in another database, seen in the log; in another database, and the log has errors only."""


@pytest.fixture(params=AUDITS)
def audit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["native", "spark"])
def loader(request: pytest.FixtureRequest) -> Loader:
    return request.param  # type: ignore[no-any-return]


def test_a_failed_expectation_is_not_a_reason_to_load_a_file_again(tmp_path: Path, loader: Loader, audit: str) -> None:
    shop = Shop(tmp_path, loader, audit)
    shop.put("a1.csv", "fine")
    shop.put("a2.csv", "boom")
    result = shop.load()
    assert (result.exit_code, result.retry, result.failed_in_table) == (1, False, True)
    assert "xpectations failed" in str(result.reason)
    if audit != "silent":
        assert [(e.expect, e.success, e.violations) for e in result.expectations] == [("no_boom('x')", False, 1)]
    shop.model.check()
    assert shop.model.list_staged() == []
    assert shop.load().exit_code == 0
    shop.model.check()


def test_a_failed_expectation_and_a_bad_file_are_both_reported(tmp_path: Path, loader: Loader, audit: str) -> None:
    shop = Shop(tmp_path, loader, audit)
    for name, words in (
        ("a1.csv", "boom"),
        ("a2.csv", "first"),
        ("a3.csv", "more"),
        ("b1.csv", "first"),
        ("b2.csv", "fine"),
        ("c1.csv", "fine"),
    ):
        shop.put(name, words)
    result = shop.load("abc")
    assert {name: (t.outcome, t.retry, t.failed_in_table) for name, t in result.tables.items()} == {
        "a": ("failed", False, True),
        "b": ("failed", True, False),
        "c": ("loaded", True, False),
    }
    assert "Conversion Error" in str(result.tables["b"].reason)
    shop.model.check()
    assert shop.model.list_staged() == ["a2.csv", "b1.csv"]


def test_a_macro_that_does_not_exist_fails_after_the_commit(tmp_path: Path, audit: str) -> None:
    shop = Shop(tmp_path, "native", audit, fail_on_error=False)
    shop.put("a1.csv", "macro")
    result = shop.load()
    assert (result.exit_code, result.retry, result.failed_in_table) == (1, False, True)
    shop.model.check()
    assert shop.model.list_staged() == []


# Without a log at level info, there is no sign of the failure of a second step.
SEEN = ["duckdb", "elsewhere"]


@pytest.mark.parametrize("audit", SEEN)
@pytest.mark.parametrize("files", [["second"], ["fine", "second"], ["second", "fine"], ["fine", "second", "fine", "second"]])
def test_only_the_file_whose_second_step_failed_is_restored(tmp_path: Path, audit: str, files: list[str]) -> None:
    shop = Shop(tmp_path, "native", audit)
    for number, words in enumerate(files):
        shop.put(f"a{number}.csv", words)
    result = shop.load()
    assert (result.exit_code, result.retry) == (1, True)
    assert str(result.reason).startswith("Conversion Error")
    assert "the second step of the load of d.a failed" in str(result.reason)
    assert shop.model.list_staged() == [f"a{number}.csv" for number, words in enumerate(files) if words == "second"]
    shop.model.check()


@pytest.mark.parametrize("audit", SEEN)
@pytest.mark.parametrize(
    "files", [["second", "first"], ["first", "second"], ["first", "fine", "second"], ["second", "boom", "first", "fine"]]
)
def test_files_of_failed_first_and_second_steps_return_to_stage(tmp_path: Path, audit: str, files: list[str]) -> None:
    shop = Shop(tmp_path, "native", audit)
    for number, words in enumerate(files):
        shop.put(f"a{number}.csv", words)
    assert shop.load().exit_code == 1
    assert shop.model.list_staged() == [f"a{number}.csv" for number, words in enumerate(files) if words in ("first", "second")]
    shop.model.check()


@pytest.mark.parametrize("audit", SEEN)
def test_failed_second_steps_of_several_tables_are_distinguished(tmp_path: Path, audit: str) -> None:
    shop = Shop(tmp_path, "native", audit)
    for name, words in (("a1.csv", "fine"), ("a2.csv", "second"), ("b1.csv", "second"), ("b2.csv", "fine"), ("c1.csv", "fine")):
        shop.put(name, words)
    result = shop.load("abc")
    assert {name: t.outcome for name, t in result.tables.items()} == {"a": "failed", "b": "failed", "c": "loaded"}
    assert shop.model.list_staged() == ["a2.csv", "b1.csv"]
    shop.model.check()


@pytest.mark.parametrize("audit", SEEN)
def test_lost_rows_are_reported_when_the_file_is_deleted(tmp_path: Path, audit: str) -> None:
    shop = Shop(tmp_path, "native", audit, archive=False)
    shop.put("a1.csv", "second")
    result = shop.load()
    assert result.exit_code == 1
    assert "the files are not in the archive: a1.csv" in str(result.reason)


@pytest.mark.parametrize("audit", SEEN)
@pytest.mark.parametrize("moment", ["before-insert", "after-transform", "after-load", "before-archive"])
def test_a_load_that_is_killed_at_any_moment_loses_no_file(tmp_path: Path, loader: Loader, audit: str, moment: str) -> None:
    if loader == "spark" and "transform" in moment:
        pytest.skip("the Spark loader notes one step only")
    shop = Shop(tmp_path, loader, audit)
    shop.put("a1.csv", "fine")
    shop.put("a2.csv", f"kill-{moment}")
    shop.put("a3.csv", "fine")
    result = shop.load()
    assert result.exit_code == 137
    assert not result.failed_in_table
    assert shop.model.list_staged() == (["a2.csv", "a3.csv"] if moment == "before-insert" else ["a3.csv"])
    shop.model.check()


@pytest.mark.parametrize("before", [[], ["fine"], ["second", "fine"]])
def test_a_load_killed_before_its_audit_row_loses_no_file(tmp_path: Path, audit: str, before: list[str]) -> None:
    """The table has grown by more rows than the audit has."""
    if before and audit == "silent":
        pytest.skip("how many rows the other files had is not known")
    shop = Shop(tmp_path, "native", audit)
    for number, words in enumerate([*before, "kill-after-insert", "fine"]):
        shop.put(f"a{number}.csv", words)
    assert shop.load().exit_code == 137
    assert shop.model.list_staged() == [f"a{n}.csv" for n, words in enumerate(before) if words == "second"] + [f"a{len(before) + 1}.csv"]
    shop.model.check()


@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_file_name_may_contain_a_quote(tmp_path: Path, audit: str, kind: str) -> None:
    """The audit has another name: Starlake replaces quotes."""
    shop = Shop(tmp_path, "native", audit, kind)
    shop.put("a o'brien.csv", "boom")
    assert not shop.load().retry
    shop.model.check()
    assert shop.model.list_staged() == []


@pytest.mark.parametrize("kind", EXECUTORS)
@pytest.mark.parametrize("name", ["expectations_transform.native", "transform_features.native"])
@pytest.mark.parametrize("audit", [True, False], ids=["duckdb", "elsewhere"])
def test_recorded_transforms_have_the_expected_results(shared: Path, tmp_path: Path, name: str, audit: bool, kind: str) -> None:
    commands, _, case = load_recording(shared, name)
    root, database = tmp_path / "project", tmp_path / "project/datasets/duckdb.db"
    shutil.copytree(case / "metadata", root / "metadata")
    program = Program(tmp_path / "bin", root, database, audit=audit)
    project = read_project(root)
    tasks = {task.full_name: task for task in project.tasks}
    executor = EXECUTORS[kind](starlake_path=str(program.path))
    for number, recorded in enumerate(commands):
        task = tasks.get(recorded["arguments"][recorded["arguments"].index("--name") + 1])
        if recorded["arguments"][0] != "transform" or task is None:
            continue
        program.play(recorded)
        command = build_transform_command(RunContext(project, job_id=f"r.{number}"), task)
        result = executor.run(command if audit else replace(command, audit=None), Watched().invocation(run_id=f"r{number}"))
        assert (result.exit_code == 0) == (recorded["exit_code"] == 0), (recorded["arguments"], result.reason)
        if name.startswith("expectations") and number < 3:
            assert [e.success for e in result.expectations] == [[True, True], [False], [False]][number]


@pytest.mark.parametrize("audit", AUDITS)
def test_counts_are_given_where_they_are_known(tmp_path: Path, loader: Loader, audit: str) -> None:
    """The counts of the native loader are the growth of the table."""
    shop = Shop(tmp_path, loader, audit)
    table = shop.root / "metadata/load/d/b.sl.yml"
    table.write_text(table.read_text() + "  metadata: {writeStrategy: {type: OVERWRITE}}\n")
    shop.domain = read_project(shop.root).domains[0]
    shop.project = read_project(shop.root)
    shop.put("a1.csv", "fine", "fine", "reject")
    shop.put("b1.csv", "fine", "reject")
    known: dict[str, list[tuple[int | None, ...]]] = {"native": [(3, 3, None), (None, None, None)], "spark": [(3, 2, 1), (2, 1, 1)]}
    for name, expected in zip("ab", known[loader], strict=True):
        counters = shop.load(name).counters
        assert counters
        assert (counters.input, counters.accepted, counters.rejected) == expected
        assert len(counters.files) == 1
