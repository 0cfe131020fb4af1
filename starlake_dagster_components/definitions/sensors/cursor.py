"""Store the state of a sensor in its cursor, in the format of Dagster's multi-asset sensors."""

import json
import math
from collections.abc import Mapping

import dagster as dg

from ..steps.run_tags import parse_time
from .rule import Consumption

_OWN = "starlake"
"""Key of the entry for values that Dagster's format does not have. No asset key has this form."""


def read_cursor(cursor: str | None, keys: Mapping[str, dg.AssetKey]) -> Consumption:
    """Return the state in a cursor from :func:`write_cursor`, or of Dagster's own multi-asset sensors; None before the first run.

    In Dagster's format, a cursor maps each asset key to the partition and storage ID of the last consumed materialization, and a mapping.
    An additional entry contains the time of the last run and the time of the newest consumed materialization in microseconds. ``keys`` has
    the keys of all watched assets, by their names in :class:`Consumption`.
    """
    entries = json.loads(cursor) if cursor else {}
    if not isinstance(entries, dict):
        return Consumption()
    last_run, watermark, _ = entries.get(_OWN) or (None, None, None)
    consumed = {name: entry[1] for name, key in keys.items() if (entry := entries.get(str(key))) and len(entry) == 3}
    if watermark is None and entries:
        # Dagster's own cursors contain only IDs.
        watermark = math.inf
    return Consumption(
        storage_ids={name: storage_id for name, storage_id in consumed.items() if storage_id is not None},
        watermark=(watermark or 0.0) / 1e6,
        last_run=parse_time(last_run) if last_run else None,
    )


def write_cursor(consumption: Consumption, keys: Mapping[str, dg.AssetKey]) -> str:
    """Return the cursor for a state, without assets that are no longer watched. See :func:`read_cursor`."""
    ids = consumption.storage_ids
    entries: dict[str, list[object]] = {str(key): [None, ids[name], {}] for name, key in keys.items() if name in ids}
    last_run = consumption.last_run
    # Rounded up, because a consumed materialization must never look newer than the watermark.
    watermark = None if math.isinf(consumption.watermark) else math.ceil(consumption.watermark * 1e6) + 1
    entries[_OWN] = [last_run.isoformat() if last_run else None, watermark, {}]
    return json.dumps(entries)
