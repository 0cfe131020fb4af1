import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from project_folder import ProjectFolder

from starlake_dagster_components.cli import main
from starlake_dagster_components.definitions.settings_text import settings_from_environment
from starlake_dagster_components.errors import InvalidSetting


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_check_counts_and_succeeds(shop: ProjectFolder) -> None:
    result = run("check", shop.root)
    assert result.exit_code == 0, result.output
    assert "2 tables, 2 tasks, 2 jobs, 6 assets: 0 errors" in result.output


def test_check_fails_with_every_error(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/kpi/lost.sl.yml", "version: 1\ntask:\n  dagRef: trnsforms\n  sql: select 1\n")
    shop.write("metadata/load/shop/broken.sl.yml", "version: 1\ntable: [\n")
    result = run("check", shop.root)
    assert result.exit_code == 1
    assert "metadata/transform/kpi/lost.sl.yml:3" in result.output
    assert "metadata/load/shop/broken.sl.yml" in result.output


def test_list_as_json_has_the_documented_shape(shop: ProjectFolder) -> None:
    result = run("list", shop.root, "--format", "json")
    assert result.exit_code == 0, result.output
    listed = json.loads(result.output)
    assert listed["jobs"] == [
        {
            "name": "kpi_tasks",
            "kind": "transform",
            "dag_config": "transforms",
            "executor": "shell",
            "assets": ["kpi_daily", "kpi_top"],
            "schedule": None,
            "sensor": {
                "name": "kpi_tasks_sensor",
                "assets": ["shop_items", "shop_orders"],
                "minimum_interval_seconds": 60,
                "strategy": listed["jobs"][0]["sensor"]["strategy"],
            },
        },
        {
            "name": "shop_tables",
            "kind": "load",
            "dag_config": "loads",
            "executor": "shell",
            "assets": ["shop", "shop_items", "shop_orders"],
            "schedule": {"name": "shop_tables_schedule", "cron": "0 0 * * *", "timezone": "UTC"},
            "sensor": None,
        },
    ]
    assert [a["key"] for a in listed["assets"]] == ["elsewhere_rates", "kpi_daily", "kpi_top", "shop", "shop_items", "shop_orders"]
    orders = listed["assets"][-1]
    assert {**orders, "source": orders["source"].split(":")[0]} == {
        "key": "shop_orders",
        "kind": "table",
        "name": "shop.orders",
        "deps": ["shop"],
        "source": "metadata/load/shop/orders.sl.yml",
        "executable": True,
    }
    assert listed["assets"][0]["executable"] is False
    assert listed["problems"] == []


def test_list_as_a_table_names_everything(shop: ProjectFolder) -> None:
    output = run("list", shop.root).output
    for name in ("shop_tables", "kpi_tasks", "0 0 * * *", "shop_orders", "elsewhere_rates"):
        assert name in output


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("shop_tables", ["metadata/dags/loads.sl.yml", "pre-load of shop: imported", "runs shop.orders: dagRef"]),
        ("shop_tables_schedule", ["0 0 * * *", "metadata/load/shop/_config.sl.yml:7"]),
        ("kpi_tasks_sensor", ["watches shop_orders", "metadata/transform/kpi/daily.sql:2"]),
        ("kpi_daily", ["metadata/transform/kpi/daily.sql:3", "in the jobs kpi_tasks"]),
        ("kpi.daily", ["asset kpi_daily"]),
    ],
)
def test_explain_names_the_file_and_line_of_each_fact(shop: ProjectFolder, name: str, facts: list[str]) -> None:
    output = run("explain", shop.root, name).output
    for fact in facts:
        assert fact in output


def test_explain_of_an_unknown_name_proposes_one(shop: ProjectFolder) -> None:
    result = run("explain", shop.root, "shop_table")
    assert result.exit_code == 1
    assert "did you mean 'shop_tables'?" in result.output


def test_dependencies_in_every_format(shop: ProjectFolder) -> None:
    assert run("dependencies", shop.root, "--task", "kpi.top").output.splitlines() == [
        "kpi.top",
        "  kpi.daily",
        "    shop.items",
        "    shop.orders",
    ]
    tree = json.loads(run("dependencies", shop.root, "--format", "json", "--task", "kpi.daily").output)
    assert [c["data"]["name"] for c in tree[0]["children"]] == ["shop.items", "shop.orders"]
    diagram = json.loads(run("dependencies", shop.root, "--format", "diagram").output)
    assert diagram["diagramType"] == "task"


def test_an_unknown_setting_is_one_line_without_a_stack(shop: ProjectFolder) -> None:
    result = run("list", shop.root, "--asset-keys", "flatt")
    assert result.exit_code == 1
    assert "did you mean 'flat'?" in result.output
    assert "Traceback" not in result.output


def test_settings_from_the_environment() -> None:
    settings = settings_from_environment(
        {
            "SL_DAGSTER_EXECUTOR": '{"type": "shell", "env": {"A": "1"}}',
            "SL_DAGSTER_ASSET_KEYS": "path",
            "SL_DAGSTER_ORCHESTRATORS": "dagster, airflow",
            "SL_DAGSTER_MAX_CONCURRENT": "3",
            "SL_DAGSTER_VARIABLES": "a=1,b=2",
            "OTHER": "x",
        }
    )
    assert settings.asset_keys == "path"
    assert settings.orchestrators == ("dagster", "airflow")
    assert settings.max_concurrent == 3
    assert settings.variables == {"a": "1", "b": "2"}
    assert settings.executor is not None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SL_DAGSTER_EXECUTER": "shell"}, "did you mean 'SL_DAGSTER_EXECUTOR'?"),
        ({"SL_DAGSTER_EXECUTOR": "dukdb"}, "did you mean 'duckdb'?"),
        ({"SL_DAGSTER_EXECUTOR": "{"}, "JSON"),
        ({"SL_DAGSTER_EXECUTOR": '{"type": "shell", "nope": 1}'}, "nope"),
        ({"SL_DAGSTER_MAX_CONCURRENT": "0"}, "SL_DAGSTER_MAX_CONCURRENT"),
        ({"SL_DAGSTER_WATCH": "all"}, "transitive"),
        ({"SL_DAGSTER_VARIABLES": "a"}, "name=value"),
    ],
)
def test_wrong_settings_say_which_and_what_is_expected(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        settings_from_environment(environment)
    assert message in str(caught.value)


def test_wrong_options_of_a_sensor_are_problems_with_file_and_line(shop: ProjectFolder) -> None:
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text()
    shop.write("metadata/dags/transforms.sl.yml", config + "  options:\n    dataset_triggering_strategy: shop.orders and shop.itms\n")
    result = run("check", shop.root)
    assert result.exit_code == 1
    assert "metadata/dags/transforms.sl.yml:7" in result.output
    shop.write("metadata/dags/transforms.sl.yml", config + "  options:\n    dataset_triggering_strategy: shop.orders or shop.items\n")
    assert run("check", shop.root).exit_code == 0
