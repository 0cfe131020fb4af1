"""Define the tags of runs that schedules and sensors write and steps read: the logical time of a run, and what started it."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

SCHEDULED_DATE = "starlake/scheduled_date"
"""The logical time of a run, ISO 8601: ``--scheduledDate``. Also metadata of a materialization: its logical time."""
INTERVAL_START = "starlake/data_interval_start"
"""Start of the data interval of a run, ISO 8601: ``sl_data_interval_start`` of transforms."""
INTERVAL_END = "starlake/data_interval_end"
"""End of the data interval of a run, ISO 8601: ``sl_data_interval_end`` of transforms."""
TRIGGERED_BY = ".dagster/starlake_triggered_by"
"""JSON: asset key -> ``[storage id, run id]`` of the materialization that a run started by a sensor consumed.

Dagster keeps tags with this prefix and does not show them.
"""

MAX_TRIGGERED_BY = 2000
"""Maximum length of the list of consumed materializations in characters; the rest are counted."""
REST = "..."
"""Key in :data:`TRIGGERED_BY` for the number of materializations that it does not list."""

_ZONE = re.compile(r"([+-]\d{2})(\d{2})$")


def build_time_tags(scheduled: datetime, start: datetime, end: datetime) -> dict[str, str]:
    """Return the tags for the logical time and the data interval of a run."""
    return {SCHEDULED_DATE: scheduled.isoformat(), INTERVAL_START: start.isoformat(), INTERVAL_END: end.isoformat()}


def format_triggered_by(consumed: Iterable[tuple[str, int, str]]) -> str:
    """Return the value of :data:`TRIGGERED_BY`, not longer than :data:`MAX_TRIGGERED_BY`.

    Args:
        consumed: asset key, storage ID, and run ID of each materialization. The first ones are listed first.
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
    """Parse an ISO 8601 time as written by this package or starlake-dagster; return None for any other string.

    In tags, starlake-dagster replaces ``:`` by ``.`` and ``+`` by ``_``, and writes offsets without a colon. A time without an offset is
    UTC.
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
