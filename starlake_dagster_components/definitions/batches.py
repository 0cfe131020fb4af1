"""Which load tables share an op, and so a command (setting ``batch``)."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from ..project.model import Table
from .graph import AssetGraph, NodeId
from .names import make_op_name, make_output_name, make_readable_name
from .nodes import StarlakeNode
from .op_attributes import find_op_attributes

FAILED = "starlake/failed_tables"
"""Metadata of a step's failure: asset key -> why that table failed."""


@dataclass(frozen=True, slots=True)
class Member:
    """A table of an op: its node, its asset key and the op's output that stands for it."""

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
    """Return the tables that are loaded together, two at least.

    Args:
        graph: the assets.
        taken: whether a job or another op has a name.
        prefix: text before the names of ops; another project in the code location may have the same domain.
    """
    from ..commands import fits_command_line

    groups: dict[Hashable, list[NodeId]] = {}
    for node_id, node in graph.nodes.items():
        table = node.table
        # A name that the command line cannot carry must fail its own table only.
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
    """Return ``load_<domain>``, with the pipeline behind it where the tables of the domain belong to several."""
    node = graph.nodes[group[0]]
    parts = ["load", node.domain] if alone or node.pipeline is None else ["load", node.domain, node.pipeline.name]
    name = make_readable_name(prefix + "_".join(parts))
    if taken(name):
        # The op of the first table has a name that no other op has, and so has this one.
        name = f"{name}_{make_op_name(graph.specs[group[0]].key, (make_op_name(graph.specs[group[0]].key),))}"
    return name


def index_batches(made: Sequence[Batch]) -> Mapping[NodeId, Batch]:
    """Return batches by the tables that they load."""
    return {("table", m.table.full_name): batch for batch in made for m in batch.members}
