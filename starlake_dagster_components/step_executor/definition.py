"""``starlake_step_executor``: the executor definition for Dagster."""

import logging
import os
from functools import cache
from inspect import isfunction
from typing import Any

import dagster as dg

from .run_tags import ChooseTags, TaggingExecutor

NAME = "starlake_threads"

GRACE_SECONDS = 60.0
"""Time that canceled steps have to end."""

logger = logging.getLogger("starlake_dagster_components")


def starlake_step_executor(
    max_concurrent: int | None = None, *, require_upstream_step_success: bool = True, choose_tags: ChooseTags | None = None
) -> dg.ExecutorDefinition:
    """Return an executor that runs each step in a thread of the run's process.

    Steps keep all of Dagster's features: events, logs, retries, cancellation, skips, priorities, tag limits, pools, and hooks.
    Use it for steps that wait (for a process, a remote job, or a database), not for steps that compute in Python, because they share one
    interpreter.

    Args:
        max_concurrent: maximum number of concurrent steps in a run, unless its run config sets another; None = one per processor, as in
            Dagster's executor, but at least 4.
        require_upstream_step_success: whether a step waits for all upstream steps to succeed, unless the run config says otherwise.
            False = it waits only for the outputs that it needs, so that an upstream step that produced these outputs
            but failed to produce others does not block it.
        choose_tags: returns the tags that a run gets before its first step, such as the partition of a run that was launched without one.

    Returns:
        A definition for ``Definitions(executor=...)`` or ``define_asset_job(executor_def=...)``.

    Example:
        ```python
        dg.Definitions(assets=[...], executor=starlake_step_executor(max_concurrent=16))
        ```
    """
    if max_concurrent is not None and max_concurrent < 1:
        raise dg.DagsterInvalidDefinitionError(f"max_concurrent is {max_concurrent}, expected 1 or more")
    # Each reload creates these functions again. A cache would keep the old ones, and everything that they reference, in memory.
    build = _build_executor_definition if choose_tags is None or isfunction(choose_tags) else _build_executor_definition.__wrapped__
    return build(max_concurrent or max(4, os.cpu_count() or 1), require_upstream_step_success, choose_tags)


@cache
def _build_executor_definition(
    max_concurrent: int, require_upstream_step_success: bool, choose_tags: ChooseTags | None
) -> dg.ExecutorDefinition:
    @dg.executor(name=NAME, config_schema=_build_config_schema(max_concurrent, require_upstream_step_success))
    def starlake_threads(init_context: dg.InitExecutorContext) -> dg.Executor:
        """Run each step in a thread of the run's process."""
        executor = _create_executor(init_context)
        return TaggingExecutor(executor, choose_tags) if choose_tags else executor

    return starlake_threads


def _create_executor(init_context: dg.InitExecutorContext) -> dg.Executor:
    """Return the executor of a run; Dagster's multiprocess executor if this version of Dagster has moved names that threads need."""
    try:
        from .threads import StepThreadsExecutor
    except ImportError as error:
        logger.warning(
            "steps run in processes instead of threads, which costs seconds of CPU per step: this version of starlake-dagster-components "
            "does not support the way in which this version of Dagster runs steps (%s). Update starlake-dagster-components.",
            error,
        )
        config = {name: value for name, value in init_context.executor_config.items() if name != "cancel_grace_seconds"}
        create = dg.multiprocess_executor.executor_creation_fn
        assert create is not None
        return create(init_context._replace(executor_def=dg.multiprocess_executor, executor_config=config))
    return StepThreadsExecutor(init_context.executor_config)


def _build_config_schema(max_concurrent: int, require_upstream_step_success: bool) -> dict[str, Any]:
    """Return the executor's config schema, with the fields of Dagster's executors that also apply to this one."""
    shared: Any = dg.multiprocess_executor.config_schema.config_type
    return {
        "max_concurrent": dg.Field(int, default_value=max_concurrent, description="Maximum number of steps at a time in this run."),
        "cancel_grace_seconds": dg.Field(
            float,
            default_value=GRACE_SECONDS,
            description="How long steps may take to end after the run is canceled. Then the run ends without them.",
        ),
        "step_dependency_config": dg.Field(
            {"require_upstream_step_success": dg.Field(bool, default_value=require_upstream_step_success)},
            default_value={"require_upstream_step_success": require_upstream_step_success},
            description="Whether a step waits for all upstream steps to succeed, or only for their outputs.",
        ),
        **{name: shared.fields[name] for name in ("retries", "tag_concurrency_limits")},
    }
