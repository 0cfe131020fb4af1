"""Batches of load tables: ops that load several tables with one command (setting ``batch``)."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from ..project.model import Table
from .graph import AssetGraph, NodeId
from .names import build_op_name, build_output_name, build_readable_name
from .nodes import StarlakeNode
from .op_attributes import find_op_attributes

FAILED = "starlake/failed_tables"
"""Metadata of a step failure: asset key -> error message of the table."""


@dataclass(frozen=True, slots=True)
class Member:
    """A table in a batch: its node, its asset key, and the name of its output of the op."""

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
    """Tables of one domain and one pipeline with the same dependencies, partitions, pool, retries, and tags.

    Attributes:
        name: the name of the op.
        members: the tables.
    """

    name: str
    members: tuple[Member, ...]


def build_batches(graph: AssetGraph, taken: Callable[[str], bool], prefix: str = "") -> Sequence[Batch]:
    """Return the batches of two or more tables.

    ``taken`` returns whether a job or another op has a name. ``prefix`` begins op names, because another project in the code location may
    have the same domain.
    """
    from ..commands import fits_command_line

    groups: dict[Hashable, list[NodeId]] = {}
    for node_id, node in graph.nodes.items():
        table = node.table
        # A table whose name cannot be passed on the command line must not make the others fail.
        if table is not None and fits_command_line(table.name):
            spec = graph.specs[node_id]
            upstream = frozenset((dep.asset_key, repr(dep.partition_mapping)) for dep in spec.deps)
            attributes = repr(find_op_attributes(node, node.settings)) if node.settings.op_rules else ""
            key = (table.domain, node.pipeline.name if node.pipeline else None, upstream, spec.partitions_def, attributes)
            groups.setdefault(key, []).append(node_id)
    several = [group for group in groups.values() if len(group) > 1]
    per_domain = Counter(graph.nodes[group[0]].domain for group in several)
    batches: list[Batch] = []
    names: set[str] = set()
    for group in several:
        alone = per_domain[graph.nodes[group[0]].domain] == 1
        name = _name_batch(graph, group, prefix, alone=alone, taken=lambda n: taken(n) or n in names)
        names.add(name)
        batches.append(Batch(name, tuple(Member(graph.nodes[i], graph.specs[i].key, build_output_name(graph.specs[i].key)) for i in group)))
    return batches


def _name_batch(graph: AssetGraph, group: Sequence[NodeId], prefix: str, *, alone: bool, taken: Callable[[str], bool]) -> str:
    """Return ``load_<domain>``, or ``load_<domain>_<pipeline>`` if the domain has several batches."""
    node = graph.nodes[group[0]]
    parts = ["load", node.domain] if alone or node.pipeline is None else ["load", node.domain, node.pipeline.name]
    name = build_readable_name(prefix + "_".join(parts))
    if taken(name):
        # The op name of the first table is unique, so this name is unique as well.
        name = f"{name}_{build_op_name(graph.specs[group[0]].key, (build_op_name(graph.specs[group[0]].key),))}"
    return name


def index_batches(batches: Sequence[Batch]) -> Mapping[NodeId, Batch]:
    """Return the batch of each table that is in one."""
    return {("table", m.table.full_name): batch for batch in batches for m in batch.members}
