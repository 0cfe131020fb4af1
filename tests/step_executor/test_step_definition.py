"""The executor's definition: configuration, the field of a component, and the fallback if Dagster's internals have changed."""

# mypy: disable-error-code="union-attr"

import logging
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import step_jobs

from starlake_dagster_components.component import StarlakeProjectComponent
from starlake_dagster_components.errors import InvalidSetting
from starlake_dagster_components.step_executor.definition import starlake_step_executor
from starlake_dagster_components.step_executor.names import find_step_executor


def test_the_executor_is_called_starlake_threads() -> None:
    definition = starlake_step_executor()
    assert definition.name == "starlake_threads"
    assert starlake_step_executor(max_concurrent=7).name == "starlake_threads"


@pytest.mark.parametrize("number", [0, -1])
def test_max_concurrent_must_be_positive(number: int) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=f"max_concurrent is {number}, expected 1 or more"):
        starlake_step_executor(max_concurrent=number)


def test_max_concurrent_in_run_config_must_be_positive(instance: dg.DagsterInstance) -> None:
    config = {"execution": {"config": {"max_concurrent": 0}}}
    result = dg.execute_job(dg.reconstructable(step_jobs.some_threads), instance, run_config=config)
    assert not result.success
    failure = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[-1]
    assert "max_concurrent is 0, expected 1 or more" in str(failure.dagster_event.event_specific_data)


def small() -> dg.JobDefinition:
    return step_jobs.resolve([step_jobs.plain])


@pytest.mark.slow
def test_falls_back_to_dagsters_executor_if_dagster_internals_have_moved(
    instance: dg.DagsterInstance, work: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in [m for m in sys.modules if m.startswith("starlake_dagster_components.step_executor.threads")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "starlake_dagster_components._dagster", None)
    with caplog.at_level(logging.WARNING, "starlake_dagster_components"):
        result = dg.execute_job(dg.reconstructable(small), instance)
    assert result.success
    assert "STEP_WORKER_STARTED" in {e.event_type_value for e in result.all_events}
    assert "steps run in processes instead of threads" in caplog.text


def load(yaml: str) -> StarlakeProjectComponent:
    component: StarlakeProjectComponent = StarlakeProjectComponent.resolve_from_yaml(f"project: anywhere\n{yaml}")
    return component


def test_a_component_accepts_step_executors() -> None:
    assert load("").step_executor is None
    assert load("step_executor: multiprocess").step_executor is dg.multiprocess_executor
    assert load("step_executor: in_process").step_executor is dg.in_process_executor
    assert load("step_executor: threads").step_executor.name == "starlake_threads"
    configured = load("step_executor: {type: multiprocess, config: {max_concurrent: 2}}").step_executor
    assert configured.name == "multiprocess"
    assert load("step_executor: dagster.in_process_executor").step_executor is dg.in_process_executor


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        ("thread", "unknown step executor 'thread' \\(did you mean 'threads'\\?\\)"),
        ("no.such.module", "cannot be imported"),
        ("dagster.nothing", "cannot be imported"),
        ("dagster.AssetKey", "expected an executor definition"),
    ],
)
def test_a_wrong_step_executor_in_a_component_is_rejected(type_: Any, message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        find_step_executor(type_)


def test_configured_executor_runs(instance: dg.DagsterInstance, work: Path) -> None:
    result = dg.execute_job(dg.reconstructable(configured_job), instance)
    assert result.success
    assert any("at most 2 at a time" in (e.message or "") for e in result.all_events)


def configured_job() -> dg.JobDefinition:
    return step_jobs.resolve([step_jobs.plain], find_step_executor("threads", {"max_concurrent": 2}))


def test_a_code_location_accepts_a_step_executor(work: Path) -> None:
    """The implicit job behind the Materialize buttons takes the executor of the definitions."""
    definitions = dg.Definitions(assets=[step_jobs.plain], executor=starlake_step_executor())
    assert definitions.resolve_implicit_global_asset_job_def().executor_def.name == "starlake_threads"
