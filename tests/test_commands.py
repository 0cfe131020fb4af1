"""The commands that are passed to Starlake's command line."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from starlake_dagster_components.commands import (
    Audit,
    Command,
    LoadFiles,
    RunContext,
    Target,
    build_load_command,
    build_preload_command,
    build_stage_command,
    build_transform_command,
    find_local_path,
)
from starlake_dagster_components.errors import InvalidSetting
from starlake_dagster_components.pipelines.pipeline import Pipeline, PreLoad
from starlake_dagster_components.project.model import (
    Application,
    Areas,
    Attribute,
    Connection,
    DagConfig,
    Domain,
    Expectation,
    Metadata,
    Project,
    Sink,
    Table,
    Task,
)

ORDERS = Table("sales", "orders", "SALES", "ORDERS", r"orders-.*\.csv", expectations=(Expectation("is_unique('id')"),))
CLIENTS = Table("sales", "clients", "SALES", "clients", r"clients.*")
SALES = Domain("sales", "SALES", "sales", (CLIENTS, ORDERS))
TOP = Task("kpi", "top", "top_table", "kpi")
DUCKDB = Connection("duckdb", "jdbc", options={"url": "jdbc:duckdb:/data/duckdb.db"})


def build_areas(root: str = "/project") -> Areas:
    names = ("incoming", "stage", "unresolved", "archive", "ingesting", "replay")
    return Areas(f"{root}/datasets", **{n: f"{root}/datasets/{n}" for n in names}, metadata=f"{root}/metadata")


def build_project(**changes: Any) -> Project:
    application = Application(connection_ref="duckdb", connections={"duckdb": DUCKDB})
    values: dict[str, Any] = {
        "root": Path("/project"),
        "profile": None,
        "application": application,
        "areas": build_areas(),
        "domains": (SALES,),
    }
    return Project(**{**values, **changes})


def build_pipeline(**changes: Any) -> Pipeline:
    return Pipeline("job", "load", DagConfig("d", "t", "f"), "shell", "f.py", **changes)


def run(of: Project | None = None, **changes: Any) -> RunContext:
    return RunContext(of or build_project(), **{"job_id": "run-1.step", **changes})


def read_options(command: Command) -> Mapping[str, str]:
    assert command.arguments.count("--options") == 1
    text = command.arguments[command.arguments.index("--options") + 1]
    return dict(item.split("=", 1) for item in text.split(","))


NOON = datetime(2026, 1, 31, 12, 30, 15, 123456)


# ------------------------------------------------------------------------------------------------------------- arguments


def test_stage_names_its_tables_with_logical_names() -> None:
    assert build_stage_command(run(), SALES, [CLIENTS, ORDERS]).argv == ("stage", "--domains", "sales", "--tables", "clients,orders")


@pytest.mark.parametrize("strategy", ["imported", "pending"])
def test_preload_names_its_strategy_and_its_tables(strategy: Any) -> None:
    command = build_preload_command(run(), SALES, [ORDERS], PreLoad(strategy))
    assert command.argv == ("preload", "--domain", "sales", "--tables", "orders", "--strategy", strategy)


def test_preload_by_ack_names_the_file_of_the_day() -> None:
    ack = build_preload_command(run(scheduled_date=NOON), SALES, [ORDERS], PreLoad("ack", "/acks/sales/{YYYY-MM-DD}.ack"))
    assert ack.arguments[-2:] == ("--globalAckFilePath", "/acks/sales/2026-01-31.ack")
    default = build_preload_command(run(scheduled_date=NOON), SALES, [ORDERS], PreLoad("ack"))
    assert default.arguments[-1] == "/project/datasets/pending/SALES/2026-01-31.ack"
    today = build_preload_command(run(), SALES, [ORDERS], PreLoad("ack", "{YYYY-MM-DD}"))
    assert today.arguments[-1] in {(datetime.now() - timedelta(days=d)).strftime("%Y-%m-%d") for d in (0, 1)}


def test_load_and_transform_get_the_scheduled_date_without_a_space() -> None:
    load = build_load_command(run(scheduled_date=NOON), SALES, [ORDERS])
    assert load.argv == ("load", "--domains", "sales", "--tables", "orders", "--scheduledDate", "2026-01-31T12:30:15")
    transform = build_transform_command(run(scheduled_date=NOON), TOP)
    assert transform.argv == ("transform", "--name", "kpi.top", "--scheduledDate", "2026-01-31T12:30:15")


def test_times_are_in_utc() -> None:
    paris = NOON.replace(tzinfo=timezone(timedelta(hours=2)))
    assert "2026-01-31T10:30:15" in build_load_command(run(scheduled_date=paris), SALES, [ORDERS]).arguments


def test_transforms_receive_their_data_interval() -> None:
    command = build_transform_command(run(interval_start=NOON - timedelta(days=1), interval_end=NOON), TOP)
    assert read_options(command) == {"sl_data_interval_start": "2026-01-30T12:30:15", "sl_data_interval_end": "2026-01-31T12:30:15"}


def test_a_command_without_tables_is_an_error() -> None:
    for make in (build_stage_command, build_load_command, lambda r, d, t: build_preload_command(r, d, t, PreLoad("pending"))):
        with pytest.raises(InvalidSetting, match="at least one table"):
            make(run(), SALES, [])


def test_a_comma_in_a_name_is_an_error() -> None:
    with pytest.raises(InvalidSetting, match=r"'a,b'.*commas"):
        build_load_command(run(), SALES, [replace(ORDERS, name="a,b")])


def test_options_are_the_dag_config_s_variables_then_those_of_the_task_then_the_settings() -> None:
    of = build_pipeline(
        environment={"A": "dag", "B": "dag", "C": "dag", "SL_ROOT": "/project", "SL_ENV": "DEV"},
        task_options={"kpi.top": {"B": "task", "C": "task"}},
    )
    command = build_transform_command(run(pipeline=of, variables={"C": "setting"}), TOP)
    assert read_options(command) == {"A": "dag", "B": "task", "C": "setting"}
    assert read_options(build_load_command(run(pipeline=of), SALES, [ORDERS])) == {"A": "dag", "B": "dag", "C": "dag"}


@pytest.mark.parametrize("value", ["a,b", "a b", "a\nb", "a\tb"])
def test_a_variable_that_cannot_pass_the_command_line_is_an_error_before_the_start(value: str) -> None:
    with pytest.raises(InvalidSetting, match="contains a space or a comma"):
        build_load_command(run(variables={"x": value}), SALES, [ORDERS])


def test_an_error_about_a_secret_does_not_show_it() -> None:
    with pytest.raises(InvalidSetting) as raised:
        build_load_command(run(variables={"DB_PASSWORD": "very secret"}), SALES, [ORDERS])
    assert "very secret" not in str(raised.value)


def test_values_with_equals_signs_quotes_and_other_letters_pass() -> None:
    command = build_load_command(run(variables={"x": "a=b='ç'"}), SALES, [ORDERS])
    assert read_options(command) == {"x": "a=b='ç'"}


def test_variables_that_options_cannot_contain_are_passed_in_the_environment() -> None:
    of = build_pipeline(environment={"JAVA_OPTS": "-Xmx2g -Dx=y"})
    command = build_load_command(run(pipeline=of), SALES, [ORDERS])
    assert "--options" not in command.arguments
    assert command.environment["JAVA_OPTS"] == "-Xmx2g -Dx=y"


def test_a_variable_that_an_env_file_would_override_is_an_error() -> None:
    of = build_pipeline(environment={"COUNTRIES": "FR,DE"})
    with pytest.raises(InvalidSetting, match=r"sl_env_var.*COUNTRIES.*env file"):
        build_load_command(run(build_project(variables={"COUNTRIES": "FR"}), pipeline=of), SALES, [ORDERS])


# ------------------------------------------------------------------------------------------------------------- environment


def test_the_environment_of_a_command_has_root_profile_log_level_and_job_id() -> None:
    command = build_load_command(run(build_project(profile="DEV")), SALES, [ORDERS])
    assert command.environment == {"SL_ROOT": "/project", "SL_ENV": "DEV", "SL_LOG_LEVEL": "info", "SL_JOB_ID": "run-1.step", "SL_API": "1"}
    assert "SL_API" not in build_transform_command(run(), TOP).environment


def test_the_setting_env_overrides_sl_env_var_which_overrides_the_project() -> None:
    of = build_pipeline(environment={"SL_ENV": "QA"})
    assert build_load_command(run(build_project(profile="DEV"), pipeline=of), SALES, [ORDERS]).environment["SL_ENV"] == "QA"
    assert (
        build_load_command(run(build_project(profile="DEV"), pipeline=of, profile="PROD"), SALES, [ORDERS]).environment["SL_ENV"] == "PROD"
    )
    assert "SL_ENV" not in build_load_command(run(), SALES, [ORDERS]).environment


def test_log_level_of_project_or_dag_config_reaches_the_command() -> None:
    assert (
        build_load_command(run(build_project(variables={"SL_LOG_LEVEL": "debug"})), SALES, [ORDERS]).environment["SL_LOG_LEVEL"] == "debug"
    )
    of = build_pipeline(environment={"SL_LOG_LEVEL": "error"})
    assert build_load_command(run(pipeline=of), SALES, [ORDERS]).environment["SL_LOG_LEVEL"] == "error"


def test_the_job_id_variable_has_the_name_that_the_project_sets() -> None:
    renamed = replace(build_project().application, job_id_env_name="MY_JOB")
    command = build_load_command(run(build_project(application=renamed)), SALES, [ORDERS])
    assert command.environment["MY_JOB"] == "run-1.step"
    assert "SL_JOB_ID" not in command.environment


def test_spark_settings_are_passed_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_CONF_OPTIONS", "--conf a=b")
    of = build_pipeline(spark={"spark.executor.memory": "4g", "spark.executor.cores": "2"})
    command = build_load_command(run(pipeline=of), SALES, [ORDERS])
    assert command.environment["SPARK_CONF_OPTIONS"] == "--conf a=b --conf spark.executor.cores=2 --conf spark.executor.memory=4g"
    with pytest.raises(InvalidSetting, match="contains a space"):
        build_load_command(run(pipeline=build_pipeline(spark={"spark.x": "a b"})), SALES, [ORDERS])


def test_the_program_is_the_dag_option_or_the_variable() -> None:
    assert build_load_command(run(), SALES, [ORDERS]).program == "starlake"
    with_variable = build_project(variables={"SL_STARLAKE_PATH": "/opt/sl"})
    assert build_load_command(run(with_variable), SALES, [ORDERS]).program == "/opt/sl"
    assert build_load_command(run(with_variable, pipeline=build_pipeline()), SALES, [ORDERS]).program == "/opt/sl"
    assert build_load_command(run(with_variable, pipeline=build_pipeline(starlake_path="bin/sl")), SALES, [ORDERS]).program == "bin/sl"


def test_executors_get_the_options_of_the_dag_config() -> None:
    of = build_pipeline(options={"cloud_run_job_name": "sl"})
    assert build_load_command(run(pipeline=of), SALES, [ORDERS]).options == {"cloud_run_job_name": "sl"}


# ------------------------------------------------------------------------------------------------------------- files, databases


def test_a_load_command_has_the_folders_and_patterns_of_its_files() -> None:
    files = build_load_command(run(), SALES, [ORDERS, CLIENTS]).files
    base = "/project/datasets"
    assert files == LoadFiles(f"{base}/stage/sales", f"{base}/ingesting/sales", (r"orders-.*\.csv", "clients.*"), f"{base}/archive/sales")
    assert build_transform_command(run(), TOP).files is None
    assert build_stage_command(run(), SALES, [ORDERS]).files is None


def test_files_on_other_storage_are_not_managed() -> None:
    assert build_load_command(run(build_project(areas=build_areas("gs://bucket"))), SALES, [ORDERS]).files is None


@pytest.mark.parametrize(
    ("text", "path"),
    [("/a/b", "/a/b"), ("file:///a/b", "/a/b"), ("file:/a/../b", "/b"), ("gs://b/c", None), ("a/b", None), ("hdfs://h/a", None)],
)
def test_only_local_paths_are_found(text: str, path: str | None) -> None:
    assert find_local_path(text) == path


def test_commands_that_write_list_their_database_files() -> None:
    assert build_load_command(run(), SALES, [ORDERS]).databases == ("/data/duckdb.db",)
    assert build_transform_command(run(), TOP).databases == ("/data/duckdb.db",)
    assert build_stage_command(run(), SALES, [ORDERS]).databases == ()
    assert build_preload_command(run(), SALES, [ORDERS], PreLoad("pending")).databases == ()


def build_connections(**urls: str) -> Application:
    return Application(connection_ref="main", connections={n: Connection(n, "jdbc", options={"url": u}) for n, u in urls.items()})


def test_the_audit_and_the_sink_may_be_elsewhere() -> None:
    application = replace(
        build_connections(main="jdbc:postgresql://h/x", audit="jdbc:duckdb:audit.db", other="jdbc:duckdb:/o.db"),
        audit_connection_ref="audit",
    )
    of = build_project(application=application)
    assert build_load_command(run(of), SALES, [ORDERS]).databases == ("/project/audit.db",)
    other = replace(ORDERS, metadata=Metadata(sink=Sink(connection_ref="other")))
    command = build_load_command(run(of), SALES, [other])
    assert command.databases == ("/o.db", "/project/audit.db")
    assert command.audit == Audit("/project/audit.db", "audit", "run-1.step")
    assert command.expectations == ("is_unique('id')",)
    assert command.target == Target("/o.db", "SALES", "ORDERS")


@pytest.mark.parametrize("url", ["jdbc:duckdb:", "jdbc:duckdb::memory:", "jdbc:duckdb:md:cloud", "jdbc:postgresql://h/x", ""])
def test_databases_that_are_not_local_files_are_not_locked(url: str) -> None:
    command = build_load_command(run(build_project(application=build_connections(main=url))), SALES, [ORDERS])
    assert (command.databases, command.audit, command.target) == ((), None, None)


def test_audit_rows_that_cannot_be_distinguished_from_others_are_not_searched() -> None:
    own_id = build_pipeline(environment={"SL_JOB_ID": "always-the-same"})
    assert build_load_command(run(pipeline=own_id), SALES, [ORDERS]).audit is None
    assert build_load_command(run(job_id=""), SALES, [ORDERS]).audit is None
    inactive = replace(build_project().application, audit_active=False)
    assert build_load_command(run(build_project(application=inactive)), SALES, [ORDERS]).audit is None


def test_the_table_is_named_as_in_the_database() -> None:
    assert build_transform_command(run(), TOP).target == Target("/data/duckdb.db", "kpi", "top_table")
    assert build_load_command(run(), SALES, [ORDERS, CLIENTS]).target is None, "several tables have no row count"


def test_columns_that_starlake_stores_in_clear_are_named() -> None:
    attributes = (
        Attribute("id"),
        Attribute("mail", privacy="SHA256", rename="email"),
        Attribute("name", privacy="none"),
        Attribute("shout", privacy="SQL:upper(shout)"),
        Attribute("address", type="struct", attributes=(Attribute("street", privacy="HIDE"),)),
    )
    orders = replace(ORDERS, attributes=attributes)
    told = "loader ignores privacy on DuckDB: these columns of sales.orders are stored in clear text: email, address.street"
    native = build_project(application=replace(build_project().application, loader="native"))
    assert build_load_command(run(native), SALES, [orders, CLIENTS]).caveats == (f"Starlake's native {told}",)
    assert build_load_command(run(), SALES, [orders]).caveats == (f"Starlake's Spark {told}",)
    postgres = replace(DUCKDB, options={"url": "jdbc:postgresql://db/sales"})
    elsewhere = build_project(application=replace(build_project().application, connections={"duckdb": postgres}))
    assert build_load_command(run(elsewhere), SALES, [orders]).caveats == ()


# ------------------------------------------------------------------------------------------------------------- the project as read


def test_a_command_with_the_same_variables_reuses_the_project() -> None:
    of = build_project(profile="DEV", variables={"A": "1"})
    assert build_load_command(run(of, profile="DEV", variables={"A": "1"}), SALES, [ORDERS]).loaded is of
    same = build_pipeline(environment={"SL_ROOT": "/project", "SL_LOG_LEVEL": "debug"})
    assert build_transform_command(run(of, pipeline=same, interval_end=NOON), TOP).loaded is of


@pytest.mark.parametrize("environment", [{"SL_ENV": "PROD"}, {"A": "2"}, {"NEW": "x"}, {"SL_ROOT": "/elsewhere"}])
def test_a_command_with_other_variables_does_not_reuse_the_project(environment: dict[str, str]) -> None:
    of = build_project(profile="DEV", variables={"A": "1"})
    assert build_load_command(run(of, pipeline=build_pipeline(environment=environment)), SALES, [ORDERS]).loaded is None


def test_a_command_is_shown_as_one_would_type_it_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SOME_TOKEN", "tok-123")
    command = Command(
        "load", ("--tables", "a b", "--options", "x=tok-123,MY_SECRET=s3cr3t,DB=pw-from-env"), "/p", {"DB_PASSWORD": "pw-from-env"}
    )
    assert command.shown == "starlake load --tables 'a b' --options x=***,MY_SECRET=***,DB=***"
