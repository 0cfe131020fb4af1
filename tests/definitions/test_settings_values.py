"""Values of settings: the same are right and wrong whichever way they are given, and messages say what was expected."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.resolved.errors import ResolutionException
from project_folder import ProjectFolder

from starlake_dagster_components import (
    DuckDBExecutor,
    ShellExecutor,
    StarlakeProjectComponent,
    StarlakeTranslator,
    load_definitions_from_starlake_project,
)
from starlake_dagster_components.definitions.settings import Settings
from starlake_dagster_components.definitions.settings_text import settings_from_environment
from starlake_dagster_components.errors import InvalidSetting

RIGHT: list[tuple[str, Any, Any]] = [
    ("executor", "duckdb", DuckDBExecutor()),
    ("executor", {"type": "shell", "starlake_path": "/x", "env": {"A": 1}}, ShellExecutor(starlake_path="/x", env={"A": "1"})),
    ("executor", "", None),
    ("default_status", "stopped", "STOPPED"),
    ("max_concurrent", "8", 8),
    ("expectation_checks", "False", False),
    ("batch", True, True),
    ("variables", {"n": 5, "on": True}, {"n": "5", "on": "true"}),
    ("orchestrators", ["dagster", "airflow"], ("dagster", "airflow")),
    ("cache", Path("/var/plans"), "/var/plans"),
    ("name_prefix", "north_", "north_"),
    ("step_executor", "in_process", dg.in_process_executor),
]

WRONG: list[tuple[str, Any, str]] = [
    ("executor", "duckdbb", "did you mean 'duckdb'?"),
    ("executor", {"type": "shell", "starlake_pth": "x"}, r"unknown field 'starlake_pth' (did you mean 'starlake_path'?)"),
    ("executor", DuckDBExecutor, "DuckDBExecutor is a class (expected an executor: DuckDBExecutor(...))"),
    ("executor", 3, "expected an executor"),
    ("asset_keys", "paths", "did you mean 'path'?"),
    ("watch", "dirct", "unknown watch 'dirct' (did you mean 'direct'?)"),
    ("default_status", "on", "known: RUNNING, STOPPED"),
    ("orchestrators", "dagster", "orchestrators: 'dagster' cannot be used (expected a list of texts)"),
    ("max_concurrent", 0, "max_concurrent: 0 cannot be used (expected a whole number from 1)"),
    ("max_concurrent", -3, "expected a whole number from 1"),
    ("max_concurrent", "many", "expected a whole number from 1"),
    ("expectation_checks", "no", "expectation_checks: 'no' cannot be used (expected true or false)"),
    ("batch", 1, "expected true or false"),
    ("variables", ["a"], "expected a mapping"),
    ("variables", {"a": {"b": 1}}, "variables.a"),
    ("name_prefix", "a-b", "expected letters, digits and underscores"),
    ("step_executor", "thread", "did you mean 'threads'?"),
    ("step_executor", {"type": "threads", "cfg": {}}, "a mapping with type and config"),
    ("pool", 5, "expected a text"),
    ("translator", StarlakeTranslator, "expected a StarlakeTranslator"),
]


@pytest.mark.parametrize(("name", "given", "value"), RIGHT, ids=[f"{n}-{g}" for n, g, _ in RIGHT])
def test_a_right_value_gets_its_own_type(name: str, given: Any, value: Any) -> None:
    assert getattr(Settings(**{name: given}), name) == value


@pytest.mark.parametrize(("name", "given", "message"), WRONG, ids=[f"{n}-{g}" for n, g, _ in WRONG])
def test_a_wrong_value_says_what_was_expected(shop: ProjectFolder, name: str, given: Any, message: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        load_definitions_from_starlake_project(shop.root, **{name: given})
    assert message in str(error.value)


def test_the_function_takes_what_settings_are() -> None:
    given = inspect.signature(load_definitions_from_starlake_project).parameters
    assert set(given) - {"root"} == {f.name for f in fields(Settings)}


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        (
            "STEP_EXECUTOR",
            "thread",
            "SL_DAGSTER_STEP_EXECUTOR: unknown step executor 'thread' (did you mean 'threads'?); the import path of another one has a dot",
        ),
        ("WATCH", "dirct", "SL_DAGSTER_WATCH: unknown watch 'dirct' (did you mean 'direct'?)"),
        ("OP_TAGS", "team", "SL_DAGSTER_OP_TAGS: 'team' has no value (expected name=value,name=value)"),
        ("BATCH", "maybe", "SL_DAGSTER_BATCH: batch: 'maybe' cannot be used (expected true or false)"),
    ],
)
def test_the_environment_names_the_variable(variable: str, text: str, message: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        settings_from_environment({f"SL_DAGSTER_{variable}": text})
    assert str(error.value) == message


def test_the_environment_can_give_every_setting_that_is_text() -> None:
    settings = settings_from_environment({"SL_DAGSTER_STEP_EXECUTOR": "multiprocess", "SL_DAGSTER_OP_TAGS": "team=data,dagster/priority=3"})
    assert settings.step_executor is dg.multiprocess_executor
    assert settings.op_tags == {"team": "data", "dagster/priority": "3"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("asset_keys: flatt", "did you mean 'flat'?"),
        ("watch: directt", "did you mean 'direct'?"),
        ("default_status: on_", "known: RUNNING, STOPPED"),
        ("max_concurrent: many", "expected a whole number from 1"),
        ("orchestrators: dagster", "expected a list of texts"),
        ("expectation_checks: maybe", "expected true or false"),
        ("name_prefix: a b", "expected letters, digits and underscores"),
    ],
)
def test_a_wrong_value_in_yaml_names_the_key_and_the_expectation(line: str, message: str) -> None:
    with pytest.raises(ResolutionException) as error:
        StarlakeProjectComponent.resolve_from_yaml(f"project: x\n{line}\n")
    assert line.partition(":")[0] in str(error.value)
    assert message in str(error.value).splitlines()[-1]


def test_one_project_is_twice_in_a_location_with_a_prefix(shop: ProjectFolder) -> None:
    class Summer(StarlakeTranslator):
        def get_asset_spec(self, node: Any) -> dg.AssetSpec:
            spec = super().get_asset_spec(node)
            return spec.replace_attributes(key=spec.key.with_prefix("summer"))

    shop.write("metadata/transform/kpi/top.sql", "select * from kpi.daily\n")
    shop.write("datasets/incoming/shop/orders.csv", "id;amount\n1;10\n")
    shop.write("datasets/incoming/shop/items.csv", "id;label\n1;pen\n")
    plain = load_definitions_from_starlake_project(shop.root, executor="duckdb")
    summer = load_definitions_from_starlake_project(shop.root, executor="duckdb", name_prefix="summer_", translator=Summer())
    both = dg.Definitions.merge(plain, summer)
    with dg.DagsterInstance.ephemeral() as instance:
        for name in ("shop_tables", "kpi_tasks", "summer_shop_tables", "summer_kpi_tasks"):
            assert both.resolve_job_def(name).execute_in_process(instance=instance).success
        assert instance.get_latest_materialization_event(dg.AssetKey(["summer", "kpi_daily"]))
    repository = both.get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {"kpi_tasks_sensor", "summer_kpi_tasks_sensor"}
    assert {s.job_name for s in repository.sensor_defs} == {"kpi_tasks", "summer_kpi_tasks"}
    assert {s.job_name for s in repository.schedule_defs} == {"shop_tables", "summer_shop_tables"}
