"""What a sensor remembers between ticks, as the cursor of Dagster's multi-asset sensors."""

import json
import math
from collections.abc import Mapping

import dagster as dg

from ..steps.run_tags import parse_time
from .rule import Consumption

_OWN = "starlake"
"""Key of what Dagster's cursor has no place for; no asset key is written like this."""


def read_cursor(cursor: str | None, keys: Mapping[str, dg.AssetKey]) -> Consumption:
    """Return what a sensor remembers.

    Dagster's cursor has, under each asset key, the partition and storage id of the last consumed materialization and a mapping. One more
    entry of this form has the time of the last run, and the time of the newest consumed materialization in microseconds.

    Args:
        cursor: as :func:`write_cursor` or Dagster's own multi-asset sensors write it; None before the first run.
        keys: what is watched, by the name that decisions use.
    """
    entries = json.loads(cursor) if cursor else {}
    if not isinstance(entries, dict):
        return Consumption()
    last_run, watermark, _ = entries.get(_OWN) or (None, None, None)
    consumed = {name: entry[1] for name, key in keys.items() if (entry := entries.get(str(key))) and len(entry) == 3}
    if watermark is None and entries:
        # Dagster's own cursor has ids only.
        watermark = math.inf
    return Consumption(
        storage_ids={name: storage_id for name, storage_id in consumed.items() if storage_id is not None},
        watermark=(watermark or 0.0) / 1e6,
        last_run=parse_time(last_run) if last_run else None,
    )


def write_cursor(consumption: Consumption, keys: Mapping[str, dg.AssetKey]) -> str:
    """Return the cursor that makes a sensor remember; what is no longer watched is forgotten.

    Args:
        consumption: what was consumed.
        keys: what is watched, by the name that decisions use.
    """
    ids = consumption.storage_ids
    entries: dict[str, list[object]] = {str(key): [None, ids[name], {}] for name, key in keys.items() if name in ids}
    last_run = consumption.last_run
    # Rounded up: a consumed materialization must never look younger than the watermark.
    watermark = None if math.isinf(consumption.watermark) else math.ceil(consumption.watermark * 1e6) + 1
    entries[_OWN] = [last_run.isoformat() if last_run else None, watermark, {}]
    return json.dumps(entries)
