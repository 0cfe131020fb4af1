"""Tasks are grouped into jobs by their rendered file name."""

from datetime import timedelta

import pytest
from plan_builders import TRANSFORM, dag, list_jobs, list_messages, plan, table, task

TASKS = (task("kpi.a", schedule="daily"), task("kpi.b", schedule="0 */2 * * *"), task("mart.c"), task("mart.d", table="t"))


def build_config(filename: str = "{{domain}}_tasks.py", **options: str):  # type: ignore[no-untyped-def]
    return dag("transform", filename, TRANSFORM, **options)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("all.py", {"all": ["kpi.a", "kpi.b", "mart.c", "mart.d"]}),
        ("{{domain}}_tasks_{{sl_project_id}}.py", {"kpi_tasks": ["kpi.a", "kpi.b"], "mart_tasks": ["mart.c", "mart.d"]}),
        ("{{domain}}_{{table}}.py", {"kpi_a": ["kpi.a"], "kpi_b": ["kpi.b"], "mart_c": ["mart.c"], "mart_t": ["mart.d"]}),
        ("{{task}}.py", {"kpi_a": ["kpi.a"], "kpi_b": ["kpi.b"], "mart_c": ["mart.c"], "mart_d": ["mart.d"]}),
        ("{{ name | replace('.', '-') }}.py", {"kpi_a": ["kpi.a"], "kpi_b": ["kpi.b"], "mart_c": ["mart.c"], "mart_d": ["mart.d"]}),
        (
            "{{domain}}_{{schedule}}_tasks_{{sl_project_id}}.py",
            {"kpi_daily_tasks": ["kpi.a"], "kpi_0_x_2_x_x_x_tasks": ["kpi.b"], "mart_none_tasks": ["mart.c", "mart.d"]},
        ),
    ],
)
def test_the_rendered_file_name_decides(filename: str, expected: dict[str, list[str]]) -> None:
    assert list_jobs(plan(*TASKS, build_config(filename))) == expected


def test_a_group_may_span_dag_configs_and_the_first_task_decides() -> None:
    made = plan(
        task("k.b", dag_ref="two", schedule="daily"),
        task("k.a", dag_ref="one"),
        dag("one", "same.py", TRANSFORM, comment="one", tags="one"),
        dag("two", "same.py", TRANSFORM, comment="two", tags="two"),
    )
    (pipeline,) = made.pipelines
    assert (pipeline.comment, pipeline.tags, pipeline.dag_config.name, pipeline.schedule) == ("one", ("one",), "one", None)
    assert list_messages(made) == [
        "metadata/transform/k/a.sl.yml:2: warning: the tasks of 'same.py' have different schedules: 'None' (k.a, "
        "metadata/transform/k/a.sl.yml:2), "
        "'daily' (k.b, metadata/transform/k/b.sl.yml:2); the one of k.a, the first task by name, is used",
        "metadata/transform/k/a.sl.yml:3: warning: the tasks of 'same.py' have different DAG configs: 'one' (k.a, "
        "metadata/transform/k/a.sl.yml:3), "
        "'two' (k.b, metadata/transform/k/b.sl.yml:3); the one of k.a, the first task by name, is used",
    ]


def test_a_load_and_a_transform_with_the_same_name() -> None:
    made = plan(table("a.x"), task("k.t"), dag("load", "same.py"), build_config("same.py"))
    (message,) = list_messages(made, "error")
    assert "two jobs would be named 'same': the table a.x in 'same.py' (metadata/dags/load.sl.yml:3) and the task k.t" in message


def test_options_are_rendered_for_the_first_task() -> None:
    made = plan(
        task("k.b"),
        task("k.a", table="t"),
        dag("transform", "all.py", TRANSFORM, comment="{{domain}} {{table}} {{task}} {{name}} {{schedule}}"),
    )
    assert made.pipelines[0].comment == "k t k.a k.a None"


def test_validity_is_checked_for_loads_only() -> None:
    assert list_messages(plan(task("k.t"), build_config("sub/../x.py", global_option="..")), "error") == []


def test_trigger_options_are_parsed() -> None:
    made = plan(
        task("k.t", "x.y"),
        build_config(
            dataset_triggering_strategy="ANY",
            optional_dataset_enabled="True",
            data_cycle_enabled="true",
            data_cycle="Weekly",
            beyond_data_cycle_enabled="false",
            min_timedelta_between_runs="900",
        ),
    )
    trigger = made.pipelines[0].trigger
    assert (trigger.strategy, trigger.optional_dataset_enabled, trigger.beyond_data_cycle_enabled) == ("any", True, False)
    assert (trigger.data_cycle_enabled, trigger.data_cycle) == (True, "0 0 * * 0")
    assert trigger.min_timedelta_between_runs == timedelta(minutes=15)


def test_a_trigger_has_starlakes_defaults() -> None:
    trigger = plan(task("k.t"), build_config(data_cycle="daily")).pipelines[0].trigger
    assert (trigger.strategy, trigger.data_cycle, trigger.beyond_data_cycle_enabled) == ("all", None, True)


def test_run_dependencies_first() -> None:
    assert plan(task("k.t"), build_config(run_dependencies_first="True")).pipelines[0].run_dependencies_first
    assert not plan(task("k.t"), build_config()).pipelines[0].run_dependencies_first


def test_a_triggering_strategy_on_a_task_is_reported_to_have_no_effect() -> None:
    (message,) = list_messages(plan(task("k.t", dataset_triggering_strategy="any"), build_config()))
    assert "warning: dataset_triggering_strategy has no effect on a task; set it as an option of the DAG config 'transform'" in message
