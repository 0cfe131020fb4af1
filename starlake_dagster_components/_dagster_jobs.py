"""The private names of Dagster that are used to build jobs, checked on import.

Only ``definitions.asset_job`` uses this module. If a release of Dagster moves or changes one of the names, importing this module raises an
ImportError with the name, and Dagster's own way to build jobs is used, which is slow for many jobs (see ``definitions.jobs``).
``tests/test_private_dagster.py`` fails in that case. ``_dagster.py`` has the names that are used by runs.
"""

import inspect

# The graph of all assets, and the graph of one job's assets.
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph as AssetGraph
from dagster._core.definitions.assets.graph.asset_graph import AssetNode as AssetNode
from dagster._core.definitions.assets.job.asset_job import JobScopedAssetGraph as JobScopedAssetGraph

# Builds a job from the graph of its assets.
from dagster._core.definitions.assets.job.asset_job import build_asset_job as build_asset_job

# The result of define_asset_job, and the base class of our own class.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as UnresolvedAssetJobDefinition

from ._dagster_check import Attributes, Parameters, find_changes, reject_changes

_PARAMETERS: Parameters = (
    (AssetNode, "__init__", "key parent_keys child_keys assets_def check_keys"),
    (JobScopedAssetGraph, "__init__", "asset_nodes_by_key assets_defs_by_check_key source_asset_graph"),
    (UnresolvedAssetJobDefinition, "resolve", "asset_graph default_executor_def resource_defs"),
    (
        build_asset_job,
        "",
        "name asset_graph allow_different_partitions_defs resource_defs description tags run_tags metadata executor_def "
        "hooks op_retry_policy",
    ),
)
_ATTRIBUTES: Attributes = (
    (AssetGraph, "assets_def_for_key get"),
    (AssetNode, "check_keys is_partitioned"),
)


reject_changes(find_changes(_PARAMETERS, _ATTRIBUTES))

JOBS_HAVE_OWNERS = "owners" in inspect.signature(build_asset_job).parameters
"""True since Dagster 1.13."""
