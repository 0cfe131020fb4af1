"""Batches of load tables: ops that load several tables with one command (setting ``batch``)."""

from collections import Counter
from collections.abc import Hashable, Mapping, Set
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
    """Tables of one domain and one pipeline with the same dependencies, partitions, pool, retries, and tags, and the name of their op."""

    name: str
    members: tuple[Member, ...]


def group_tables(graph: AssetGraph, taken: Set[str], prefix: str = "") -> Mapping[NodeId, Batch]:
    """Return the batch of each table that is loaded together with others.

    ``taken`` are the names of jobs and other ops. ``prefix`` begins op names, because another project in the code location may have the
    same domain.
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
            alike = (table.domain, node.pipeline.name if node.pipeline else None, upstream, spec.partitions_def, attributes)
            groups.setdefault(alike, []).append(node_id)
    several = [group for group in groups.values() if len(group) > 1]
    per_domain = Counter(graph.nodes[group[0]].domain for group in several)
    batches: dict[NodeId, Batch] = {}
    names = set(taken)
    for group in several:
        node, key = graph.nodes[group[0]], graph.specs[group[0]].key
        # The pipeline distinguishes several batches of a domain.
        parts = [node.domain] if per_domain[node.domain] == 1 or node.pipeline is None else [node.domain, node.pipeline.name]
        name = build_readable_name(f"{prefix}load_{'_'.join(parts)}")
        if name in names:
            # The op name of the first table is unique, so this name is unique as well.
            name = f"{name}_{build_op_name(key, (build_op_name(key),))}"
        names.add(name)
        members = (Member(graph.nodes[i], graph.specs[i].key, build_output_name(graph.specs[i].key)) for i in group)
        batches.update(dict.fromkeys(group, Batch(name, tuple(members))))
    return batches
