"""Values of settings: the same values are valid from every source, and messages name the expected values."""

import inspect
import re
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
from starlake_dagster_components.cli.dag_option_help import HELP
from starlake_dagster_components.cli.docs import write_tables
from starlake_dagster_components.errors import InvalidSetting
from starlake_dagster_components.pipelines.dag_options import OPTIONS
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.settings.text import read_settings

REPOSITORY = Path(__file__).resolve().parents[2]

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
    ("orchestrators", ("Dagster", "ours"), ("Dagster", "ours")),
    ("cache", Path("/var/plans"), "/var/plans"),
    ("cache", False, "off"),
    ("env", "", None),
    ("timezone", "Europe/Paris", "Europe/Paris"),
    ("op_tags", {"dagster/priority": 3, "dagster-k8s/config": {"a": [1]}}, {"dagster/priority": "3", "dagster-k8s/config": '{"a": [1]}'}),
    ("name_prefix", "north_", "north_"),
    ("step_executor", "in_process", dg.in_process_executor),
]

WRONG: list[tuple[str, Any, str]] = [
    ("executor", "duckdbb", "did you mean 'duckdb'?"),
    ("executor", {"type": "shell", "starlake_pth": "x"}, r"unknown field 'starlake_pth' (did you mean 'starlake_path'?)"),
    ("executor", DuckDBExecutor, "DuckDBExecutor is a class (expected an instance: DuckDBExecutor(...))"),
    ("executor", 3, "expected an executor"),
    ("asset_keys", "paths", "did you mean 'path'?"),
    ("watch", "dirct", "watch: unknown value 'dirct' (did you mean 'direct'?)"),
    ("default_status", "on", "known: RUNNING, STOPPED"),
    ("orchestrators", "dagster", "orchestrators: invalid value 'dagster' (expected a list of strings)"),
    ("orchestrators", ["airflow", "dagstr"], "orchestrators: unknown orchestrator 'dagstr' (did you mean 'dagster'?)"),
    ("orchestrators", ["mage"], "orchestrators: unknown orchestrator 'mage' (known: airflow, dagster, databricks, snowflake, starlake)"),
    ("executor", {"starlake_path": "x"}, "executor: the type is missing"),
    ("timezone", "Europe/Pariss", "timezone: unknown time zone 'Europe/Pariss' (did you mean 'Europe/Paris'?)"),
    ("variables", {True: "a"}, "variables: the name True is not a string: put it in quotes"),
    ("cache", True, "cache: invalid value True (expected a string)"),
    ("asset_key", "path", "unknown setting 'asset_key' (did you mean 'asset_keys'?)"),
    ("max_concurrent", 0, "max_concurrent: invalid value 0 (expected a whole number of at least 1)"),
    ("max_concurrent", -3, "expected a whole number of at least 1"),
    ("max_concurrent", "many", "expected a whole number of at least 1"),
    ("expectation_checks", "no", "expectation_checks: invalid value 'no' (expected true or false)"),
    ("batch", 1, "expected true or false"),
    ("variables", ["a"], "expected a mapping"),
    ("variables", {"a": {"b": 1}}, "variables.a"),
    ("name_prefix", "a-b", "expected letters, digits, and underscores"),
    ("step_executor", "thread", "did you mean 'threads'?"),
    ("step_executor", {"type": "threads", "cfg": {}}, "a mapping with type and config"),
    ("pool", 5, "expected a string"),
    ("translator", StarlakeTranslator, "expected a StarlakeTranslator"),
]


@pytest.mark.parametrize(("name", "given", "value"), RIGHT, ids=[f"{n}-{g}" for n, g, _ in RIGHT])
def test_valid_values_are_converted_to_their_type(name: str, given: Any, value: Any) -> None:
    assert getattr(Settings(**{name: given}), name) == value


@pytest.mark.parametrize(("name", "given", "message"), WRONG, ids=[f"{n}-{g}" for n, g, _ in WRONG])
def test_a_wrong_value_is_an_error_with_the_expected_value(shop: ProjectFolder, name: str, given: Any, message: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        load_definitions_from_starlake_project(shop.root, **{name: given})
    assert message in str(error.value)


def test_the_function_has_a_parameter_for_every_setting() -> None:
    given = inspect.signature(load_definitions_from_starlake_project).parameters
    assert set(given) - {"root"} == set(Settings.model_fields)


def test_every_setting_exists_in_yaml_python_and_environment() -> None:
    names = set(Settings.model_fields)
    elsewhere = {"translator": "translation", "op_tags": "op", "pool": "op", "op_rules": "op"}
    assert {elsewhere.get(name, name) for name in names} == set(StarlakeProjectComponent.model_fields) - {"project"}
    with pytest.raises(InvalidSetting) as error:
        read_settings({"SL_DAGSTER_ZZZ": "x"})
    assert {f"SL_DAGSTER_{name.upper()}" for name in names - {"translator"}} == set(re.findall(r"SL_DAGSTER_(?!ZZZ)\w+", str(error.value)))


def test_every_supported_option_of_dag_configs_has_a_help_text() -> None:
    assert set(HELP) == {name for name, option in OPTIONS.items() if not option.unsupported and not option.executor}


@pytest.mark.parametrize("page", ["settings.md", "command_line.md", "reference/dag_options.md", "reference/commands.md"])
def test_the_tables_of_the_documentation_are_generated_from_the_settings(page: str) -> None:
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    assert "<!-- table: " in text
    assert text == write_tables(text), "run `make docs`"


def test_the_function_documents_every_setting() -> None:
    documented = load_definitions_from_starlake_project.__doc__ or ""
    assert [name for name in Settings.model_fields if f"\n        {name}: " not in documented] == []


def test_settings_are_frozen_and_can_be_overridden() -> None:
    settings = Settings(timezone="Europe/Paris", batch=True)
    with pytest.raises(ValueError, match="frozen"):
        settings.batch = False
    assert settings.override(batch="false") == Settings(timezone="Europe/Paris")
    with pytest.raises(InvalidSetting, match="did you mean 'batch'"):
        settings.override(batc=True)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        (
            "STEP_EXECUTOR",
            "thread",
            "SL_DAGSTER_STEP_EXECUTOR: unknown step executor 'thread' (did you mean 'threads'?); or use an import path (module.name)",
        ),
        ("WATCH", "dirct", "SL_DAGSTER_WATCH: unknown value 'dirct' (did you mean 'direct'?)"),
        ("OP_TAGS", "team", "SL_DAGSTER_OP_TAGS: 'team' has no value (expected name=value,name=value)"),
        ("OP_TAG", "a=b", "unknown setting 'SL_DAGSTER_OP_TAG' (did you mean 'SL_DAGSTER_OP_TAGS'?)"),
        ("OP", "a", "unknown setting 'SL_DAGSTER_OP' (use SL_DAGSTER_OP_TAGS or SL_DAGSTER_POOL)"),
        ("PROJECT", "a", "unknown setting 'SL_DAGSTER_PROJECT' (the project is SL_ROOT, or an argument)"),
        (
            "ORCHESTRATORS",
            "dagster,airflw",
            "SL_DAGSTER_ORCHESTRATORS: unknown orchestrator 'airflw' (did you mean 'airflow'?)",
        ),
        ("BATCH", "maybe", "SL_DAGSTER_BATCH: invalid value 'maybe' (expected true or false)"),
    ],
)
def test_the_environment_names_the_variable(variable: str, text: str, message: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        read_settings({f"SL_DAGSTER_{variable}": text})
    assert str(error.value) == message


def test_a_misspelled_variable_is_not_confused_with_one_that_begins_alike() -> None:
    with pytest.raises(InvalidSetting) as error:
        read_settings({"SL_DAGSTER_ZZZ": "x"})
    assert "did you mean" not in str(error.value)
    assert "(known: SL_DAGSTER_EXECUTOR, SL_DAGSTER_ENV, " in str(error.value)


@pytest.mark.parametrize("text", ["a=1,b=x", '{"a": 1, "b": "x"}'])
def test_mappings_can_be_set_in_the_environment(text: str) -> None:
    settings = read_settings({"SL_DAGSTER_VARIABLES": text, "SL_DAGSTER_OP_TAGS": text})
    assert (settings.variables, settings.op_tags) == ({"a": "1", "b": "x"}, {"a": "1", "b": "x"})


def test_every_setting_that_is_text_can_be_set_in_the_environment() -> None:
    settings = read_settings({"SL_DAGSTER_STEP_EXECUTOR": "multiprocess", "SL_DAGSTER_OP_TAGS": "team=data,dagster/priority=3"})
    assert settings.step_executor is dg.multiprocess_executor
    assert settings.op_tags == {"team": "data", "dagster/priority": "3"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("asset_keys: flatt", "did you mean 'flat'?"),
        ("watch: directt", "did you mean 'direct'?"),
        ("default_status: on_", "known: RUNNING, STOPPED"),
        ("max_concurrent: many", "expected a whole number of at least 1"),
        ("orchestrators: dagster", "expected a list of strings"),
        ("expectation_checks: maybe", "expected true or false"),
        ("name_prefix: a b", "expected letters, digits, and underscores"),
        ("orchestrators: [dagstr]", "did you mean 'dagster'?"),
        ("timezone: Europe/Pariss", "did you mean 'Europe/Paris'?"),
        ("executor: {type: shell, starlake_pth: x}", "did you mean 'starlake_path'?"),
        ("step_executor: {typ: threads}", "a mapping with type and config"),
        ('variables: {a: "{{ env.NO_SUCH_VARIABLE }}"}', "variables.a: invalid value None"),
        ("cache: true", "cache: invalid value True"),
    ],
)
def test_a_wrong_value_in_yaml_names_the_key_and_the_expectation(line: str, message: str) -> None:
    with pytest.raises(ResolutionException) as error:
        StarlakeProjectComponent.resolve_from_yaml(f"project: x\n{line}\n")
    assert f"<string>:2 - {line.partition(':')[0]}" in str(error.value)
    assert message in str(error.value).splitlines()[-1]


def test_an_empty_project_path_names_the_environment_variable() -> None:
    with pytest.raises(
        ResolutionException,
        match=r"project: the path is empty; set the environment variable in '\{\{ env.NO_SUCH_VARIABLE \}\}', or write a folder",
    ):
        StarlakeProjectComponent.resolve_from_yaml('project: "{{ env.NO_SUCH_VARIABLE }}"')


def test_empty_values_in_yaml_select_the_default() -> None:
    names = [name for name in Settings.model_fields if name not in ("translator", "op_tags", "pool", "op_rules")]
    yaml = "project: x\n" + "".join(f'{name}: "{{{{ env.NO_SUCH_VARIABLE }}}}"\n' for name in names)
    found, default = StarlakeProjectComponent.resolve_from_yaml(yaml).build_settings(), Settings()
    assert {name: getattr(found, name) for name in names} == {name: getattr(default, name) for name in names}


def test_strings_in_yaml_stay_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_VERSION", "1.10")
    monkeypatch.setenv("A_FLAG", "true")
    monkeypatch.setenv("A_NUMBER", "7")
    component = StarlakeProjectComponent.resolve_from_yaml(
        """
project: "1.10"
env: "1.10"
variables: {a: "1.10", b: "{{ env.A_VERSION }}", c: "{{SL_ROOT}}/x", d: "${SL_ROOT}", e: "{{ env.A_VERSION }}-x", f: true, g: 5, h: "True"}
batch: "{{ env.A_FLAG }}"
max_concurrent: "{{ env.A_NUMBER }}"
step_executor: {type: threads, config: {max_concurrent: "{{ env.A_NUMBER }}"}}
op: {tags: {"dagster-k8s/config": {a: 1}}}
"""
    )
    assert Path(component.project).name == "1.10"
    assert component.env == "1.10"
    assert component.variables == {
        "a": "1.10",
        "b": "1.10",
        "c": "{{SL_ROOT}}/x",
        "d": "${SL_ROOT}",
        "e": "1.10-x",
        "f": "true",
        "g": "5",
        "h": "True",
    }
    assert (component.batch, component.max_concurrent) == (True, 7)
    assert component.build_settings().op_rules[0].tags == {"dagster-k8s/config": '{"a": 1}'}


@pytest.mark.parametrize(
    ("given", "expected"), [("plans", str(Path("plans").resolve())), ("/var/plans", "/var/plans"), ("~/plans", "~/plans"), ("off", "off")]
)
def test_the_folder_of_the_cache_is_relative_to_the_file(given: str, expected: str) -> None:
    assert StarlakeProjectComponent.resolve_from_yaml(f"project: x\ncache: {given}\n").cache == expected


def test_a_prefix_allows_one_project_twice_in_a_code_location(shop: ProjectFolder) -> None:
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
