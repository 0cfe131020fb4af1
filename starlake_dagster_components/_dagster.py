"""The private names of Dagster that are used by runs, checked on import.

Only ``step_executor.threads`` and the modules that it imports use this module, and only when a run starts. If a release of Dagster moves or
changes one of the names, importing this module raises an ImportError with the name, and steps run on Dagster's multiprocess executor, with
a warning (see ``step_executor.definition``). ``tests/test_private_dagster.py`` fails in that case. ``_dagster_jobs.py`` has the names that
are used to load a code location.
"""

from collections.abc import Iterator, Sequence
from logging import Handler, Logger
from typing import Any

import dagster

# Data of engine events, such as the start of the executor.
from dagster._core.events import EngineEventData as EngineEventData

# Names for the files with the captured output of steps.
from dagster._core.execution.compute_logs import create_compute_log_file_key as create_compute_log_file_key

# Executor.execute receives a PlanOrchestrationContext. Each step needs a PlanExecutionContext with its own log manager and resources.
from dagster._core.execution.context.system import PlanExecutionContext as PlanExecutionContext
from dagster._core.execution.context.system import PlanOrchestrationContext as PlanOrchestrationContext

# The job, repository, and resolved run config of a run, which the context of every step contains.
from dagster._core.execution.context_creation_job import ContextCreationData as ContextCreationData
from dagster._core.execution.context_creation_job import create_context_creation_data as create_context_creation_data
from dagster._core.execution.context_creation_job import create_execution_data as create_execution_data

# The state machine that determines the next steps: dependencies, skips, retries, priorities, tag limits, and pools.
from dagster._core.execution.plan.active import ActiveExecution as ActiveExecution

# Run one step and its hooks, and yield the events.
from dagster._core.execution.plan.execute_plan import _trigger_hook
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step as dagster_event_sequence_for_step

# Claims slots of concurrency pools.
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext as InstanceConcurrencyContext

# Data of failure and retry events of a step. ErrorSource.INTERRUPT marks canceled steps.
from dagster._core.execution.plan.objects import ErrorSource as ErrorSource
from dagster._core.execution.plan.objects import StepFailureData as StepFailureData
from dagster._core.execution.plan.objects import StepRetryData as StepRetryData

# Types of the arguments of Executor.execute, and of steps.
from dagster._core.execution.plan.plan import ExecutionPlan as ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState as KnownExecutionState
from dagster._core.execution.plan.step import ExecutionStep as ExecutionStep

# Initialize the resources of a step, and yield the events.
from dagster._core.execution.resources_init import get_required_resource_keys_to_init as get_required_resource_keys_to_init
from dagster._core.execution.resources_init import resource_initialization_manager as resource_initialization_manager

# Types of Executor.retries and Executor.step_dependency_config.
from dagster._core.execution.retries import RetryMode as RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig as StepDependencyConfig

# Log managers add the step's name to log messages. They also capture Python loggers, which threads must do differently.
from dagster._core.log_manager import DagsterLogHandler as DagsterLogHandler
from dagster._core.log_manager import DagsterLogManager as DagsterLogManager

# Stores the captured output of steps.
from dagster._core.storage.compute_log_manager import CapturedLogContext as CapturedLogContext
from dagster._core.storage.compute_log_manager import ComputeIOType as ComputeIOType
from dagster._core.storage.compute_log_manager import ComputeLogManager as ComputeLogManager
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager as LocalComputeLogManager

# Convert exceptions to data of events.
from dagster._utils.error import serializable_error_info_from_exc_info as serializable_error_info_from_exc_info
from dagster_shared.error import SerializableErrorInfo as SerializableErrorInfo

from ._dagster_check import Attributes, Parameters, find_changes, reject_changes

run_hooks = _trigger_hook


def get_log_handlers(manager: DagsterLogManager) -> tuple[Sequence[Logger], Sequence[Handler], Sequence[Logger]]:
    """Return the loggers and handlers to which a log manager writes, and the Python loggers that it captures."""
    handler = manager._dagster_handler
    return handler._loggers, handler._handlers, manager._managed_loggers


def narrow_plan_to_step(plan: ExecutionPlan, step: ExecutionStep) -> ExecutionPlan:
    """Return the plan with only one step to execute, so that Dagster attributes resource events to that step."""
    return plan._replace(step_handles_to_execute=[step.handle])


_PARAMETERS: Parameters = (
    (ActiveExecution, "__init__", "execution_plan retry_mode tag_concurrency_limits instance_concurrency_context step_dependency_config"),
    (CapturedLogContext, "__new__", "log_key"),
    (DagsterLogHandler, "__init__", "metadata loggers handlers"),
    (DagsterLogManager, "__init__", "dagster_handler level managed_loggers"),
    (InstanceConcurrencyContext, "__init__", "instance dagster_run"),
    (PlanExecutionContext, "__init__", "plan_data execution_data log_manager output_capture event_loop"),
    (StepFailureData, "__new__", "error user_failure_data error_source"),
    (StepRetryData, "__new__", "error seconds_to_wait"),
    (dagster.DagsterEvent, "capture_logs", "job_context step_keys log_key log_context"),
    (dagster.DagsterEvent, "engine_event", "plan_context message event_specific_data"),
    (dagster.DagsterEvent, "step_failure_event", "step_context step_failure_data"),
    (dagster.DagsterEvent, "step_retry_event", "step_context step_retry_data"),
    (create_context_creation_data, "", "job execution_plan run_config dagster_run instance"),
    (create_execution_data, "", "context_creation_data scoped_resources_builder"),
    (dagster_event_sequence_for_step, "", "step_context"),
    (get_required_resource_keys_to_init, "", "execution_plan job_def"),
    (
        resource_initialization_manager,
        "",
        "resource_defs resource_configs log_manager execution_plan dagster_run resource_keys_to_init instance "
        "emit_persistent_events event_loop",
    ),
    (run_hooks, "", "step_context step_event_list"),
)
_ATTRIBUTES: Attributes = (
    (
        ActiveExecution,
        "check_for_interrupts concurrency_event_iterator get_known_state get_step_by_key get_steps_to_execute "
        "handle_event is_complete mark_interrupted plan_events_iterator sleep_interval verify_complete",
    ),
    (ComputeLogManager, "build_log_key_for_run capture_logs open_log_stream"),
    (ContextCreationData, "job_def resolved_run_config"),
    (DagsterLogHandler, "emit filter metadata with_tags"),
    (DagsterLogManager, "begin_python_log_capture end_python_log_capture with_tags"),
    (dagster.DagsterEvent, "engine_event_data is_resource_init_failure is_step_up_for_retry step_failure_data"),
    (EngineEventData, "interrupted"),
    (ErrorSource, "INTERRUPT"),
    (ExecutionPlan, "_replace step_handles_to_execute step_keys_to_execute"),
    (ExecutionStep, "handle key"),
    (InstanceConcurrencyContext, "has_pending_claims"),
    (LocalComputeLogManager, "complete_artifact_path open_log_stream"),
    (PlanExecutionContext, "for_step"),
    (PlanOrchestrationContext, "for_step log output_capture plan_data resume_from_failure"),
    (KnownExecutionState, "get_retry_state"),
    (RetryMode, "from_config for_inner_plan"),
    (StepDependencyConfig, "from_config"),
)


def _find_changes() -> Iterator[str]:
    yield from find_changes(_PARAMETERS, _ATTRIBUTES)
    metadata: Any = {}
    try:
        get_log_handlers(DagsterLogManager(dagster_handler=DagsterLogHandler(metadata=metadata, loggers=[], handlers=[])))
    except (AttributeError, TypeError) as error:
        yield f"dagster._core.log_manager: {error}"


reject_changes(_find_changes())
