"""The cloud_run executor and its executions: state, failures, retries of calls, cancellation, links, exit codes."""

import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from cloud_run_harness import EFFECT, SHELL, build_effect, connect_executor, list_effects
from cloud_run_server import CloudRunServer
from contract import Watched, build_command
from injected_faults import Fault, draw_faults
from waiting import wait_until

from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import CommandCanceled, CommandError, CommandTimeout
from starlake_dagster_components.executors.cloud_run import poller

Status = grpc.StatusCode


@pytest.fixture
def server() -> Iterator[CloudRunServer]:
    with CloudRunServer() as server:
        server.add_job(command=[*SHELL, EFFECT, "sh"])
        yield server


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    return tmp_path / "effects"


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_the_request_is_what_the_api_expects(server: CloudRunServer, watched: Watched) -> None:
    executor = connect_executor(
        server, region="europe-west9", container_name="starlake", task_timeout=90.5, env={"PORT": 8080}, root="gs://bucket/shop"
    )
    server.add_job(region="europe-west9", command=["/bin/true"])
    command = Command(
        "load",
        ("--domains", "sales", "--tables", "orders and more", "--options", "SL_ROOT=/work/shop,DATA=/work/shop/data,OTHER=/work/shopping"),
        "/work/shop",
        environment={"SL_ROOT": "/work/shop", "SL_DATASETS": "/work/shop/datasets", "EMPTY": ""},
    )
    executor.run(command, watched.invocation(run_id="run-1", step_key="sales_orders", attempt=2))
    (request,) = server.requests
    recorded = json.loads(type(request).to_json(request))
    name = "STARLAKE_DAGSTER_COMMAND_ID"
    command_id = next(e["value"] for e in recorded["overrides"]["containerOverrides"][0]["env"] if e["name"] == name)
    assert recorded == {
        "name": "projects/shop/locations/europe-west9/jobs/starlake",
        "validateOnly": False,
        "etag": "",
        "overrides": {
            "taskCount": 1,
            "timeout": "90.500s",
            "containerOverrides": [
                {
                    "name": "starlake",
                    "clearArgs": False,
                    "args": [
                        "load",
                        "--domains",
                        "sales",
                        "--tables",
                        "orders and more",
                        "--options",
                        "SL_ROOT=gs://bucket/shop,DATA=gs://bucket/shop/data,OTHER=/work/shopping",
                    ],
                    "env": [
                        {"name": "PORT", "value": "8080"},
                        {"name": "SL_ROOT", "value": "gs://bucket/shop"},
                        {"name": "SL_DATASETS", "value": "gs://bucket/shop/datasets"},
                        {"name": "EMPTY", "value": ""},
                        {"name": name, "value": command_id},
                    ],
                }
            ],
        },
    }
    run, step, digest, attempt = command_id.split("/")
    assert (run, step, attempt) == ("run-1", "sales_orders", "2")
    assert digest.startswith("load-")


def test_a_path_of_this_machine_is_not_sent_as_sl_root(server: CloudRunServer, watched: Watched) -> None:
    connect_executor(server).run(build_command(project="/work/shop", environment={"SL_ROOT": "/work/shop"}), watched.invocation())
    assert "SL_ROOT" not in server.list_all()[0].environment
    connect_executor(server).run(
        build_command(project="/work/shop", environment={"SL_ROOT": "/app/shop"}), watched.invocation(step_key="other")
    )
    assert server.list_all()[1].environment["SL_ROOT"] == "/app/shop"


def test_dag_options_select_the_job_and_yaml_fields_override_them(server: CloudRunServer, watched: Watched) -> None:
    server.add_job("loads", project="lake-1", region="us-east1", command=["/bin/true"])
    options = {"cloud_run_job_name": "loads", "cloud_run_project_id": "lake-1", "cloud_run_job_region": "us-east1"}
    connect_executor(server, job_name=None, project_id=None).run(build_command(options=options), watched.invocation())
    connect_executor(server, job_name="starlake", project_id="shop", region="europe-west1").run(
        build_command(options=options), watched.invocation()
    )
    assert [r.name for r in server.requests] == [
        "projects/lake-1/locations/us-east1/jobs/loads",
        "projects/shop/locations/europe-west1/jobs/starlake",
    ]


def test_ids_and_links_are_logged_before_the_first_poll(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    polls_when_told = []
    invocation = watched.invocation(
        report=lambda metadata: polls_when_told.append(server.calls["GetExecution"]) or watched.reported.update(metadata)  # type: ignore[func-returns-value]
    )
    result = connect_executor(server).run(build_effect(effects), invocation)
    (execution,) = server.list_all()
    assert polls_when_told == [0]
    assert watched.reported["starlake/cloud_run_execution"] == execution.short
    console = f"https://console.cloud.google.com/run/jobs/executions/details/europe-west1/{execution.short}/tasks?project=shop"
    assert watched.reported["starlake/cloud_run_console"].value == console
    assert execution.short in watched.reported["starlake/cloud_run_logs"].value
    assert any(console in text for text in watched.texts)
    assert result.metadata.keys() >= watched.reported.keys()


def test_a_failure_has_reason_message_exit_code_and_last_lines(server: CloudRunServer, watched: Watched) -> None:
    server.add_job(command=[*SHELL, "echo going; echo 'ERROR table orders is locked'; exit 7", "sh"])
    result = connect_executor(server, logs="tail").run(build_command(), watched.invocation())
    assert result.exit_code == 7
    assert "NON_ZERO_EXIT_CODE" in str(result.reason)
    assert "The container exited with an error." in str(result.reason)
    assert "table orders is locked" in str(result.reason)
    assert result.tail == ("going", "ERROR table orders is locked")


def test_a_container_ended_by_a_signal_has_exit_code_128_plus_the_signal(server: CloudRunServer, watched: Watched) -> None:
    server.add_job(command=[*SHELL, "kill -9 $$", "sh"])
    assert connect_executor(server).run(build_command(), watched.invocation()).exit_code == 128 + signal.SIGKILL


def test_an_execution_that_is_canceled_from_outside_is_not_a_success(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    def cancel() -> None:
        wait_until(lambda: list_effects(effects))
        server.list_all()[0].cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    result = connect_executor(server).run(build_effect(effects, LASTS=60), watched.invocation())
    thread.join()
    assert result.exit_code == 1
    assert "canceled outside Dagster" in str(result.reason)


def test_an_execution_that_disappears_is_an_error(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    def delete() -> None:
        wait_until(lambda: list_effects(effects) and server.calls["GetExecution"] >= 2)
        server.list_all()[0].deleted = True

    thread = threading.Thread(target=delete)
    thread.start()
    with pytest.raises(CommandError, match="no longer exists"):
        connect_executor(server).run(build_effect(effects, LASTS=60), watched.invocation())
    thread.join()


def test_a_timeout_of_the_task_is_a_failure_with_its_message(server: CloudRunServer, watched: Watched) -> None:
    server.add_job(command=[*SHELL, "exec sleep 60", "sh"])
    result = connect_executor(server, task_timeout=0.3).run(build_command(), watched.invocation())
    assert result.exit_code != 0
    assert "The configured timeout was reached." in str(result.reason)


def test_a_hanging_execution_is_canceled_when_its_time_is_up(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    server.grace = 0.2
    server.add_job(command=[*SHELL, "trap '' TERM; while true; do sleep 0.1; done", "sh"])
    with pytest.raises(CommandTimeout, match=r"longer than 0\.5 s"):
        connect_executor(server, timeout=0.5).run(build_command(), watched.invocation())
    assert not server.running


def test_a_load_that_succeeded_only_after_a_task_retry_is_a_failure(server: CloudRunServer, tmp_path: Path, watched: Watched) -> None:
    mark = tmp_path / "mark"
    server.add_job(command=[*SHELL, f"test -e {mark} || {{ touch {mark}; exit 1; }}", "sh"], max_retries=3)
    result = connect_executor(server).run(build_command(verb="load"), watched.invocation())
    assert result.exit_code == 1
    assert "--max-retries 0" in str(result.reason)
    assert any(level == "warning" and "gcloud run jobs update starlake --max-retries 0" in text for level, text in watched.lines)
    mark.unlink()
    accepted = connect_executor(server, allow_task_retries=True).run(build_command(verb="load"), watched.invocation(step_key="other"))
    assert (accepted.exit_code, accepted.metadata["starlake/cloud_run_retried_tasks"]) == (0, 1)


def test_a_transform_may_be_retried_by_cloud_run(server: CloudRunServer, tmp_path: Path, watched: Watched) -> None:
    mark = tmp_path / "mark"
    server.add_job(command=[*SHELL, f"test -e {mark} || {{ touch {mark}; exit 1; }}", "sh"], max_retries=3)
    assert connect_executor(server).run(build_command(), watched.invocation()).exit_code == 0


@pytest.mark.parametrize(("code", "needle"), [(Status.PERMISSION_DENIED, "roles/run.developer"), (Status.NOT_FOUND, "cloud_run_job_name")])
@pytest.mark.parametrize("method", ["RunJob", "ListExecutions"])
def test_permanent_failures_are_not_retried_and_advise_what_to_check(
    server: CloudRunServer, watched: Watched, code: grpc.StatusCode, needle: str, method: str
) -> None:
    server.faults = lambda called, request: Fault(code=code) if called == method else None
    with pytest.raises(CommandError, match=needle) as error:
        connect_executor(server).run(build_command(), watched.invocation())
    assert not error.value.retry
    assert server.calls[method] == 1


def test_an_unknown_job_is_named_with_project_and_region(server: CloudRunServer, watched: Watched) -> None:
    with pytest.raises(CommandError, match=r"'starlak'.*'europe-west1'.*'shop'.*gcloud run jobs list"):
        connect_executor(server, job_name="starlak").run(build_command(), watched.invocation())


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a rejected request final after a moment."""
    monkeypatch.setattr(poller, "DENIED", 0.3)


@pytest.mark.usefixtures("short_patience")
def test_losing_the_permission_to_follow_an_execution_cancels_it(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    server.faults = lambda method, request: (
        Fault(code=Status.PERMISSION_DENIED) if method == "GetExecution" and list_effects(effects) else None
    )
    with pytest.raises(CommandError, match="not allowed to follow"):
        connect_executor(server).run(build_effect(effects, LASTS=60), watched.invocation())
    wait_until(lambda: not server.running)


@pytest.mark.usefixtures("short_patience")
def test_an_execution_that_can_be_neither_followed_nor_canceled_is_named(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    denied = ("GetExecution", "CancelExecution")
    server.faults = lambda method, request: Fault(code=Status.PERMISSION_DENIED) if method in denied and list_effects(effects) else None
    with pytest.raises(CommandError, match=r"may still be running\. Run gcloud run jobs executions cancel starlake-"):
        connect_executor(server).run(build_effect(effects, LASTS=60), watched.invocation())


@pytest.mark.parametrize("code", [Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.DEADLINE_EXCEEDED, Status.INTERNAL])
def test_a_start_that_fails_for_now_is_repeated(server: CloudRunServer, effects: Path, watched: Watched, code: grpc.StatusCode) -> None:
    server.faults = lambda method, request: Fault(code=code) if method == "RunJob" and server.calls["RunJob"] <= 1 else None
    assert connect_executor(server).run(build_effect(effects), watched.invocation()).exit_code == 0
    assert server.calls["RunJob"] == 2
    assert list_effects(effects) == ["orders"]


@pytest.mark.parametrize("code", [Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.UNKNOWN])
def test_a_start_whose_answer_was_lost_is_found_and_not_repeated(
    server: CloudRunServer, effects: Path, watched: Watched, code: grpc.StatusCode
) -> None:
    server.faults = lambda method, request: Fault(code=code, lost=True) if method == "RunJob" else None
    assert connect_executor(server).run(build_effect(effects), watched.invocation()).exit_code == 0
    assert server.calls["RunJob"] == 1
    assert list_effects(effects) == ["orders"]


def test_a_start_that_is_rejected_for_too_long_is_an_error(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    server.faults = lambda method, request: Fault(code=Status.RESOURCE_EXHAUSTED) if method == "RunJob" else None
    with pytest.raises(CommandError, match=r"could not start the job .* within 1 seconds") as error:
        connect_executor(server, start_timeout=1).run(build_effect(effects), watched.invocation())
    assert error.value.retry
    assert list_effects(effects) == []


def test_bursts_of_failing_polls_are_waited_out(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    polls = ("GetExecution", "ListExecutions")
    codes = [Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.DEADLINE_EXCEEDED, Status.UNAVAILABLE]
    server.faults = lambda method, request: Fault(code=codes.pop()) if method in polls and list_effects(effects) and codes else None
    assert connect_executor(server).run(build_effect(effects, LASTS=0.3), watched.invocation()).exit_code == 0
    assert not codes
    assert any("does not report the state" in text for text in watched.texts)


def test_every_command_runs_once_if_30_percent_of_calls_fail(server: CloudRunServer, effects: Path) -> None:
    server.faults = draw_faults(0.3, seed=11)
    executor = connect_executor(server)

    def run(number: int) -> int:
        command = build_effect(effects, f"t{number}", CODE=5 if number == 7 else 0)
        return executor.run(command, Watched().invocation(step_key=f"t{number}")).exit_code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(run, range(12)))
    assert codes == [5 if n == 7 else 0 for n in range(12)]
    assert sorted(list_effects(effects)) == sorted(f"t{n}" for n in range(12))


def test_many_executions_share_their_polls(server: CloudRunServer, effects: Path) -> None:
    executor = connect_executor(server, poll_interval=0.3)
    count = 40

    def run(number: int) -> int:
        return executor.run(build_effect(effects, f"t{number}", LASTS=1), Watched().invocation(step_key=f"t{number}")).exit_code

    with ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(run, range(count)))
    assert codes == [0] * count
    assert server.most_running <= 10
    alone = sum((execution.completed or 0.0) - execution.created for execution in server.list_all()) / 0.3
    """Number of polls if each execution had its own. On a busy machine, executions take longer, but most polls serve 10 of them."""
    starts = count  # Before each start, its executions are listed.
    assert server.calls["GetExecution"] + server.calls["ListExecutions"] - starts < alone / 2


@pytest.mark.parametrize(
    ("moment", "faults"),
    [
        ("start", lambda method, request: Fault(before=0.3, after=0.3) if method == "RunJob" else None),
        ("unanswered start", lambda method, request: Fault(code=Status.UNAVAILABLE, lost=True, before=0.3) if method == "RunJob" else None),
        ("run", None),
        ("poll", lambda method, request: Fault(after=0.5) if method == "GetExecution" else None),
    ],
)
def test_canceling_leaves_no_execution(server: CloudRunServer, effects: Path, watched: Watched, moment: str, faults: object) -> None:
    server.faults = faults  # type: ignore[assignment]
    waits = {
        "start": lambda: server.calls["RunJob"],
        "unanswered start": lambda: server.calls["RunJob"],
        "run": lambda: list_effects(effects),
        "poll": lambda: server.calls["GetExecution"],
    }

    def cancel() -> None:
        wait_until(waits[moment])
        watched.canceled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(CommandCanceled):
        connect_executor(server).run(build_effect(effects, LASTS=60), watched.invocation())
    thread.join()
    assert not server.running
    assert len(server.list_all()) == 1


def test_canceling_is_retried_when_the_api_rejects_it_at_first(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    rejections = [Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED]
    server.faults = lambda method, request: Fault(code=rejections.pop()) if method == "CancelExecution" and rejections else None

    def cancel() -> None:
        wait_until(lambda: list_effects(effects))
        watched.canceled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(CommandCanceled):
        connect_executor(server).run(build_effect(effects, LASTS=60), watched.invocation())
    thread.join()
    assert not server.running


def test_an_execution_that_cannot_be_canceled_is_named(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    server.faults = lambda method, request: Fault(code=Status.PERMISSION_DENIED) if method == "CancelExecution" else None

    def cancel() -> None:
        wait_until(lambda: list_effects(effects))
        watched.canceled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(CommandError, match=r"could not be canceled.*gcloud run jobs executions cancel starlake-") as error:
        connect_executor(server).run(build_effect(effects, LASTS=60), watched.invocation())
    thread.join()
    assert not isinstance(error.value, CommandCanceled)


def test_an_exception_in_the_waiting_thread_cancels_what_it_started(server: CloudRunServer, effects: Path, watched: Watched) -> None:
    """Dagster ends a step's thread with an exception that is not a subclass of Exception."""

    class Interrupt(BaseException):
        pass

    def report(metadata: object) -> None:
        wait_until(lambda: list_effects(effects))
        raise Interrupt

    with pytest.raises(Interrupt):
        connect_executor(server).run(build_effect(effects, LASTS=60), watched.invocation(report=report))
    assert not server.running


def test_exit_code_1_of_a_preload_means_not_ready_unless_it_broke(server: CloudRunServer, watched: Watched) -> None:
    server.add_job(command=[*SHELL, "exit 1", "sh"])
    result = connect_executor(server).run(build_command(verb="preload"), watched.invocation())
    assert result.not_ready
    server.add_job(command=[*SHELL, "exit 2", "sh"])
    assert not connect_executor(server).run(build_command(verb="preload"), watched.invocation(step_key="b")).not_ready
    server.add_job(command=[*SHELL, "kill -9 $$", "sh"])
    assert not connect_executor(server).run(build_command(verb="preload"), watched.invocation(step_key="c")).not_ready


def test_without_an_exit_code_a_failed_preload_is_a_failure(server: CloudRunServer, watched: Watched) -> None:
    server.add_job(command=[*SHELL, "exit 1", "sh"])
    server.faults = lambda method, request: Fault(code=Status.PERMISSION_DENIED) if method == "ListTasks" else None
    result = connect_executor(server).run(build_command(verb="preload"), watched.invocation())
    assert (result.exit_code, result.not_ready) == (1, False)


def test_a_sentinel_of_an_earlier_preload_is_ignored(server: CloudRunServer, tmp_path: Path, watched: Watched) -> None:
    folder = tmp_path / "sentinels"
    folder.mkdir()
    ready = tmp_path / "ready"
    script = f'while [ $# -gt 0 ]; do [ "$1" = --notReadySentinel ] && s=$2; shift; done; test -e {ready} || : > "$s"'
    server.add_job(command=[*SHELL, script, "sh"])
    executor = connect_executor(server, not_ready_folder=str(folder))
    first = executor.run(build_command(verb="preload"), watched.invocation())
    again = executor.run(build_command(verb="preload"), watched.invocation())
    ready.touch()
    at_last = executor.run(build_command(verb="preload"), watched.invocation())
    assert [first.not_ready, again.not_ready, at_last.not_ready] == [True, True, False]
    assert not list(folder.iterdir())


def test_arguments_may_be_inserted_before_the_verb(server: CloudRunServer, watched: Watched) -> None:
    connect_executor(server, arguments_prefix=["-m", "starlake"]).run(build_command(arguments=("--name", "a.b")), watched.invocation())
    assert server.list_all()[0].args == ("-m", "starlake", "transform", "--name", "a.b")
