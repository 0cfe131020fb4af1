"""Canceling a run whose steps run in threads, by a signal to the run's process and through Dagster."""

# mypy: disable-error-code="union-attr, attr-defined"

import signal
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest
import step_jobs
from program import is_alive
from step_fixtures import Start
from step_jobs import EXECUTE
from waiting import wait_until
from web_server import WebServer


def list_events(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str | None, str, str]]:
    return [
        (e.dagster_event.step_key, e.dagster_event.event_type_value, e.dagster_event.message or "")
        for e in instance.all_logs(run_id)
        if e.dagster_event
    ]


def get_only_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    (run,) = instance.get_runs()
    return run


def check_canceled(instance: dg.DagsterInstance, run_id: str, work: Path) -> None:
    events = list_events(instance, run_id)
    ends = {step: kind for step, kind, _ in events if kind in ("STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY")}
    assert ends == {"finished_before": "STEP_SUCCESS", "watches_event": "STEP_FAILURE", "interrupted_in_python": "STEP_FAILURE"}
    assert not [e for e in events if e[0] == "after_watches_event" and e[1] == "STEP_START"]
    assert (work / "watches_event_canceled").exists()
    assert (work / "interrupted_in_python_interrupted").exists()
    assert not is_alive(int((work / "watched_pid").read_text()))
    sources = {
        e.dagster_event.step_key: e.dagster_event.step_failure_data.error_source.value
        for e in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    }
    assert sources == {"watches_event": "INTERRUPT", "interrupted_in_python": "INTERRUPT"}


def are_all_running(instance: dg.DagsterInstance, work: Path) -> bool:
    """Return whether one step has ended with its event, and the other two are running."""
    if not ((work / "watches_event_runs").exists() and (work / "interrupted_in_python_runs").exists()):
        return False
    return any(event[:2] == ("finished_before", "STEP_SUCCESS") for event in list_events(instance, get_only_run(instance).run_id))


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_run_process_cancels_steps(instance: dg.DagsterInstance, work: Path, start: Start, signal_: signal.Signals) -> None:
    process = start("-c", EXECUTE.format(job="cancellable"))
    wait_until(lambda: are_all_running(instance, work), "the steps to run")
    run = get_only_run(instance)
    instance.report_run_canceling(run)
    process.send_signal(signal_)
    wait_until(lambda: instance.get_run_by_id(run.run_id).is_finished, "the end of the run")
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED
    check_canceled(instance, run.run_id, work)
    process.wait(600)


@pytest.mark.slow
def test_terminating_a_run_in_the_ui_cancels_steps(instance: dg.DagsterInstance, work: Path, start: Start) -> None:
    """A run that a web server launched into a process of its code server, and terminates."""
    pytest.importorskip("dagster_webserver")
    web = WebServer(start, "step_jobs")
    run_id = web.launch("job")
    wait_until(lambda: are_all_running(instance, work), "the steps to run")
    web.terminate(run_id)
    wait_until(lambda: instance.get_run_by_id(run_id).is_finished, "the end of the run")
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.CANCELED
    check_canceled(instance, run_id, work)


def test_a_step_that_ignores_its_cancellation_is_abandoned(instance: dg.DagsterInstance, work: Path, start: Start) -> None:
    process = start("-c", EXECUTE.format(job="stubborn"))
    wait_until(lambda: (work / "ignores_everything_runs").exists(), "the step to run")
    run = get_only_run(instance)
    instance.report_run_canceling(run)
    process.send_signal(signal.SIGTERM)
    process.wait(600)
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED
    events = list_events(instance, run.run_id)
    assert any(
        kind == "ENGINE_EVENT" and "1 step did not end within 1 s" in text and "ignores_everything" in text for _, kind, text in events
    )
    assert ("ignores_everything", "STEP_FAILURE") in {(step, kind) for step, kind, _ in events}


def test_hooks_and_resources_of_a_canceled_step_end_normally(instance: dg.DagsterInstance, work: Path, start: Start) -> None:
    process = start("-c", EXECUTE.format(job="with_slow_hooks"))
    wait_until(lambda: (work / "hook_runs").exists(), "the first hook to run")
    run = get_only_run(instance)
    instance.report_run_canceling(run)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: any("canceling the running steps" in text for _, _, text in list_events(instance, run.run_id)), "the cancellation")
    (work / "hooks_may_end").touch()
    process.wait(600)
    assert step_jobs.count_executions() == dict.fromkeys(
        ["tool_set_up", "ends_before_hooks", "first_hook", "second_hook", "tool_torn_down"], 1
    )
    assert [kind for _, kind, _ in list_events(instance, run.run_id) if kind.startswith("HOOK_")] == ["HOOK_COMPLETED"] * 2
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("job", ["cancellable_in_process", pytest.param("cancellable_multiprocess", marks=pytest.mark.slow)])
def test_commands_are_canceled_under_dagsters_executors(instance: dg.DagsterInstance, work: Path, start: Start, job: str) -> None:
    """run_cancellable also notifies a command of the cancellation if Dagster interrupts the main thread."""
    process = start("-c", EXECUTE.format(job=job))
    wait_until(lambda: (work / "watches_event_runs").exists(), "the step to run")
    run = get_only_run(instance)
    instance.report_run_canceling(run)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: instance.get_run_by_id(run.run_id).is_finished, "the end of the run")
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED
    wait_until(lambda: (work / "watches_event_canceled").exists(), "the end of the command")
    assert not is_alive(int((work / "watched_pid").read_text()))
    assert step_jobs.count_executions()["watches_event"] == 1  # although it has a retry policy, which Dagster respects when it interrupts
    process.wait(600)


def test_without_cancellation_the_event_is_never_set(instance: dg.DagsterInstance, work: Path) -> None:
    found = []

    @dg.asset
    def looks(context: dg.AssetExecutionContext) -> None:
        event = step_jobs.get_cancellation(context)
        assert event is step_jobs.get_cancellation(context)
        found.append(event.is_set())
        assert step_jobs.run_cancellable(context, lambda canceled: canceled is event)

    assert dg.materialize([looks]).success
    looks(dg.build_asset_context())
    assert found == [False, False]


def test_errors_in_a_cancellable_call_are_raised(work: Path) -> None:
    @dg.asset
    def fails(context: dg.AssetExecutionContext) -> None:
        def call(canceled: threading.Event) -> None:
            raise KeyError("from the call")

        step_jobs.run_cancellable(context, call)

    result = dg.materialize([fails], raise_on_error=False)
    assert "from the call" in result.failure_data_for_node("fails").error.cause.message


if sys.platform == "win32":
    pytest.skip("signals", allow_module_level=True)
