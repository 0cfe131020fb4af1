"""The field ``step_executor:`` of a component."""

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from ..errors import InvalidSetting, unknown
from .definition import starlake_step_executor

_KNOWN = ("threads", "multiprocess", "in_process")


class StepExecutorFields(BaseModel):
    """What people write."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(
        default="threads",
        description="threads (this package's), multiprocess or in_process (Dagster's), or the import path of another executor definition.",
        examples=["threads", "multiprocess", "dagster_k8s.k8s_job_executor"],
    )
    config: Mapping[str, Any] = Field(
        default_factory=dict,
        description="The executor's configuration, as in run config.",
        examples=[{"max_concurrent": 16}, {"start_method": {"forkserver": {}}}],
    )


def step_executor_of(type_: str, config: Mapping[str, Any] | None = None) -> dg.ExecutorDefinition:
    """Return an executor definition by name.

    Args:
        type_: ``threads``, ``multiprocess``, ``in_process`` or an import path (``module.name``).
        config: its configuration, as in run config; None = its defaults.

    Raises:
        InvalidSetting: there is no such executor, or it is not an executor definition.
    """
    definition = _definition(type_)
    if not config:
        return definition
    try:
        configured: dg.ExecutorDefinition = definition.configured(dict(config))
    except dg.DagsterError as error:
        raise InvalidSetting(f"step_executor {type_}: {error}") from error
    return configured


def _definition(type_: str) -> dg.ExecutorDefinition:
    if type_ == "threads":
        return starlake_step_executor()
    if type_ == "multiprocess":
        return dg.multiprocess_executor
    if type_ == "in_process":
        return dg.in_process_executor
    module, _, name = type_.rpartition(".")
    if not module:
        raise InvalidSetting(f"{unknown('step executor', type_, _KNOWN)}; the import path of another one has a dot")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidSetting(f"step_executor '{type_}' cannot be imported: {error}") from error
    if not isinstance(found, dg.ExecutorDefinition):
        raise InvalidSetting(f"step_executor '{type_}' is a {type(found).__name__}, expected an executor definition")
    return found


def _resolve(context: dg.ResolutionContext, value: Any) -> dg.ExecutorDefinition:
    if isinstance(value, dg.ExecutorDefinition):
        return value
    if isinstance(value, StepExecutorFields):
        fields = context.resolve_value(value.model_dump())
        return step_executor_of(fields["type"], fields["config"])
    return step_executor_of(str(value))


ResolvedStepExecutor = Annotated[
    dg.ExecutorDefinition,
    dg.Resolver(
        _resolve,
        model_field_type=str | StepExecutorFields,
        description="How the steps of runs are executed. Default: threads, as many at a time as the executor of commands proposes. "
        "An executor of your own: '{{ my_executor }}' with a template variable.",
        examples=["multiprocess", {"type": "threads", "config": {"max_concurrent": 16}}],
    ),
]
"""A field with an executor definition."""
