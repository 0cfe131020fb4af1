"""The code version of an asset changes with its behavior, but not with comments, formatting, or its schedule."""

from pathlib import Path

import dagster as dg
import pytest
from dagster_home import open_instance
from project_folder import ProjectFolder

from starlake_dagster_components import StarlakeTranslator, load_definitions_from_starlake_project
from starlake_dagster_components.definitions.code_version import normalize_sql
from starlake_dagster_components.definitions.nodes import StarlakeNode
from starlake_dagster_components.testing import RecordingExecutor

SQL = "select id, sum(amount) as total from sales.orders where kind = 'a  b' group by id"


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    folder = ProjectFolder(tmp_path / "shop")
    folder.write(
        "metadata/application.sl.yml",
        "application: {connectionRef: duck, connections: {duck: {type: jdbc, options: {url: 'jdbc:duckdb:x.db'}}}}\n",
    )
    folder.write("metadata/load/sales/_config.sl.yml", "load: {name: sales}\n")
    write_table(folder, "")
    folder.write("metadata/transform/kpi/daily.sql", SQL)
    return folder


def write_table(folder: ProjectFolder, more: str, type_: str = "int") -> None:
    folder.write(
        "metadata/load/sales/orders.sl.yml",
        f"table:\n  name: orders\n  pattern: orders.*.csv\n  attributes: [{{name: id, type: {type_}}}]\n{more}",
    )


def list_versions(folder: ProjectFolder) -> dict[str, str | None]:
    return {s.key.to_user_string(): s.code_version for s in load_definitions_from_starlake_project(folder.root).resolve_all_asset_specs()}


@pytest.mark.parametrize(
    ("sql", "same"),
    [
        ("-- why\nSELECT id,\n       sum( amount ) AS total /* all */\nFROM sales.orders\nWHERE kind = 'a  b'\nGROUP BY id;\n", True),
        (SQL.replace("'a  b'", "'a b'"), False),
        (SQL.replace("'a  b'", "'A  b'"), False),
        (SQL.replace("sum", "max"), False),
        (SQL.replace("where", "-- where"), False),
        (SQL.replace("as total", 'as "Total"'), False),
        (SQL + " {# a comment of Jinja #}", True),
    ],
)
def test_code_version_ignores_formatting_of_sql(folder: ProjectFolder, sql: str, same: bool) -> None:
    before = list_versions(folder)
    folder.write("metadata/transform/kpi/daily.sql", sql)
    after = list_versions(folder)
    assert (before["kpi_daily"] == after["kpi_daily"]) is same
    assert before["sales_orders"] == after["sales_orders"]
    assert before["kpi_daily"]


def test_strings_in_sql_stay_unchanged() -> None:
    assert normalize_sql("select 'it''s -- no  comment' ,  \"A  B\"  -- don't\n from  t") == "select 'it''s -- no  comment',\"A  B\" from t"


@pytest.mark.parametrize("opening", ["'", '"', "`", "$$", "/*", "{#"])
def test_unclosed_quotes_and_comments_stay_unchanged(opening: str) -> None:
    assert normalize_sql(f"SELECT  1 {opening} A  B") == f"select 1 {opening} A  B"


@pytest.mark.parametrize("opening", ["/* ", "{# ", "$a$ ", "$$ $", "{{ ", "{% "])
def test_unclosed_comments_and_quotes_do_not_take_quadratic_time(opening: str) -> None:
    """A search for the end of each of them would take hours."""
    assert normalize_sql(f"select 1 {opening * 500_000}").startswith("select 1")


@pytest.mark.parametrize(
    ("more", "same"),
    [
        ("  comment: for people\n", True),
        ("  tags: [gold]\n", True),
        ("  metadata: {schedule: daily, freshness: {error: 1 day}}\n", True),
        ("  # a comment\n", True),
        ("  metadata: {separator: ';'}\n", False),
        ("  metadata: {writeStrategy: {type: OVERWRITE}}\n", False),
        ("  postsql: [select 1]\n", False),
    ],
)
def test_code_version_follows_only_relevant_keys_of_a_table(folder: ProjectFolder, more: str, same: bool) -> None:
    before = list_versions(folder)["sales_orders"]
    write_table(folder, more)
    assert (list_versions(folder)["sales_orders"] == before) is same


def test_code_version_follows_column_types_and_included_files(folder: ProjectFolder) -> None:
    before = list_versions(folder)
    write_table(folder, "", type_="long")
    assert list_versions(folder)["sales_orders"] != before["sales_orders"]
    folder.write("metadata/macros/m.j2", "one")
    folder.write("metadata/transform/kpi/daily.sql", SQL + "\n{% include 'macros/m.j2' %}\n")
    included = list_versions(folder)["kpi_daily"]
    folder.write("metadata/macros/m.j2", "two")
    assert list_versions(folder)["kpi_daily"] != included


@pytest.mark.parametrize("use", ["{{FLOOR}}", "${FLOOR}", "{{ FLOOR | upper }}", "{% if FLOOR %}1{% endif %}"])
def test_code_version_follows_the_variables_that_sql_uses(folder: ProjectFolder, use: str) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv: {FLOOR: '1.10', OTHER: a}\n")
    folder.write("metadata/transform/kpi/daily.sql", f"{SQL} -- OTHER\n having sum(amount) > {use}")
    before = list_versions(folder)
    folder.write("metadata/env.sl.yml", "version: 1\nenv: {FLOOR: '1.10', OTHER: b}\n")
    assert list_versions(folder) == before
    folder.write("metadata/env.sl.yml", "version: 1\nenv: {FLOOR: '1.1', OTHER: b}\n")
    after = list_versions(folder)
    assert {key for key in after if after[key] != before[key]} == {"kpi_daily"}


def test_code_version_follows_variables_of_the_settings_and_of_the_environment(
    folder: ProjectFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv: {FLOOR: '1', CEILING: '${LIMIT_OF_TEST}'}\n")
    folder.write("metadata/transform/kpi/daily.sql", f"{SQL} having sum(amount) between {{{{FLOOR}}}} and {{{{CEILING}}}}")
    versions = []
    for floor, limit in (("2", "9"), ("3", "9"), ("3", "10")):
        monkeypatch.setenv("LIMIT_OF_TEST", limit)
        definitions = load_definitions_from_starlake_project(folder.root, variables={"FLOOR": floor})
        versions.append(next(s.code_version for s in definitions.resolve_all_asset_specs() if s.key == dg.AssetKey("kpi_daily")))
    assert len(set(versions)) == 3


def test_code_version_does_not_follow_dates_and_folders(folder: ProjectFolder, tmp_path: Path) -> None:
    folder.write("metadata/env.sl.yml", "version: 1\nenv: {NOW: '{{sl_datetime}}{{sl_milli}}', UNTIL: '${NOW}', IN: '{{SL_ROOT}}/in'}\n")
    folder.write("metadata/transform/kpi/daily.sql", SQL + " having max(t) < '{{sl_milli}}{{SL_ROOT}}{{UNTIL}}{{NOW}}${IN}'")
    before = list_versions(folder)["kpi_daily"]
    folder.root.rename(tmp_path / "moved")
    assert list_versions(ProjectFolder(tmp_path / "moved"))["kpi_daily"] == before


def test_every_run_writes_rows_of_a_new_version(folder: ProjectFolder, tmp_path: Path) -> None:
    """Assets downstream of a table that was loaded again are out of date, although the code is the same."""
    definitions = load_definitions_from_starlake_project(folder.root, executor=RecordingExecutor())
    job = definitions.get_repository_def().get_implicit_global_asset_job_def()
    seen: list[set[str]] = []
    with open_instance(tmp_path / "home") as instance:
        for _ in range(2):
            result = job.execute_in_process(instance=instance)
            tags = [e.materialization.tags or {} for e in result.get_asset_materialization_events()]
            seen.append({t["dagster/data_version"] for t in tags})
            assert {t["dagster/code_version"] for t in tags} == set(filter(None, list_versions(folder).values()))
    assert seen[0].isdisjoint(seen[1])


class Conditions(StarlakeTranslator):
    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        condition = dg.AutomationCondition.code_version_changed() if node.type == "task" else None
        return super().get_asset_spec(node).replace_attributes(automation_condition=condition)


def test_dagsters_code_version_condition_fires_on_changes(folder: ProjectFolder) -> None:
    instance, cursor = dg.DagsterInstance.ephemeral(), None
    fired = []
    for sql in (SQL, f"-- a comment\n{SQL.upper().replace('A  B', 'a  b')}", SQL.replace("sum", "max")):
        folder.write("metadata/transform/kpi/daily.sql", sql)
        definitions = load_definitions_from_starlake_project(folder.root, translator=Conditions())
        result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        cursor = result.cursor
        fired.append(result.get_num_requested(dg.AssetKey("kpi_daily")))
    assert fired == [0, 0, 1]
