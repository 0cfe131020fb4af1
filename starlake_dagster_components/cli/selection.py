"""Select the jobs and assets of a project for a run."""

import re
from collections.abc import Sequence

import dagster as dg

from ..definitions.build import Built, silence_beta_warnings
from ..errors import InvalidSetting, suggest_name
from ..pipelines.pipeline import Dependencies, Pipeline

_ONE_NAME = re.compile(r"""[+*\d]*(?:key:)?["']?([\w./-]+)["']?[+*\d]*""")


def select_assets(built: Built, selection: str) -> list[dg.AssetKey]:
    """Return the keys of the assets that a selection in Dagster's syntax (``+key:kpi_revenue``) contains and that can be materialized.

    Raises:
        InvalidSetting: the selection is invalid, or contains no asset that can be materialized.
    """
    if not selection.strip():
        raise InvalidSetting(
            f"selection '{selection}' is empty (expected Dagster's syntax: 'sales_orders', '+kpi_revenue', 'group:sales', '*')"
        )
    graph = built.definitions.resolve_asset_graph()
    name = _ONE_NAME.fullmatch(selection.strip())
    hint = suggest_name(name[1], [key.to_user_string() for key in built.graph.by_key]) if name else ""
    try:
        with silence_beta_warnings():  # for '*'
            found = dg.AssetSelection.from_string(selection).resolve(graph)
    except dg.DagsterInvalidSubsetError as error:
        raise InvalidSetting(f"selection '{selection}' names no asset{hint}") from error
    except Exception as error:  # Dagster's parser raises many kinds of errors
        raise InvalidSetting(
            f"Dagster does not understand the selection '{selection}': {str(error) or type(error).__name__} "
            "(expected a selection such as 'sales_orders', '+kpi_revenue', 'group:sales and kind:table', '*')"
        ) from error
    if not found:
        raise InvalidSetting(f"selection '{selection}' matches no asset{hint}")
    made = sorted(found & graph.materializable_asset_keys)
    if not made:
        elsewhere = ", ".join(key.to_user_string() for key in sorted(found))
        raise InvalidSetting(f"selection '{selection}' matches only tables that are created outside of this project: {elsewhere}")
    return made


def order_jobs(pipelines: Sequence[Pipeline], dependencies: Dependencies) -> list[str]:
    """Return the names of all jobs in the order in which to run them: load jobs, then transform jobs, upstream ones first.

    Jobs that read each other's tables stay in the order of ``pipelines``.
    """
    makers = {t.full_name: p.name for p in pipelines for t in p.tasks}
    waits = {
        p.name: {makers[d.name] for t in p.tasks for d in dependencies.get_direct(t.full_name) if d.kind == "task" and d.name in makers}
        - {p.name}
        for p in pipelines
    }
    order = [p.name for p in pipelines if p.kind == "load"]
    rest = [p.name for p in pipelines if p.kind != "load"]
    while rest:
        ready = next((name for name in rest if not (waits[name] & set(rest))), rest[0])
        order.append(ready)
        rest.remove(ready)
    return order
