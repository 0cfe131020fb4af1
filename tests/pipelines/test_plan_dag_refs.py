"""The DAG config of each table and task."""

from dataclasses import replace

from plan_builders import TRANSFORM, dag, list_jobs, list_messages, plan, project, table, task

from starlake_dagster_components.errors import Location, Problem
from starlake_dagster_components.pipelines.plan import plan_project


def test_a_dag_ref_overrides_that_of_the_application() -> None:
    made = plan(
        table("a.x"), table("a.y", dag_ref="own"), task("k.t"), dag("load", "l.py"), dag("own", "o.py"), dag("transform", "t.py", TRANSFORM)
    )
    assert list_jobs(made) == {"l": ["a.x"], "o": ["a.y"], "t": ["k.t"]}


def test_without_a_dag_ref_there_is_no_job_and_no_problem() -> None:
    made = plan(table("a.x"), task("k.t"), dag("load", "l.py"), load=None, transform="")
    assert (made.pipelines, made.problems) == ((), ())


def test_an_unknown_dag_ref_is_one_error_at_its_line() -> None:
    made = plan(*(table(f"a.x{i}") for i in range(5)), table("b.y", dag_ref="loda"), dag("load", "l.py"), load="Load_")
    assert list_messages(made) == [
        "metadata/application.sl.yml:2: unknown DAG config 'Load_' (did you mean 'load'?): there is no dags/Load_.sl.yml; "
        "needed by a.x0, a.x1, a.x2, and 2 more",
        "metadata/load/b/y.sl.yml:3: unknown DAG config 'loda' (did you mean 'load'?): there is no dags/loda.sl.yml; needed by b.y",
    ]
    assert {p.severity for p in made.problems} == {"error"}


def test_a_dag_ref_may_have_the_file_extension() -> None:
    (message,) = list_messages(plan(table("a.x", dag_ref="load.sl.yml"), dag("load", "l.py")))
    assert "write 'load', without .sl.yml" in message


def test_a_config_that_could_not_be_read_is_not_reported_twice() -> None:
    broken = replace(
        project(table("a.x"), load="broken"), problems=(Problem(Location("metadata/dags/broken.sl.yml", 3), "error", "no YAML"),)
    )
    assert len(plan_project(broken).problems) == 1


def test_a_variable_that_is_not_set_is_named() -> None:
    made = plan(table("a.x"), dag("load", "l.py"), load="{{LOAD_DAG_REF}}")
    assert list_messages(made) == [
        "metadata/application.sl.yml:2: dagRef '{{LOAD_DAG_REF}}': the variable LOAD_DAG_REF is not set; needed by a.x"
    ]
    (message,) = list_messages(plan(table("a.x", dag_ref="${REF}"), dag("load", "l.py")))
    assert "the variable REF is not set; needed by a.x" in message


def test_problems_of_the_project_are_first() -> None:
    first = Problem(None, "warning", "from reading")
    assert plan(table("a.x"), load="nowhere", problems=(first,)).problems[0] is first
