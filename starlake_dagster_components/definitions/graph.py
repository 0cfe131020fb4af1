"""The nodes of a plan, with their asset specs and dependencies. Ops are added in ``assets``."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

import dagster as dg

from ..errors import Problem
from ..pipelines.pipeline import Pipeline, Plan
from ..project.model import EMPTY, Domain
from ..settings import Settings
from .dagster_limits import find_freshness_problems, translate_node
from .masked import hide_in_spec
from .names import build_asset_key
from .nodes import NodeType, StarlakeNode
from .partitioned_specs import add_partitions
from .translator import StarlakeTranslator

NodeId = tuple[str, str]
"""Type and logical name, by which dependencies refer to nodes: ``("table", "sales.orders")``."""


@dataclass(frozen=True)
class AssetGraph:
    """All nodes of a plan with their specs.

    Attributes:
        nodes: domains, then tables, tasks, and external tables.
        specs: the asset spec of each node, as returned by the translator and with dependencies updated.
        keys: the final asset key of each node.
        problems: those with specs, keys, and partitions.
        partitions: job name -> partitions, for partitioned jobs.
    """

    plan: Plan
    nodes: Mapping[NodeId, StarlakeNode]
    specs: Mapping[NodeId, dg.AssetSpec]
    keys: Mapping[NodeId, dg.AssetKey]
    problems: tuple[Problem, ...]
    partitions: Mapping[str, dg.TimeWindowPartitionsDefinition] = EMPTY

    @cached_property
    def by_key(self) -> Mapping[dg.AssetKey, StarlakeNode]:
        """Final asset key -> node. If an external table has the key of another node, the other node takes precedence."""
        found: dict[dg.AssetKey, StarlakeNode] = {}
        for node_id, key in self.keys.items():
            found.setdefault(key, self.nodes[node_id])
        return found

    @cached_property
    def depth(self) -> int:
        """Number of assets on the longest dependency path; 0 if assets depend on each other, which Dagster reports."""
        upstream = {spec.key: [d.asset_key for d in spec.deps] for spec in self.specs.values()}
        depths: dict[dg.AssetKey, int] = {}
        with suppress(CycleError):
            for key in TopologicalSorter(upstream).static_order():
                depths[key] = 1 + max((depths[k] for k in upstream.get(key, ())), default=0)
        return max(depths.values(), default=0)

    def get_pipeline_keys(self, pipeline: Pipeline) -> tuple[dg.AssetKey, ...]:
        """Return the keys of a pipeline's own assets: its pre-loads and tables, or its tasks."""
        return (
            *(self.keys["domain", d] for d, pre_load in pipeline.pre_load.items() if pre_load.strategy != "none"),
            *(self.keys["table", t.full_name] for t in pipeline.tables),
            *(self.keys["task", t.full_name] for t in pipeline.tasks),
        )

    def find_upstream(self, pipeline: Pipeline) -> Mapping[str, dg.AssetKey]:
        """Return the direct and indirect inputs of a pipeline's tasks: logical name -> asset key."""
        if pipeline.name not in self._upstream:
            everything = self.plan.dependencies.get_transitive(*(t.full_name for t in pipeline.tasks))
            self._upstream[pipeline.name] = {d.name: self.keys[d.kind, d.name] for d in everything if d.awaited}
        return self._upstream[pipeline.name]

    @cached_property
    def _upstream(self) -> dict[str, Mapping[str, dg.AssetKey]]:
        return {}

    def find_inputs(self, pipeline: Pipeline) -> Mapping[str, dg.AssetKey]:
        """Return the direct inputs of a pipeline's tasks, except its own tasks: logical name -> asset key."""
        own = {t.full_name for t in pipeline.tasks}
        return {
            d.name: self.keys[d.kind, d.name]
            for task in pipeline.tasks
            for d in self.plan.dependencies.get_direct(task.full_name)
            if d.awaited and not (d.kind == "task" and d.name in own)
        }


def build_graph(plan: Plan, settings: Settings) -> AssetGraph:
    """Return the nodes of a plan with their specs. Problems, such as two nodes with the same key, are part of the result."""
    nodes = dict(_iterate_nodes(plan, settings))
    translator = settings.translator or StarlakeTranslator()
    translated: dict[NodeId, dg.AssetSpec] = {}
    problems: list[Problem] = []
    for node_id, node in nodes.items():
        translated[node_id], rejected = translate_node(translator, node)
        problems += [rejected] if rejected else ()
        problems += find_freshness_problems(node)
        translated[node_id] = hide_in_spec(translated[node_id])
    partitioned, partitions, found = add_partitions(plan, settings, nodes, translated)
    translated.update(partitioned)
    problems += found
    keys = {node_id: spec.key for node_id, spec in translated.items()}
    renamed = {nodes[node_id].key: key for node_id, key in keys.items() if nodes[node_id].key != key}
    specs = {node_id: _follow_renames(spec, renamed) for node_id, spec in translated.items()} if renamed else translated
    return AssetGraph(plan, nodes, specs, keys, (*problems, *_find_collisions(nodes, keys)), partitions)


def _follow_renames(spec: dg.AssetSpec, renamed: Mapping[dg.AssetKey, dg.AssetKey]) -> dg.AssetSpec:
    """Return a spec whose dependencies have the keys that the translator assigned."""
    if not any(d.asset_key in renamed for d in spec.deps):
        return spec
    deps = [dg.AssetDep(renamed.get(d.asset_key, d.asset_key), partition_mapping=d.partition_mapping) for d in spec.deps]
    return spec.replace_attributes(deps=deps)


def _iterate_nodes(plan: Plan, settings: Settings) -> Iterator[tuple[NodeId, StarlakeNode]]:
    project, style = plan.project, settings.asset_keys

    def build_node(kind: NodeType, name: str, domain: str, pipeline: Pipeline | None = None, **parts: Any) -> StarlakeNode:
        key = build_asset_key(name, style)
        return StarlakeNode(kind, name, key, domain, plan.find_project(pipeline), pipeline, **parts, settings=settings)

    pre_loaded = _find_pre_loaded_domains(plan)
    shared = Counter(domain.final_name for domain, _ in pre_loaded)
    pre_loads = {d.name: d.final_name if shared[d.final_name] == 1 else d.name for d, _ in pre_loaded}
    for domain, pipeline in pre_loaded:
        yield ("domain", domain.name), build_node("domain", pre_loads[domain.name], domain.final_name, pipeline, load_domain=domain)
    for table in project.tables:
        if ("table", table.full_name) not in plan.left_out:
            own = plan.find_pipeline(table)
            pre_load = own.pre_load.get(table.domain) if own else None
            upstream = (build_asset_key(pre_loads[table.domain], style),) if pre_load and pre_load.strategy != "none" else ()
            node = build_node("table", table.final_full_name, table.final_domain, own, table=table, upstream=upstream)
            yield ("table", table.full_name), node
    names = {("table", t.full_name): t.final_full_name for t in project.tables}
    external: dict[str, None] = {}
    for task in project.tasks:
        if ("task", task.full_name) in plan.left_out:
            continue
        reads = plan.dependencies.get_direct(task.full_name)
        external.update((d.name, None) for d in reads if d.kind == "external")
        inputs = dict.fromkeys(build_asset_key(names.get((d.kind, d.name), d.name), style) for d in reads)
        inputs.pop(build_asset_key(task.full_name, style), None)
        columns = plan.inferred_columns.get(task.full_name, ())
        parts = {"task": task, "dependencies": reads, "inferred_columns": columns, "upstream": tuple(inputs)}
        yield ("task", task.full_name), build_node("task", task.full_name, task.domain, plan.find_pipeline(task), **parts)
    for name in external:
        yield ("external", name), build_node("external", name, name.rpartition(".")[0].rpartition(".")[2])


def _find_pre_loaded_domains(plan: Plan) -> list[tuple[Domain, Pipeline]]:
    """Return the domains that have a pre-load step, each with the first pipeline that requires it."""
    domains = {d.name: d for d in plan.project.domains}
    first: dict[str, Pipeline] = {}
    for pipeline in plan.pipelines:
        for name, pre_load in pipeline.pre_load.items():
            if pre_load.strategy != "none":
                first.setdefault(name, pipeline)
    return [(domains[name], first[name]) for name in sorted(first)]


def _find_collisions(nodes: Mapping[NodeId, StarlakeNode], keys: Mapping[NodeId, dg.AssetKey]) -> Iterator[Problem]:
    seen: dict[dg.AssetKey, NodeId] = {}
    for node_id, key in keys.items():
        other = seen.setdefault(key, node_id)
        if other == node_id:
            continue
        both = " and ".join(f"{kind} {name} ({nodes[kind, name].location or 'read by a task'})" for kind, name in (other, node_id))
        location = nodes[node_id].location
        if node_id[0] == "external":
            yield Problem(location, "warning", f"{both} have the same asset key '{key.to_user_string()}', so they are treated as one asset")
        else:
            advice = _suggest_change(nodes[other], nodes[node_id], key)
            yield Problem(location, "error", f"two nodes have the asset key '{key.to_user_string()}': {both}; {advice}")


def _suggest_change(one: StarlakeNode, other: StarlakeNode, key: dg.AssetKey) -> str:
    """Return a suggestion to give two nodes different keys."""
    if one.key != key or other.key != key:
        both = "both" if one.key != key and other.key != key else "one of them"
        return f"the translation (or get_asset_spec) gives {both} this key"
    helps = build_asset_key(one.name, "path") != build_asset_key(other.name, "path")
    return "rename one, or set asset_keys to path" if helps else "rename one"
