"""The database table of an asset, for code that reads what Starlake made."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ..errors import StarlakeError, UnknownName

TABLE_NAME = "dagster/table_name"


def table_of(source: dg.Definitions | dg.AssetExecutionContext | dg.OpExecutionContext, key: dg.AssetKey | str) -> str:
    """Return the name of an asset's table, as SQL writes it: ``domain.table``, with the database in front if the project names one.

    Args:
        source: the definitions of the project, or the context of an asset or op that runs in the same code location.
        key: the asset's key, or its user string: ``kpi_daily``, or ``kpi/daily`` with ``asset_keys="path"``.

    Raises:
        UnknownName: the asset does not exist.
        StarlakeError: the asset has no table, such as the pre-load of a domain.
    """
    wanted = dg.AssetKey.from_user_string(key) if isinstance(key, str) else key
    known = _list_metadata(source)
    if wanted not in known:
        raise UnknownName(kind="asset", name=wanted.to_user_string(), known=(other.to_user_string() for other in known))
    name = known[wanted].get(TABLE_NAME)
    if name is None:
        raise StarlakeError(f"the asset '{wanted.to_user_string()}' has no table: it has no metadata '{TABLE_NAME}'")
    return str(name.value if isinstance(name, dg.MetadataValue) else name)


def _list_metadata(source: dg.Definitions | dg.AssetExecutionContext | dg.OpExecutionContext) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    if isinstance(source, dg.Definitions):
        return {spec.key: spec.metadata for spec in source.resolve_all_asset_specs()}
    # Not `repository_def`: it is absent in `execute_in_process`.
    graph = source.job_def.asset_layer.asset_graph
    return {key: graph.get(key).metadata for key in graph.get_all_asset_keys()}
