"""The prefix of the names of all jobs, and names of orchestrators."""

from dataclasses import replace

import pytest
from plan_builders import TRANSFORM, dag, list_jobs, list_messages, plan, table, task

from starlake_dagster_components.errors import InvalidSetting

PARTS = (
    table("a.x", schedule="daily"),
    table("a.y", schedule="weekly"),
    task("k.t"),
    dag("load", "{{domain}}_{{schedule}}.py"),
    dag("transform", "{{domain}}.py", TRANSFORM),
)


def test_the_prefix_changes_only_job_names() -> None:
    plain, prefixed = plan(*PARTS), plan(*PARTS, name_prefix="north_")
    assert set(list_jobs(plain)) == {"a_daily", "a_weekly", "k"}
    assert list_jobs(prefixed) == {f"north_{name}": runs for name, runs in list_jobs(plain).items()}
    assert [replace(p, name=p.name.removeprefix("north_")) for p in prefixed.pipelines] == list(plain.pipelines)
    assert prefixed.problems == plain.problems


def test_a_name_that_dagster_reserves_is_avoided_with_a_prefix_too() -> None:
    assert set(list_jobs(plan(task("k.t"), dag("transform", "put.py", TRANSFORM), name_prefix="in"))) == {"input_job"}


def test_two_jobs_with_the_same_name_are_reported_under_that_name() -> None:
    (message,) = list_messages(
        plan(table("a.x"), task("k.t"), dag("load", "same.py"), dag("transform", "same.py", TRANSFORM), name_prefix="n_")
    )
    assert "two jobs would be named 'n_same'" in message


def test_an_empty_job_name_is_an_error_even_with_a_prefix() -> None:
    (message,) = list_messages(plan(task("k.t"), dag("transform", ".py", TRANSFORM), name_prefix="n_"))
    assert "an empty name" in message


@pytest.mark.parametrize("wrong", ["dagstr", "mage", ""])
def test_an_orchestrator_that_does_not_exist_is_rejected(wrong: str) -> None:
    with pytest.raises(InvalidSetting, match=f"orchestrators: unknown orchestrator '{wrong}'"):
        plan(*PARTS, orchestrators=("airflow", wrong))


def test_a_template_of_the_project_may_be_for_its_own_orchestrator() -> None:
    own = replace(dag("transform", "{{domain}}.py", "ours__scheduled_task__shell.py.j2"), template_text="")
    assert list_jobs(plan(task("k.t"), own, orchestrators=("dagster", "ours"))) == {"k": ["k.t"]}
    assert list_jobs(plan(task("k.t"), own)) == {}
