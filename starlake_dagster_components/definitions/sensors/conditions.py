"""Automation conditions for jobs, instead of sensors (setting ``automation: conditions``). They are a preview feature of Dagster."""

import operator
from collections.abc import Collection, Iterator, Mapping
from functools import reduce
from typing import Any

import dagster as dg

from ...errors import Problem
from ...pipelines.pipeline import Pipeline
from ..partitions import choose_partition
from .evaluation import Evaluation

FROM_CONDITION = "dagster/from_automation_condition"
"""Tag of the runs that a condition has started (Dagster's ``AUTOMATION_CONDITION_TAG``)."""

IDLE = ("data_cycle_enabled", "data_cycle", "beyond_data_cycle_enabled", "optional_dataset_enabled", "min_timedelta_between_runs")
"""Options that have no effect with conditions."""


def build_job_condition(evaluation: Evaluation) -> Any:
    """Return the automation condition of a job.

    It is true if the job's inputs have been materialized since its root assets were, according to the triggering strategy. It becomes true
    only once for each new materialization, so a failed run is not started again.
    """
    condition = dg.AutomationCondition
    run_began, run_failed = condition.run_in_progress().newly_true(), condition.execution_failed().newly_true()
    handled = condition.newly_updated() | run_began | run_failed
    updated: dict[str, Any] = {}
    for name, key in evaluation.keys.items():
        matches = condition.asset_matches(key, condition.newly_updated())
        # The asset was updated, and no run has handled the update. If an update and a run occur between two evaluations, the run is assumed
        # to have come first, so that no update is lost.
        updated[name] = matches.since(condition.initial_evaluation()) & ~handled.since(matches)
    strategy = evaluation.rule.strategy
    if not strategy.postfix:
        joined = reduce(operator.and_ if strategy.every else operator.or_, updated.values())
    else:
        stack: list[Any] = []
        for kind, text in strategy.postfix:
            if kind == "name":
                stack.append(updated[text])
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(left & right if text == "and" else left | right)
        joined = stack[-1]
    # After a run, the condition may still be true because of materializations that the run did not handle.
    return condition.any_job_root_assets_match(joined).newly_true() | condition.any_job_root_assets_match(joined & handled)


def build_conditions_sensor(
    name: str, jobs: Collection[str], default_status: dg.DefaultSensorStatus
) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions of jobs. Dagster's default sensor would initially be stopped."""
    # There are no assets to evaluate, but Dagster requires a selection.
    nothing = dg.AssetSelection.all() - dg.AssetSelection.all()
    return dg.AutomationConditionSensorDefinition(
        name,
        target=nothing,
        default_status=default_status,
        description="Evaluates the automation conditions of jobs.",
        asset_job_keys={dg.AssetJobKey(job) for job in jobs},
    )


def choose_condition_tags(
    evaluation: Evaluation, run: dg.DagsterRun, job: dg.JobDefinition, instance: dg.DagsterInstance
) -> Mapping[str, str]:
    """Return the tags to add to a run when it starts: those that a sensor would set if a condition has started it, or its partition."""
    return evaluation.build_tags_of_latest(run, instance) if FROM_CONDITION in run.tags else choose_partition(run, job, instance)


def find_idle_options(pipeline: Pipeline) -> Iterator[Problem]:
    """Yield a warning for each option of a DAG config that has no effect with conditions."""
    for option in IDLE:
        if option in pipeline.dag_config.options:
            text = f"option '{option}' has no effect with automation: conditions"
            yield Problem(pipeline.dag_config.origin.locate(f"options.{option}"), "warning", text)
