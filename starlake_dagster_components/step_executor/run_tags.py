"""Give a run tags before its first step, whichever executor runs its steps."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from .._dagster import ExecutionPlan, PlanOrchestrationContext, RetryMode, StepDependencyConfig

ChooseTags = Callable[[dg.DagsterRun, dg.JobDefinition, dg.DagsterInstance], Mapping[str, str]]
"""``(run, job, instance)`` -> tags that a run gets before its first step."""


def tag_runs(executor: dg.ExecutorDefinition, choose_tags: ChooseTags) -> dg.ExecutorDefinition:
    """Return an executor definition with the same name and configuration as another one, whose runs get tags before their first step."""
    create = executor.executor_creation_fn
    if create is None:
        return executor

    def create_executor(init_context: dg.InitExecutorContext) -> dg.Executor:
        return TaggingExecutor(create(init_context._replace(executor_def=executor)), choose_tags)

    return dg.ExecutorDefinition(
        name=executor.name,
        config_schema=executor.config_schema,  # type: ignore[arg-type]  # accepted, but not in the declared type
        requirements=executor.get_requirements,
        executor_creation_fn=create_executor,
        description=executor.description,
    )


class TaggingExecutor(dg.Executor):
    """Adds tags to a run, and leaves its steps to another executor."""

    def __init__(self, executor: dg.Executor, choose_tags: ChooseTags) -> None:
        self._executor = executor
        self._choose_tags = choose_tags

    @property
    def retries(self) -> "RetryMode":
        """True if steps may be retried."""
        return self._executor.retries

    @property
    def step_dependency_config(self) -> "StepDependencyConfig":
        """The condition under which a step may start."""
        return self._executor.step_dependency_config

    def execute(self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan") -> Iterator[dg.DagsterEvent]:
        """Add the tags, then run the steps of a plan and yield their events."""
        self._add_tags(plan_context)
        yield from self._executor.execute(plan_context, execution_plan)

    def _add_tags(self, context: "PlanOrchestrationContext") -> None:
        """Add tags to a run: to the stored one, which step processes read, and to the one that this process passes to its steps."""
        tags = self._choose_tags(context.dagster_run, context.job.get_definition(), context.instance)
        if not tags:
            return
        context.instance.add_run_tags(context.run_id, dict(tags))
        own = context.dagster_run.tags
        assert isinstance(own, dict)
        own.update(tags)
        shown = ", ".join(f"{name}: {value}" for name, value in tags.items())
        context.log.info(f"the run was started without a partition or dates; added the tags {shown}")
