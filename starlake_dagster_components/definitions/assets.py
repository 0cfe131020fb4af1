"""Build assets: an op for each pre-load, load table (or batch of tables), and task, and only a spec for each external table.

``AssetsDefinition`` and ``OpDefinition`` are built directly, because Dagster's decorators take three times as long.
"""

from collections.abc import Mapping

import dagster as dg

from ..settings import Settings
from .batches import Batch, group_tables
from .checks import build_asset_check_specs
from .graph import AssetGraph, NodeId
from .names import build_op_name
from .nodes import StarlakeNode
from .op_attributes import find_op_attributes
from .partitioned_specs import BACKFILL
from .steps.bodies import Bodies, ComputeFunction
from .steps.step_config import RUN_CONFIG

_UPSTREAM = dg.In(dg.Nothing)
_RESULT, _SKIPPABLE = dg.Out(dg.Nothing), dg.Out(dg.Nothing, is_required=False)


def build_assets(graph: AssetGraph, bodies: Bodies, settings: Settings) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return all assets of a project, with specs for external tables."""
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = []
    jobs = frozenset(p.name for p in graph.plan.pipelines)
    batches: Mapping[NodeId, Batch] = {}
    if settings.batch:
        ops = {build_op_name(spec.key, jobs) for spec in graph.specs.values()}
        batches = group_tables(graph, jobs | ops, settings.name_prefix)
    for node_id, node in graph.nodes.items():
        spec = graph.specs[node_id]
        batch = batches.get(node_id)
        if batch is not None:
            if batch.members[0].node is node:
                assets.append(_build_batch_asset(batch, graph, bodies, settings))
        elif node.type != "external":
            assets.append(_build_asset(node, spec, build_op_name(spec.key, jobs), bodies, settings))
        elif graph.by_key[spec.key] is node:
            assets.append(spec)
    return assets


def _build_asset(node: StarlakeNode, spec: dg.AssetSpec, name: str, bodies: Bodies, settings: Settings) -> dg.AssetsDefinition:
    checks = {f"check_{i}": check for i, check in enumerate(build_asset_check_specs(node, spec.key, settings))}
    inputs = {f"upstream_{i}": dep.asset_key for i, dep in enumerate(spec.deps)}
    backfill_policy = None
    if spec.partitions_def is not None:
        single = spec.metadata.get(BACKFILL, settings.backfill) == "single_run"
        backfill_policy = dg.BackfillPolicy.single_run() if single else dg.BackfillPolicy.multi_run(1)
    op = dg.OpDefinition(
        compute_fn=ComputeFunction(bodies, lambda steps: steps.build_body(node, spec.key)),
        name=name,
        description=spec.description,
        ins=dict.fromkeys(inputs, _UPSTREAM),
        outs={"result": _SKIPPABLE if spec.skippable else _RESULT, **dict.fromkeys(checks, _SKIPPABLE)},
        config_schema=RUN_CONFIG,
        **find_op_attributes(node, settings),
    )
    return dg.AssetsDefinition(
        keys_by_input_name=inputs,
        keys_by_output_name={"result": spec.key},
        node_def=op,
        specs=[spec],
        check_specs_by_output_name=checks,
        backfill_policy=backfill_policy,
    )


def _build_batch_asset(batch: Batch, graph: AssetGraph, bodies: Bodies, settings: Settings) -> dg.AssetsDefinition:
    """Return the assets of a batch. A run can select any of its tables."""
    members = batch.members
    specs = [graph.specs["table", m.table.full_name] for m in members]
    first = members[0].node
    checks = {
        f"check_{i}_of_{m.output}": check for m in members for i, check in enumerate(build_asset_check_specs(m.node, m.key, settings))
    }
    inputs = {f"upstream_{i}": dep.asset_key for i, dep in enumerate(specs[0].deps)}
    op = dg.OpDefinition(
        compute_fn=ComputeFunction(bodies, lambda steps: steps.build_load_body(members)),
        name=batch.name,
        description=f"Loads the selected tables of {first.domain} in one command.",
        ins=dict.fromkeys(inputs, _UPSTREAM),
        outs=dict.fromkeys([*(m.output for m in members), *checks], _SKIPPABLE),
        config_schema=RUN_CONFIG,
        **find_op_attributes(first, settings),
    )
    return dg.AssetsDefinition(
        keys_by_input_name=inputs,
        keys_by_output_name={m.output: m.key for m in members},
        node_def=op,
        specs=specs,
        check_specs_by_output_name=checks,
        can_subset=True,
    )
