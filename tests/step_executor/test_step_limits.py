"""The number of steps that run at a time, their order, and limits."""

# mypy: disable-error-code="untyped-decorator"

import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import step_jobs
from step_jobs import record_run, resolve

from starlake_dagster_components.step_executor.definition import starlake_step_executor

NUMBER = 12
_lock = threading.Lock()
_now: dict[str, int] = defaultdict(int)
_most: dict[str, int] = defaultdict(int)


def build_counted(name: str, group: str, together: threading.Barrier | None = None, **kwargs: Any) -> Any:
    """Return an asset that counts how many of its group run at the same time. With a barrier, none ends before that many run."""

    @dg.asset(name=name, **kwargs)
    def body() -> None:
        with _lock:
            _now[group] += 1
            _now["all"] += 1
            for each in (group, "all"):
                _most[each] = max(_most[each], _now[each])
        if together:
            together.wait(300)
        else:
            threading.Event().wait(0.15)
        with _lock:
            _now[group] -= 1
            _now["all"] -= 1
        record_run(name)

    return body


def start_counting() -> None:
    _now.clear()
    _most.clear()


def run(make: Callable[[], dg.JobDefinition], instance: dg.DagsterInstance, **kwargs: Any) -> dg.JobExecutionResult:
    start_counting()
    result = dg.execute_job(dg.reconstructable(make), instance, **kwargs)
    assert result.success
    return result


def three_at_a_time() -> dg.JobDefinition:
    together = threading.Barrier(3)
    return resolve([build_counted(f"step_{i}", "x", together) for i in range(NUMBER)], starlake_step_executor(max_concurrent=3))


def test_max_concurrent_limits_parallel_steps(instance: dg.DagsterInstance) -> None:
    run(three_at_a_time, instance)
    assert _most["all"] == 3


def as_many_as_configured() -> dg.JobDefinition:
    return resolve([build_counted(f"step_{i}", "x") for i in range(NUMBER)], starlake_step_executor(max_concurrent=3))


def test_max_concurrent_can_be_set_in_run_config(instance: dg.DagsterInstance) -> None:
    run(as_many_as_configured, instance, run_config={"execution": {"config": {"max_concurrent": 1}}})
    assert _most["all"] == 1


def by_priority() -> dg.JobDefinition:
    tags = [{"dagster/priority": str(priority)} for priority in (1, 3, -1, 2)]
    assets = [build_counted(f"priority_{t['dagster/priority'].replace('-', 'minus_')}", "x", op_tags=t) for t in tags]
    return resolve(assets, starlake_step_executor(max_concurrent=1))


def test_steps_start_in_the_order_of_their_priority(instance: dg.DagsterInstance, work: Path) -> None:
    run(by_priority, instance)
    assert (work / "ran").read_text().split() == ["priority_3", "priority_2", "priority_1", "priority_minus_1"]


def tagged() -> dg.JobDefinition:
    two, three = threading.Barrier(2), threading.Barrier(3)
    heavy = [build_counted(f"heavy_{i}", "heavy", two, op_tags={"size": "heavy"}) for i in range(6)]
    light = [build_counted(f"light_{i}", "light", three, op_tags={"size": "light"}) for i in range(6)]
    limits = {"tag_concurrency_limits": [{"key": "size", "value": "heavy", "limit": 2}]}
    return resolve([*heavy, *light], starlake_step_executor(max_concurrent=8).configured(limits))


def test_tag_concurrency_limits_are_applied(instance: dg.DagsterInstance) -> None:
    run(tagged, instance)
    assert _most["heavy"] == 2
    assert _most["light"] > 2


def pooled() -> dg.JobDefinition:
    in_pool = [build_counted(f"pooled_{i}", "pooled", pool="warehouse") for i in range(4)]
    two = threading.Barrier(2)
    return resolve([*in_pool, *[build_counted(f"free_{i}", "free", two) for i in range(4)]], starlake_step_executor(max_concurrent=8))


def test_pools_limit_parallel_steps(instance: dg.DagsterInstance) -> None:
    instance.event_log_storage.set_concurrency_slots("warehouse", 1)
    result = run(pooled, instance)
    assert _most["pooled"] == 1
    assert _most["free"] > 1
    assert instance.event_log_storage.get_concurrency_info("warehouse").active_slot_count == 0
    assert "STEP_CONCURRENCY_BLOCKED" in {
        e.event_specific_data.__class__.__name__ and e.event_type_value for e in result.all_events
    } or any("blocked by limit for pool warehouse" in (e.message or "") for e in result.all_events)


HUNDREDS = 200
_all_here = threading.Barrier(HUNDREDS)


def hundreds() -> dg.JobDefinition:
    def waits(number: int) -> Any:
        @dg.asset(name=f"waits_{number}")
        def body() -> None:
            _all_here.wait(300)

        return body

    return resolve([waits(i) for i in range(HUNDREDS)], starlake_step_executor(max_concurrent=HUNDREDS))


@pytest.mark.slow
def test_hundreds_of_steps_run_at_the_same_time(instance: dg.DagsterInstance) -> None:
    """None of them ends before all of them run."""
    result = dg.execute_job(dg.reconstructable(hundreds), instance)
    assert result.success
    assert len(result.get_step_success_events()) == HUNDREDS
    assert step_jobs.count_executions() == {}
