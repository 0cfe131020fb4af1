"""The private names of Dagster that are used to build jobs, checked on import.

Only ``definitions.asset_job`` uses this module. If a release of Dagster moves or changes one of the names, importing this module raises an
ImportError with the name, and Dagster's own way to build jobs is used, which is slow for many jobs (see ``definitions.jobs``).
``tests/test_private_dagster.py`` fails in that case. ``_dagster.py`` has the names that are used by runs.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import dagster

# The graph of all assets, and the graph of one job's assets.
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph as AssetGraph
from dagster._core.definitions.assets.graph.asset_graph import AssetNode as AssetNode
from dagster._core.definitions.assets.job.asset_job import JobScopedAssetGraph as JobScopedAssetGraph

# Builds a job from the graph of its assets.
from dagster._core.definitions.assets.job.asset_job import build_asset_job as build_asset_job

# The result of define_asset_job, and the base class of our own class.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as UnresolvedAssetJobDefinition

_PARAMETERS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (AssetNode.__init__, ("self", "key", "parent_keys", "child_keys", "assets_def", "check_keys")),
    (JobScopedAssetGraph.__init__, ("self", "asset_nodes_by_key", "assets_defs_by_check_key", "source_asset_graph")),
    (UnresolvedAssetJobDefinition.resolve, ("self", "asset_graph", "default_executor_def", "resource_defs")),
    (
        build_asset_job,
        (
            "name",
            "asset_graph",
            "allow_different_partitions_defs",
            "resource_defs",
            "description",
            "tags",
            "run_tags",
            "metadata",
            "executor_def",
            "hooks",
            "op_retry_policy",
        ),
    ),
)
"""The functions that are called, with the names of the parameters that are passed."""

_ATTRIBUTES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (AssetGraph, ("assets_def_for_key", "get")),
    (AssetNode, ("check_keys", "is_partitioned")),
)


def find_changes() -> Iterator[str]:
    """Yield a message for each required name that this release of Dagster lacks."""
    for function, parameters in _PARAMETERS:
        known = inspect.signature(function).parameters
        for parameter in parameters:
            if parameter not in known:
                yield f"{function.__module__}.{function.__qualname__} has no parameter '{parameter}'"
    for owner, attributes in _ATTRIBUTES:
        for attribute in attributes:
            if not hasattr(owner, attribute):
                yield f"{owner.__module__}.{owner.__qualname__} has no '{attribute}'"


def _check_dagster() -> None:
    found = list(find_changes())
    if found:
        raise ImportError(f"dagster {dagster.__version__} is not supported: {'; '.join(found)}")


_check_dagster()

JOBS_HAVE_OWNERS = "owners" in inspect.signature(build_asset_job).parameters
"""True since Dagster 1.13."""
