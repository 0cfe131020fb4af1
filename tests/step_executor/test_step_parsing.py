"""Step processes load the code location from the cache, without parsing the project again."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import table_jobs
from watched_location import OF_PARSING

TABLES, TASKS = 3, 4
FILES = 2 + 1 + TABLES + TASKS  # DAG configs, the domain, tables, tasks
BEGINNING = Counter({"yaml": 1})
"""application.sl.yml, on which everything depends, is always read; there are no env files here."""
ALL = BEGINNING + Counter({"yaml": FILES}) + Counter(OF_PARSING)

pytestmark = pytest.mark.slow


@pytest.fixture
def parsed(tmp_path: Path, instance: dg.DagsterInstance, start: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the job with Dagster's multiprocess executor. Return what the run's process and each step process parsed."""
    root, notes = table_jobs.write_tables(tmp_path / "project", TABLES, tasks=TASKS), tmp_path / "parsed"
    monkeypatch.setenv("TABLES_PARSED", str(notes))
    monkeypatch.setenv("TABLES_PROJECT", str(root))
    monkeypatch.setenv("TABLES_COMMANDS", json.dumps({"type": "shell", "starlake_path": str(root / "program/starlake")}))
    monkeypatch.setenv("TABLES_STEPS", json.dumps({"type": "multiprocess", "config": {"max_concurrent": 2}}))

    def run() -> tuple[Counter[str], list[Counter[str]]]:
        process = start("-m", "dagster", "job", "execute", "-m", "watched_location", "-j", table_jobs.JOB)
        assert process.wait(600) == 0
        done = instance.get_runs(limit=1)[0]
        assert done.status == dg.DagsterRunStatus.SUCCESS
        found: dict[int, Counter[str]] = defaultdict(Counter)
        for line in notes.read_text(encoding="utf-8").splitlines():
            pid, what = line.split()
            found[int(pid)][what] += 1
        notes.unlink()
        return found.pop(process.pid), list(found.values())

    return run


def test_with_the_cache_the_project_is_parsed_once(parsed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process that loads the project fills it; here the run's."""
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "cache"))
    assert parsed() == (ALL, [BEGINNING] * TABLES)
    assert parsed() == (BEGINNING, [BEGINNING] * TABLES)


def test_without_the_cache_every_process_parses_the_project(parsed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SL_DAGSTER_CACHE", "off")
    assert parsed() == (ALL, [ALL] * TABLES)
