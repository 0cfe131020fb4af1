"""``table_of``, the table of an asset, for code that reads tables that Starlake has written."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ..errors import StarlakeError, UnknownName

TABLE_NAME = "dagster/table_name"


def table_of(source: dg.Definitions | dg.AssetExecutionContext | dg.OpExecutionContext, key: dg.AssetKey | str) -> str:
    """Return the name of an asset's table for use in SQL: ``domain.table``, or ``database.domain.table`` if the project sets a database.

    Args:
        source: the definitions of the project, or the context of an asset or op in the same code location.
        key: the asset key, or its user string, such as ``kpi_daily`` (or ``kpi/daily`` with ``asset_keys="path"``).

    Raises:
        UnknownName: the asset does not exist.
        StarlakeError: the asset has no table (for example, the pre-load of a domain).
    """
    asset_key = dg.AssetKey.from_user_string(key) if isinstance(key, str) else key
    known: Mapping[dg.AssetKey, Mapping[str, Any]]
    if isinstance(source, dg.Definitions):
        known = {spec.key: spec.metadata for spec in source.resolve_all_asset_specs()}
    else:
        # Not `repository_def`, which is not available in `execute_in_process`.
        graph = source.job_def.asset_layer.asset_graph
        known = {key: graph.get(key).metadata for key in graph.get_all_asset_keys()}
    if asset_key not in known:
        raise UnknownName(kind="asset", name=asset_key.to_user_string(), known=(other.to_user_string() for other in known))
    name = known[asset_key].get(TABLE_NAME)
    if name is None:
        raise StarlakeError(f"the asset '{asset_key.to_user_string()}' has no table: it has no metadata '{TABLE_NAME}'")
    return str(name.value if isinstance(name, dg.MetadataValue) else name)
