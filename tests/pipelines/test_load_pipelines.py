"""Load tables are grouped into jobs as dag-generate groups them into files."""

from datetime import date, timedelta

import pytest
from plan_builders import dag, list_jobs, list_messages, plan, table

SHOP = (
    table("hr.flat", "0 0 * * *"),
    table("hr.sellers"),
    table("sales.items", "daily"),
    table("sales.orders", "daily"),
    table("sales.returns", "*/5 * * * *"),
)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (
            "all.py",
            {
                "all": ["hr.sellers"],
                "all_cron1": ["sales.returns"],
                "all_cron2": ["hr.flat"],
                "all_daily": ["sales.items", "sales.orders"],
            },
        ),
        (
            "{{schedule}}.py",
            {"none": ["hr.sellers"], "cron1": ["sales.returns"], "cron2": ["hr.flat"], "daily": ["sales.items", "sales.orders"]},
        ),
        (
            "{{domain}}_tables_{{sl_project_id}}.py",
            {
                # Both domains have two schedules and are processed twice: hr takes 1 and 2, sales 3 and 4.
                "hr_tables": ["hr.sellers"],
                "hr_tables_cron2": ["hr.flat"],
                "sales_tables_cron4": ["sales.returns"],
                "sales_tables_daily": ["sales.items", "sales.orders"],
            },
        ),
        (
            "{{schedule}}-{{domain}}.py",
            {
                "none_hr": ["hr.sellers"],
                "cron2_hr": ["hr.flat"],
                "cron4_sales": ["sales.returns"],
                "daily_sales": ["sales.items", "sales.orders"],
            },
        ),
        (
            "{{domain}}_{{table}}.py",
            {name.replace(".", "_"): [name] for name in ("hr.flat", "hr.sellers", "sales.items", "sales.orders", "sales.returns")},
        ),
        (
            "{{schedule}}_{{domain}}_{{table}}.py",
            {
                "cron1_sales_returns": ["sales.returns"],
                "cron2_hr_flat": ["hr.flat"],
                "none_hr_sellers": ["hr.sellers"],
                "daily_sales_items": ["sales.items"],
                "daily_sales_orders": ["sales.orders"],
            },
        ),
    ],
)
def test_the_variables_of_the_file_name_decide(filename: str, expected: dict[str, list[str]]) -> None:
    made = plan(*SHOP, dag("load", filename))
    assert list_jobs(made) == expected
    assert list_messages(made) == []


def test_every_table_with_an_inline_cron_counts_when_files_are_per_table() -> None:
    made = plan(table("a.one", "0 0 * * *"), table("a.two", "0 0 * * *"), table("b.x"), dag("load", "{{schedule}}_{{domain}}_{{table}}.py"))
    assert sorted(list_jobs(made)) == ["cron1_a_one", "cron2_a_two", "none_b_x"]


def test_cron_numbers_restart_with_each_dag_config() -> None:
    made = plan(
        table("a.x", "0 0 * * *"), table("b.y", "0 1 * * *", "other"), dag("load", "{{schedule}}_l.py"), dag("other", "{{schedule}}_o.py")
    )
    assert sorted(list_jobs(made)) == ["cron1_l", "cron1_o"]


def test_names_follow_the_file_name() -> None:
    made = plan(
        table("a.x", "my-Preset"), table("a.y"), dag("load", "deep/Folder/Load.{{domain}}$é.py"), presets={"my-Preset": "0 0 * * *"}
    )
    assert sorted(list_jobs(made)) == ["load_a__", "load_a___my_Preset"]


def test_a_reserved_name_gets_a_suffix() -> None:
    assert list(list_jobs(plan(table("config.x"), dag("load", "{{domain}}.py")))) == ["config_job"]


def test_variables_are_logical_and_final_names() -> None:
    renamed = table("a.x", final="mart.orders")
    assert list(list_jobs(plan(renamed, dag("load", "{{domain}}_{{table}}.py")))) == ["a_x"]
    assert list(list_jobs(plan(renamed, dag("load", "{{finalDomain}}_{{renamedTable}}.py")))) == ["mart_orders"]
    assert list(list_jobs(plan(renamed, dag("load", "{{renamedDomain}}.py")))) == ["mart"]


def test_options_are_rendered_with_the_variables_of_the_dag_and_of_the_project() -> None:
    made = plan(
        table("sales.x", "daily"),
        dag(
            "load", "{{domain}}.py", comment="load {{domain}} at {{schedule}} for {{ team | default('nobody') }}", tags="{{domain}} ${area}"
        ),
        variables={"area": "north"},
    )
    (pipeline,) = made.pipelines
    assert pipeline.comment == "load sales at  for nobody"
    assert pipeline.tags == ("sales", "north")
    assert pipeline.filename == "sales.py"


def test_the_domain_variable_is_empty_in_a_job_for_all_domains() -> None:
    (pipeline,) = plan(table("sales.x"), dag("load", "all.py", comment="load {{domain}}")).pipelines
    assert pipeline.comment == "load"


def test_sl_root_comes_from_sl_env_var() -> None:
    variables = '{"SL_ROOT": "{{SL_ROOT}}/sub", "SL_DATASETS": "s3://data"}'
    (pipeline,) = plan(table("a.x"), dag("load", "a.py", sl_env_var=variables, pre_load_strategy="ack", tags="{{SL_ROOT}}")).pipelines
    assert pipeline.tags == ("/project/sub",)
    # As in Starlake, the option itself is rendered with that root, too.
    assert pipeline.environment == {"SL_ROOT": "/project/sub/sub", "SL_DATASETS": "s3://data"}
    assert pipeline.pre_load["a"].global_ack_file_path == "s3://data/pending/a/{YYYY-MM-DD}.ack"


def test_pre_load_of_each_domain() -> None:
    made = plan(
        table("a.x"),
        table("b.y", final="mart.y"),
        dag("load", "{{domain}}.py", pre_load_strategy="ACK", global_ack_file_path="/project/{{domain}}.ack", ack_wait_timeout="60"),
    )
    first, second = made.pipelines
    assert first.pre_load.keys() == {"a"}
    assert (first.pre_load["a"].strategy, first.pre_load["a"].global_ack_file_path) == ("ack", "/project/a.ack")
    assert first.pre_load["a"].ack_wait_timeout == timedelta(minutes=1)
    assert second.pre_load["b"].global_ack_file_path == "/project/b.ack"
    (default,) = plan(table("b.y", final="mart.y"), dag("load", "l.py", pre_load_strategy="ack")).pipelines
    assert default.pre_load["b"].global_ack_file_path == "/project/datasets/pending/mart/{YYYY-MM-DD}.ack"


def test_values_of_options() -> None:
    (pipeline,) = plan(
        table("a.x"),
        dag("load", "a.py", retries="3", retry_delay="10", SL_STARLAKE_PATH="/opt/starlake", start_date="2026-01-31", end_date="2026-12-31",
            tags="a, b  c", spark_executor_memory="11g"),
    ).pipelines  # fmt: skip
    assert (pipeline.retries, pipeline.retry_delay) == (3, timedelta(seconds=10))
    assert pipeline.starlake_path == "/opt/starlake"
    assert (pipeline.start_date, pipeline.end_date) == (date(2026, 1, 31), date(2026, 12, 31))
    assert pipeline.tags == ("a", "b", "c")
    assert pipeline.spark == {"spark.executor.memory": "11g"}


def test_defaults_of_options() -> None:
    (pipeline,) = plan(table("a.x"), dag("load", "a.py")).pipelines
    assert (pipeline.retries, pipeline.retry_delay, pipeline.starlake_path) == (0, timedelta(minutes=5), "starlake")
    assert pipeline.pre_load["a"].strategy == "none"
    assert (pipeline.environment, pipeline.tags, pipeline.start_date) == ({}, (), None)


def test_the_launcher_of_sl_script_dir() -> None:
    def find_path(**options: str) -> str:
        return plan(table("a.x"), dag("load", "a.py", **options), variables={"SL_SCRIPT_DIR": "/bin/sl"}).pipelines[0].starlake_path

    assert find_path() == find_path(SL_STARLAKE_PATH="starlake") == "/bin/sl/starlake"
    assert find_path(SL_STARLAKE_PATH="other") == "other"


def test_two_jobs_with_the_same_name_are_an_error_that_names_both() -> None:
    made = plan(table("a.x"), table("b.x"), dag("load", "{{table}}.py"))
    assert list_jobs(made) == {"x": ["a.x"]}
    assert list_messages(made) == [
        "metadata/dags/load.sl.yml:3: two jobs would be named 'x': the table a.x in 'x.py' and the table b.x in 'x.py'; "
        "add {{domain}} to the filename"
    ]


def test_names_may_also_collide_across_configs_and_folders() -> None:
    made = plan(table("a.x"), table("b.y", dag_ref="other"), dag("load", "one/Same.py"), dag("other", "two/same.py"))
    (message,) = list_messages(made, "error")
    assert "'one/Same.py' (metadata/dags/load.sl.yml:3) and the table b.y in 'two/same.py'" in message


def test_a_file_name_without_a_name_is_an_error() -> None:
    made = plan(table("a.x"), dag("load", "{{ domain | lower }}.py"))
    assert made.pipelines == ()
    assert list_messages(made) == [
        "metadata/dags/load.sl.yml:3: filename '{{ domain | lower }}.py' gives the job of the table a.x an empty name ('.py'); "
        "Starlake groups only by plain variables like {{domain}}, without a filter"
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"filename": "../x.py"}, "metadata/dags/load.sl.yml:3: filename '../x.py' must not contain '..'"),
        ({"filename": "/etc/x.py"}, "metadata/dags/load.sl.yml:3: filename '/etc/x.py' must not be an absolute path outside the project"),
        ({"filename": "x.py", "tags": ""}, "metadata/dags/load.sl.yml:5: option 'tags' is empty"),
        ({"filename": "x.py", "tags": "a..b"}, "metadata/dags/load.sl.yml:5: option 'tags' 'a..b' must not contain '..'"),
        ({"filename": "x.py", "global_ack_file_path": "/x"}, "must not be an absolute path outside the project"),
        (
            {"filename": "x.py", "template": "/tmp/dagster__scheduled_table__shell.py.j2"},
            "metadata/dags/load.sl.yml:2: template '/tmp/dagster__scheduled_table__shell.py.j2' must not be an absolute path",
        ),
    ],
)
def test_values_of_load_configs_that_dag_generate_rejects(values: dict[str, str], said: str) -> None:
    made = plan(table("a.x"), dag("load", values.pop("filename"), **values))
    assert made.pipelines == ()
    assert any(said in message for message in list_messages(made, "error"))


def test_paths_in_the_project_and_of_the_launcher_are_accepted() -> None:
    config = dag("load", "/project/x.py", global_ack_file_path="/project/ack", SL_STARLAKE_PATH="/opt/starlake")
    assert list_messages(plan(table("a.x"), config)) == []


def test_locations_of_schedules_and_dag_refs() -> None:
    own = table("a.x", "daily", "load")
    made = plan(own, table("a.y"), dag("load", "{{domain}}.py"), presets={"daily": "0 3 * * *"})
    by_name = {p.name: p for p in made.pipelines}
    schedule = by_name["a_daily"].schedule
    assert schedule is not None
    assert (schedule.name, schedule.cron, str(schedule.location), str(schedule.preset)) == (
        "daily",
        "0 3 * * *",
        "metadata/load/a/x.sl.yml:2",
        "metadata/application.sl.yml:4",
    )
    assert {k: str(v) for k, v in by_name["a_daily"].dag_refs.items()} == {"a.x": "metadata/load/a/x.sl.yml:3"}
    assert {k: str(v) for k, v in by_name["a"].dag_refs.items()} == {"a.y": "metadata/application.sl.yml:2"}


def test_the_plan_finds_the_pipeline_of_a_node() -> None:
    one, other, nowhere = table("a.x"), table("b.y"), table("c.z", dag_ref="none")
    made = plan(one, other, dag("load", "{{domain}}.py"))
    assert made.find_pipeline(one) is made.pipelines[0]
    assert made.find_pipeline(other) is made.pipelines[1]
    assert made.find_pipeline(nowhere) is None
