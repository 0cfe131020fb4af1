"""The example project is as its README describes it, and its data is as its script writes it."""

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.pipelines.plan import plan_project
from starlake_dagster_components.project.file_patterns import compile_pattern
from starlake_dagster_components.project.model import Attribute, Project
from starlake_dagster_components.project.reader import read_project

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tallow_lane"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


@cache
def project() -> Project:
    return read_project(EXAMPLE, environ={})


@cache
def plan() -> Plan:
    return plan_project(project())


def read_contents(folder: Path) -> dict[str, bytes]:
    """Return path -> content of every file. Compressed files are decompressed, because versions of zlib differ."""
    read = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: gzip.decompress(data) if name.endswith(".gz") else data for name, data in read.items()}


def list_attributes(attributes: Iterable[Attribute]) -> Iterable[Attribute]:
    for attribute in attributes:
        yield attribute
        yield from list_attributes(attribute.attributes)


# ---------------------------------------------------------------------------------------------------------------- data


def test_the_script_writes_the_committed_files(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, EXAMPLE / "make_data.py", tmp_path / "batches"], check=True, env=environment)
    assert read_contents(tmp_path / "batches") == read_contents(EXAMPLE / "batches")


def test_the_data_is_small() -> None:
    assert sum(p.stat().st_size for p in (EXAMPLE / "batches").rglob("*") if p.is_file()) < 2_000_000


@pytest.mark.parametrize("batch", ["1", "2"])
def test_each_batch_has_one_file_per_table_where_its_job_looks(batch: str) -> None:
    known = {"complete.ack"}
    for table in project().tables:
        pipeline = plan().find_pipeline(table)
        assert pipeline is not None
        area = "incoming" if pipeline.pre_load[table.domain].strategy == "imported" else "stage"
        folder = EXAMPLE / "batches" / batch / area / table.domain
        (file,) = [p.name for p in folder.iterdir() if compile_pattern(table.pattern).fullmatch(p.name)]
        known.add(file)
        if table.metadata.ack:
            known.add(f"{file.rpartition('.')[0]}.{table.metadata.ack}")
            assert (folder / f"{file.rpartition('.')[0]}.{table.metadata.ack}").exists()
    assert {p.name for p in (EXAMPLE / "batches" / batch).rglob("*") if p.is_file()} == known


def test_the_ack_file_is_where_the_job_waits_for_it() -> None:
    (lending,) = [p for p in plan().pipelines if "lending" in p.pre_load]
    path = lending.pre_load["lending"].global_ack_file_path
    assert path is not None
    place = Path(path).relative_to(project().areas.datasets)
    assert all((EXAMPLE / "batches" / batch / place).exists() for batch in "12")


# ---------------------------------------------------------------------------------------------------------------- project


def test_the_example_has_no_problems() -> None:
    assert [str(p) for p in plan().problems] == []


def test_the_example_covers_all_formats_and_strategies() -> None:
    tables, tasks = project().tables, project().tasks
    assert len(project().domains) >= 3
    assert len(tables) >= 10
    assert len(tasks) >= 12
    assert {t.metadata.format for t in tables} == {"DSV", "JSON", "JSON_FLAT", "POSITION"}
    assert {t.metadata.separator for t in tables if t.metadata.format == "DSV"} == {";", "|", "\t", "<|>", "^", ","}
    strategies = {"OVERWRITE", "APPEND", "UPSERT_BY_KEY", "DELETE_THEN_INSERT", "SCD2", "OVERWRITE_BY_PARTITION"}
    assert {t.write_strategy.type for t in tasks if t.write_strategy} == strategies
    assert {t.metadata.write_strategy.type for t in tables if t.metadata.write_strategy} == strategies | {"UPSERT_BY_KEY_AND_TIMESTAMP"}
    assert {p.strategy for pipeline in plan().pipelines for p in pipeline.pre_load.values()} == {"imported", "pending", "ack"}
    columns = [a for t in tables for a in list_attributes(t.attributes)]
    assert {a.privacy for a in columns} >= {"SHA256", "HIDE"}
    assert any(a.rename for a in columns)
    assert any(a.array and a.attributes for a in columns)
    assert any(a.ignore for a in columns)
    assert any(a.default for a in columns)
    assert {a.type for a in columns} >= {t.name for t in project().types.values() if t.origin}
    assert any(t.name != t.final_name for t in tables)
    assert any(t.sink and t.sink.materialized_view == "VIEW" for t in tasks)
    assert any((t.sql_file or "").endswith(".sql.j2") for t in tasks)


def test_every_domain_table_attribute_and_task_has_a_comment() -> None:
    for domain in project().domains:
        assert domain.comment, domain.name
        for table in domain.tables:
            assert table.comment, table.full_name
            assert [a.name for a in list_attributes(table.attributes) if not a.comment] == [], table.full_name
    for task in project().tasks:
        if (EXAMPLE / task.origin.file).suffix in (".sql", ".j2"):  # these tasks have no YAML
            assert (task.sql_text or "").startswith("-- "), task.full_name
        else:
            assert task.comment, task.full_name
            assert task.attributes, task.full_name
            assert [a.name for a in task.attributes if not a.comment] == [], task.full_name


def test_tables_and_tasks_have_expectations() -> None:
    assert all(t.expectations for t in project().tables)
    assert sum(1 for t in project().tasks if t.expectations) >= 12


def test_jobs_match_the_readme() -> None:
    jobs = {p.name for p in plan().pipelines}
    assert jobs == {word for word in re.findall(r"`(\w+)`", README) if re.match(r"(load|kpi)_.*_|load_(cat|lend)|\w+_tasks", word)} - {
        "load_from_incoming",
        "load_when_complete",
        "load_each_table",
    }
    assert {p.name for p in plan().pipelines if not p.schedule} == {"core_tasks"}
    assert len({p.schedule.cron for p in plan().pipelines if p.schedule}) == 8


def test_the_readme_names_every_table_and_task() -> None:
    names = set(re.findall(r"^\| `([\w.]+)` \|", README, re.MULTILINE))
    assert {t.full_name for t in project().tables} <= names
    assert {t.full_name for t in project().tasks} <= names


def test_every_reference_is_a_table_or_task_of_the_project() -> None:
    reads = {t.full_name: plan().dependencies.get_direct(t.full_name) for t in project().tasks}
    assert all(reads.values())
    assert {d.name for found in reads.values() for d in found if d.kind == "external"} == set()
    assert [d.name for d in reads["core.ledger"]] == ["core.bank_line"]  # not itself


def test_the_ledger_is_hidden_from_the_reference_scan_of_dag_generate() -> None:
    """The scan ignores names in double quotes. Otherwise, dag-generate would recurse endlessly."""
    (ledger,) = [t for t in project().tasks if t.full_name == "core.ledger"]
    assert '"core"."ledger"' in (ledger.sql_text or "")
    assert not re.search(r"(from|join)\s+core\.ledger\b", ledger.sql_text or "", re.IGNORECASE)


def test_a_profile_changes_variables() -> None:
    assert project().variables["grace_days"] == "2"
    assert read_project(EXAMPLE, profile="SUMMER", environ={}).variables["grace_days"] == "7"
