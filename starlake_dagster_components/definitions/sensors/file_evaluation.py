"""Evaluate a tick of a file sensor: list files, apply the rule, and request a run. Imported by the first tick."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Any

import dagster as dg

from ...pipelines.waiting_files import WaitingFolder
from .file_cursor import read_file_cursor, write_file_cursor
from .file_listing import FolderUnreadable, find_ack_file, list_folder_files
from .file_rule import StartLoad, WaitingFile, decide_load

MAX_LISTED = 20
"""Maximum number of file names to list in an observation."""

_RUN_KEY = "dagster/run_key"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.MANAGED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def evaluate_files(
    context: dg.SensorEvaluationContext, job_name: str, folders: Sequence[WaitingFolder], incoming: Mapping[str, dg.AssetKey]
) -> dg.SensorResult | dg.SkipReason:
    """Evaluate a tick. It lists each folder once, and queries the database only if a run may be in progress.

    ``incoming`` has the key of the asset whose observations report the waiting files of a domain, by the domain's logical name.
    """
    now = datetime.now(timezone.utc)
    memory = read_file_cursor(context.cursor)
    try:
        by_domain = {folder.domain: list_folder_files(folder) for folder in folders}
        waiting = []
        for folder in folders:
            # As in Starlake, the names of ack files contain the local date.
            waiting += find_ack_file(folder, now.astimezone()) if folder.ack_file else by_domain[folder.domain]
    except FolderUnreadable as error:
        return dg.SkipReason(str(error))
    decision, changed = decide_load(waiting, memory, now, _find_unfinished_run(context.instance, job_name, memory.run_key))
    observed = {domain: _digest_files(files) for domain, files in by_domain.items() if domain in incoming}
    observations = [
        dg.AssetObservation(incoming[domain], "Files waiting for the domain", describe_waiting(by_domain[domain]))
        for domain, digest in observed.items()
        if memory.observed.get(domain) != digest
    ]
    state = write_file_cursor(replace(changed, observed=observed))
    if not isinstance(decision, StartLoad):
        return dg.SensorResult(skip_reason=dg.SkipReason(decision.reason), cursor=state, asset_events=observations)
    request = dg.RunRequest(run_key=decision.run_key, tags={"starlake/files": str(len(decision.files))})
    return dg.SensorResult([request], cursor=state, asset_events=observations)


def describe_waiting(files: Sequence[WaitingFile]) -> dict[str, Any]:
    """Return the metadata of an observation: the number of waiting files, the age of the oldest one, and the first names."""
    metadata: dict[str, Any] = {"starlake/files": len(files)}
    times = [file.modified for file in files if file.modified]
    if times:
        metadata["starlake/oldest"] = dg.MetadataValue.timestamp(min(times))
        metadata["starlake/oldest_age_seconds"] = max(0, int(datetime.now(timezone.utc).timestamp() - min(times)))
    if files:
        metadata["starlake/names"] = dg.MetadataValue.md("\n".join(_list_names(files)))
    return metadata


def _list_names(files: Sequence[WaitingFile]) -> Iterator[str]:
    for file in files[:MAX_LISTED]:
        yield f"* `{file.name}`" + (f" for {file.table}" if file.table else "") + (f" (waits for `{file.missing}`)" if file.missing else "")
    if len(files) > MAX_LISTED:
        yield f"* and {len(files) - MAX_LISTED} more"


def _digest_files(files: Sequence[WaitingFile]) -> str:
    text = "\n".join(f"{file.path}\0{file.version}\0{file.missing}" for file in files)
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _find_unfinished_run(instance: dg.DagsterInstance, job_name: str, run_key: str) -> str:
    """Return the ID of the last requested run if it is still in progress, or else an empty string."""
    if not run_key:
        return ""
    filters = dg.RunsFilter(job_name=job_name, tags={_RUN_KEY: run_key}, statuses=_UNFINISHED)
    return next((run.run_id for run in instance.get_runs(filters, limit=1)), "")
