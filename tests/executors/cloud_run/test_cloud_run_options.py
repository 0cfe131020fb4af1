"""Settings of cloud_run: DAG options, YAML fields, and messages when definitions are built."""

# mypy: disable-error-code="arg-type"

from datetime import timedelta
from pathlib import Path

import pytest

from starlake_dagster_components.errors import CommandError, Location
from starlake_dagster_components.executors.cloud_run import CloudRunExecutor
from starlake_dagster_components.executors.cloud_run.job_options import Target, check_options, find_retries, resolve_target
from starlake_dagster_components.pipelines.pipeline import Pipeline
from starlake_dagster_components.project.model import DagConfig, Origin

JOB = {"cloud_run_job_name": "starlake"}


def resolve(executor: CloudRunExecutor | None = None, **options: str) -> Target:
    return resolve_target(executor or CloudRunExecutor(), {**JOB, **options})


def list_messages(executor: CloudRunExecutor | None = None, **options: str) -> list[str]:
    return [str(p) for p in check_options(executor or CloudRunExecutor(), options, lambda key: Location("metadata/dags/load.sl.yml", 7))]


def test_only_the_job_s_name_is_needed() -> None:
    assert resolve() == Target(project=None, region="europe-west1", job="starlake", service_account=None, interval=10.0)


def test_every_option_is_read() -> None:
    got = resolve(
        cloud_run_project_id="lake-1",
        cloud_run_job_region="us-east1",
        cloud_run_service_account="sl@lake-1.iam.gserviceaccount.com",
        cloud_run_async_poke_interval="45",
    )
    assert got == Target("lake-1", "us-east1", "starlake", "sl@lake-1.iam.gserviceaccount.com", 45.0)


def test_the_old_region_option_is_read_and_the_new_one_overrides_it() -> None:
    assert resolve(cloud_run_region="us-east1").region == "us-east1"
    assert resolve(cloud_run_region="us-east1", cloud_run_job_region="us-west1").region == "us-west1"
    (warning,) = list_messages(**JOB, cloud_run_region="us-east1", cloud_run_job_region="us-west1")
    assert "warning: cloud_run_region 'us-east1' is overridden by cloud_run_job_region 'us-west1'" in warning


def test_yaml_fields_take_precedence() -> None:
    executor = CloudRunExecutor(project_id="p-yaml-1", job_name="mine", region="us-west1", service_account="a@b.c", poll_interval=3.0)
    options = {
        "cloud_run_project_id": "lake-1",
        "cloud_run_region": "us-east1",
        "cloud_run_async_poke_interval": "45",
        "cloud_run_async": "False",
    }
    assert resolve(executor, **options) == Target("p-yaml-1", "us-west1", "mine", "a@b.c", 3.0)


def test_a_full_job_name_contains_project_and_region() -> None:
    got = resolve_target(CloudRunExecutor(job_name="projects/lake-1/locations/us-east1/jobs/sl"), {"cloud_run_region": "us-west1"})
    assert (got.project, got.region, got.job) == ("lake-1", "us-east1", "sl")


@pytest.mark.parametrize(("asynchronous", "interval"), [("True", 30.0), ("False", 2.0), ("", 2.0)])
def test_a_synchronous_job_is_polled_often(asynchronous: str, interval: float) -> None:
    assert resolve(cloud_run_async=asynchronous, cloud_run_async_poke_interval="30").interval == interval


def test_retry_on_failure_is_one_more_attempt_after_the_delay() -> None:
    assert find_retries(CloudRunExecutor(), {}) is None
    assert find_retries(CloudRunExecutor(), {"retry_on_failure": "False"}) is None
    assert find_retries(CloudRunExecutor(), {"retry_on_failure": "True"}) == (1, timedelta(seconds=10))
    assert find_retries(CloudRunExecutor(), {"retry_on_failure": "True", "retry_delay_in_seconds": "0"}) == (1, timedelta())
    assert find_retries(CloudRunExecutor(retry_on_failure=False), {"retry_on_failure": "True"}) is None
    assert find_retries(CloudRunExecutor(retry_on_failure=True, retry_delay_in_seconds=3), {}) == (1, timedelta(seconds=3))


def test_a_missing_job_name_is_an_error_with_its_place_and_the_way_out() -> None:
    (message,) = list_messages()
    assert message.startswith("metadata/dags/load.sl.yml:7: ")
    assert "set cloud_run_job_name in the options of this DAG config, or job_name in the component's executor" in message
    (similar,) = list_messages(cloud_run_jobname="sl")
    assert "is 'cloud_run_jobname' a misspelling of it?" in similar
    assert list_messages(CloudRunExecutor(job_name="starlake")) == []


@pytest.mark.parametrize(
    ("options", "needle"),
    [
        ({"cloud_run_job_name": "Star Lake"}, "'Star Lake' is neither a job name"),
        ({**JOB, "cloud_run_region": "europe"}, "'europe' is not a Google Cloud region"),
        ({**JOB, "cloud_run_project_id": "My Project"}, "'My Project' is not a Google Cloud project id"),
        ({**JOB, "cloud_run_service_account": "sl"}, "'sl' is not the email address of a service account"),
        ({**JOB, "cloud_run_async": "perhaps"}, "'perhaps' is neither true nor false"),
        ({**JOB, "retry_on_failure": "2"}, "'2' is neither true nor false"),
        ({**JOB, "cloud_run_async_poke_interval": "soon"}, "'soon' is not a positive number of seconds"),
        ({**JOB, "cloud_run_async_poke_interval": "0"}, "'0' is not a positive number of seconds"),
        ({**JOB, "cloud_run_async_poke_interval": "nan"}, "'nan' is not a positive number of seconds"),
        ({**JOB, "retry_delay_in_seconds": "-1"}, "'-1' is not a positive number of seconds"),
    ],
)
def test_values_that_cannot_be_used_are_errors(options: dict[str, str], needle: str) -> None:
    (message,) = list_messages(**options)
    assert needle in message
    with pytest.raises(CommandError) as error:
        resolve_target(CloudRunExecutor(), options)
    assert needle in str(error.value)
    assert not error.value.retry


def test_problems_of_a_pipeline_point_to_the_dag_config() -> None:
    places = {"options": Location("metadata/dags/gcp.sl.yml", 4), "options.cloud_run_region": Location("metadata/dags/gcp.sl.yml", 6)}
    config = DagConfig(
        "gcp", "load/dagster__scheduled_table__cloud_run.py.j2", "x.py", origin=Origin("metadata/dags/gcp.sl.yml", 1, places)
    )
    pipeline = Pipeline("x", "load", config, "cloud_run", "x.py", options={"cloud_run_region": "nowhere"})
    assert [str(p.location) for p in CloudRunExecutor().find_problems(pipeline)] == [
        "metadata/dags/gcp.sl.yml:4",
        "metadata/dags/gcp.sl.yml:6",
    ]


def test_every_field_has_a_description() -> None:
    fields = CloudRunExecutor.model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_the_documentation_names_every_field_and_option() -> None:
    text = (Path(__file__).parents[3] / "docs" / "cloud_run.md").read_text(encoding="utf-8")
    fields = [name for name in CloudRunExecutor.model_fields if name != "type"]
    options = ["cloud_run_project_id", "cloud_run_job_name", "cloud_run_region", "cloud_run_job_region", "cloud_run_service_account"]
    options += ["cloud_run_async", "cloud_run_async_poke_interval", "retry_on_failure", "retry_delay_in_seconds"]
    assert [name for name in (*fields, *options) if f"`{name}`" not in text] == []
