"""What a plan knows of the datasets that a sensor watches: their other names, and how often they are renewed."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TypeVar

from ..pipelines.model import Plan
from ..project.model import Table, Task
from .decisions import DatasetTiming

Key = TypeVar("Key")


def dataset_timings(plan: Plan, names: Iterable[str]) -> Mapping[str, DatasetTiming]:
    """Return how often datasets are renewed: the schedule of the pipeline that makes each, and its freshness.

    starlake-orchestration takes both from the dependency tree (``cron``, ``freshness``), which has the same values.

    Args:
        plan: the plan.
        names: full names of tasks and load tables; others have no timing.
    """
    nodes = _nodes(plan)
    found: dict[str, DatasetTiming] = {}
    for name in names:
        node = nodes.get(name)
        if node is None:
            continue
        freshness = node.metadata.freshness if isinstance(node, Table) else node.freshness
        pipeline = plan.pipeline_of(node)
        schedule = pipeline.schedule if pipeline else None
        found[name] = DatasetTiming(
            cron=schedule.cron if schedule else None,
            timezone=schedule.timezone if schedule else None,
            freshness=(freshness.error if freshness else None) or timedelta(),
        )
    return found


def with_aliases(plan: Plan, watched: Mapping[str, Key]) -> Mapping[str, Key]:
    """Return what is watched under all names that a triggering expression may use.

    A load table goes by its logical and its final name, a task by its full name and by the table that it writes.
    """
    nodes = _nodes(plan)
    found = dict(watched)
    for name, key in watched.items():
        node = nodes.get(name)
        if node is not None:
            found.setdefault(node.final_full_name if isinstance(node, Table) else node.sink_name, key)
    return found


def _nodes(plan: Plan) -> Mapping[str, Table | Task]:
    return {**{table.full_name: table for table in plan.project.tables}, **{task.full_name: task for task in plan.project.tasks}}
