"""After the run's process is killed, the steps that had not finished run exactly once more."""

# mypy: disable-error-code="union-attr, misc"

import signal
from importlib import import_module
from pathlib import Path

import dagster as dg
import step_jobs
from step_fixtures import Start
from step_jobs import EXECUTE
from waiting import wait_until

STARTED_LATE = ["table_6", "table_7", "table_8", "table_9"]


def kill_in_the_middle(instance: dg.DagsterInstance, work: Path, start: Start) -> tuple[dg.DagsterRun, dict[str, int], set[str]]:
    """Kill a run when some tables are done, some run and some wait; return executions so far, and the tables that are done."""
    process = start("-c", EXECUTE.format(job="tables"))

    def in_the_middle() -> bool:
        done = step_jobs.count_executions()
        return sum((work / f"{t}_runs").exists() for t in STARTED_LATE) == 4 and done["table_5"] == 1

    wait_until(in_the_middle, "tables to run")
    (run,) = instance.get_runs()
    wait_until(lambda: "table_5" in list_succeeded(instance, run.run_id), "the end of table_5")
    process.send_signal(signal.SIGKILL)
    process.wait()
    return run, dict(step_jobs.count_executions()), list_succeeded(instance, run.run_id)


def list_succeeded(instance: dg.DagsterInstance, run_id: str) -> set[str]:
    return {e.dagster_event.step_key for e in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)}


def check_once_more(before: dict[str, int], done: set[str]) -> None:
    assert done == {f"table_{i}" for i in range(6)}
    after = step_jobs.count_executions()
    assert {k: after[k] - before.get(k, 0) for k in after} == {f"table_{i}": int(i >= 6) for i in range(15)}


def test_reexecution_from_failure_repeats_only_unfinished_steps(instance: dg.DagsterInstance, work: Path, start: Start) -> None:
    run, before, done = kill_in_the_middle(instance, work, start)
    instance.report_run_failed(run)  # Dagster's run monitoring does that
    step_jobs.mark("go")
    options = dg.ReexecutionOptions.from_failure(run.run_id, instance)
    result = dg.execute_job(dg.reconstructable(step_jobs.tables), instance, reexecution_options=options)
    assert result.success
    check_once_more(before, done)


def test_a_resumed_run_repeats_only_unfinished_steps(instance: dg.DagsterInstance, work: Path, start: Start) -> None:
    """Run monitoring may start a new process for the same run (max_resume_run_attempts)."""
    run, before, done = kill_in_the_middle(instance, work, start)
    step_jobs.mark("go")
    # The only way to resume a run without a Kubernetes cluster.
    execute_run_iterator = import_module("dagster._core.execution.api").execute_run_iterator
    lost = instance.get_run_by_id(run.run_id)
    events = list(execute_run_iterator(dg.reconstructable(step_jobs.tables), lost, instance, resume_from_failure=True))
    assert events[-1].event_type_value == "PIPELINE_SUCCESS"
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.SUCCESS
    check_once_more(before, done)
