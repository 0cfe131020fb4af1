"""Which nodes there are, how each looks, and what each waits for: everything about assets that needs no op yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from ..errors import Location, Problem
from ..pipelines.model import Pipeline, Plan
from ..project.model import Domain
from .names import asset_key
from .nodes import StarlakeNode
from .settings import Settings

NodeId = tuple[str, str]
"""``(type, logical name)``: ``("table", "sales.orders")``; the name by which dependencies speak of a node."""


@dataclass(frozen=True)
class AssetGraph:
    """All nodes of a plan with their specs.

    Attributes:
        plan: the plan.
        nodes: every node by id, in the order domains, tables, tasks, external tables.
        specs: the spec that the translator gave to each, dependencies added.
        problems: what is wrong with the keys.
    """

    plan: Plan
    nodes: Mapping[NodeId, StarlakeNode]
    specs: Mapping[NodeId, dg.AssetSpec]
    problems: tuple[Problem, ...]

    @cached_property
    def by_key(self) -> Mapping[dg.AssetKey, StarlakeNode]:
        """Nodes by their final asset key; an external table that has the key of another node is that node."""
        found: dict[dg.AssetKey, StarlakeNode] = {}
        for node_id, spec in self.specs.items():
            found.setdefault(spec.key, self.nodes[node_id])
        return found

    def key(self, kind: str, name: str) -> dg.AssetKey:
        """Return the asset key of a node."""
        return self.specs[kind, name].key

    def keys_of(self, pipeline: Pipeline) -> tuple[dg.AssetKey, ...]:
        """Return the assets that a pipeline runs itself: its tables with their pre-load, or its tasks."""
        domains = [d for d, pre_load in pipeline.pre_load.items() if pre_load.strategy != "none"]
        return (
            *(self.key("domain", d) for d in domains),
            *(self.key("table", t.full_name) for t in pipeline.tables),
            *(self.key("task", t.full_name) for t in pipeline.tasks),
        )

    def upstream_of(self, pipeline: Pipeline) -> Mapping[str, dg.AssetKey]:
        """Return everything that the tasks of a pipeline read, directly or not, minus what the pipeline makes: name -> key."""
        own = {t.full_name for t in pipeline.tasks}
        found: dict[str, dg.AssetKey] = {}
        for task in pipeline.tasks:
            for dependency in self.plan.dependencies.transitive(task.full_name):
                if not (dependency.kind == "task" and dependency.name in own):
                    found[dependency.name] = self.key(dependency.kind, dependency.name)
        return found

    def read_by(self, pipeline: Pipeline) -> Mapping[str, dg.AssetKey]:
        """Return what the tasks of a pipeline read directly, minus what the pipeline makes: name -> key."""
        own = {t.full_name for t in pipeline.tasks}
        return {
            d.name: self.key(d.kind, d.name)
            for task in pipeline.tasks
            for d in self.plan.dependencies.of(task.full_name)
            if not (d.kind == "task" and d.name in own)
        }


def build_graph(plan: Plan, settings: Settings) -> AssetGraph:
    """Return the nodes of a plan with their specs.

    Args:
        plan: what was planned.
        settings: asset key style and translator.

    Returns:
        The graph; two nodes with one key are among its problems.
    """
    nodes = _nodes(plan, settings)
    bare = {node_id: settings.translator.get_asset_spec(node) for node_id, node in nodes.items()}
    keys = {node_id: spec.key for node_id, spec in bare.items()}
    specs = {node_id: _with_dependencies(nodes[node_id], spec, keys) for node_id, spec in bare.items()}
    return AssetGraph(plan=plan, nodes=nodes, specs=specs, problems=_collisions(nodes, keys))


def _nodes(plan: Plan, settings: Settings) -> dict[NodeId, StarlakeNode]:
    project = plan.project
    style = settings.asset_keys
    nodes: dict[NodeId, StarlakeNode] = {}
    for domain, pipeline in _pre_loaded(plan):
        nodes["domain", domain.name] = StarlakeNode(
            "domain", domain.final_name, asset_key(domain.final_name, style), domain.final_name, project, pipeline, load_domain=domain
        )
    for table in project.tables:
        nodes["table", table.full_name] = StarlakeNode(
            "table",
            table.final_full_name,
            asset_key(table.final_full_name, style),
            table.final_domain,
            project,
            plan.pipeline_of(table),
            table=table,
        )
    for task in project.tasks:
        reads = plan.dependencies.of(task.full_name)
        nodes["task", task.full_name] = StarlakeNode(
            "task",
            task.full_name,
            asset_key(task.full_name, style),
            task.domain,
            project,
            plan.pipeline_of(task),
            task=task,
            dependencies=reads,
        )
    for reads in plan.dependencies.direct.values():
        for dependency in reads:
            if dependency.kind == "external" and ("external", dependency.name) not in nodes:
                domain_name = dependency.name.rpartition(".")[0].rpartition(".")[2]
                nodes["external", dependency.name] = StarlakeNode(
                    "external", dependency.name, asset_key(dependency.name, style), domain_name, project
                )
    return nodes


def _pre_loaded(plan: Plan) -> list[tuple[Domain, Pipeline]]:
    """Return the domains that have a pre-load step, each with the first pipeline that asks for it."""
    domains = {d.name: d for d in plan.project.domains}
    first: dict[str, Pipeline] = {}
    for pipeline in plan.pipelines:
        for name, pre_load in pipeline.pre_load.items():
            if pre_load.strategy != "none":
                first.setdefault(name, pipeline)
    return [(domains[name], first[name]) for name in sorted(first)]


def _with_dependencies(node: StarlakeNode, spec: dg.AssetSpec, keys: Mapping[NodeId, dg.AssetKey]) -> dg.AssetSpec:
    found: dict[dg.AssetKey, None] = {}
    if node.table and node.pipeline:
        pre_load = node.pipeline.pre_load.get(node.table.domain)
        if pre_load and pre_load.strategy != "none":
            found[keys["domain", node.table.domain]] = None
    for dependency in node.dependencies:
        found[keys[dependency.kind, dependency.name]] = None
    found.pop(spec.key, None)
    if not found:
        return spec
    given = {d.asset_key for d in spec.deps}
    return spec.replace_attributes(deps=[*spec.deps, *(dg.AssetDep(key) for key in found if key not in given)])


def _collisions(nodes: Mapping[NodeId, StarlakeNode], keys: Mapping[NodeId, dg.AssetKey]) -> tuple[Problem, ...]:
    seen: dict[dg.AssetKey, NodeId] = {}
    problems = []
    for node_id, key in keys.items():
        other = seen.setdefault(key, node_id)
        if other == node_id:
            continue
        both = " and ".join(f"{kind} {name} ({nodes[kind, name].location or 'read by a task'})" for kind, name in (other, node_id))
        where: Location | None = nodes[node_id].location
        if node_id[0] == "external":
            problems.append(Problem(where, "warning", f"taken for one asset, '{key.to_user_string()}': {both}"))
            continue
        problems.append(
            Problem(where, "error", f"two nodes have the asset key '{key.to_user_string()}': {both}; rename one, or set asset_keys: path")
        )
    return tuple(problems)
