"""The same job gives the same events under this package's executor and under Dagster's."""

# mypy: disable-error-code="union-attr"

import gc
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import step_jobs

# Dagster's multiprocess executor has further events about its processes; resources are set up per step there and here, once per run in
# process; LOGS_CAPTURED carries no step.
AROUND = {
    "STEP_WORKER_STARTING",
    "STEP_WORKER_STARTED",
    "RESOURCE_INIT_STARTED",
    "RESOURCE_INIT_SUCCESS",
    "LOGS_CAPTURED",
    "ENGINE_EVENT",
}


def group_by_step(events: Iterable[dg.DagsterEvent]) -> dict[str, list[str]]:
    """The events of each step in their order; its hooks, which Dagster keeps in a set, sorted at the end."""
    found: dict[str, list[str]] = {}
    hooks: dict[str, list[str]] = {}
    for event in events:
        kind = event.event_type_value
        if event.step_key and kind not in AROUND and not kind.endswith("_PLANNED"):
            (hooks if kind.startswith("HOOK_") else found).setdefault(event.step_key, []).append(kind)
    return {step: [*kinds, *sorted(hooks.get(step, []))] for step, kinds in found.items()}


def list_events(result: dg.JobExecutionResult) -> dict[str, list[str]]:
    return group_by_step(result.all_events)


def list_stored_events(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[str]]:
    return group_by_step(entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event)


def run(name: str, instance: dg.DagsterInstance, **kwargs: Any) -> dg.JobExecutionResult:
    return dg.execute_job(dg.reconstructable(getattr(step_jobs, name)), instance, **kwargs)


def run_in_process(
    name: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, list[str]], Counter[str]]:
    """Events and executions under Dagster's in-process executor."""
    other = tmp_path / "expected"
    other.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("STEP_JOBS_FOLDER", str(other))
        result = run(name, instance)
        return list_events(result), step_jobs.count_executions()


def test_events_are_the_same_as_with_the_in_process_executor(
    instance: dg.DagsterInstance, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, executions = run_in_process("everything_in_process", instance, tmp_path, monkeypatch)
    result = run("everything_threads", instance)
    assert not result.success
    assert list_events(result) == events
    assert list_stored_events(instance, result.run_id) == events
    tool = {"tool_set_up", "tool_torn_down"}
    assert {k: v for k, v in step_jobs.count_executions().items() if k not in tool} == {
        k: v for k, v in executions.items() if k not in tool
    }
    assert result.get_failed_step_keys() == {"failing", "not_to_be_retried", "checked"}
    assert result.get_step_success_events()


@pytest.mark.slow
def test_events_are_the_same_as_with_the_multiprocess_executor(
    instance: dg.DagsterInstance, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resources included: each step that needs one has its own, as in a process of its own."""
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "AROUND", AROUND - {"RESOURCE_INIT_STARTED", "RESOURCE_INIT_SUCCESS"})
        other = tmp_path / "expected"
        other.mkdir()
        patch.setenv("STEP_JOBS_FOLDER", str(other))
        events, executions = list_events(run("some_multiprocess", instance)), step_jobs.count_executions()
        patch.setenv("STEP_JOBS_FOLDER", str(work))
        assert list_events(run("some_threads", instance)) == events
        assert step_jobs.count_executions() == executions


def test_each_step_has_its_events(instance: dg.DagsterInstance, work: Path) -> None:
    result = run("everything_threads", instance)
    events = list_events(result)
    assert events["after_nothing_new"] == ["STEP_SKIPPED"]
    assert events["long_after_nothing_new"] == ["STEP_SKIPPED"]
    assert events["after_right"] == ["STEP_SKIPPED"]
    assert "STEP_SUCCESS" in events["after_left"]
    assert "after_failing" not in events
    assert events["retried_by_policy"].count("STEP_UP_FOR_RETRY") == 2
    assert events["retried_by_policy"].count("STEP_RESTARTED") == 2
    assert events["retried_by_request"].count("STEP_RESTARTED") == 1
    assert "STEP_UP_FOR_RETRY" not in events["not_to_be_retried"]
    assert events["failing"][-2:] == ["HOOK_ERRORED", "HOOK_SKIPPED"]
    executions = step_jobs.count_executions()
    assert executions["retried_by_policy"] == 3
    assert executions["reads_value_tool"] == 1
    assert executions["success_hook_plain"] == 1
    assert executions["failure_hook_failing"] == 1
    assert executions["tool_set_up"] == executions["tool_torn_down"] == 1


def test_events_are_in_order(instance: dg.DagsterInstance, work: Path) -> None:
    """Events of a step come in their order, and a step starts after what it depends on has succeeded."""
    result = run("everything_threads", instance)
    values = [(e.event_type_value, e.step_key) for e in result.all_events]
    assert values[0][0] == "PIPELINE_START"
    assert values[-1][0] == "PIPELINE_FAILURE"
    assert values.index(("STEP_SUCCESS", "with_resource")) < values.index(("STEP_START", "reads_value"))
    assert values.index(("STEP_SUCCESS", "plain")) < values.index(("STEP_START", "retried_by_policy"))
    starts = Counter(v for v in values if v[0] in ("STEP_START", "STEP_SUCCESS"))
    assert max(starts.values()) == 1


def test_the_failure_of_a_step_contains_its_error(instance: dg.DagsterInstance, work: Path) -> None:
    result = run("everything_threads", instance)
    failure = result.failure_data_for_node("failing")
    assert failure.error.cause.message == "ValueError: broken on purpose\n"
    intended = result.failure_data_for_node("not_to_be_retried").user_failure_data
    assert intended.metadata["exit_code"].value == 2


def test_retries_can_be_disabled(instance: dg.DagsterInstance, work: Path) -> None:
    result = run("everything_threads", instance, run_config={"execution": {"config": {"retries": {"disabled": {}}}}})
    assert step_jobs.count_executions()["retried_by_policy"] == 1
    assert "retried_by_request" in result.get_failed_step_keys()


# The other steps are interrupted wherever they are: between opening a file and its ``with``, or before a coroutine starts.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore:coroutine .* was never awaited:RuntimeWarning")
def test_raise_on_error(instance: dg.DagsterInstance, work: Path) -> None:
    with pytest.raises(Exception, match=r"on purpose|no use|blocking asset check") as caught:
        run("everything_threads", instance, raise_on_error=True)
    del caught
    gc.collect()  # so that these warnings do not come in a later test


def test_runs_without_reconstructable_job_and_persistent_instance(work: Path) -> None:
    @dg.op
    def one() -> Any:
        return 1

    @dg.op
    def two(one: Any) -> None:
        step_jobs.record_run(f"two_{one}")

    @dg.job(executor_def=step_jobs.EXECUTORS["threads"])
    def in_memory() -> None:
        two(one())

    assert in_memory.execute_in_process().success
    assert step_jobs.count_executions()["two_1"] == 1


def test_failing_resource_fails_its_step_only(instance: dg.DagsterInstance, work: Path) -> None:
    result = dg.execute_job(dg.reconstructable(broken_resource), instance)
    events = list_events(result)
    assert events["needs_it"] == ["RESOURCE_INIT_FAILURE", "STEP_UP_FOR_RETRY", "RESOURCE_INIT_FAILURE", "STEP_FAILURE"]
    assert "STEP_SUCCESS" in events["does_not"]


def broken_resource() -> dg.JobDefinition:
    class Broken(dg.ConfigurableResource[Any]):
        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            raise OSError("no connection")

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def needs_it(broken: Broken) -> None:
        pass

    @dg.asset
    def does_not() -> None:
        pass

    job = dg.define_asset_job("job", executor_def=step_jobs.EXECUTORS["threads"])
    return dg.Definitions(assets=[needs_it, does_not], jobs=[job], resources={"broken": Broken()}).resolve_job_def("job")
