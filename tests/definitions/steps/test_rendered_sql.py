"""Materializations of tasks show the SQL that ran."""

from collections.abc import Mapping
from dataclasses import replace

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import Settings
from starlake_dagster_components.commands import RunContext, build_transform_command
from starlake_dagster_components.definitions.build import build_definitions, prepare_graph
from starlake_dagster_components.definitions.steps import rendered_sql
from starlake_dagster_components.testing import RecordingExecutor


def run(shop: ProjectFolder, tags: Mapping[str, str] | None = None, **settings: object) -> Mapping[str, dg.MetadataValue]:
    """Run the job of the task ``solo.t``; return the metadata of its materialization."""
    made = build_definitions(shop.root, Settings(executor=RecordingExecutor(), **settings)).definitions  # type: ignore[arg-type]
    result = made.resolve_job_def("solo_tasks").execute_in_process(tags=dict(tags or {}))
    assert result.success
    (materialization,) = [m for m in result.asset_materializations_for_node(result.get_asset_materialization_events()[0].node_name)]
    return materialization.metadata


SQL = """-- SL_PRESQL
set x = '{{ greeting }}'
-- SL_SQL
-- a comment
select
    '{{ greeting }}' as a,
    {{ sl_data_interval_start }} as b
-- SL_POSTSQL
analyze
"""


def test_statements_are_shown_with_the_variables_of_the_run(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/solo/t.sql", SQL)
    tags = {"starlake/data_interval_start": "2026-01-01T00:00:00", "starlake/data_interval_end": "2026-01-02T00:00:00"}
    shown = str(run(shop, tags, variables={"greeting": "hello"})["starlake/sql"].value)
    assert shown == ("```sql\nset x = 'hello';\n\nselect\n    'hello' as a,\n    '2026-01-01T00:00:00' as b;\n\nanalyze\n```")


def test_secrets_are_hidden(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/solo/t.sql", "select '{{ api_token }}' as a")
    assert run(shop, variables={"api_token": "s3cr3t-99"})["starlake/sql"].value == "```sql\nselect '***' as a\n```"


def test_nothing_is_shown_if_the_setting_is_off(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/solo/t.sql", "select 1 as a")
    assert "starlake/sql" not in run(shop, show_sql=False)


def test_sql_that_cannot_be_rendered_is_not_shown(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/solo/t.sql", "select 1 as a")
    plan, _, _ = prepare_graph(shop.root, Settings(executor=RecordingExecutor()))
    project = plan.project
    (task,) = [task for task in project.tasks if task.full_name == "solo.t"]
    command = build_transform_command(RunContext(project), task)
    log = dg.build_op_context().log
    assert rendered_sql.build_rendered_sql(log, project, task, command)
    assert rendered_sql.build_rendered_sql(log, project, replace(task, sql_text="select {% if %}", sql_file=None), command) == {}
    assert rendered_sql.build_rendered_sql(log, project, replace(task, sql_text=None, sql_file=None), command) == {}


def test_long_sql_is_cut(shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered_sql, "LONGEST", 30)
    shop.write("metadata/transform/solo/t.sql", "select 1 as a" + ", 2 as b" * 10)
    assert run(shop)["starlake/sql"].value == "```sql\nselect 1 as a, 2 as b, 2 as b,\n-- (63 more characters)\n```"
