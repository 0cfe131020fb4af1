import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from dagster.components.testing.test_cases import TestTranslation
from project_folder import ProjectFolder

from starlake_dagster_components import CloudRunExecutor, DuckDBExecutor, ShellExecutor, StarlakeProjectComponent
from starlake_dagster_components.component.scaffolder import StarlakeProjectParams
from starlake_dagster_components.errors import StarlakeError


def resolve(attributes: dict[str, Any]) -> StarlakeProjectComponent:
    return StarlakeProjectComponent.from_attributes_dict(attributes=attributes)


def test_the_path_is_relative_to_the_defs_yaml(shop: ProjectFolder) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=StarlakeProjectComponent,
            scaffold_params={"project": str(shop.root)},
            defs_yaml_contents={
                "type": "starlake_dagster_components.StarlakeProjectComponent",
                "attributes": {"project": str(shop.root), "executor": {"type": "duckdb"}},
            },
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, defs):
            assert isinstance(component, StarlakeProjectComponent)
            assert isinstance(component.executor, DuckDBExecutor)
            keys = {k.to_user_string() for k in defs.resolve_asset_graph().get_all_asset_keys()}
            assert {"shop", "shop_orders", "kpi_daily"} <= keys


class TestTranslationOfTables(TestTranslation):
    def test_translation_in_yaml_changes_specs(self, shop: ProjectFolder, attributes: Any, assertion: Any, key_modifier: Any) -> None:
        component = resolve({"project": str(shop.root), "translation": attributes})
        if "partitions_def" in attributes:
            # A load takes all files that exist, and a transform cannot use partitions without intervals.
            with pytest.raises(StarlakeError, match=r"loads cannot have partitions(?s:.*)StaticPartitionsDefinition has no intervals"):
                dg.build_defs_for_component(component)
            return
        defs = dg.build_defs_for_component(component)
        key = dg.AssetKey("shop_orders")
        if key_modifier:
            key = key_modifier(key)
        assert assertion(defs.resolve_asset_graph().get(key).assets_def.get_asset_spec(key))


def test_translation_may_use_the_node(shop: ProjectFolder) -> None:
    component = resolve({"project": str(shop.root), "translation": {"group_name": "{{ 'raw' if node.type == 'table' else 'made' }}"}})
    specs = {s.key.to_user_string(): s for s in dg.build_defs_for_component(component).resolve_all_asset_specs()}
    assert specs["shop_orders"].group_name == "raw"
    assert specs["kpi_daily"].group_name == "made"


def test_keys_changed_by_a_translation_are_followed_by_dependencies(shop: ProjectFolder) -> None:
    component = resolve({"project": str(shop.root), "translation": {"key_prefix": "warehouse"}})
    specs = {s.key.to_user_string(): s for s in dg.build_defs_for_component(component).resolve_all_asset_specs()}
    assert {d.asset_key.to_user_string() for d in specs["warehouse/kpi_daily"].deps} == {"warehouse/shop_orders", "warehouse/shop_items"}


def test_a_subclass_may_change_the_specs(shop: ProjectFolder) -> None:
    class Ours(StarlakeProjectComponent):
        """Our project."""

        def get_asset_spec(self, node: Any) -> dg.AssetSpec:
            return super().get_asset_spec(node).replace_attributes(owners=["team:data"])

    defs = dg.build_defs_for_component(Ours.from_attributes_dict(attributes={"project": str(shop.root)}))
    assert all(list(s.owners) == ["team:data"] for s in defs.resolve_all_asset_specs())


def test_on_and_off_may_be_written_without_quotes() -> None:
    component = resolve({"project": "/nowhere", **yaml.safe_load("{file_sensors: on, partitions: off, cache: off}")})
    assert (component.file_sensors, component.partitions, component.cache) == ("on", "off", "off")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "shell", "starlake_path": "/opt/starlake", "env": {"PORT": "8080"}}, ShellExecutor),
        ({"type": "duckdb"}, DuckDBExecutor),
        ({"type": "cloud_run", "job_name": "load"}, CloudRunExecutor),
    ],
)
def test_executors_in_yaml_create_their_classes(given: dict[str, Any], expected: type) -> None:
    executor = resolve({"project": "/nowhere", "executor": given}).executor
    assert type(executor) is expected
    if isinstance(executor, ShellExecutor):
        assert executor.env == {"PORT": "8080"}


@pytest.mark.parametrize(
    "wrong",
    [{"type": "shel"}, {"type": "shell", "job_name": "x"}, {"type": "duckdb", "starlake_path": "/x"}],
)
def test_wrong_executors_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="executor"):
        resolve({"project": "/nowhere", "executor": wrong})


def test_unknown_attributes_are_rejected() -> None:
    with pytest.raises(Exception, match="asset_key"):
        resolve({"project": "/nowhere", "asset_key": "flat"})


def test_every_field_is_described() -> None:
    schema = StarlakeProjectComponent.model().model_json_schema()
    assert [name for name, field in schema["properties"].items() if not field.get("description")] == []


def test_settings_reach_the_definitions(shop: ProjectFolder) -> None:
    component = resolve(
        {
            "project": str(shop.root),
            "asset_keys": "path",
            "default_status": "STOPPED",
            "timezone": "Europe/Paris",
            "op": {"pool": "warehouse", "tags": {"team": "data"}},
            "expectation_checks": False,
            "max_concurrent": 2,
        }
    )
    repository = dg.build_defs_for_component(component).get_repository_def()
    (schedule,) = repository.schedule_defs
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.execution_timezone == "Europe/Paris"
    op = repository.assets_defs_by_key[dg.AssetKey(["shop", "orders"])].op
    assert op.pool == "warehouse"
    assert op.tags["team"] == "data"


@pytest.mark.parametrize("executor", ["duckdb", None])
def test_scaffolding_writes_a_defs_yaml_that_points_at_the_project(shop: ProjectFolder, executor: str | None) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=StarlakeProjectComponent,
            scaffold_params={"project": str(shop.root), **({"executor": executor} if executor else {})},
        )
        text = (Path(path) / "defs.yaml").read_text()
        assert f"project: {shop.root}" in text
        # Without it, the templates select the executor.
        assert ("executor" in text) == bool(executor)
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, defs):
            assert isinstance(component, StarlakeProjectComponent)
            assert defs.resolve_asset_graph().get_all_asset_keys()


@pytest.mark.parametrize(("folder", "message"), [("nowhere", "does not exist"), ("empty", "does not contain metadata/")])
def test_scaffolding_warns_if_the_folder_has_no_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(component_cls=StarlakeProjectComponent, scaffold_params={"project": str(tmp_path / folder)})
    assert f"warning: {tmp_path / folder} {message}" in capsys.readouterr().err


def test_scaffolding_prints_nothing_if_the_project_exists(shop: ProjectFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(component_cls=StarlakeProjectComponent, scaffold_params={"project": str(shop.root)})
    assert str(shop.root) not in capsys.readouterr().err


def test_scaffolding_rejects_an_unknown_executor() -> None:
    with pytest.raises(ValueError, match="did you mean 'duckdb'"):
        StarlakeProjectParams(project="x", executor="dukdb")


def test_help_lists_every_field() -> None:
    documented = StarlakeProjectComponent.__doc__ or ""
    assert [name for name in StarlakeProjectComponent.model_fields if f"\n        {name}: " not in documented] == []


def test_variables_and_environment_values_are_strings() -> None:
    component = resolve({"project": "/nowhere", "variables": {"year": 2026, "on": True}})
    assert component.variables == {"year": "2026", "on": "true"}


def test_an_executor_may_be_a_type_alone_or_a_template() -> None:
    assert isinstance(resolve({"project": "/nowhere", "executor": "duckdb"}).executor, DuckDBExecutor)
    assert isinstance(resolve({"project": "/nowhere", "executor": "{{ env('NO_SUCH_VARIABLE', 'duckdb') }}"}).executor, DuckDBExecutor)
    with pytest.raises(Exception, match="did you mean 'duckdb'"):
        resolve({"project": "/nowhere", "executor": "duckdbb"})


@pytest.mark.parametrize(
    ("attributes", "line", "message"),
    [
        ("project: {missing}", 3, "project: no Starlake project at {missing}: the folder does not exist"),
        ('project: {project}\n  env: DEV\n  variables: {{a: "b c"}}', 5, "variables: a cannot be passed to Starlake"),
        ("project: {project}\n  dependencies: nope/*.json", 4, "dependencies: no file matches 'nope/*.json' in {project}"),
        ("project: {project}\n  cache: {project}/metadata/application.sl.yml", 4, "cache: {project}/metadata/application.sl.yml is a file"),
    ],
)
def test_an_error_of_loading_names_the_line_of_the_setting(
    shop: ProjectFolder, tmp_path: Path, attributes: str, line: int, message: str
) -> None:
    names = {"project": shop.root, "missing": tmp_path / "missing"}
    component = "type: starlake_dagster_components.StarlakeProjectComponent\nattributes:\n  "
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=StarlakeProjectComponent, scaffold_params={"project": str(shop.root)})
        (Path(path) / "defs.yaml").write_text(component + attributes.format(**names) + "\n")
        with (
            pytest.raises(Exception, match="Error while building definitions") as caught,
            sandbox.load_component_and_build_defs(defs_path=path),
        ):
            pass
    assert isinstance(caught.value.__cause__, StarlakeError)
    assert f"/defs.yaml:{line}: {message.format(**names)}" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ({"pol": "x"}, "op: unknown key 'pol' (did you mean 'pool'?)"),
        ({"priority": 1}, "op: unknown key 'priority' (known: match, pool, retry_policy, tags)"),
        ([{"pool": "x"}, {"match": "sales.*", "tgs": {}}], "op[1]: unknown key 'tgs' (did you mean 'tags'?)"),
        ([{"pool": 3}], "op.pool: invalid value 3 (expected a string)"),
        ([{"pool": "x"}, "sales.*"], "op[1]: invalid value 'sales.*' (expected a mapping)"),
        ({"match": 3}, "op.match: invalid value 3 (expected a list of names or mappings such as {domain: sales, tag: pii})"),
        ({"tags": ["team"]}, "op.tags: invalid value ['team'] (expected a mapping of names to values)"),
        ({"name": "x"}, "op.name: an op has the name of its asset; change the asset's key with translation"),
    ],
)
def test_a_mistake_in_an_op_rule_has_one_message_with_its_line(shop: ProjectFolder, op: Any, message: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=StarlakeProjectComponent, scaffold_params={"project": str(shop.root)})
        attributes = json.dumps({"project": str(shop.root), "op": op}, indent=1)
        (Path(path) / "defs.yaml").write_text(
            f'{{"type": "starlake_dagster_components.StarlakeProjectComponent", "attributes": {attributes}}}'
        )
        with (
            pytest.raises(Exception, match="Error while loading component") as caught,
            sandbox.load_component_and_build_defs(defs_path=path),
        ):
            pass
    cause = caught.value.__cause__
    assert "defs.yaml:3 - attributes.op\n" in str(cause)
    assert f" ^ starlake_dagster_components.errors.InvalidSetting: {message}\n" in str(cause)
