"""Why a table or task is not part of a job."""

from ..errors import Location, Problem
from ..project.model import Table, Task
from .dag_refs import DagConfigs
from .pipeline import Plan


def explain_missing_job(plan: Plan, node: Table | Task) -> tuple[str, Location | None]:
    """Return why a table or task is not in a pipeline of a plan, and the place to look at.

    Args:
        plan: the plan.
        node: a table or task of its project that is not in one of its pipelines.
    """
    problems: list[Problem] = []
    configs = DagConfigs(plan.project, plan.settings.get("orchestrators", ("dagster",)), problems)
    ref, where = configs.find_dag_ref(node)
    if ref is None:
        return f"it has no dagRef, and the application no dagRef.{'load' if isinstance(node, Table) else 'transform'}", None
    makes_jobs = configs.find_members([node], "load") if isinstance(node, Table) else configs.find_members([node], "transform")
    if problems and not makes_jobs:
        return problems[0].message, problems[0].location
    return f"its DAG config '{ref}' makes no job of it: see the errors of the project", where
