"""Build file sensors, which start a load job when the files that it waits for are there."""

from collections.abc import Mapping, Sequence

import dagster as dg

from ...pipelines.waiting_files import WaitingFolder

MINIMUM_INTERVAL_SECONDS = 30
"""Time between two checks, unless the option ``pre_load_poke_interval`` of the DAG config sets another."""


def build_file_sensor(
    *,
    name: str,
    job_name: str,
    folders: Sequence[WaitingFolder],
    incoming: Mapping[str, dg.AssetKey],
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    minimum_interval_seconds: int = MINIMUM_INTERVAL_SECONDS,
) -> dg.SensorDefinition:
    """Return the file sensor of a load job.

    It lists folders without starting Starlake. When files are complete, it requests one run for all of them, with a run key made from
    their names and versions, so that no file starts two runs. See docs/triggers.md for when a file is complete. It also reports the files
    in each domain's folder as an observation of the asset ``<domain>/incoming``.

    Args:
        name: the sensor's name.
        job_name: the load job that the sensor starts.
        folders: the folders in which files wait.
        incoming: logical name of a domain -> key of the asset that represents its waiting files.
        default_status: whether the sensor is initially on.
        description: description in the UI.
        tags: tags of the sensor.
        minimum_interval_seconds: time between two checks.
    """

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        # Imported by the first tick, because a code location that is only displayed never lists files.
        from ..masked import hide_in_tick
        from .file_evaluation import evaluate_files

        return hide_in_tick(lambda: evaluate_files(context, job_name, folders, incoming))

    return dg.SensorDefinition(
        name=name,
        job_name=job_name,
        evaluation_fn=evaluate,
        minimum_interval_seconds=minimum_interval_seconds,
        description=description,
        default_status=default_status,
        tags=tags,
    )


def describe_folder(folder: WaitingFolder) -> str:
    """Return the folder and the files for which a sensor waits, for its page."""
    if folder.ack_file:
        return f"{folder.ack_file} (all files of {folder.domain} are there)"
    tables = ", ".join(table.pattern + (f" with .{table.ack}" if table.ack else "") for table in folder.tables)
    return f"{tables} in {folder.path}"


def build_incoming_asset(
    folder: WaitingFolder, key: dg.AssetKey, *, group_name: str | None, op_name: str, tags: Mapping[str, str] | None = None
) -> dg.AssetsDefinition:
    """Return the observable asset that represents the files that wait for a domain.

    Observations report the number of waiting files, the age of the oldest one, and the names of the first ones. The file sensor reports
    them; "Observe" in the UI lists the folder at once.

    Args:
        folder: the folder in which the files wait.
        key: the key of the asset.
        group_name: group of the domain's assets.
        op_name: name of the op behind "Observe".
        tags: tags of the asset.
    """

    def observe() -> dg.ObserveResult:
        from .file_evaluation import describe_waiting
        from .file_listing import list_folder_files

        return dg.ObserveResult(asset_key=key, metadata=describe_waiting(list_folder_files(folder)))

    spec = dg.AssetSpec(
        key,
        group_name=group_name,
        description=f"Files that wait for the domain {folder.domain} in `{folder.path}`.",
        kinds={"starlake", "file"},
        metadata={"starlake/folder": folder.path},
        tags=dict(tags or {}),
    )
    asset: dg.AssetsDefinition = dg.multi_observable_source_asset(name=op_name, specs=[spec])(observe)
    return asset
