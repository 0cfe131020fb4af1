"""The earlier runs that a step continues."""

from pathlib import Path

import dagster as dg
import pytest
from dagster_home import open_instance

from starlake_dagster_components.definitions.steps.run_history import RunHistories, RunHistory, find_usual_seconds


def build_history(*succeeded: set[str]) -> RunHistory:
    """A chain of earlier runs ``run_0`` (nearest), ``run_1`` ..., with the steps that succeeded in each."""
    return RunHistory(None, tuple(f"run_{i}" for i in range(len(succeeded))), tuple(frozenset(each) for each in succeeded))


def test_a_first_run_continues_nothing() -> None:
    assert build_history().list_continued_runs("orders") == ()


def test_all_runs_in_which_the_step_did_not_succeed_are_continued() -> None:
    assert build_history({"items"}, set(), {"items"}).list_continued_runs("orders") == ("run_0", "run_1", "run_2")


def test_a_run_in_which_the_step_succeeded_and_those_before_it_are_not_continued() -> None:
    assert build_history({"orders"}).list_continued_runs("orders") == ()
    assert build_history(set(), {"orders"}, set()).list_continued_runs("orders") == ("run_0",)


def test_success_of_a_step_with_the_same_prefix_is_ignored() -> None:
    assert build_history({"orders_2"}).list_continued_runs("orders") == ("run_0",)


_broken = False


@dg.asset
def orders() -> None:
    if _broken:
        raise ValueError("on purpose")


@dg.asset
def items() -> None:
    pass


def job() -> dg.JobDefinition:
    made = dg.define_asset_job("job", executor_def=dg.in_process_executor)
    return dg.Definitions(assets=[orders, items], jobs=[made]).resolve_job_def("job")


def test_a_chain_of_real_runs_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run of ``orders`` succeeds and is re-executed as a whole. Then two runs fail, one after the other."""
    with open_instance(tmp_path) as instance:

        def run(options: dg.ReexecutionOptions | None) -> dg.DagsterRun:
            result = dg.execute_job(dg.reconstructable(job), instance, reexecution_options=options)
            found = instance.get_run_by_id(result.run_id)
            assert found is not None
            return found

        first = run(None)
        monkeypatch.setitem(globals(), "_broken", True)
        second = run(dg.ReexecutionOptions(first.run_id))
        third = run(dg.ReexecutionOptions.from_failure(second.run_id, instance))
        found = RunHistories().find(third, instance)
        assert found.earlier_runs == (second.run_id, first.run_id)
        assert found.list_continued_runs("orders") == (second.run_id,)
        assert found.list_continued_runs("items") == ()
        created = instance.get_run_record_by_id(first.run_id)
        assert created is not None
        assert found.since is not None
        assert found.since.timestamp() == created.create_timestamp.timestamp()


def test_the_usual_seconds_of_a_step_are_the_maximum_of_its_latest_materializations(tmp_path: Path) -> None:
    found: list[float | None] = []
    seconds = [3.5, 40.0, 2.0]

    @dg.asset
    def timed(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        found.append(find_usual_seconds(context))
        return dg.MaterializeResult(metadata={"starlake/seconds": seconds[len(found) - 1]})

    with open_instance(tmp_path) as instance:
        for _ in seconds:
            assert dg.materialize([timed], instance=instance).success
    assert found == [None, 3.5, 40.0]
