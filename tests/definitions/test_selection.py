"""Settings that apply to a part of a project: ``op`` rules, ``default_pool``, ``select``, and ``exclude``."""

from typing import Any

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import InvalidSetting, StarlakeProjectComponent, load_definitions_from_starlake_project
from starlake_dagster_components.definitions.build import InvalidProjectDefinition, prepare_graph
from starlake_dagster_components.settings.selection import check_op_rules, check_patterns
from starlake_dagster_components.settings.text import read_settings


def list_ops(definitions: dg.Definitions) -> dict[str, dg.OpDefinition]:
    return {a.op.name: a.op for a in definitions.assets or () if isinstance(a, dg.AssetsDefinition) and a.is_executable}


def build_component(shop: ProjectFolder, **attributes: Any) -> dg.Definitions:
    made = StarlakeProjectComponent.from_attributes_dict(attributes={"project": str(shop.root), **attributes})
    return dg.build_defs_for_component(made)


def test_op_rules_set_pools_retries_and_tags(shop: ProjectFolder) -> None:
    rules: list[dict[str, Any]] = [
        {"pool": "all", "tags": {"team": "data", "version": "1.10"}},
        {"match": {"kind": "table", "tag": "pii"}, "pool": "secret", "tags": {"dagster-k8s/config": {"a": [1]}}},
        {"match": "kpi.t*", "retry_policy": {"max_retries": 3, "delay": 30, "backoff": "exponential", "jitter": "plus_minus"}},
        {"match": [{"dagRef": "transforms"}, {"domain": "nothing*", "kind": "task"}][:1], "tags": {"team": "kpi"}},
        {"match": {"kind": "domain"}, "retry_policy": {"max_retries": "1"}},
    ]
    found = list_ops(load_definitions_from_starlake_project(shop.root, op_rules=rules))
    assert {name: op.pool for name, op in found.items()} == {
        "shop": "all",
        "shop_orders": "secret",
        "shop_items": "secret",
        "kpi_daily": "all",
        "kpi_top": "all",
    }
    assert found["shop_orders"].tags["dagster-k8s/config"] == '{"a": [1]}'
    assert found["kpi_top"].tags["team"] == "kpi"
    assert found["shop"].tags["team"] == "data"
    assert found["shop"].tags["version"] == "1.10"
    assert found["kpi_top"].retry_policy == dg.RetryPolicy(3, 30.0, dg.Backoff.EXPONENTIAL, dg.Jitter.PLUS_MINUS)
    assert found["kpi_daily"].retry_policy is None
    assert found["shop"].retry_policy == dg.RetryPolicy(1)


def test_rules_override_the_dag_config_which_can_have_its_own_pool(shop: ProjectFolder) -> None:
    dag = shop.root / "metadata/dags/loads.sl.yml"
    dag.write_text(dag.read_text() + "    default_pool: nightly\n    retries: 2\n")
    found = list_ops(load_definitions_from_starlake_project(shop.root))
    assert {name for name, op in found.items() if op.pool == "nightly"} == {"shop", "shop_orders", "shop_items"}
    assert found["kpi_top"].pool is None
    assert found["shop_items"].retry_policy == dg.RetryPolicy(2, 300.0)
    rules = [{"match": {"table": "items"}, "retry_policy": {"max_retries": 0}}]
    found = list_ops(load_definitions_from_starlake_project(shop.root, op_rules=rules, pool="mine"))
    assert {op.pool for op in found.values()} == {"mine"}
    assert found["shop_items"].retry_policy is None
    assert found["shop_orders"].retry_policy == dg.RetryPolicy(2, 300.0)


def test_the_default_pool_of_airflow_is_not_a_pool(shop: ProjectFolder) -> None:
    dag = shop.root / "metadata/dags/loads.sl.yml"
    dag.write_text(dag.read_text() + "    default_pool: default_pool\n")
    assert list_ops(load_definitions_from_starlake_project(shop.root))["shop_items"].pool is None


def test_tables_with_other_pools_are_not_loaded_together(shop: ProjectFolder) -> None:
    assert set(list_ops(load_definitions_from_starlake_project(shop.root, batch=True))) == {"shop", "load_shop", "kpi_daily", "kpi_top"}
    found = list_ops(load_definitions_from_starlake_project(shop.root, batch=True, op_rules=[{"match": {"table": "items"}, "pool": "p"}]))
    assert found["shop_items"].pool == "p"
    assert found["shop_orders"].pool is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([{"name": "x"}], r"op\.name: an op has the name of its asset; change the asset's key with translation"),
        ([{"pool": "p"}, {"description": "x"}], r"op\[1\]\.description: .* with translation"),
        ({"match": {"tab": "x"}}, "unknown key 'tab'"),
        ({"match": {"kind": "view"}}, "unknown kind 'view'"),
        ({"match": ""}, r"op\.match: it selects nothing"),
        ({"match": {}}, r"op\.match: it selects nothing"),
        ({"match": {"tag": []}}, r"op\.match\.tag: invalid value \[\]"),
        ({"pol": "x"}, r"unknown key 'pol' \(did you mean 'pool'"),
        ({"pool": 3}, "expected a string"),
        ({"tags": ["x"]}, "expected a mapping of names"),
        ({"retry_policy": {"max_retries": 1.5}}, "expected a whole number"),
        ({"retry_policy": {"max_retries": -1}}, "expected a number of at least 0"),
        ({"retry_policy": {"delay": "5s"}}, "invalid value '5s'"),
        ({"retry_policy": {"delay": 1, "backoff": "cubic"}}, "unknown value 'cubic'"),
        ({"retry_policy": {"backoff": "linear"}}, "requires a delay"),
        ({"retry_policy": {"retries": 1}}, "unknown key 'retries'"),
        ("pool", "expected a mapping, or a list"),
        (["pool"], "expected a mapping"),
    ],
)
def test_rules_that_cannot_be_followed_are_rejected_with_the_reason(value: Any, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        check_op_rules("op", value)


@pytest.mark.parametrize("value", [3, [3], [""], {"domain": None}, [{"nothing": "x"}], {"domain": [[]]}])
def test_patterns_that_are_not_understood_are_rejected(value: Any) -> None:
    with pytest.raises(InvalidSetting, match="select"):
        check_patterns("select", value)


def test_the_component_takes_op_as_a_mapping_and_as_a_list(shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOL_OF_TASKS", "1.10")
    one = build_component(shop, op={"pool": "warehouse", "tags": {"version": "1.10"}})
    assert {(op.pool, op.tags["version"]) for op in list_ops(one).values()} == {("warehouse", "1.10")}
    several = build_component(shop, op=[{"pool": "all"}, {"match": {"task": "*"}, "pool": "{{ env.POOL_OF_TASKS }}"}])
    assert {op.pool for name, op in list_ops(several).items() if name.startswith("kpi")} == {"1.10"}
    assert list_ops(several)["shop"].pool == "all"
    with pytest.raises(Exception, match="change the asset's key with translation"):
        build_component(shop, op=[{"name": "x"}])


def test_select_and_exclude_work_in_the_component(shop: ProjectFolder) -> None:
    assert set(list_keys(build_component(shop, select=["shop.*"], exclude=[{"table": "items"}]))) == {"shop", "shop_orders"}


def list_keys(definitions: dg.Definitions) -> dict[str, bool]:
    """Return asset -> whether it can be materialized."""
    graph = definitions.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key).is_executable for key in graph.get_all_asset_keys()}


def list_jobs(definitions: dg.Definitions) -> set[str]:
    return {job.name for job in definitions.jobs or ()}


def test_part_of_a_project_can_be_selected(shop: ProjectFolder) -> None:
    loads = load_definitions_from_starlake_project(shop.root, select=["shop.*"])
    assert list_keys(loads) == {"shop": True, "shop_orders": True, "shop_items": True}
    assert len(list_jobs(loads)) == 1
    assert not loads.sensors
    tasks = load_definitions_from_starlake_project(shop.root, select=[{"kind": "task"}])
    assert list_keys(tasks) == {"kpi_daily": True, "kpi_top": True, "shop_orders": False, "shop_items": False, "elsewhere_rates": False}
    # If another code location materializes the tables, the sensor waits for them.
    (sensor,) = tasks.sensors or ()
    assert sensor.description == f"Starts {sensor.job_name} when its inputs have been materialized: shop_items, shop_orders"


def test_excluded_objects_are_external_for_their_readers(shop: ProjectFolder) -> None:
    found = list_keys(load_definitions_from_starlake_project(shop.root, exclude=["shop.items", {"task": "daily"}]))
    assert found == {"shop": True, "shop_orders": True, "kpi_top": True, "kpi_daily": False, "elsewhere_rates": False}


def test_complementary_selections_cover_the_project(shop: ProjectFolder) -> None:
    whole = {key for key, executable in list_keys(load_definitions_from_starlake_project(shop.root)).items() if executable}
    parts = [
        load_definitions_from_starlake_project(shop.root, select=["tag:pii"]),
        load_definitions_from_starlake_project(shop.root, exclude=["tag:pii"]),
    ]
    made = [{key for key, executable in list_keys(part).items() if executable} for part in parts]
    assert made[0] & made[1] == set()
    assert made[0] | made[1] == whole


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"select": ["shpo.*"]}, "select: 'shpo.*' matches no table and no task"),
        ({"exclude": [{"tag": "none", "kind": "table"}]}, "exclude: 'tag: none, kind: table' matches no table"),
        ({"op_rules": [{"match": {"dagRef": "nightly"}}]}, "op: 'dagRef: nightly' matches no table"),
        ({"select": ["shop.*"], "exclude": ["shop.*"]}, "leave no table and no task"),
    ],
)
def test_patterns_that_match_nothing_are_errors(shop: ProjectFolder, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidProjectDefinition) as raised:
        load_definitions_from_starlake_project(shop.root, **settings)
    assert said in str(raised.value)


def test_selections_can_be_strings(shop: ProjectFolder) -> None:
    settings = read_settings({"SL_DAGSTER_SELECT": "shop.*,kind:task", "SL_DAGSTER_EXCLUDE": '[{"task": "top"}]'})
    plan, graph, problems = prepare_graph(shop.root, settings)
    assert {key.to_user_string() for key in graph.by_key} == {"shop", "shop_orders", "shop_items", "kpi_daily"}
    assert [p for p in problems if p.severity == "error"] == []
    assert ("task", "kpi.top") in plan.left_out
