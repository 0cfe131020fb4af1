"""Every option is applied, or reported as unsupported or unknown."""

import pytest
from plan_builders import TRANSFORM, dag, list_messages, plan, table, task

from starlake_dagster_components.pipelines.dag_options import check_executor_options


def load(**options: str) -> list[str]:
    return list_messages(plan(table("a.x"), dag("load", "l.py", **options)))


def list_problems(**options: str) -> list[str]:
    return list_messages(plan(task("k.t"), dag("transform", "t.py", TRANSFORM, **options)))


def test_an_unknown_option_is_a_warning_with_the_closest_known() -> None:
    assert load(pre_load_stategy="imported") == [
        "metadata/dags/load.sl.yml:5: warning: unknown option 'pre_load_stategy' (did you mean 'pre_load_strategy'?); it has no effect here"
    ]


def test_only_the_first_of_thousands_of_unknown_options_are_reported() -> None:
    found = load(**{f"option{number}": "x" for number in range(3000)})
    assert len(found) == 201
    assert any(message.endswith("the file has more than 200 warnings; the rest are not shown") for message in found)


@pytest.mark.parametrize("dead", ["load_dependencies", "run_dependencies"])
def test_a_dead_option_names_the_one_that_replaced_it(dead: str) -> None:
    assert list_problems(**{dead: "True"}) == [
        f"metadata/dags/transform.sl.yml:5: warning: option '{dead}' no longer has an effect; use 'run_dependencies_first'"
    ]


def test_an_option_of_the_other_kind() -> None:
    assert load(run_dependencies_first="true") == [
        "metadata/dags/load.sl.yml:5: warning: option 'run_dependencies_first' has no effect on a load DAG; it belongs to transform DAGs"
    ]
    assert "has no effect on a transform DAG" in list_problems(pre_load_strategy="ack")[0]


def test_an_unsupported_option_is_a_warning_with_its_reason() -> None:
    assert list_problems(catchup="True") == [
        "metadata/dags/transform.sl.yml:5: warning: option 'catchup' is not supported: schedules do not run missed ticks; "
        "for a missed tick, start the job with the starlake/scheduled_date tag"
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retries": "many"}, "option 'retries': 'many' is not a number of 0 or more"),
        ({"retries": "-1"}, "option 'retries': '-1' is not a number of 0 or more"),
        ({"retry_delay": "5m"}, "option 'retry_delay': '5m' is not a number of seconds"),
        ({"retry_delay": "9" * 30}, "is not a number of seconds"),
        ({"start_date": "01/02/2026"}, "option 'start_date': '01/02/2026' is not a date like 2026-01-31"),
        ({"start_date": "2026-02-30"}, "is not a date like 2026-01-31"),
        ({"pre_load_strategy": "importd"}, "unknown value 'importd' (did you mean 'imported'?); expected none, imported, pending, ack"),
        ({"sl_env_var": "{broken"}, "option 'sl_env_var' is not JSON"),
        ({"sl_env_var": "[1]"}, "expected a JSON object of variables, found list"),
    ],
)
def test_wrong_values_of_load_options(options: dict[str, str], said: str) -> None:
    (message,) = load(**options)
    assert message.startswith("metadata/dags/load.sl.yml:5: ")
    assert said in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"run_dependencies_first": "yes"}, "option 'run_dependencies_first': 'yes' is not true or false"),
        ({"data_cycle": "sometimes", "data_cycle_enabled": "true"}, "option 'data_cycle': cron 'sometimes' has 1 field"),
        ({"dataset_triggering_strategy": "a and"}, "option 'dataset_triggering_strategy': 'a and': expected any, all, or an expression"),
        ({"min_timedelta_between_runs": "x"}, "is not a number of seconds"),
    ],
)
def test_wrong_values_of_transform_options(options: dict[str, str], said: str) -> None:
    (message,) = list_problems(**options)
    assert message.startswith("metadata/dags/transform.sl.yml:5: ")
    assert said in message


def test_a_value_that_is_empty_after_rendering_is_absent() -> None:
    assert load(retries="{{nothing}}", sl_env_var="{{nothing}}") == []


def test_values_of_sl_env_var_become_strings() -> None:
    made = plan(table("a.x"), dag("load", "l.py", sl_env_var='{"A": 1, "B": true, "C": null, "D": "d", "E": {"x": [1]}}'))
    assert made.pipelines[0].environment == {"A": "1", "B": "true", "D": "d", "E": '{"x": [1]}'}


def test_options_of_another_executor_have_no_effect() -> None:
    made = plan(table("a.x"), dag("load", "l.py", cpu="2", memory="512", cloud_run_job_name="j", dataproc_name="d", retries="1"))
    config = made.pipelines[0].dag_config
    assert [str(p) for p in check_executor_options(config, "cloud_run")] == [
        "metadata/dags/load.sl.yml:5: warning: options cpu, memory of the fargate executor have no effect with cloud_run",
        "metadata/dags/load.sl.yml:8: warning: option dataproc_name of the dataproc executor has no effect with cloud_run",
    ]
    assert len(check_executor_options(config, "shell")) == 3


@pytest.mark.parametrize("name", ["ack_wait_timeout", "sl_include_env_vars", "GOOGLE_CLOUD_SDK", "AWS_SDK"])
def test_an_option_that_is_never_read_is_a_warning(name: str) -> None:
    (message,) = load(**{name: "1"})
    assert f"option '{name}' is not supported: " in message
