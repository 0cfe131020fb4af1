"""Each deliberate difference from dag-generate and starlake-dagster that docs/differences.md lists for planning."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from plan_builders import TRANSFORM, dag, list_jobs, list_messages, plan, table, task

from starlake_dagster_components.pipelines.dependency_trees import build_dependency_tree

DIFFERENCES: dict[str, Callable[[], None]] = {}
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "differences.md"


def register_difference(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register what shows a difference under its name in the table."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        DIFFERENCES[name] = function
        return function

    return register


def build_transform_dag(filename: str = "t.py", **options: str):  # type: ignore[no-untyped-def]
    return dag("transform", filename, TRANSFORM, **options)


def list_reads(*nodes: object, name: str = "k.t") -> list[tuple[str, str]]:
    made = plan(*nodes, load=None, transform=None)  # type: ignore[arg-type]
    return [(d.kind, d.name) for d in made.dependencies.get_direct(name)]


@register_difference("Several schedules in a domain")
def _() -> None:
    made = plan(table("hr.a", "daily"), table("hr.b", "0 1 * * *"), dag("load", "{{schedule}}_{{domain}}.py"))
    assert list_jobs(made) == {"daily_hr": ["hr.a"], "cron2_hr": ["hr.b"]}


@register_difference("Number of an inline cron")
def _() -> None:
    made = plan(table("hr.a"), table("hr.b", "0 1 * * *"), dag("load", "{{schedule}}_{{domain}}.py"))
    assert sorted(list_jobs(made)) == ["cron2_hr", "none_hr"]


@register_difference("Characters in names")
def _() -> None:
    assert list(list_jobs(plan(table("a.x", "daily"), dag("load", "load-{{domain}}.v2é.py")))) == ["load_a_v2_"]
    assert list(list_jobs(plan(table("type.x"), dag("load", "{{domain}}.py")))) == ["type_job"]


@register_difference("Inline crons in names")
def _() -> None:
    made = plan(task("k.a", schedule="*/5 * * * *"), task("m.b", schedule="*/5 * * * *"), build_transform_dag("{{domain}}_{{schedule}}.py"))
    assert list_jobs(made) == {"k_x_5_x_x_x_x": ["k.a"], "m_x_5_x_x_x_x": ["m.b"]}


@register_difference("Jobs with the same name")
def _() -> None:
    made = plan(table("a.x"), table("b.x"), dag("load", "{{table}}.py"))
    assert ["two jobs would be named 'x'" in m for m in list_messages(made, "error")] == [True]


@register_difference("Files without a name")
def _() -> None:
    (message,) = list_messages(plan(table("a.x"), dag("load", "{{domain | upper}}.py")), "error")
    assert "an empty name" in message


@register_difference("DAG configs without variables")
def _() -> None:
    made = plan(table("a.x"), table("b.y", dag_ref="each"), dag("load", "all.py"), dag("each", "{{domain}}_load.py"))
    assert list_jobs(made) == {"all": ["a.x"], "b_load": ["b.y"]}


@register_difference("No schedule")
def _() -> None:
    assert list(list_jobs(plan(table("a.x", ""), table("a.y", "none"), table("a.z", "None"), dag("load", "l.py")))) == ["l"]


@register_difference("Presets named like inline crons")
def _() -> None:
    (pipeline,) = plan(table("a.x", "0 7 * * *"), dag("load", "l.py"), presets={"cron1": "0 0 1 1 *"}).pipelines
    assert pipeline.schedule
    assert pipeline.schedule.cron == "0 7 * * *"


@register_difference("Invalid schedules")
def _() -> None:
    made = plan(table("a.x", "dayly"), table("a.y", "0 0 1 * * ?"), dag("load", "l.py"))
    first, second = sorted(list_messages(made, "error"))
    assert "metadata/load/a/x.sl.yml:2: unknown schedule 'dayly' (did you mean 'daily'?)" in first
    assert "write '0 1 * * *'" in second


@register_difference("Unknown DAG configs")
def _() -> None:
    made = plan(table("a.x", dag_ref="laod"), table("a.y", dag_ref="{{REF}}"), dag("load", "l.py"))
    first, second = list_messages(made, "error")
    assert "metadata/load/a/x.sl.yml:3: unknown DAG config 'laod' (did you mean 'load'?)" in first
    assert "the variable REF is not set" in second


@register_difference("Templates of the wrong kind")
def _() -> None:
    assert "which cannot load tables: a.x" in list_messages(plan(table("a.x"), dag("load", "l.py", TRANSFORM)), "error")[0]


@register_difference("Other orchestrators")
def _() -> None:
    made = plan(table("a.x"), dag("load", "l.py", "load/airflow__scheduled_table__shell.py.j2"))
    assert made.pipelines == ()
    assert "does not become a job" in list_messages(made, "warning")[0]


@register_difference("Settings of a job with several tasks")
def _() -> None:
    made = plan(task("k.b", schedule="daily"), task("k.a", schedule="hourly"), build_transform_dag(comment="{{task}}"))
    (pipeline,) = made.pipelines
    assert pipeline.schedule
    assert (pipeline.comment, pipeline.schedule.name) == ("k.a", "hourly")
    assert "have different schedules" in list_messages(made, "warning")[0]


@register_difference("Options without an effect")
def _() -> None:
    said = list_messages(plan(table("a.x"), dag("load", "l.py", taggs="a", load_dependencies="true", catchup="true")), "warning")
    assert [re.sub(r".*option '(\w+)'.*", r"\1", m) for m in said] == ["taggs", "load_dependencies", "catchup"]


@register_difference("Invalid values")
def _() -> None:
    assert "'many' is not a number" in list_messages(plan(table("a.x"), dag("load", "l.py", retries="many")), "error")[0]


@register_difference("Quotes in values")
def _() -> None:
    (pipeline,) = plan(table("a.x"), dag("load", "l.py", comment="it's", tags="it's")).pipelines
    assert (pipeline.comment, pipeline.tags) == ("it's", ("it's",))


@register_difference("Retries")
def _() -> None:
    (pipeline,) = plan(table("a.x"), dag("load", "l.py")).pipelines
    assert (pipeline.retries, pipeline.retry_delay) == (0, timedelta(seconds=300))


@register_difference("Triggering strategy")
def _() -> None:
    assert plan(task("k.t", "k.u"), build_transform_dag()).pipelines[0].trigger.strategy == "all"
    (pipeline,) = plan(task("k.t", "s.x"), table("s.x"), build_transform_dag(dataset_triggering_strategy="s.x or s_x"), load=None).pipelines
    assert pipeline.trigger.strategy == "s.x or s_x"


@register_difference("Time zone")
def _() -> None:
    (pipeline,) = plan(table("a.x", "daily"), dag("load", "l.py", SL_TIMEZONE="Europe/Paris")).pipelines
    assert pipeline.schedule
    assert pipeline.schedule.timezone == "Europe/Paris"
    assert "SL_TIMEZONE" not in plan(table("a.x", "daily"), dag("load", "l.py")).pipelines[0].options


@register_difference("Start date")
def _() -> None:
    assert plan(table("a.x", "daily"), dag("load", "l.py")).pipelines[0].start_date is None


@register_difference("Tags")
def _() -> None:
    assert plan(table("a.x"), dag("load", "l.py", tags="one,two three")).pipelines[0].tags == ("one", "two", "three")


@register_difference("Custom templates")
def _() -> None:
    text = (
        "{% include 'templates/dags/transform/dagster__scheduled_task__shell.py.j2' %}\njobs = {'k.t': {'options': 'a=1'}}\n"
        "raise SystemExit\n"
    )
    (pipeline,) = plan(task("k.t"), dag("transform", "t.py", "ours.py.j2", text=text)).pipelines
    assert pipeline.task_options == {"k.t": {"a": "1"}}


@register_difference("Tasks that read their own table")
def _() -> None:
    assert list_reads(task("k.t", "k.t", "k.u"), task("k.u")) == [("task", "k.u")]


@register_difference("Tasks that read each other")
def _() -> None:
    made = plan(task("k.a", "k.b"), task("k.b", "k.a"), transform=None)
    assert "circular dependency: k.a reads k.b" in list_messages(made, "error")[0]


@register_difference("Several tasks that write one table")
def _() -> None:
    assert list_reads(task("k.one", table="x"), task("k.two", table="x"), task("k.t", "k.x")) == [("task", "k.one"), ("task", "k.two")]
    assert list_reads(task("k.a", table="other"), task("k.b", table="a"), task("k.t", "k.a")) == [("task", "k.b")]


@register_difference("Names without a domain")
def _() -> None:
    made = plan(table("b.x"), table("a.x"), task("k.t", "x"), load=None, transform=None)
    assert [d.name for d in made.dependencies.get_direct("k.t")] == ["a.x"]
    assert "which could be any of the tables a.x, b.x" in list_messages(made, "warning")[0]


@register_difference("Names of four parts")
def _() -> None:
    made = plan(task("k.t", "a.b.c.d"), transform=None)
    assert [p.severity for p in made.problems] == ["warning"]


@register_difference("Other databases")
def _() -> None:
    assert list_reads(table("s.x", database="prod"), task("k.t", "test.s.x")) == [("external", "test.s.x")]


@register_difference("External tables")
def _() -> None:
    made = plan(task("k.t", "out.x"), build_transform_dag())
    (dependency,) = made.dependencies.get_direct("k.t")
    assert (dependency.kind, dependency.awaited) == ("external", False)


@register_difference("Upper and lower case")
def _() -> None:
    made = plan(table("s.x"), task("k.t", "S.X", "s.x"), load=None, transform=None)
    assert [c["data"]["name"] for c in build_dependency_tree(made)[0]["children"]] == ["S.X"]


@register_difference("Triggering strategy of a task")
def _() -> None:
    assert (
        "has no effect on a task"
        in list_messages(plan(task("k.t", dataset_triggering_strategy="any"), build_transform_dag()), "warning")[0]
    )


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_documented_difference_exists(name: str) -> None:
    DIFFERENCES[name]()


def test_the_table_lists_these_differences_and_no_other() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    planning = text[text.index("## Planning") :].partition("\n## ")[0]
    first_cells = re.findall(r"^\| ([^|]+) \|", planning, re.MULTILINE)
    assert [cell for cell in first_cells if cell != "Subject"] == list(DIFFERENCES)
