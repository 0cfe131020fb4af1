"""The state of an execution, and the choice of the one to continue if there are several."""

from datetime import datetime, timezone
from typing import Any

import pytest
from google.cloud.run_v2 import Condition, Container, EnvVar, Execution, TaskTemplate

from starlake_dagster_components.executors.cloud_run.request import CommandId, relocate_paths, split_id
from starlake_dagster_components.executors.cloud_run.state import ExecutionState, read_state
from starlake_dagster_components.executors.cloud_run.takeover import choose_execution

NAME = "projects/shop/locations/europe-west1/jobs/starlake/executions/starlake-x1"
NOW = datetime(2026, 1, 31, tzinfo=timezone.utc)
State = Condition.State
Reason = Condition.ExecutionReason


def read(state: Any = None, reason: Any = None, message: str = "", **fields: Any) -> ExecutionState:
    conditions = [Condition(type_="ResourcesAvailable", state=State.CONDITION_SUCCEEDED)]
    if state is not None:
        conditions.append(Condition(type_="Completed", state=state, message=message, **({"execution_reason": reason} if reason else {})))
    return read_state(Execution(**{"name": NAME, "task_count": 1, "conditions": conditions, **fields}))


@pytest.mark.parametrize(
    ("fields", "finished", "succeeded", "canceled"),
    [
        ({}, False, False, False),
        ({"state": State.CONDITION_RECONCILING, "running_count": 1}, False, False, False),
        ({"state": State.CONDITION_SUCCEEDED, "succeeded_count": 1, "completion_time": NOW}, True, True, False),
        ({"succeeded_count": 1, "completion_time": NOW}, True, True, False),
        ({"state": State.CONDITION_SUCCEEDED, "succeeded_count": 0, "completion_time": NOW}, True, False, False),
        ({"state": State.CONDITION_SUCCEEDED, "succeeded_count": 1, "task_count": 2, "completion_time": NOW}, True, False, False),
        ({"state": State.CONDITION_FAILED, "failed_count": 1, "completion_time": NOW}, True, False, False),
        ({"state": State.CONDITION_FAILED, "succeeded_count": 1, "completion_time": NOW}, True, False, False),
        ({"cancelled_count": 1, "completion_time": NOW}, True, False, True),
        ({"state": State.CONDITION_FAILED, "reason": Reason.CANCELLED, "completion_time": NOW}, True, False, True),
        ({"state": State.CONDITION_RECONCILING, "reason": Reason.CANCELLING, "running_count": 1}, False, False, True),
        ({"state": State.CONDITION_FAILED, "reason": Reason.DELETED}, True, False, True),
        ({"state": State.CONDITION_FAILED, "running_count": 1}, False, False, False),
        ({"state": State.CONDITION_FAILED}, True, False, False),
        ({"delete_time": NOW}, True, False, False),
    ],
)
def test_an_execution_has_succeeded_only_if_all_its_tasks_have(fields: Any, finished: bool, succeeded: bool, canceled: bool) -> None:
    state = read(**fields)
    assert (state.finished, state.succeeded, state.canceled) == (finished, succeeded, canceled)


def test_the_state_of_an_execution_is_read() -> None:
    created = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=timezone.utc)
    template = TaskTemplate(max_retries=3)
    counts: Any = {"running_count": 1, "retried_count": 2, "create_time": created}
    state = read(State.CONDITION_RECONCILING, template=template, log_uri="https://logs", **counts)
    assert state == ExecutionState(NAME, created=created.timestamp(), running=1, retried=2, max_retries=3, log_uri="https://logs")
    assert read() == ExecutionState(NAME) == ExecutionState(NAME, "", 0.0, False, False, False, 0, 0, 0, "", "", "")
    assert state.short_name == "starlake-x1"
    assert state.console == "https://console.cloud.google.com/run/jobs/executions/details/europe-west1/starlake-x1/tasks?project=shop"


@pytest.mark.parametrize("unsaid", [{"task_count": 0}, {"task_count": 1}])
def test_an_execution_has_one_task_at_least(unsaid: Any) -> None:
    assert read(succeeded_count=1, completion_time=NOW, **unsaid).succeeded
    assert not read(succeeded_count=0, completion_time=NOW, **unsaid).succeeded


@pytest.mark.parametrize("count", [{"failed_count": 1}, {"cancelled_count": 1}])
def test_a_task_that_did_not_succeed_is_not_a_success_of_the_others(count: Any) -> None:
    assert not read(State.CONDITION_SUCCEEDED, succeeded_count=2, task_count=2, completion_time=NOW, **count).succeeded


def test_reasons_of_the_api_that_are_not_known_yet_are_numbers() -> None:
    unknown = Condition(type_="Completed", state=State.CONDITION_FAILED)
    Condition.pb(unknown).execution_reason = 777
    assert read(conditions=[unknown]).reason == "777"
    assert read(State.CONDITION_FAILED).reason == ""
    assert read().reason == ""


def test_reason_and_message_are_read_from_the_condition_completed() -> None:
    state = read(State.CONDITION_FAILED, Reason.NON_ZERO_EXIT_CODE, "The container exited with an error.", failed_count=1)
    assert (state.reason, state.message, state.exit_code) == ("NON_ZERO_EXIT_CODE", "The container exited with an error.", None)
    common = Condition(type_="Completed", state=State.CONDITION_FAILED, reason=Condition.CommonReason.CONTAINER_MISSING)
    assert read(conditions=[common]).reason == "CONTAINER_MISSING"
    of_revision = Condition(type_="Completed", revision_reason=Condition.RevisionReason.HEALTH_CHECK_CONTAINER_ERROR)
    assert read(conditions=[of_revision]).reason == "HEALTH_CHECK_CONTAINER_ERROR"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Task x-task0 failed with exit code: 1 and message: The container exited with an error.", 1),
        ("Container called exit(3).", None),
        ("The container exited with code 137", 137),
        ("exited with status 2", 2),
        ("The configured timeout was reached.", None),
    ],
)
def test_an_exit_code_is_read_from_the_message_if_it_has_one(message: str, code: int | None) -> None:
    assert read(State.CONDITION_FAILED, message=message).exit_code == code


def test_the_command_is_read_from_the_environment() -> None:
    environment = [EnvVar(name="SL_ROOT", value="/x"), EnvVar(name="STARLAKE_DAGSTER_COMMAND_ID", value="r/s/load-1.0/2")]
    assert read(template=TaskTemplate(containers=[Container(env=environment)])).command_id == "r/s/load-1.0/2"
    assert split_id("r/s[a/b]/load-1.0/2") == ("r/s[a/b]/load-1.0", 2)
    assert split_id("something else") is None
    assert split_id("") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/work/shop", "/app"),
        ("/work/shop/data", "/app/data"),
        ("/work/shopping", "/work/shopping"),
        ("/other/work/shop", "/other/work/shop"),
        ("A=/work/shop,B=/work/shop/x", "A=/app,B=/app/x"),
        ("file:///work/shop/x", "file:///work/shop/x"),
        ("jdbc:duckdb:/work/shop/datasets/duckdb.db", "jdbc:duckdb:/app/datasets/duckdb.db"),
        ("nothing", "nothing"),
    ],
)
def test_the_project_s_folder_is_replaced_as_a_whole(text: str, expected: str) -> None:
    assert relocate_paths(text, "/work/shop", "/app") == expected
    assert relocate_paths(text, "/work/shop", None) == text


def build_attempt(
    attempt: int, *, run: int = 0, finished: bool = True, succeeded: bool = False, at: float = 0.0
) -> tuple[int, int, ExecutionState]:
    name = f"{NAME}-{run}-{attempt}-{at:g}"
    return run, attempt, ExecutionState(name, created=at, finished=finished, succeeded=succeeded)


RUNS = {"finished": False}
DONE = {"succeeded": True}


@pytest.mark.parametrize(
    ("matches", "chosen", "others"),
    [
        ([], None, []),
        ([build_attempt(0, at=1)], None, []),  # failed: try again
        ([build_attempt(0, at=1, **RUNS)], 0, []),  # lost: take over
        ([build_attempt(0, at=1, **DONE)], 0, []),  # lost after its end
        ([build_attempt(1, at=1)], 0, []),  # this very attempt, whatever it is
        ([build_attempt(0, at=1, **DONE), build_attempt(1, at=2)], 1, []),
        ([build_attempt(0, at=1, **RUNS), build_attempt(1, at=2, **RUNS)], 1, [0]),
        ([build_attempt(1, at=1, **RUNS), build_attempt(1, at=2, **RUNS)], 0, [1]),
        ([build_attempt(1, at=1), build_attempt(1, at=2, **DONE)], 1, []),
        ([build_attempt(0, at=1), build_attempt(0, at=2, **RUNS)], 1, []),
        ([build_attempt(0, run=1, at=1, **RUNS)], 0, []),
        ([build_attempt(0, run=2, at=1, **DONE), build_attempt(0, run=1, at=2, **DONE)], 1, []),
        ([build_attempt(1, run=1, at=1, **RUNS)], 0, []),  # the same number of attempt, but of another run
    ],
)
def test_the_execution_to_continue_is_chosen(matches: Any, chosen: int | None, others: list[int]) -> None:
    command = CommandId("run", "step", "load-1", 0, 1)
    got, rest = choose_execution(matches, command, may_be_lost=lambda s: True, stale=lambda s: False)
    assert got == (None if chosen is None else matches[chosen][2])
    assert list(rest) == [matches[i][2] for i in others]


def test_a_reported_or_stale_success_is_not_used_again() -> None:
    command = CommandId("run", "step", "load-1", 0, 1)
    done = [build_attempt(0, at=1, succeeded=True)]
    assert choose_execution(done, command, may_be_lost=lambda s: False, stale=lambda s: False) == (None, ())
    assert choose_execution(done, command, may_be_lost=lambda s: True, stale=lambda s: True) == (None, ())
