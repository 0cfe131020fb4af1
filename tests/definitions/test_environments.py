"""Pipelines whose commands run in an environment other than that in which the project was read."""

import json
from pathlib import Path

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import Settings
from starlake_dagster_components.cache import Cache
from starlake_dagster_components.commands import RunContext, build_transform_command
from starlake_dagster_components.definitions.build import build_definitions, prepare_graph
from starlake_dagster_components.definitions.inspect.explain import explain_name
from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.pipelines.plan_loading import load_plan
from starlake_dagster_components.project.model import Table, Task


@pytest.fixture
def project(shop: ProjectFolder) -> ProjectFolder:
    """The shop. Loads run in the project's environment, on DuckDB. Transforms run in PG, on PostgreSQL and with another source."""
    application = shop.root / "metadata/application.sl.yml"
    text = application.read_text().replace("connectionRef: duckdb", 'connectionRef: "{{connection}}"')
    application.write_text(
        text.replace(
            "    duckdb:\n",
            "    postgres:\n      type: jdbc\n      options:\n        url: jdbc:postgresql://db/shop\n        password: '{{DB_PASSWORD}}'\n"
            "    duckdb:\n",
        )
    )
    shop.write("metadata/env.sl.yml", "env:\n  connection: duckdb\n  source: shop\n")
    shop.write("metadata/env.PG.sl.yml", "env:\n  connection: postgres\n  source: elsewhere\n")
    set_environment(shop, SL_ENV="PG", SL_ROOT="/in/a/container")
    shop.write("metadata/transform/kpi/top.sql", "select * from {{source}}.orders\n")
    return shop


def set_environment(shop: ProjectFolder, **variables: object) -> None:
    path = shop.root / "metadata/dags/transforms.sl.yml"
    text = path.read_text().partition("  options:")[0]
    path.write_text(f"{text}  options:\n    sl_env_var: '{json.dumps(variables)}'\n")


def find_engines(plan: Plan) -> dict[str, str]:
    found = {}
    nodes: list[Table | Task] = [*plan.project.tables, *plan.project.tasks]
    for node in nodes:
        connection = plan.find_project(plan.find_pipeline(node)).find_connection(node)
        found[node.full_name] = connection.engine if connection else ""
    return found


ENGINES = {"shop.items": "duckdb", "shop.orders": "duckdb", "kpi.daily": "postgres", "kpi.top": "postgres"}


def test_each_pipeline_is_planned_in_the_environment_of_its_commands(project: ProjectFolder) -> None:
    plan = load_plan(project.root, environ={}).plan
    assert find_engines(plan) == ENGINES
    assert [(d.kind, d.name) for d in plan.dependencies.get_direct("kpi.top")] == [("external", "elsewhere.orders")]
    assert {name: (e.profile, str(e.location)) for name, e in plan.environments.items()} == {
        "transforms": ("PG", "metadata/dags/transforms.sl.yml:7")
    }


def test_the_setting_env_takes_precedence(project: ProjectFolder) -> None:
    project.write("metadata/env.DUCK.sl.yml", "env:\n  connection: duckdb\n")
    for profile, engine in (("PG", "postgres"), ("DUCK", "duckdb")):
        plan = load_plan(project.root, environ={}, profile=profile).plan
        assert plan.environments == {}
        assert set(find_engines(plan).values()) == {engine}


def test_assets_have_the_kinds_of_their_pipelines_connection(project: ProjectFolder) -> None:
    assets = build_definitions(project.root, Settings()).definitions.resolve_asset_graph()
    assert "duckdb" in assets.get(dg.AssetKey("shop_orders")).kinds
    assert "postgres" in assets.get(dg.AssetKey("kpi_daily")).kinds


def test_an_unsupported_connection_names_the_dag_config_that_set_the_environment(project: ProjectFolder) -> None:
    _, _, problems = prepare_graph(project.root, Settings(executor="duckdb"))
    (error,) = (str(p) for p in problems if p.severity == "error")
    assert "connection 'postgres' uses postgres" in error
    assert error.endswith("the DAG config 'transforms' sets the environment 'PG' (metadata/dags/transforms.sl.yml:7)")
    project.write("metadata/env.DUCK.sl.yml", "env:\n  connection: duckdb\n")
    _, _, problems = prepare_graph(project.root, Settings(executor="duckdb", env="DUCK"))
    assert [p for p in problems if p.severity == "error"] == []


def test_explain_shows_the_environment(project: ProjectFolder) -> None:
    _, graph, _ = prepare_graph(project.root, Settings())
    assert "  environment PG: sl_env_var  [metadata/dags/transforms.sl.yml:7]" in explain_name(graph, Settings(), "kpi_tasks")
    assert not [line for line in explain_name(graph, Settings(), "shop_tables") if "environment" in line]


def test_problems_are_found_in_the_environment_of_the_pipeline(project: ProjectFolder) -> None:
    strategy = '    type: "{{strategy}}"\n'
    project.write("metadata/env.sl.yml", "env:\n  connection: duckdb\n  source: shop\n  strategy: OVERWRTE\n")
    project.write("metadata/env.PG.sl.yml", "env:\n  connection: postgres\n  source: elsewhere\n  strategy: OVERWRITE\n")
    project.write("metadata/transform/kpi/daily.sl.yml", f"version: 1\ntask:\n  writeStrategy:\n{strategy}")
    assert load_plan(project.root, environ={}).plan.problems == ()
    set_environment(project, UNUSED="x")
    (problem,) = load_plan(project.root, environ={}).plan.problems
    assert "OVERWRTE" in problem.message
    set_environment(project, SL_ENV="PH")
    (problem,) = (p for p in load_plan(project.root, environ={}).plan.problems if "no file env.PH.sl.yml" in p.message)
    assert "in the environment 'PH' of the DAG config 'transforms' (metadata/dags/transforms.sl.yml:7)" in problem.message


def test_variables_of_sl_env_var_override_env_files_as_for_the_commands(project: ProjectFolder) -> None:
    set_environment(project, source="mine", UNUSED="x")
    plan = load_plan(project.root, environ={}).plan
    assert [d.name for d in plan.dependencies.get_direct("kpi.top")] == ["mine.orders"]
    set_environment(project, source="shop", SL_ROOT="/in/a/container")
    assert load_plan(project.root, environ={}).plan.environments == {}


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (0.5, "0.5"), (7, "7"), (None, "shop"), (["a"], '["a"]')])
def test_sql_is_rendered_with_the_variables_that_the_command_gets(project: ProjectFolder, value: object, text: str) -> None:
    set_environment(project, source=value)
    project.write("metadata/transform/kpi/top.sql", "select * from {{ 'orders' if source == '" + text + "' else 'items' }}\n")
    plan = load_plan(project.root, environ={}).plan
    assert [d.name.rpartition(".")[2] for d in plan.dependencies.get_direct("kpi.top")] == ["orders"]
    (pipeline,) = (p for p in plan.pipelines if p.kind == "transform")
    task = next(t for t in pipeline.tasks if t.name == "top")
    command = build_transform_command(RunContext(project=plan.find_project(pipeline), pipeline=pipeline), task)
    assert command.environment.get("source", "shop") == text


def test_a_command_gets_the_project_that_was_planned(project: ProjectFolder) -> None:
    set_environment(project, SL_ENV="PG")
    plan = load_plan(project.root, environ={}).plan
    (pipeline,) = (p for p in plan.pipelines if p.kind == "transform")
    task = next(t for t in pipeline.tasks if t.name == "top")
    command = build_transform_command(RunContext(project=plan.find_project(pipeline), pipeline=pipeline), task)
    assert command.environment["SL_ENV"] == "PG"
    assert command.loaded is plan.environments["transforms"].project


def test_the_cache_restores_environments_without_secrets(project: ProjectFolder, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "plans")
    environ = {"DB_PASSWORD": "hunter2hunter2"}
    first = load_plan(project.root, environ=environ, cache=cache)
    first.keep()
    second = load_plan(project.root, environ=environ, cache=cache)
    assert (second.from_cache, second.reason) == (True, "")
    assert find_engines(second.plan) == ENGINES
    assert second.plan.environments["transforms"].project.application == first.plan.environments["transforms"].project.application
    assert second.plan.pipelines == first.plan.pipelines
    assert all(b"hunter2" not in path.read_bytes() for path in cache.folder.iterdir())
    project.write("metadata/env.PG.sl.yml", "env:\n  connection: postgres\n  source: third\n")
    changed = load_plan(project.root, environ=environ, cache=cache)
    assert changed.reason == "metadata/env.PG.sl.yml has changed" or changed.reason == "variables have changed"
    assert [d.name for d in changed.plan.dependencies.get_direct("kpi.top")] == ["third.orders"]
