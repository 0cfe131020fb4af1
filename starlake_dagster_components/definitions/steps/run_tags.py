"""The tags that schedules and sensors set and steps read: the logical time and data interval of a run, and its trigger."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

SCHEDULED_DATE = "starlake/scheduled_date"
"""The logical time of a run in ISO 8601 (``--scheduledDate``). Also metadata of materializations."""
INTERVAL_START = "starlake/data_interval_start"
"""Start of the data interval of a run in ISO 8601 (``sl_data_interval_start`` of transforms)."""
INTERVAL_END = "starlake/data_interval_end"
"""End of the data interval of a run in ISO 8601 (``sl_data_interval_end`` of transforms)."""
TRIGGERED_BY = ".dagster/starlake_triggered_by"
"""The materializations that a run consumes, as JSON: asset key -> ``[storage ID, run ID]``. Dagster's UI hides tags with this prefix."""

MAX_TRIGGERED_BY = 2000
"""Maximum length of :data:`TRIGGERED_BY` in characters."""
REST = "..."
"""Key in :data:`TRIGGERED_BY` for the number of materializations that it does not list."""

_ZONE = re.compile(r"([+-]\d{2})(\d{2})$")


def build_time_tags(scheduled: datetime, start: datetime, end: datetime) -> dict[str, str]:
    """Return the tags for the logical time and the data interval of a run."""
    return {SCHEDULED_DATE: scheduled.isoformat(), INTERVAL_START: start.isoformat(), INTERVAL_END: end.isoformat()}


def format_triggered_by(consumed: Iterable[tuple[str, int, str]]) -> str:
    """Return the value of :data:`TRIGGERED_BY`, not longer than :data:`MAX_TRIGGERED_BY`.

    ``consumed`` has the asset key, storage ID, and run ID of each materialization, the most important first.
    """
    items = list(consumed)
    shown: dict[str, list[object] | int] = {}
    length = len(json.dumps({REST: len(items)}))
    for key, storage_id, run_id in items:
        entry: list[object] = [storage_id, run_id]
        length += len(json.dumps({key: entry}))
        if length > MAX_TRIGGERED_BY:
            break
        shown[key] = entry
    rest = len(items) - len(shown)
    return json.dumps({**shown, REST: rest} if rest else shown)


def parse_time(text: str) -> datetime | None:
    """Return an ISO 8601 time as a datetime with an offset; None for any other string. A time without an offset is in UTC.

    In tags, starlake-dagster writes ``.`` instead of ``:``, ``_`` instead of ``+``, and offsets without a colon.
    """
    text = text.strip()
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return None
    if re.fullmatch(r"[0-9-]+[T ]\d{2}\.\d{2}\.\d{2}[_-]\d{4}", text):
        text = text.replace(".", ":").replace("_", "+")
    text = _ZONE.sub(r"\1:\2", text.replace("Z", "+00:00")) if "T" in text or " " in text else text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def read_tagged_time(tags: Mapping[str, str], name: str) -> datetime | None:
    """Return the time in a tag; None if the tag is missing or is not a time."""
    return parse_time(tags.get(name, ""))
