"""Asset jobs that resolve faster than Dagster's.

Dagster resolves each job against all assets of the code location. With 5,000 assets and 200 jobs, this takes a third of the loading time.
Here, a job is resolved against only its own assets and their inputs. The result is the same.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from .._dagster_jobs import JOBS_HAVE_OWNERS, AssetGraph, AssetNode, JobScopedAssetGraph, UnresolvedAssetJobDefinition, build_asset_job

_upstream: "WeakKeyDictionary[AssetGraph, dict[dg.AssetKey, dg.AssetsDefinition]]" = WeakKeyDictionary()
"""Graph -> assets that jobs read but do not materialize, shared by all jobs."""

_NONE: AbstractSet[dg.AssetKey] = frozenset()
_NO_CHECKS: AbstractSet[dg.AssetCheckKey] = frozenset()


class AssetJob(UnresolvedAssetJobDefinition):
    """The class of the result of ``dagster.define_asset_job``, with a faster :meth:`resolve`."""

    def resolve(
        self,
        asset_graph: AssetGraph,
        default_executor_def: dg.ExecutorDefinition | None = None,
        resource_defs: Mapping[str, dg.ResourceDefinition] | None = None,
    ) -> dg.JobDefinition:
        """Return the job, given all assets of the code location."""
        own = _build_job_graph(asset_graph, self.selection)
        # Only Dagster 1.13.14 and later have this attribute.
        conditioned = getattr(self, "automation_condition", None) is not None
        if own is None or self.config is not None or self.partitions_def is not None or conditioned:
            return super().resolve(asset_graph, default_executor_def, resource_defs)
        owners: dict[str, Any] = {"owners": self.owners} if JOBS_HAVE_OWNERS else {}
        return build_asset_job(
            self.name,
            asset_graph=own,
            description=self.description,
            tags=self.tags,
            run_tags=self.run_tags,
            metadata=self.metadata,
            executor_def=self.executor_def or default_executor_def,
            hooks=self.hooks,
            op_retry_policy=self.op_retry_policy,
            resource_defs=resource_defs,
            allow_different_partitions_defs=False,
            **owners,
        )


def build_job_of_graph(name: str, graph: AssetGraph, executor: dg.ExecutorDefinition | None) -> dg.JobDefinition:
    """Return a job of all assets in a graph, which may have different partitions."""
    return build_asset_job(name, asset_graph=graph, executor_def=executor, allow_different_partitions_defs=True)


def _build_job_graph(graph: AssetGraph, selection: dg.AssetSelection) -> AssetGraph | None:
    """Return the graph of the selected assets, their checks, and their inputs, which do not run; None if Dagster must resolve the job.

    It must if assets are partitioned, if an op has outputs that are not selected, or if a selected asset is not executable.
    """
    selected = selection.resolve(graph)
    nodes = {key: graph.get(key) for key in selected}
    if any(node.is_partitioned for node in nodes.values()):
        return None
    entities: set[dg.AssetKey | dg.AssetCheckKey] = {*selected, *(check for node in nodes.values() for check in node.check_keys)}
    made = {id(d): d for d in [graph.assets_def_for_key(e) for e in entities]}.values()
    if any(not d.is_executable or not entities.issuperset(d.keys | d.check_keys) for d in made):
        return None
    touched = {key for d in made for keys in (d.node_keys_by_input_name, d.node_keys_by_output_name) for key in keys.values()}
    read = _strip_bodies(graph, touched - selected)
    own = {
        **{key: (d, nodes[key].check_keys) for d in made for key in d.keys},
        **{key: (d, _NO_CHECKS) for key, d in read.items()},
    }
    known = own.keys()
    return JobScopedAssetGraph(
        {
            key: AssetNode(key, _keep_known(graph.get(key).parent_keys, known), _keep_known(graph.get(key).child_keys, known), *rest)
            for key, rest in own.items()
        },
        {check: d for d in made for check in d.check_keys},
        graph,
    )


def _keep_known(keys: AbstractSet[dg.AssetKey], known: AbstractSet[dg.AssetKey]) -> AbstractSet[dg.AssetKey]:
    """Return the keys that are known. Most results are not new sets, which would take much of the memory of many jobs."""
    return keys if keys <= known else (keys & known) or _NONE


def _strip_bodies(graph: AssetGraph, keys: Iterable[dg.AssetKey]) -> Mapping[dg.AssetKey, dg.AssetsDefinition]:
    """Return the definitions of assets that a job reads but does not materialize, without their ops."""
    seen = _upstream.setdefault(graph, {})
    for key in keys:
        if key not in seen:
            assets_def = graph.get(key).assets_def
            seen[key] = dg.AssetsDefinition(specs=[assets_def.get_asset_spec(key)]) if assets_def.is_executable else assets_def
    return {key: seen[key] for key in keys}
