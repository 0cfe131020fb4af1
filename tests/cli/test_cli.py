import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from project_folder import ProjectFolder

from starlake_dagster_components.cli import main
from starlake_dagster_components.cli.problems import format_github
from starlake_dagster_components.errors import InvalidSetting, Location, Problem
from starlake_dagster_components.settings.text import read_settings


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_check_prints_counts_and_exits_with_0(shop: ProjectFolder) -> None:
    result = run("check", shop.root)
    assert result.exit_code == 0, result.output
    assert result.output == "2 tables, 2 tasks, 2 jobs, 6 assets: 0 errors, 0 warnings\n"


def test_the_project_is_sl_root_or_the_current_folder(shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_argument = run("check", shop.root).output
    monkeypatch.setenv("SL_ROOT", str(shop.root))
    assert run("check").output == with_argument
    assert "shop_orders" in run("explain", "shop_orders").output
    monkeypatch.setenv("SL_ROOT", str(tmp_path / "nowhere"))
    result = run("check")
    assert result.exit_code == 2
    assert f"SL_ROOT: the folder '{tmp_path / 'nowhere'}' does not exist" in result.output
    assert run("check", shop.root).output == with_argument
    monkeypatch.delenv("SL_ROOT")
    monkeypatch.chdir(shop.root)
    assert run("check").output == with_argument
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = run("list")
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith(f"no Starlake project at {tmp_path / 'empty'}: it has no 'metadata' folder.")
    assert line.endswith(" Give the folder as PROJECT, or set SL_ROOT.")
    monkeypatch.setenv("SL_ROOT", str(tmp_path / "empty"))
    assert run("list").output.startswith("SL_ROOT: no Starlake project at ")


def test_check_prints_json(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/kpi/lost.sl.yml", "version: 1\ntask:\n  dagRef: trnsforms\n  sql: select 1\n")
    result = run("check", shop.root, "--format", "json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    (problem,) = found.pop("problems")
    assert found == {"errors": 1, "warnings": 0, "tables": 2, "tasks": 3, "jobs": 2, "assets": 7, "note": found["note"]}
    assert found["note"].startswith("1 asset has no job: ")
    assert (problem["severity"], problem["file"], problem["line"]) == ("error", "metadata/transform/kpi/lost.sl.yml", 3)


def test_check_for_github_places_annotations_in_the_repository(shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("metadata/transform/kpi/lost.sl.yml", "version: 1\ntask:\n  dagRef: trnsforms\n  sql: select 1\n")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(shop.root.parent))
    lines = run("check", shop.root, "--format", "github").output.splitlines()
    place = f"file={shop.root.name}/metadata/transform/kpi/lost.sl.yml,line=3,title=Starlake"
    assert lines[0].startswith(f"::error {place}::unknown DAG config 'trnsforms'")
    assert lines[1].endswith("1 error, 0 warnings")


def test_annotations_are_one_line() -> None:
    problem = Problem(Location("a,b:c.yml", 2), "warning", "50% of\nit")
    assert format_github(problem, Path.cwd()) == "::warning file=a%2Cb%3Ac.yml,line=2,title=Starlake::50%25 of%0Ait"


@pytest.mark.parametrize("command", ["check", "list", "run", "dependencies", "explain", "cache", "dev"])
def test_the_help_has_exit_codes_and_choices(command: str) -> None:
    text = " ".join(run(command, "--help").output.split())
    assert "Exit code: 0 if" in text
    assert "--asset-keys [flat|flat_lower|path]" in text
    assert "--executor TYPE|JSON" in text


def test_shell_completion_proposes_values() -> None:
    (option,) = [o for o in main.commands["check"].params if o.name == "watch"]
    found = option.type.shell_complete(click.Context(main), option, "D")
    assert [item.value for item in found] == ["direct"]
    (option,) = [o for o in main.commands["run"].params if o.name == "executor"]
    assert [item.value for item in option.shell_complete(click.Context(main), "d")] == ["dagster_shell", "duckdb"]


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
            "file_sensor": None,
        },
        {
            "name": "shop_tables",
            "kind": "load",
            "dag_config": "loads",
            "executor": "shell",
            "assets": ["shop", "shop_items", "shop_orders"],
            "schedule": {"name": "shop_tables_schedule", "cron": "0 0 * * *", "timezone": "UTC"},
            "sensor": None,
            "file_sensor": None,
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


def test_list_shows_that_files_start_a_job(shop: ProjectFolder) -> None:
    result = run("list", shop.root, "--file-sensors", "on", "--format", "json")
    assert json.loads(result.output)["jobs"][1]["file_sensor"] == {
        "name": "shop_tables_files_sensor",
        "folders": [f"{shop.root}/datasets/incoming/shop"],
        "minimum_interval_seconds": 30,
    }
    assert "0 0 * * * (UTC), when files arrive" in run("list", shop.root, "--file-sensors", "on").output
    assert "when files arrive" not in run("list", shop.root).output


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
        ("kpi_daily", ["metadata/transform/kpi/daily.sql:3", "in the job kpi_tasks"]),
        ("kpi.daily", ["asset kpi_daily"]),
    ],
)
def test_explain_names_the_file_and_line_of_each_fact(shop: ProjectFolder, name: str, facts: list[str]) -> None:
    output = run("explain", shop.root, name).output
    for fact in facts:
        assert fact in output


def test_explain_proposes_a_known_name_for_an_unknown_one(shop: ProjectFolder) -> None:
    result = run("explain", shop.root, "shop_table")
    assert result.exit_code == 1
    assert "did you mean 'shop_tables'?" in result.output


def test_dependencies_are_printed_in_every_format(shop: ProjectFolder) -> None:
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--asset-keys", "flatt"], "--asset-keys: unknown value 'flatt' (did you mean 'flat'?)"),
        (["check", "--executor", "dukdb"], "--executor: unknown executor 'dukdb' (did you mean 'duckdb'?)"),
        (["check", "--watch", "dirct"], "--watch: unknown value 'dirct' (did you mean 'direct'?)"),
        (["check", "--timezone", "Europe/Pariss"], "--timezone: "),
        (["check", "--orchestrators", "dagstr"], "--orchestrators: unknown orchestrator 'dagstr' (did you mean 'dagster'?)"),
        (["check", "--orchestrators", "zzz"], "--orchestrators: unknown orchestrator 'zzz'"),
        (["check", "--variables", "a"], "--variables: 'a' has no value"),
        (["check", "--variables", "a=b c"], "--variables: a cannot be passed to Starlake"),
        (["run", "--max-concurrent", "0"], "--max-concurrent: "),
        (["run", "--scheduled-date", "tomorrow"], "--scheduled-date: 'tomorrow' is not an ISO 8601 time"),
        (["run", "--select", "kpi_dayly"], "selection 'kpi_dayly' names no asset (did you mean 'kpi_daily'?)"),
        (["run", "--select", ""], "selection '' is empty"),
        (["dev", "--default-status", "running_"], "--default-status: unknown value 'running_'"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(shop: ProjectFolder, arguments: list[str], message: str) -> None:
    result = run(arguments[0], shop.root, *arguments[1:])
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.splitlines()) <= 2
    assert "Traceback" not in result.output


def test_a_job_and_a_selection_exclude_each_other(shop: ProjectFolder) -> None:
    result = run("run", shop.root, "--job", "shop_tables", "--select", "kpi_daily")
    assert result.exit_code == 2
    assert "--job and --select cannot be combined" in result.output


def test_check_and_run_reject_options_of_other_commands(shop: ProjectFolder) -> None:
    assert run("check", shop.root, "--pool", "x").exit_code == 2
    assert run("run", shop.root, "--default-status", "STOPPED").exit_code == 2
    result = run(
        "run", shop.root, "--job", "kpi_tasks", "--executor", "duckdb", "--max-concurrent", "1", "--pool", "p", "--no-expectation-checks"
    )
    assert "--" not in result.output.partition("failed")[0].splitlines()[0]
    assert result.exit_code == 1
    assert "kpi_top" in result.output
    assert "not run" in result.output


def test_dev_passes_settings_in_environment_variables(shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[Path], dict[str, str], dict[str, Any]]] = []

    def serve_projects(projects: list[Path], environment: dict[str, str], **options: Any) -> None:
        started.append((projects, environment, options))

    monkeypatch.setattr("starlake_dagster_components.cli.dev.serve_projects", serve_projects)
    options = ["--executor", "duckdb", "--no-expectation-checks", "--default-status", "stopped", "--max-concurrent", "3", "--port", "4000"]
    result = run("dev", shop.root, *options)
    assert result.exit_code == 0, result.output
    ((projects, environment, given_options),) = started
    assert projects == [shop.root]
    assert (given_options["port"], given_options["reload"]) == (4000, True)
    given = {name: value for name, value in environment.items() if name.startswith("SL_DAGSTER_") and name != "SL_DAGSTER_CACHE"}
    assert given == {
        "SL_DAGSTER_EXECUTOR": "duckdb",
        "SL_DAGSTER_EXPECTATION_CHECKS": "false",
        "SL_DAGSTER_DEFAULT_STATUS": "stopped",
        "SL_DAGSTER_MAX_CONCURRENT": "3",
    }
    settings = read_settings(environment)
    assert (settings.expectation_checks, settings.default_status, settings.max_concurrent) == (False, "STOPPED", 3)


def test_check_and_list_show_problems_in_the_same_way(shop: ProjectFolder) -> None:
    shop.write("metadata/load/empty/_config.sl.yml", "version: 1\nload:\n  name: empty\n")
    shop.write("metadata/transform/kpi/lost.sl.yml", "version: 1\ntask:\n  dagRef: trnsforms\n  sql: select 1\n")
    checked, listed = (run(command, shop.root) for command in ("check", "list"))
    assert checked.exit_code == listed.exit_code == 1
    problems = checked.output.splitlines()[:-2]
    assert [line.partition(": ")[2].partition(":")[0] for line in problems] == ["error", "warning"]
    assert problems[0].startswith("metadata/transform/kpi/lost.sl.yml:3: error: unknown DAG config 'trnsforms'")
    assert problems[1].startswith("metadata/load/empty: warning: ")
    assert [line.rstrip() for line in listed.output.splitlines()][-3:-1] == problems
    assert checked.output.splitlines()[-2].endswith("1 error, 1 warning")


def test_strict_treats_warnings_as_errors(shop: ProjectFolder) -> None:
    assert run("check", shop.root, "--strict").exit_code == 0
    assert run("check", shop.root, "--env", "NOPE").exit_code == 0
    result = run("check", shop.root, "--env", "NOPE", "--strict")
    assert result.exit_code == 1
    assert "0 errors, 1 warning" in result.output
    shop.write("metadata/transform/kpi/top.sql", "select (((\n")
    assert run("check", shop.root).exit_code == 0
    assert run("check", shop.root, "--strict").exit_code == 1


def test_assets_without_a_job_are_reported(shop: ProjectFolder) -> None:
    application = (shop.root / "metadata/application.sl.yml").read_text()
    shop.write("metadata/application.sl.yml", application.replace("    transform: transforms\n", ""))
    note = "2 assets have no job: kpi.daily, kpi.top: no dagRef; set it to 'transforms' in metadata/application.sl.yml (dagRef.transform)"
    assert run("check", shop.root).output.splitlines()[-1] == note
    assert run("list", shop.root).output.splitlines()[-1] == note
    assert note not in run("list", shop.root, "--format", "json").output
    assert run("check", shop.root, "--strict").exit_code == 0


def test_a_project_for_another_orchestrator_is_reported_with_advice(shop: ProjectFolder) -> None:
    for config in ("loads", "transforms"):
        text = (shop.root / f"metadata/dags/{config}.sl.yml").read_text()
        shop.write(f"metadata/dags/{config}.sl.yml", text.replace("dagster__", "airflow__"))
    output = run("check", shop.root).output
    assert "set orchestrators to [dagster, airflow], or use the template 'load/dagster__scheduled_table__shell.py.j2'" in output
    assert output.splitlines()[-1] == (
        "4 assets have no job: shop.items, shop.orders: the DAG config 'loads' (metadata/application.sl.yml:12) is for Airflow; "
        "kpi.daily, kpi.top: the DAG config 'transforms' (metadata/application.sl.yml:13) is for Airflow"
    )
    result = run("run", shop.root)
    assert result.exit_code == 1
    assert "has no jobs to run: 4 assets have no job" in result.output
    assert "2 jobs" in run("check", shop.root, "--orchestrators", "dagster,airflow").output


def test_run_prints_the_result_of_each_asset(shop: ProjectFolder) -> None:
    result = run("run", shop.root, "--executor", "duckdb", "--job", "shop_tables")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "1 job. 3 assets: 3 skipped"


def load_in_a_process(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Load the project in another process. Return its log, which says where the plan came from."""
    code = (
        "import logging, sys; logging.basicConfig(level=logging.WARNING); logging.getLogger('starlake_dagster_components').setLevel(10)\n"
        "from starlake_dagster_components import load_definitions_from_starlake_project as load\n"
        f"load({str(project)!r})"
    )
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)


def test_a_process_that_cannot_write_uses_a_plan_that_cache_stored(shop: ProjectFolder, tmp_path: Path) -> None:
    shop.write("metadata/transform/kpi/top.sql", "select amount as _ from kpi.daily where '{{ SL_ENV }}' = ''\n")
    folder = tmp_path / "image" / "plans"
    result = run("cache", shop.root, "--folder", folder)
    assert result.exit_code == 0, result.output
    files = set(folder.iterdir())
    (entry,) = (file for file in files if result.output.startswith(f"cached: {file} ("))
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}
    assert folder.stat().st_mode & 0o777 == 0o755
    folder.chmod(0o555)
    for file in files:
        file.chmod(0o444)
    try:
        done = load_in_a_process(shop.root, SL_DAGSTER_CACHE=str(folder), SL_ROOT=str(shop.root), _="/another/program")
        assert "using the cached plan" in done.stderr
        again = run("cache", shop.root, "--folder", folder)
        assert again.output.startswith(f"already cached: {entry} (")
        assert again.exit_code == 0
    finally:
        folder.chmod(0o755)


def test_cache_makes_entries_readable_for_all_users(shop: ProjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "plans"
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(folder))
    assert run("check", shop.root).exit_code == 0
    files = list(folder.iterdir())
    assert [path.stat().st_mode & 0o777 for path in (folder, *files)] == [0o700, 0o600, 0o600]
    assert run("cache", shop.root).output.startswith(f"already cached: {folder}")
    assert [path.stat().st_mode & 0o777 for path in (folder, *files)] == [0o755, 0o644, 0o644]


def test_cache_has_an_entry_for_each_combination_of_settings(shop: ProjectFolder, tmp_path: Path) -> None:
    for arguments in ([], ["--orchestrators", "dagster,airflow"], ["--timezone", "Europe/Paris"]):
        assert run("cache", shop.root, "--folder", tmp_path / "plans", *arguments).output.startswith("cached: ")
    # Each has an entry for the last plan, for the plan itself, and for the columns of its tasks.
    assert len(list((tmp_path / "plans").iterdir())) == 9


def test_cache_reports_why_nothing_was_cached(shop: ProjectFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("cache", shop.root, "--folder", tmp_path / "file" / "plans")
    assert result.exit_code == 1
    assert result.output.startswith("not cached: the plan cannot be written: ")
    result = run("cache", shop.root, "--folder", "off")
    assert result.exit_code == 1
    assert "the cache is off" in result.output
    shop.write("metadata/transform/kpi/top.sql", "select '{{sl_epoch_milli}}' as now\n")
    result = run("cache", shop.root, "--folder", tmp_path / "plans")
    assert result.exit_code == 1
    assert result.output.startswith("not cached: the project uses the current time (sl_epoch_milli)")


def test_cache_shows_the_errors_of_the_project_as_check_does(shop: ProjectFolder, tmp_path: Path) -> None:
    shop.write("metadata/transform/kpi/lost.sl.yml", "version: 1\ntask:\n  dagRef: trnsforms\n  sql: select 1\n")
    result = run("cache", shop.root, "--folder", tmp_path / "plans")
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == run("check", shop.root).output.splitlines()[0]


def test_settings_are_read_from_environment_variables() -> None:
    settings = read_settings(
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
        ({"SL_DAGSTER_ASSET_KEYS": "paths"}, "unknown value 'paths' (did you mean 'path'?)"),
        ({"SL_DAGSTER_VARIABLES": "a"}, "name=value"),
    ],
)
def test_wrong_settings_are_errors_that_name_the_expected_value(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        read_settings(environment)
    assert message in str(caught.value)


def test_wrong_options_of_a_sensor_are_problems_with_file_and_line(shop: ProjectFolder) -> None:
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text()
    shop.write("metadata/dags/transforms.sl.yml", config + "  options:\n    dataset_triggering_strategy: shop.orders and shop.itms\n")
    result = run("check", shop.root)
    assert result.exit_code == 1
    assert "metadata/dags/transforms.sl.yml:7" in result.output
    shop.write("metadata/dags/transforms.sl.yml", config + "  options:\n    dataset_triggering_strategy: shop.orders or shop.items\n")
    assert run("check", shop.root).exit_code == 0
