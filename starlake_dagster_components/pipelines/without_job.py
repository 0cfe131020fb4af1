"""Why a table or task belongs to no job."""

from ..errors import Location, Problem
from ..project.model import Table, Task
from .dag_refs import DagConfigs
from .pipeline import Plan


def why_no_job(plan: Plan, node: Table | Task) -> tuple[str, Location | None]:
    """Return why no pipeline of a plan runs a table or task, and the place to look at.

    Args:
        plan: the plan.
        node: a table or task of its project that is in none of its pipelines.
    """
    problems: list[Problem] = []
    configs = DagConfigs(plan.project, plan.settings.get("orchestrators", ("dagster",)), problems)
    ref, where = configs.dag_ref(node)
    if ref is None:
        return f"it has no dagRef, and the application no dagRef.{'load' if isinstance(node, Table) else 'transform'}", None
    makes_jobs = configs.members([node], "load") if isinstance(node, Table) else configs.members([node], "transform")
    if problems and not makes_jobs:
        return problems[0].message, problems[0].location
    return f"its DAG config '{ref}' makes no job of it: see the errors of the project", where
