from plan_builders import LOAD, TRANSFORM, dag, plan, table, task

from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.pipelines.without_job import describe_missing_jobs, explain_missing_job
from starlake_dagster_components.project.model import Table, Task


def explain(made: Plan) -> tuple[str, str]:
    nodes: list[Table | Task] = [*made.project.tables, *made.project.tasks]
    (node,) = nodes
    assert made.find_pipeline(node) is None
    text, where = explain_missing_job(made, node)
    return text, str(where or "")


def test_a_missing_dag_ref_is_explained() -> None:
    text, where = explain(plan(table("a.x"), load=None))
    assert text == "it has no dagRef, and the application has no dagRef.load"
    assert where == ""
    assert explain(plan(task("a.x"), transform=None))[0] == "it has no dagRef, and the application has no dagRef.transform"


def test_a_missing_dag_config_is_explained() -> None:
    text, where = explain(plan(table("a.x", dag_ref="lod"), dag("load", "l.py", LOAD)))
    assert text.startswith("unknown DAG config 'lod' (did you mean 'load'?)")
    assert where.startswith("metadata/load/a/x.sl.yml:")


def test_a_dag_config_for_another_orchestrator_is_explained() -> None:
    text, where = explain(plan(table("a.x"), dag("load", "l.py", LOAD.replace("dagster", "airflow"))))
    assert "is for Airflow" in text
    assert where == "metadata/dags/load.sl.yml:2"


def test_a_dag_config_of_the_wrong_kind_is_explained() -> None:
    text, _ = explain(plan(table("a.x"), dag("load", "l.py", TRANSFORM)))
    assert "has a transform template" in text


def test_a_dag_config_with_errors_is_explained() -> None:
    text, where = explain(plan(table("a.x"), dag("load", "", LOAD)))
    assert text == "filename is empty"
    assert where.startswith("metadata/dags/load.sl.yml")


def describe(made: Plan) -> str:
    nodes: list[Table | Task] = [*made.project.tables, *made.project.tasks]
    return describe_missing_jobs(made, [node for node in nodes if made.find_pipeline(node) is None])


def test_advice_for_tables_without_a_dag_ref() -> None:
    made = plan(table("a.x"), table("a.y"), dag("loads", "l.py", LOAD), dag("tasks", "t.py", TRANSFORM), load=None)
    assert describe(made) == ("2 assets have no job: a.x, a.y: no dagRef; set it to 'loads' in metadata/application.sl.yml (dagRef.load)")
    made = plan(*(task(f"k.t{i}") for i in range(5)), transform=None)
    assert describe(made) == (
        "5 assets have no job: k.t0, k.t1, k.t2, and 2 more: no dagRef; write a DAG config with the template "
        "'transform/dagster__scheduled_task__shell.py.j2' to metadata/dags, and set dagRef to its name in metadata/application.sl.yml "
        "(dagRef.transform)"
    )


def test_a_dagster_config_beside_one_for_airflow_is_named() -> None:
    made = plan(table("a.x"), dag("load", "l.py", LOAD.replace("dagster", "airflow")), dag("dagster_load", "l.py", LOAD))
    assert describe(made) == (
        "1 asset has no job: a.x: the DAG config 'load' (metadata/application.sl.yml:2) is for Airflow; "
        "set dagRef to 'dagster_load', which is for Dagster"
    )
    made = plan(table("a.x"), dag("load", "l.py", LOAD.replace("dagster", "airflow")))
    assert describe(made) == "1 asset has no job: a.x: the DAG config 'load' (metadata/application.sl.yml:2) is for Airflow"
