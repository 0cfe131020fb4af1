"""Build file sensors, which start a load job when its files have arrived."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from ...pipelines.waiting_files import WaitingFolder

MINIMUM_INTERVAL_SECONDS = 30
"""Time between ticks, unless the DAG config sets the ``pre_load_poke_interval`` option."""


def build_file_sensor(
    *,
    name: str,
    job_name: str,
    folders: Sequence[WaitingFolder],
    incoming: Mapping[str, dg.AssetKey],
    **options: Any,
) -> dg.SensorDefinition:
    """Return the file sensor of a load job.

    It lists folders without starting Starlake. When files are complete (see docs/triggers.md), it requests one run for all of them. It also
    reports the files in each domain's folder as an observation of the asset ``<domain>/incoming``, whose key is that of the domain's
    logical name in ``incoming``. ``options`` are further arguments of :class:`dagster.SensorDefinition`.
    """

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        # Imported by the first tick, because loading a code location does not need it.
        from ..masked import hide_in_tick
        from .file_evaluation import evaluate_files

        return hide_in_tick(lambda: evaluate_files(context, job_name, folders, incoming))

    return dg.SensorDefinition(
        name, job_name=job_name, evaluation_fn=evaluate, **{"minimum_interval_seconds": MINIMUM_INTERVAL_SECONDS, **options}
    )


def describe_folder(folder: WaitingFolder) -> str:
    """Return the folder and the files for which a sensor waits, for its page."""
    if folder.ack_file:
        return f"{folder.ack_file} (all files of {folder.domain} have arrived)"
    tables = ", ".join(table.pattern + (f" with .{table.ack}" if table.ack else "") for table in folder.tables)
    return f"{tables} in {folder.path}"


def build_incoming_asset(
    folder: WaitingFolder, key: dg.AssetKey, *, group_name: str | None, op_name: str, tags: Mapping[str, str] | None = None
) -> dg.AssetsDefinition:
    """Return the observable asset that represents the files waiting for a domain.

    Observations, which the file sensor and the button "Observe" in the UI create, report the number of waiting files, the age of the oldest
    one, and the first names.
    """

    def observe() -> dg.ObserveResult:
        from .file_evaluation import describe_waiting
        from .file_listing import list_folder_files

        return dg.ObserveResult(asset_key=key, metadata=describe_waiting(list_folder_files(folder)))

    spec = dg.AssetSpec(
        key,
        group_name=group_name,
        description=f"Files waiting for the domain {folder.domain} in `{folder.path}`.",
        kinds={"starlake", "file"},
        metadata={"starlake/folder": folder.path},
        tags=dict(tags or {}),
    )
    asset: dg.AssetsDefinition = dg.multi_observable_source_asset(name=op_name, specs=[spec])(observe)
    return asset
