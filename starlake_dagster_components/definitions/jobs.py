"""Jobs: one per pipeline, a selection of assets."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ..pipelines.model import Pipeline
from .graph import AssetGraph
from .names import tag_value, tags_of

Job = Any
"""Dagster's type of a job that is still to be resolved is not public."""


def job_keys(graph: AssetGraph, pipeline: Pipeline) -> tuple[dg.AssetKey, ...]:
    """Return the assets that a pipeline's job runs.

    Those of the pipeline itself; with ``run_dependencies_first`` also every task and load table upstream, with the pre-load of
    their domains (seed: Inline dependencies).
    """
    keys = dict.fromkeys(graph.keys_of(pipeline))
    if pipeline.run_dependencies_first:
        for task in pipeline.tasks:
            for dependency in graph.plan.dependencies.transitive(task.full_name):
                if dependency.kind == "external":
                    continue
                node_id = (dependency.kind, dependency.name)
                keys[graph.specs[node_id].key] = None
                table = graph.nodes[node_id].table
                if table and ("domain", table.domain) in graph.specs:
                    domain_key = graph.key("domain", table.domain)
                    if any(d.asset_key == domain_key for d in graph.specs[node_id].deps):
                        keys[domain_key] = None
    return tuple(keys)


def build_job(graph: AssetGraph, pipeline: Pipeline, executor: dg.ExecutorDefinition | None) -> Job:
    """Return the job of a pipeline.

    Args:
        graph: the assets.
        pipeline: what the job runs.
        executor: how its steps run; None = the code location's.
    """
    return dg.define_asset_job(
        name=pipeline.name,
        selection=dg.AssetSelection.assets(*job_keys(graph, pipeline)),
        description=pipeline.comment or None,
        tags=job_tags(pipeline),
        executor_def=executor,
    )


def job_tags(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the tags of a pipeline's job and of its runs: the option ``tags`` and where the job comes from."""
    return {
        **tags_of(pipeline.tags),
        "starlake/kind": pipeline.kind,
        "starlake/dag": tag_value(pipeline.dag_config.name),
    }
