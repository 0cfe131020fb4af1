"""Figures and goals of benchmarks, and equivalent Starlake and dbt projects."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from bench.figures import Goal, Section, Table, form_ratios, spread
from bench.synthetic import write_project
from bench.synthetic_dbt import write_dbt_project
from bench.ways import build_alike, build_floor, describe


def test_ratios_are_formed_pair_by_pair() -> None:
    found = form_ratios([2.0, 6.0, 9.0], [1.0, 2.0, 9.0])
    assert (found.median, found.lowest, found.highest, found.times) == (2.0, 1.0, 3.0, 3)
    assert found.text() == "2.00 (1.00-3.00)"


def test_ratios_of_lists_with_different_lengths_are_rejected() -> None:
    with pytest.raises(ValueError, match="longer"):
        form_ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(("found", "met"), [([1.5], True), ([1.51], False), ([1.0, 1.6, 2.0], False), ([1.0, 1.4, 9.0], True)])
def test_a_goal_is_about_the_median(found: list[float], met: bool) -> None:
    assert Goal("load", 1.5, spread(found)).met is met


def test_goals_that_were_not_measured_are_neither_met_nor_missed() -> None:
    lines = list(Section("Loading", goals=[Goal("load", 1.5, None)]).lines())
    assert lines[-1] == "| load | <= 1.5 | not measured | unknown |"


def test_a_failure_is_shown() -> None:
    assert "\n".join(Section("Steps", failure="OSError: no").lines()) == "## Steps\n\n**Failed**: OSError: no"


def test_tables_are_printed_and_aligned() -> None:
    table = Table(("way", "s"), [("ours", "1.0"), ("theirs", "10.0")])
    assert list(table.lines()) == ["| way | s |", "|---|---|", "| ours | 1.0 |", "| theirs | 10.0 |"]
    assert list(table.list_aligned_lines()) == ["way        s", "ours     1.0", "theirs  10.0"]


def test_synthetic_projects_have_equal_sizes() -> None:
    lean, rich = describe(build_floor(60)), describe(build_alike(60))
    assert (lean["assets"], lean["jobs"]) == (rich["assets"], rich["jobs"]) == (60, 3)
    assert rich["schedules"] + rich["sensors"] == rich["jobs"]


def test_half_the_assets_of_the_floor_have_columns() -> None:
    assets = [a for a in build_floor(20).assets or () if isinstance(a, dg.AssetsDefinition)]
    widths = [len(m["dagster/column_schema"].columns) for a in assets for m in a.metadata_by_key.values() if "dagster/column_schema" in m]
    assert widths == [12] * 10


def test_the_dbt_project_has_the_same_references(tmp_path: Path) -> None:
    starlake, dbt = write_project(tmp_path / "starlake", 60), write_dbt_project(tmp_path / "dbt", 60) / "dbt"
    sources = [yaml.safe_load(file.read_text()) for file in sorted((dbt / "models" / "sources").glob("*.yml"))]
    tables = {f"{s['name']}.{t['name']}": len(t["columns"]) for d in sources for s in d["sources"] for t in s["tables"]}
    assert set(tables.values()) == {12}
    assert set(tables) == {
        f"{f.parent.name}.{f.name[: -len('.sl.yml')]}" for f in (starlake / "metadata" / "load").glob("*/table_*.sl.yml")
    }
    for file in (starlake / "metadata" / "transform").glob("*/*.sql"):
        twin = (dbt / "models" / file.parent.name / file.name).read_text()
        for name in tables:
            twin = twin.replace("{{ source('" + name.replace(".", "', '") + "') }}", name)
        for other in (starlake / "metadata" / "transform").glob("*/*.sql"):
            twin = twin.replace("{{ ref('" + other.stem + "') }}", f"{other.parent.name}.{other.stem}")
        assert twin == file.read_text()
