"""Apply the patterns of the ``op``, ``select``, and ``exclude`` settings to a plan."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from ..errors import Problem
from ..pipelines.pipeline import Dependencies, Dependency, Pipeline, Plan
from ..project.model import Domain, FrozenDict, Table, Task
from ..settings import Settings
from ..settings.selection import NodePattern, NodeValues


def describe_node(node: Table | Task | Domain, pipeline: Pipeline | None) -> NodeValues:
    """Return the values of a table, a task, or a domain's pre-load that patterns can match."""
    short_names: tuple[str, ...] = ()
    if isinstance(node, Domain):
        kind, names = "domain", (node.name, node.final_name)
        domains = names
    elif isinstance(node, Table):
        kind, names, domains = "table", (node.full_name, node.final_full_name), (node.domain, node.final_domain)
        short_names = (node.name, node.final_name)
    else:
        kind, names, domains, short_names = "task", (node.full_name, node.sink_name), (node.domain, node.domain), (node.name, node.table)
    dag_refs = (pipeline.dag_config.name,) if pipeline else ()
    values = {"name": names, "domain": domains, "tag": node.tags, "kind": (kind,), "dagRef": dag_refs, kind: (*names, *short_names)}
    return {key: [text.lower() for text in texts] for key, texts in values.items()}


def select_nodes(plan: Plan, settings: Settings) -> tuple[Plan, tuple[Problem, ...]]:
    """Return the plan with only the selected tables and tasks, and an error for each pattern that does not match anything.

    Other tables and tasks that selected tasks read become external tables with the same names. Sensors wait for them, because another code
    location is expected to contain them.
    """
    if not (settings.select or settings.exclude or settings.op_rules):
        return plan, ()
    members: list[Table | Task] = [*plan.project.tables, *plan.project.tasks]
    nodes = {_identify_node(node): describe_node(node, plan.find_pipeline(node)) for node in members}
    domains = [describe_node(domain, None) for domain in plan.project.domains]
    problems = [
        *_find_unmatched("select", settings.select, nodes.values()),
        *_find_unmatched("exclude", settings.exclude, nodes.values()),
        *(p for rule in settings.op_rules for p in _find_unmatched("op", rule.match, [*nodes.values(), *domains])),
    ]
    left_out = frozenset(
        key
        for key, node in nodes.items()
        if (settings.select and not any(p.selects(node) for p in settings.select)) or any(p.selects(node) for p in settings.exclude)
    )
    if not left_out:
        return plan, tuple(problems)
    if len(left_out) == len(nodes) and not problems:
        problems.append(Problem(None, "error", "select and exclude leave no table and no task of the project"))
    return _leave_out(plan, left_out), tuple(problems)


def _identify_node(node: Table | Task) -> tuple[str, str]:
    return ("table" if isinstance(node, Table) else "task", node.full_name)


def _find_unmatched(setting: str, patterns: Sequence[NodePattern], nodes: Collection[NodeValues]) -> Iterator[Problem]:
    for pattern in patterns:
        if not any(pattern.selects(node) for node in nodes):
            yield Problem(None, "error", f"{setting}: '{pattern.text}' matches no table and no task of the project")


def _leave_out(plan: Plan, left_out: frozenset[tuple[str, str]]) -> Plan:
    names = {("table", t.full_name): t.final_full_name for t in plan.project.tables}

    def convert(dependency: Dependency) -> Dependency:
        key = (dependency.kind, dependency.name)
        # Sensors wait for external tables only if the source of the dependency is "json".
        return replace(dependency, kind="external", name=names.get(key, dependency.name), source="json") if key in left_out else dependency

    direct = {
        task: tuple(dict.fromkeys(map(convert, reads)))
        for task, reads in plan.dependencies.direct.items()
        if ("task", task) not in left_out
    }
    pipelines = tuple(p for p in (_remove_left_out(pipeline, left_out) for pipeline in plan.pipelines) if p is not None)
    return replace(plan, pipelines=pipelines, dependencies=Dependencies(FrozenDict(direct)), left_out=left_out)


def _remove_left_out(pipeline: Pipeline, left_out: frozenset[tuple[str, str]]) -> Pipeline | None:
    tables = tuple(t for t in pipeline.tables if ("table", t.full_name) not in left_out)
    tasks = tuple(t for t in pipeline.tasks if ("task", t.full_name) not in left_out)
    if not tables and not tasks:
        return None
    domains = {t.domain for t in tables}
    pre_load = {name: given for name, given in pipeline.pre_load.items() if name in domains}
    return replace(pipeline, tables=tables, tasks=tasks, pre_load=FrozenDict(pre_load))
