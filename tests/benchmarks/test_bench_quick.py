"""All measurements run in miniature and write their results. Their figures are not checked."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.measurement, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def run(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def find_table(text: str, line: str) -> list[list[str]]:
    """Return the cells of the first table after a line."""
    found: list[list[str]] = []
    for row in text.partition(f"\n{line}\n")[2].splitlines():
        if row.startswith("|"):
            found.append(row.strip("| ").split(" | "))
        elif found:
            break
    return found[2:]


TITLES = ("Loading", "Growth", "Memory", "Import", "Sensors", "Many sensors", "Steps")


def test_everything_is_measured_and_written(tmp_path: Path) -> None:
    run("bench/results.py", "--quick", "--output", str(tmp_path / "results.md"))
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    for title in (*TITLES, "Embedded engine"):
        assert f"\n## {title}\n" in results
    assert "**Failed**" not in results
    assert "The figures say nothing." in results
    check_machine(results)
    check_goals(results)
    assert "\nNot measured:\n\n- cold load, of dagster-dbt's with prepared state" in results


def check_machine(results: str) -> None:
    rows = {row[0]: row[-1] for row in find_table(results, next(line for line in results.splitlines() if "load average" in line))}
    assert set(rows) == {"processor", "memory", "system", "Python", "packages", "commit"}
    assert re.search(r"starlake-dagster-components \d.*, dagster 1\.", rows["packages"])


def check_goals(results: str) -> None:
    goals = [row for title in TITLES for row in find_table(results, f"## {title}")]
    assert len(goals) > len(TITLES)
    for text, limit, found, met in goals:
        assert limit.startswith("<= "), text
        assert met in ("yes", "**no**") if re.match(r"-?\d", found) else (found, met) == ("not measured", "unknown"), text
    assert f"{sum(row[-1] == 'yes' for row in goals)} of {len(goals)} goals met." in results


def test_a_part_that_fails_is_named_and_the_others_run(tmp_path: Path) -> None:
    broken = "import sys, bench.results as r; r.PARTS['load'] = lambda options: 1 / 0; sys.exit(r.main(sys.argv[1:]))"
    arguments = ["-c", broken, "--quick", "--only", "load,imports", "--output", str(tmp_path / "results.md")]
    done = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert done.returncode == 1
    assert "\nFailed:\n\n- load\n" in results
    assert "**Failed**: ZeroDivisionError" in results
    assert "\n## Import\n" in results


@pytest.mark.parametrize("cache", ["off", "filled"])
def test_the_profile_lists_stages_modules_and_functions(cache: str) -> None:
    text = run("bench/profile_load.py", "20", "--cache", cache, "--top", "5")
    assert ("read: tables, tasks, SQL" in text) == (cache == "off")
    for stage in ("import of dagster", "assets", "jobs", "Dagster: repository described", "end of Python"):
        assert re.search(rf"^{stage} +\d", text, re.MULTILINE), stage
    for title in ("By stage", "By module", "By function"):
        assert f"\n{title}" in text
