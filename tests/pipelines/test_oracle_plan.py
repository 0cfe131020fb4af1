"""Plans of real projects, compared with the files of the real dag-generate and starlake-dagster."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from oracle_variants import Variant, list_variants

from starlake_dagster_components.pipelines.dependency_trees import build_dependency_tree
from starlake_dagster_components.pipelines.pipeline import Pipeline, Plan
from starlake_dagster_components.pipelines.schedule_presets import get_schedule_text

VARIANTS = list(list_variants())
READABLE = [v for v in VARIANTS if v.recorded["exit_code"] == 0]
REJECTED = [v for v in VARIANTS if v.recorded["exit_code"] != 0]

pytestmark = pytest.mark.skipif(not VARIANTS, reason="needs the folder 'shared' (corpus and oracle) beside the checkout")


def sanitize(name: str) -> str:
    """Return a name as starlake-dagster >= 0.3 writes it in asset keys."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name.replace("$", "S")).lower()


def list_compared_files(variant: Variant) -> dict[str, Any]:
    """Return the recorded files for Dagster. Those for other orchestrators make no job."""
    if variant.recorded.get("note") == "not Dagster templates":
        return {}
    return {
        name: made
        for name, made in variant.files.items()
        # as-is and dagref do not change a DAG for Airflow, but the deps variants contain the dependencies of its tasks.
        if not (variant.project == "starlake-samples-any-engine" and variant.edit == "as-is" and name.startswith("airflow_"))
    }


def group_by_file(plan: Plan) -> dict[str, list[Pipeline]]:
    found: dict[str, list[Pipeline]] = {}
    for pipeline in plan.pipelines:
        found.setdefault(pipeline.filename, []).append(pipeline)
    return found


@pytest.mark.parametrize("variant", READABLE, ids=str)
def test_the_same_jobs_schedules_triggers_and_dependencies(variant: Variant, tmp_path: Path) -> None:
    plan = variant.plan(tmp_path)
    compare(variant, plan)


def compare(variant: Variant, plan: Plan) -> Counter[str]:
    """Compare a plan with the recorded files. Return the number of comparisons."""
    root = str(plan.project.root)
    files = group_by_file(plan)
    recorded = list_compared_files(variant)
    stale = double_scheduled_files(variant)
    extra = list_skipped_tasks(variant)
    assert set(files) - extra == set(recorded) - stale
    count = Counter(variants=1, files=len(recorded) - len(stale))
    for filename in sorted(set(recorded) - stale):
        made, pipelines = recorded[filename], files[filename]
        if isinstance(made, list):
            count += compare_tree(plan, pipelines, made)
        elif "error" in made:
            # starlake-dagster cannot import the file (see the table of differences), so only its existence can be compared.
            count["files that starlake-dagster cannot import"] += 1
        elif "options" in made:
            count += compare_context(variant, pipelines, made, root)
        else:
            count += compare_definitions(plan, pipelines, made)
    return count


def double_scheduled_files(variant: Variant) -> set[str]:
    """Files of the first of two passes, and those that hold all schedules of a domain: every table is in several of them."""
    if not variant.name.endswith("SL_DAG_REF=schedule_domain"):
        return set()
    return {"cron1-hr.py"}


def list_skipped_tasks(variant: Variant) -> set[str]:
    """The only task of this project has a configuration with an unknown key: Starlake skips it silently, we warn and run it."""
    return {"kpi_tasks.py"} if variant.project == "starlake-samples-postgres" else set()


def compare_definitions(plan: Plan, pipelines: list[Pipeline], made: dict[str, Any]) -> Counter[str]:
    by_name = {p.name: p for p in pipelines}
    assert set(by_name) == set(made["jobs"])
    assert {(f"{p.name}_schedule", p.name, p.schedule.cron, p.schedule.timezone or "UTC") for p in pipelines if p.schedule} == {
        (s["name"], s["job"], s["cron"], s["timezone"]) for s in made["schedules"]
    }
    sensors = {
        (f"{p.name}_sensor", p.name, names)
        for p in pipelines
        if p.kind == "transform" and not p.schedule and not p.run_dependencies_first and (names := list_watched(plan, p))
    }
    assert sensors == {(s["name"], s["job"], tuple(sorted(s["assets"]))) for s in made["sensors"]}
    for name, job in made["jobs"].items():
        assert list_commands(plan, by_name[name]) == list_recorded_commands(job)
        if len(by_name[name].tasks) <= 1:
            assert by_name[name].comment == job["description"]
    return Counter(jobs=len(by_name), schedules=len(made["schedules"]), sensors=len(sensors), assets=sum(len(s[2]) for s in sensors))


def list_watched(plan: Plan, pipeline: Pipeline) -> tuple[str, ...]:
    """The datasets that starlake-dagster 0.5.10 watches: direct dependencies by table, without the tables that the pipeline writes."""
    tasks = {t.full_name: t for t in plan.project.tasks}
    tables = {t.full_name: t for t in plan.project.tables}
    own = {sanitize(t.sink_name) for t in pipeline.tasks}
    found = set()
    for task in pipeline.tasks:
        for d in plan.dependencies.get_direct(task.full_name):
            if d.awaited:
                found.add(sanitize(tasks[d.name].sink_name if d.kind == "task" else tables[d.name].final_full_name))
    return tuple(sorted(found - own))


def list_commands(plan: Plan, pipeline: Pipeline) -> set[str]:
    """Return the tables and tasks of a job, named like ops."""
    tables = {t.full_name: t for t in plan.project.tables}
    if pipeline.kind == "load":
        return {f"load_{t.final_domain}_{t.final_name}" for t in pipeline.tables}
    found = {f"{t.full_name.replace('.', '_')}_task" for t in pipeline.tasks}
    if pipeline.run_dependencies_first:
        for task in pipeline.tasks:
            for d in plan.dependencies.get_transitive(task.full_name):
                if d.awaited:
                    name = tables[d.name].final_full_name if d.kind == "table" else d.name
                    found.add(f"{name.replace('.', '_')}_{d.kind}")
    return found


def list_recorded_commands(job: dict[str, Any]) -> set[str]:
    found = set()
    for path in job["ops"]:
        *groups, op = path.split("/")
        if (groups and groups[-1].startswith("load_")) or (not groups and op.endswith(("_task", "_table"))):
            found.add(op)
    return found


def compare_context(variant: Variant, pipelines: list[Pipeline], made: dict[str, Any], root: str) -> Counter[str]:
    """Compare with the context of a load file's template."""
    own = {
        (schedule["schedule"], schedule["cron"]): {
            (domain["name"], domain["final_name"], table["name"], table["final_name"])
            for domain in schedule["domains"]
            for table in domain["tables"]
        }
        for schedule in made["schedules"]
    }
    ours = {
        (p.schedule.name if p.schedule else get_schedule_text(p.tables[0]), p.schedule.cron if p.schedule else None): {
            (t.domain, t.final_domain, t.name, t.final_name) for t in p.tables
        }
        for p in pipelines
    }
    if variant.name.endswith("SL_DAG_REF=schedule_domain"):
        assert ours.items() <= own.items()
    else:
        assert ours == own
    options = {name: value.replace("${SL_ROOT}", root) for name, value in made["options"].items() if name != "SL_TIMEZONE"}
    for pipeline in pipelines:
        assert pipeline.options == options
        assert pipeline.comment == made["comment"]
    return Counter({"load contexts": 1, "schedules with their tables": len(ours)})


NO_TABLES = {"kpi.q7_volume_shipping_query": "l_shipdate", "kpi.q9_product_type_profit_measure": "o_orderdate"}
"""Tasks whose first reference is not a table: Starlake takes the column of ``extract(year FROM l_shipdate)`` for a table."""


def compare_tree(plan: Plan, pipelines: list[Pipeline], made: list[dict[str, Any]]) -> Counter[str]:
    """Compare the dependency tree of a transform file. The order of roots and children has no meaning."""
    (pipeline,) = pipelines
    ours = build_dependency_tree(plan, [t.full_name for t in pipeline.tasks])
    assert _sort_nodes(ours) == _sort_nodes(made)
    return Counter(trees=1, nodes=_count_nodes(made))


def _sort_nodes(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = [
        {**node, "data": _drop_parent(node["data"]), **({"children": _sort_nodes(node["children"])} if "children" in node else {})}
        for node in nodes
    ]
    return sorted(made, key=lambda node: str(node["data"]["name"]).lower())


def _drop_parent(data: dict[str, Any]) -> dict[str, Any]:
    if data["name"] not in NO_TABLES:
        return data
    assert data["parentRef"] == NO_TABLES[data["name"]] or data["parent"].startswith("tpch.")
    return {key: value for key, value in data.items() if not key.startswith("parent")}


def _count_nodes(nodes: list[dict[str, Any]]) -> int:
    return sum(1 + _count_nodes(node.get("children", [])) for node in nodes)


@pytest.mark.parametrize("variant", REJECTED, ids=str)
def test_projects_that_dag_generate_rejects_have_problems(variant: Variant, tmp_path: Path) -> None:
    """One invalid file ends dag-generate; here every fault has its line, and what Starlake would reject is at least a warning."""
    plan = variant.plan(tmp_path)
    said = "\n".join(map(str, plan.problems))
    file = re.search(r"metadata/load/[^:]+", variant.recorded["error"][0])
    if file:
        assert f"{file[0]}:" in said
