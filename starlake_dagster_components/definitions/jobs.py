"""Build the jobs: each pipeline becomes a job that selects assets."""

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import dagster as dg

from ..masking import mask_text
from ..pipelines.pipeline import Pipeline
from .dagster_limits import build_run_tags
from .graph import AssetGraph
from .masked import hide_in_tags
from .names import build_tag_value

logger = logging.getLogger("starlake_dagster_components")

Job = Any
"""A job whose selection is not resolved yet. Dagster's type of it is not public."""


def select_job_keys(graph: AssetGraph, pipeline: Pipeline) -> tuple[dg.AssetKey, ...]:
    """Return the keys of the assets that a pipeline's job runs.

    They are the pipeline's own assets and, with the ``run_dependencies_first`` option (Starlake's guide "Customize Dagster DAGs"), all
    tasks and load tables upstream, with the pre-loads of their domains.
    """
    keys = dict.fromkeys(graph.get_pipeline_keys(pipeline))
    if pipeline.run_dependencies_first:
        for task in pipeline.tasks:
            for dependency in graph.plan.dependencies.get_transitive(task.full_name):
                if dependency.kind == "external":
                    continue
                node_id = (dependency.kind, dependency.name)
                keys[graph.keys[node_id]] = None
                table = graph.nodes[node_id].table
                if table and ("domain", table.domain) in graph.keys:
                    domain_key = graph.keys["domain", table.domain]
                    if any(d.asset_key == domain_key for d in graph.specs[node_id].deps):
                        keys[domain_key] = None
    return tuple(keys)


def build_job(
    graph: AssetGraph,
    pipeline: Pipeline,
    executor: dg.ExecutorDefinition | None,
    metadata: Mapping[str, Any] | None = None,
    condition: Any = None,
) -> Job:
    """Return the job of a pipeline. ``executor`` runs the steps; None = that of the code location."""
    return _get_job_factory()(
        name=pipeline.name,
        selection=dg.AssetSelection.assets(*select_job_keys(graph, pipeline)),
        description=mask_text(pipeline.comment) or None,
        tags=build_job_tags(pipeline),
        executor_def=executor,
        metadata=metadata,
        # Older releases of Dagster do not have this parameter.
        **({"automation_condition": condition} if condition is not None else {}),
    )


def build_job_of_all_assets(name: str, definitions: dg.Definitions, executor: Any) -> dg.JobDefinition:
    """Return the ``name`` job of all assets, like Dagster's implicit job. The assets may have different partitions.

    ``executor`` runs the steps; None = Dagster's default.
    """
    try:
        from .asset_job import build_job_of_graph
    except ImportError:
        # With Dagster's public function, the assets must have the same partitions.
        job = dg.define_asset_job(name, dg.AssetSelection.all(), executor_def=executor)
        return dg.Definitions.merge(definitions, dg.Definitions(jobs=[job])).resolve_job_def(name)
    return build_job_of_graph(name, definitions.resolve_asset_graph(), executor)


@cache
def _get_job_factory() -> Callable[..., Job]:
    """Return the class or function that creates jobs: ours, which is faster, or Dagster's if this release has other internals."""
    try:
        from .asset_job import AssetJob
    except ImportError as error:
        logger.warning("using Dagster's own resolution of jobs, which is slower if there are many: %s", error)
        return dg.define_asset_job
    return AssetJob


def build_job_tags(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the tags of a pipeline's job and its runs: the ``tags`` option, the kind of the pipeline, and its DAG config."""
    return {
        **hide_in_tags(build_run_tags(pipeline.tags)),
        "starlake/kind": pipeline.kind,
        "starlake/dag": build_tag_value(pipeline.dag_config.name),
    }
