"""Explain why tables and tasks have no job, and how to change that."""

from collections.abc import Sequence

from ..errors import Location, Problem
from ..project.model import Table, Task
from .dag_refs import DagConfigs, find_dag_ref, name_nodes
from .dag_templates import EXECUTORS, find_dagster_template, read_template
from .pipeline import Kind, Plan


def explain_missing_job(plan: Plan, node: Table | Task) -> tuple[str, Location | None]:
    """Return the reason why a table or task is not in a pipeline, and the location that causes it; None if it is not in a file."""
    problems: list[Problem] = []
    configs = DagConfigs(plan.project, plan.settings.get("orchestrators", ("dagster",)), problems)
    ref, where = find_dag_ref(plan.project, node)
    if ref is None:
        return f"it has no dagRef, and the application has no dagRef.{_get_kind(node)}", None
    members = configs.find_members([node], "load") if isinstance(node, Table) else configs.find_members([node], "transform")
    if problems and not members:
        return problems[0].message, problems[0].location
    return f"its DAG config '{ref}' does not become a job; see the errors of the project", where


def describe_missing_jobs(plan: Plan, nodes: Sequence[Table | Task]) -> str:
    """Return one sentence with the number of tables and tasks without a job, the reasons, and advice."""
    groups: dict[tuple[Kind, str | None, Location], list[Table | Task]] = {}
    for node in nodes:
        groups.setdefault((_get_kind(node), *find_dag_ref(plan.project, node)), []).append(node)
    reasons = [f"{name_nodes(group)}: {_give_advice(plan, *found)}" for found, group in groups.items()]
    return f"{len(nodes)} {'asset has' if len(nodes) == 1 else 'assets have'} no job: {'; '.join(reasons)}"


def _give_advice(plan: Plan, kind: Kind, ref: str | None, where: Location) -> str:
    templates = {name: read_template(config) for name, config in sorted(plan.project.dag_configs.items())}
    fitting = [n for n, t in templates.items() if t.orchestrator == "dagster" and t.kind == kind and t.executor in EXECUTORS]
    instead = f"'{fitting[0]}'" if len(fitting) == 1 else f"one of {', '.join(fitting)}" if fitting else ""
    if ref is None:
        place = f"{plan.project.application.origin.file} (dagRef.{kind})"
        if instead:
            return f"no dagRef; set it to {instead} in {place}"
        new = find_dagster_template(kind, "shell")
        return f"no dagRef; write a DAG config with the template '{new}' to metadata/dags, and set dagRef to its name in {place}"
    template = templates.get(ref)
    why = f"the DAG config '{ref}' ({where}) does not become a job"
    if template and template.orchestrator and template.orchestrator not in plan.settings.get("orchestrators", ("dagster",)):
        why = f"the DAG config '{ref}' ({where}) is for {template.orchestrator.capitalize()}"
    if not instead or ref in fitting:
        return why
    return f"{why}; set dagRef to {instead}, which {'is' if len(fitting) == 1 else 'are'} for Dagster"


def _get_kind(node: Table | Task) -> Kind:
    return "load" if isinstance(node, Table) else "transform"
