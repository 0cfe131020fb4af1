"""Group load tables into ops that load several of them with one command (setting ``batch``)."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from ..project.model import Table
from .graph import AssetGraph, NodeId
from .names import make_op_name, make_output_name, make_readable_name
from .nodes import StarlakeNode
from .op_attributes import find_op_attributes

FAILED = "starlake/failed_tables"
"""Metadata of a step's failure: asset key -> the reason why that table failed."""


@dataclass(frozen=True, slots=True)
class Member:
    """A table of an op: its node, its asset key, and its output of the op."""

    node: StarlakeNode
    key: dg.AssetKey
    output: str

    @property
    def table(self) -> Table:
        """The load table."""
        assert self.node.table is not None
        return self.node.table


@dataclass(frozen=True, slots=True)
class Batch:
    """Tables of one domain and one pipeline that wait for the same assets and get the same pool, retries and tags; the name of their op."""

    name: str
    members: tuple[Member, ...]


def build_batches(graph: AssetGraph, taken: Callable[[str], bool], prefix: str = "") -> Sequence[Batch]:
    """Return the groups of two or more tables that are loaded together.

    Args:
        graph: the assets.
        taken: returns whether a job or another op has a name.
        prefix: prefix of op names, because another project in the code location may have the same domain.
    """
    from ..commands import fits_command_line

    groups: dict[Hashable, list[NodeId]] = {}
    for node_id, node in graph.nodes.items():
        table = node.table
        # A name that cannot be passed on the command line must fail only its own table.
        if table is not None and fits_command_line(table.name):
            spec = graph.specs[node_id]
            waits_for = frozenset((dep.asset_key, repr(dep.partition_mapping)) for dep in spec.deps)
            attributes = repr(find_op_attributes(node, node.settings)) if node.settings.op_rules else ""
            key = (table.domain, node.pipeline.name if node.pipeline else None, waits_for, spec.partitions_def, attributes)
            groups.setdefault(key, []).append(node_id)
    several = [group for group in groups.values() if len(group) > 1]
    of_domain: dict[str, int] = {}
    for group in several:
        domain = graph.nodes[group[0]].domain
        of_domain[domain] = of_domain.get(domain, 0) + 1
    made: list[Batch] = []
    names: set[str] = set()
    for group in several:
        alone = of_domain[graph.nodes[group[0]].domain] == 1
        name = _name_batch(graph, group, prefix, alone=alone, taken=lambda n: taken(n) or n in names)
        names.add(name)
        made.append(Batch(name, tuple(Member(graph.nodes[i], graph.specs[i].key, make_output_name(graph.specs[i].key)) for i in group)))
    return made


def _name_batch(graph: AssetGraph, group: Sequence[NodeId], prefix: str, *, alone: bool, taken: Callable[[str], bool]) -> str:
    """Return ``load_<domain>``, with the pipeline appended if the tables of the domain belong to several."""
    node = graph.nodes[group[0]]
    parts = ["load", node.domain] if alone or node.pipeline is None else ["load", node.domain, node.pipeline.name]
    name = make_readable_name(prefix + "_".join(parts))
    if taken(name):
        # The name of the first table's op is unique, so this one is, too.
        name = f"{name}_{make_op_name(graph.specs[group[0]].key, (make_op_name(graph.specs[group[0]].key),))}"
    return name


def index_batches(made: Sequence[Batch]) -> Mapping[NodeId, Batch]:
    """Return each batch by the tables that it loads."""
    return {("table", m.table.full_name): batch for batch in made for m in batch.members}
