"""Variables of the data interval, for SQL with and without quotes around them."""

import pytest

from starlake_dagster_components.project.model import Task
from starlake_dagster_components.project.sql.intervals import find_interval_variables, write_interval

START, END = "2026-01-01T00:00:00", "2026-01-02T00:00:00"


def build_task(sql: str = "", *post_statements: str, python: tuple[str, ...] = ()) -> Task:
    return Task("kpi", "daily", "daily", "kpi", sql_text=sql, postsql=post_statements, python_variables=python)


@pytest.mark.parametrize(
    ("sql", "start"),
    [
        ("select 1 where ts >= '{{sl_data_interval_start}}'", START),
        ("select 1 where ts >= {{ sl_data_interval_start }}", f"'{START}'"),
        ("select 1 where ts >= ${sl_data_interval_start}", f"'{START}'"),
        ("select 'it''s', {{sl_data_interval_start}} as x", f"'{START}'"),
        ("select 'from {{sl_data_interval_start}} on'", START),
        ("-- it's not {{sl_data_interval_start}}\nselect '{{sl_data_interval_start}}'", START),
        ("/* don't */ select {{sl_data_interval_start}}", f"'{START}'"),
        ("select {{sl_data_interval_start}}, '{{sl_data_interval_start}}'", START),
        ("select 1", START),
    ],
)
def test_a_value_has_quotes_where_sql_has_none(sql: str, start: str) -> None:
    assert write_interval(build_task(sql), START, END) == {"sl_data_interval_start": start, "sl_data_interval_end": END}


def test_the_documented_names_are_given_where_sql_uses_them() -> None:
    found = write_interval(build_task("select 1 where d >= '{{sl_start_date}}'", "delete from t where d < {{sl_end_date}}"), START, END)
    assert (found["sl_start_date"], found["sl_end_date"]) == (START, f"'{END}'")


def test_python_gets_the_names_that_it_uses_without_quotes() -> None:
    always = {"sl_data_interval_start": START, "sl_data_interval_end": END}
    assert write_interval(build_task(python=("sl_start_date",)), START, END) == {**always, "sl_start_date": START}


def test_without_an_interval_no_variables_are_set() -> None:
    assert write_interval(build_task("select {{sl_start_date}}"), None, None) == {}


@pytest.mark.parametrize(
    ("sql", "variables"),
    [
        ("select 1", set()),
        ("select * from t where d >= '{{sl_data_interval_start}}'", {"sl_data_interval_start"}),
        ("select * from t where d < ${sl_end_date}", {"sl_end_date"}),
        ("{% if sl_start_date %}select 1{% endif %}", {"sl_start_date"}),
        ("spark.sql(f\"select * from t where d < '{args.sl_end_date}'\")", {"sl_end_date"}),
        ("select my_sl_start_date_of_mine from t", set()),
    ],
)
def test_interval_variables_are_found_in_sql(sql: str, variables: set[str]) -> None:
    assert find_interval_variables([sql]) == variables
