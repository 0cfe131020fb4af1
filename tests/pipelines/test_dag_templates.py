"""The content of a template, which is read without executing it."""

import re

import pytest
from plan_builders import LOAD, TRANSFORM, dag, list_jobs, list_messages, plan, table, task
from project_folder import ProjectFolder

from starlake_dagster_components.pipelines.dag_templates import DAGSTER_TEMPLATES, Template, read_template
from starlake_dagster_components.project.reader import read_project

INCLUDES = """
# mine
{% include 'templates/dags/__starlake_dagster_orchestrator.py.j2' %}
{%- include "templates/dags/__starlake_cloud_run_execution.py" -%}
{% include 'templates/dags/transform/__scheduled_task_tpl.py.j2' %}
"""


@pytest.mark.parametrize("template", DAGSTER_TEMPLATES)
@pytest.mark.parametrize("spelling", ["{0}", "/opt/starlake/templates/{0}", "{1}", "{2}", "load/{2}"])
def test_the_name_of_a_built_in_template_determines_its_kind_and_executor(template: str, spelling: str) -> None:
    short = template.rpartition("/")[2]
    said = read_template(dag("d", "x.py", spelling.format(template, short, short.replace("__", "_"))))
    assert said.orchestrator == "dagster"
    assert said.kind == ("load" if "table" in template else "transform")
    assert said.executor
    assert said.executor in template


@pytest.mark.parametrize(
    ("template", "orchestrator", "executor"),
    [
        ("load/airflow__scheduled_table__bash.py.j2", "airflow", "shell"),
        ("load/airflow_scheduled_table_cloud_run.py.j2", "airflow", "cloud_run"),
        ("transform/snowflake__scheduled_task__sql.py.j2", "snowflake", "shell"),
        ("starlake__scheduled_table__sql.py.j2", "starlake", "shell"),
        ("sample.py.j2", None, None),
    ],
)
def test_orchestrator_and_executor_are_read_from_template_names(template: str, orchestrator: str | None, executor: str | None) -> None:
    said = read_template(dag("d", "x.py", template))
    assert (said.orchestrator, said.executor) == (orchestrator, executor)


def test_a_custom_template_is_known_by_its_includes() -> None:
    said = read_template(dag("d", "x.py", "ours.py.j2", text=INCLUDES))
    assert (said.orchestrator, said.kind, said.executor, said.custom) == ("dagster", "transform", "cloud_run", True)


def test_the_includes_of_2024_and_whole_templates_count_too() -> None:
    old = """
    {% include 'templates/dags/__starlake_dagster_shell_job.py.j2' %}
    {% include 'templates/dags/load/__dagster_scheduled_table_tpl.py.j2' %}
    """
    said = read_template(dag("d", "x.py", "ours.py.j2", text=old))
    assert (said.orchestrator, said.kind, said.executor) == ("dagster", "load", "shell")
    whole = "{% include 'templates/dags/load/dagster__scheduled_table__fargate.py.j2' %}"
    said = read_template(dag("d", "x.py", "ours.py.j2", text=whole))
    assert (said.orchestrator, said.kind, said.executor) == ("dagster", "load", "fargate")


def read_from(shop: ProjectFolder, include: str) -> Template:
    shop.write("metadata/dags/templates/ours.py.j2", f"{{% include '{include}' %}}")
    shop.write("metadata/dags/own.sl.yml", "version: 1\ndag:\n  template: ours.py.j2\n  filename: x.py\n")
    return read_template(read_project(shop.root, environ={}).dag_configs["own"])


def test_includes_are_followed_through_files_of_the_project(shop: ProjectFolder) -> None:
    shop.write("metadata/dags/templates/base.j2", INCLUDES + "{% include 'dags/templates/base.j2' %}")
    said = read_from(shop, "dags/templates/base.j2")
    assert (said.orchestrator, said.kind, said.executor) == ("dagster", "transform", "cloud_run")


def test_files_outside_of_the_project_are_not_read(shop: ProjectFolder) -> None:
    shop.write("outside.j2", INCLUDES)
    for path in ("../outside.j2", str(shop.root / "outside.j2")):
        assert read_from(shop, path).orchestrator is None


def test_python_that_names_its_job_class() -> None:
    text = "from ai.starlake.dagster.gcp import StarlakeDagsterCloudRunJob\n"
    said = read_template(dag("d", "x.py", "transform/ours.py.j2", text=text))
    assert (said.orchestrator, said.kind, said.executor) == ("dagster", "transform", "cloud_run")


CUSTOM = (
    INCLUDES
    + """
spark_executor_memory = '2g'
spark_properties = {"spark.sql.shuffle.partitions": 8}
filtered_datasets = {"elsewhere.rates"}
jobs = {
    "kpi.a": {"options": "day={{SL_DAY}},full=1"},
    # a comment with a bracket )
    "retries": "4",
}
{% for x in y %}{{ x }}{% endfor %}
import os; os.environ["EXECUTED"] = "1"
"""
)


def test_literals_of_a_custom_template_are_read_and_never_executed() -> None:
    import os

    made = plan(
        task("kpi.a", "shop.orders"), dag("transform", "t.py", "ours.py.j2", text=CUSTOM, retries="1"), variables={"SL_DAY": "monday"}
    )
    (pipeline,) = made.pipelines
    assert pipeline.task_options == {"kpi.a": {"day": "monday", "full": "1"}}
    assert pipeline.retries == 4
    assert pipeline.spark == {"spark.executor.memory": "2g", "spark.sql.shuffle.partitions": "8"}
    assert pipeline.trigger.filtered_datasets == {"elsewhere.rates"}
    assert pipeline.executor == "cloud_run"
    assert "EXECUTED" not in os.environ


def test_a_computed_value_is_reported_with_its_line() -> None:
    text = INCLUDES + "jobs = {name: {} for name in range(3)}\n"
    made = plan(task("kpi.a"), dag("transform", "t.py", "ours.py.j2", text=text))
    assert list_messages(made) == [
        "metadata/dags/templates/ours.py.j2:6: warning: 'jobs' is computed, but templates are not executed, so it has no effect; "
        "write it as a literal"
    ]
    assert list_jobs(made) == {"t": ["kpi.a"]}


def test_only_templates_of_the_chosen_orchestrators_create_jobs() -> None:
    airflow = dag("load", "{{domain}}.py", LOAD.replace("dagster", "airflow"))
    made = plan(table("a.x"), table("b.y"), airflow)
    assert made.pipelines == ()
    assert list_messages(made) == [
        "metadata/dags/load.sl.yml:2: warning: DAG config 'load' does not become a job, because its template "
        "'load/airflow__scheduled_table__shell.py.j2' is for Airflow; set orchestrators to [dagster, airflow], "
        "or use the template 'load/dagster__scheduled_table__shell.py.j2'"
    ]
    assert list_jobs(plan(table("a.x"), airflow, orchestrators=("dagster", "airflow"))) == {"a": ["a.x"]}


def test_a_template_of_another_orchestrator_that_cannot_make_jobs_must_be_replaced() -> None:
    made = plan(table("a.x"), dag("load", "l.py", "load/airflow__scheduled_table__kubernetes.py.j2"))
    (message,) = list_messages(made)
    assert message.endswith("is for Airflow; use one of Starlake's Dagster templates, such as 'load/dagster__scheduled_table__shell.py.j2'")


def test_an_unused_dag_config_is_not_checked() -> None:
    made = plan(table("a.x"), dag("load", "l.py"), dag("other", "../x", "nonsense", wrong=""))
    assert list_messages(made) == []


def test_an_unknown_template_is_an_error_with_the_closest_known() -> None:
    made = plan(table("a.x"), dag("load", "l.py", "load/dagster__scheduled_table__shel.py.j2"))
    assert list_messages(made) == [
        "metadata/dags/load.sl.yml:2: unknown template 'load/dagster__scheduled_table__shel.py.j2' "
        "(did you mean 'load/dagster__scheduled_table__shell.py.j2'?)"
    ]


def test_an_unknown_template_without_a_similar_one_says_where_templates_are_looked_up() -> None:
    (message,) = list_messages(plan(table("a.x"), dag("load", "l.py", "zzz.j2")))
    start = "metadata/dags/load.sl.yml:2: unknown template 'zzz.j2'; metadata/dags/templates has no such file, and "
    assert message.startswith(f"{start}Starlake's Dagster templates are load/dagster__")


def test_a_custom_template_without_known_includes_creates_no_job() -> None:
    made = plan(table("a.x"), dag("load", "l.py", "ours.py.j2", text="print('hello')"))
    assert [p.severity for p in made.problems] == ["warning"]
    assert "does not name its orchestrator, kind, and executor" in list_messages(made)[0]
    assert (
        "include templates/dags/__starlake_dagster_orchestrator.py.j2, templates/dags/load/__scheduled_table_tpl.py.j2, and "
        in list_messages(made)[0]
    )


@pytest.mark.parametrize(
    ("node", "config", "where"),
    [
        (table("a.x"), dag("load", "l.py", TRANSFORM), "metadata/application.sl.yml:2"),
        (table("a.x", dag_ref="own"), dag("own", "l.py", TRANSFORM), "metadata/load/a/x.sl.yml:3"),
        (task("a.x", dag_ref="own"), dag("own", "l.py", LOAD), "metadata/transform/a/x.sl.yml:3"),
    ],
)
def test_a_template_of_the_other_kind_is_an_error(node: object, config: object, where: str) -> None:
    made = plan(node, config)  # type: ignore[arg-type]
    assert made.pipelines == ()
    (message,) = list_messages(made, "error")
    assert message.startswith(f"{where}: DAG config '")
    assert re.search("which cannot (load tables|run tasks): a", message)
    assert message.endswith("a.x")


OWN = """
from ai.starlake.job import StarlakeOrchestrator, StarlakeExecutionEnvironment
orchestrator = StarlakeOrchestrator.DAGSTER
execution_environment = StarlakeExecutionEnvironment.SHELL
"""


def test_the_executor_of_a_custom_template_may_be_in_its_code() -> None:
    made = plan(task("k.t"), dag("transform", "t.py", "transform/dagster__scheduled_task__inline.py.j2", text=OWN))
    assert list_messages(made) == []
    assert made.pipelines[0].executor == "shell"


def test_an_executor_that_does_not_exist_is_named() -> None:
    text = OWN.replace("SHELL", "KUBERNETES")
    (message,) = list_messages(plan(task("k.t"), dag("transform", "t.py", "transform/ours.py.j2", text=text)))
    assert "its template 'transform/ours.py.j2' has the unknown executor 'kubernetes'" in message


@pytest.mark.parametrize(
    ("line", "warned"),
    [('cron = "0 5 * * *"', True), ("cron: str = '@daily'", True),
     ('cron = "{{ context.cron }}"', False), ('cron = "None"', False), ("  cron = '1'", False)],
)  # fmt: skip
def test_a_cron_of_a_custom_template_is_reported(line: str, warned: bool) -> None:
    made = plan(task("k.t"), dag("transform", "t.py", "transform/ours.py.j2", text=f"{OWN}{line}\n"))
    assert (
        list_messages(made)
        == [
            "metadata/dags/templates/transform/ours.py.j2:5: warning: 'cron' in a template has no effect; "
            "set 'schedule' on the tables or tasks"
        ]
        * warned
    )
