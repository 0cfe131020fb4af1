"""Automation conditions of jobs, in place of sensors (setting ``automation: conditions``). Dagster has them as a preview."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ...errors import Problem
from ...pipelines.pipeline import Pipeline
from ..partitions import choose_partition
from .evaluation import Evaluation

FROM_CONDITION = "dagster/from_automation_condition"
"""Tag of runs that a condition has started. Dagster: AUTOMATION_CONDITION_TAG."""

IDLE = ("data_cycle_enabled", "data_cycle", "beyond_data_cycle_enabled", "optional_dataset_enabled", "min_timedelta_between_runs")
"""Options that conditions cannot express."""


def build_job_condition(evaluation: Evaluation) -> Any:
    """Return the condition of a job: that what it reads has been materialized since its own first assets were, by its triggering strategy.

    It becomes true once for what is new: a run that failed is not started again.

    Args:
        evaluation: the rule of the sensor that the job would have.
    """
    condition = dg.AutomationCondition
    run_began, run_failed = condition.run_in_progress().newly_true(), condition.execution_failed().newly_true()
    handled = condition.newly_updated() | run_began | run_failed
    updated = {name: _is_new(condition.asset_matches(key, condition.newly_updated()), handled) for name, key in evaluation.keys.items()}
    strategy = evaluation.rule.strategy
    if not strategy.postfix:
        joined = _join(list(updated.values()), every=strategy.every)
    else:
        stack: list[Any] = []
        for kind, text in strategy.postfix:
            if kind == "name":
                stack.append(updated[text])
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(left & right if text == "and" else left | right)
        joined = stack[-1]
    # After a run, the condition may still be true, because of what has come since the evaluation before it.
    return condition.any_job_root_assets_match(joined).newly_true() | condition.any_job_root_assets_match(joined & handled)


def _is_new(updated: Any, handled: Any) -> Any:
    """Return the condition that an asset has been updated and not handled since.

    An update and a run between the same two evaluations count as a run, then an update: the other way round would lose the update.
    """
    return updated.since(dg.AutomationCondition.initial_evaluation()) & ~handled.since(updated)


def _join(conditions: list[Any], *, every: bool) -> Any:
    joined = conditions[0]
    for other in conditions[1:]:
        joined = joined & other if every else joined | other
    return joined


def build_conditions_sensor(
    name: str, jobs: Collection[str], default_status: dg.DefaultSensorStatus
) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions of jobs. Dagster's own one would begin switched off.

    Args:
        name: its name.
        jobs: the jobs.
        default_status: whether it starts switched on.
    """
    # There are no assets to evaluate, but Dagster requires a selection.
    nothing = dg.AssetSelection.all() - dg.AssetSelection.all()
    return dg.AutomationConditionSensorDefinition(
        name,
        target=nothing,
        default_status=default_status,
        description="Evaluates the automation conditions of jobs.",
        asset_job_keys={dg.AssetJobKey(job) for job in jobs},
    )


@dataclass(frozen=True)
class ConditionTags:
    """Gives the runs of a job that its condition has started the dates and options that a sensor would give them."""

    evaluation: Evaluation

    def __call__(self, run: dg.DagsterRun, job: dg.JobDefinition, instance: dg.DagsterInstance) -> Mapping[str, str]:
        """Return the tags of a run; if something else has started it, those of its partition."""
        return self.evaluation.build_tags_of_latest(run, instance) if FROM_CONDITION in run.tags else choose_partition(run, job, instance)


def find_idle_options(pipeline: Pipeline) -> Iterator[Problem]:
    """Yield a warning for each option of a DAG config that conditions cannot express."""
    for option in IDLE:
        if option in pipeline.dag_config.options:
            text = f"option '{option}' has no effect with automation: conditions"
            yield Problem(pipeline.dag_config.origin.locate(f"options.{option}"), "warning", text)
