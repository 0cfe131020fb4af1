"""In every project, nothing is lost and nothing runs twice."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from plan_builders import LOAD, TRANSFORM, dag, plan, table, task

from starlake_dagster_components.pipelines.job_names import RESERVED
from starlake_dagster_components.pipelines.pipeline import Plan
from starlake_dagster_components.pipelines.schedule_presets import get_schedule_text

NAMES = st.sampled_from(["a", "b", "orders", "Items", "config", "x_1", "none"])
SCHEDULES = st.sampled_from([None, "None", "", "daily", "hourly", "0 0 * * *", "5 4 * * *", "*/5 * * * *", "0 12 1 * *"])
REFS = st.sampled_from([None, "load", "other", "third"])
FILENAMES = st.sampled_from(
    [
        "all.py",
        "{{schedule}}.py",
        "{{domain}}_tables.py",
        "{{schedule}}_{{domain}}.py",
        "{{finalDomain}}/{{ schedule }}.py",
        "{{domain}}_{{table}}.py",
        "{{domain}}_{{table}}_{{schedule}}_{{sl_project_id}}.py",
        "{{table}}.py",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.tuples(NAMES, NAMES), st.tuples(SCHEDULES, REFS), max_size=14), st.tuples(FILENAMES, FILENAMES))
def test_every_table_with_a_dag_ref_is_in_one_job_with_its_schedule(
    tables: dict[tuple[str, str], tuple[str | None, str | None]], filenames: tuple[str, str]
) -> None:
    nodes = [table(f"{d}.{t}", schedule, ref) for (d, t), (schedule, ref) in tables.items()]
    made = plan(
        *nodes,
        dag("load", "L_" + filenames[0]),
        dag("other", "O_" + filenames[1]),
        dag("third", "x.py", LOAD.replace("dagster", "airflow")),
        load=None,
    )
    check_names(made)
    runs = Counter(t.full_name for p in made.pipelines for t in p.tables)
    assert set(runs.values()) <= {1}
    expected = {n.full_name for n in nodes if n.metadata.dag_ref in ("load", "other")}
    lost = expected - set(runs)
    # Tables are left out only if two jobs would have the same name, which is reported.
    said = [p.message for p in made.problems if "two jobs would be named" in p.message]
    assert set(runs) <= expected
    assert bool(lost) == bool(said)
    for pipeline in made.pipelines:
        assert len({get_schedule_text(t) for t in pipeline.tables}) == 1
        assert (pipeline.schedule is None) == (get_schedule_text(pipeline.tables[0]) == "None")
        assert set(pipeline.dag_refs) == {t.full_name for t in pipeline.tables}
        assert {t.domain for t in pipeline.tables} == set(pipeline.pre_load)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.tuples(NAMES, NAMES), st.tuples(SCHEDULES, REFS), max_size=14),
    st.sampled_from(["all.py", "{{domain}}.py", "{{task}}.py", "{{domain}}_{{schedule}}_tasks.py", "{{schedule}}.py"]),
)
def test_every_task_with_a_dag_ref_is_in_one_job(tasks: dict[tuple[str, str], tuple[str | None, str | None]], filename: str) -> None:
    nodes = [task(f"{d}.{t}", schedule=schedule, dag_ref=ref) for (d, t), (schedule, ref) in tasks.items()]
    made = plan(
        *nodes,
        dag("load", filename, TRANSFORM),
        dag("other", "o_" + filename, TRANSFORM),
        dag("third", "x.py", TRANSFORM.replace("dagster", "airflow")),
        transform=None,
    )
    check_names(made)
    runs = Counter(t.full_name for p in made.pipelines for t in p.tasks)
    expected = {n.full_name for n in nodes if n.dag_ref in ("load", "other")}
    said = any("two jobs would be named" in p.message for p in made.problems)
    assert set(runs) <= expected
    assert said or set(runs) == expected
    assert set(runs.values()) <= {1}
    for pipeline in made.pipelines:
        assert len({made.find_pipeline(t) and made.find_pipeline(t).name for t in pipeline.tasks}) == 1  # type: ignore[union-attr]


def check_names(made: Plan) -> None:
    names = [p.name for p in made.pipelines]
    assert names == sorted(set(names))
    for name in names:
        assert name.isascii()
        assert name.replace("_", "a").isalnum()
        assert name not in RESERVED
