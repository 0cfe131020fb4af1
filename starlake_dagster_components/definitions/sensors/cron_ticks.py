"""Find the ticks of a cron as Dagster's schedules do, in any time zone and across clock changes."""

from datetime import datetime
from functools import lru_cache

import dagster as dg


def find_interval_before(cron: str, timezone: str | None, moment: datetime) -> tuple[datetime, datetime]:
    """Return the last complete interval of a cron at a time, as ``scheduled_dates_range`` of starlake-orchestration does.

    The end of the interval is the last tick at or before ``moment``, which has an offset, and the start is the tick before. Both are in the
    time zone, an IANA name; None = UTC.

    Raises:
        ValueError: there is no such interval.
    """
    window = _make_windows(cron, timezone or "UTC").get_prev_partition_window(moment, respect_bounds=False)
    if window is None:
        raise ValueError(f"cron '{cron}' has no tick before {moment.isoformat()}")
    return window.start, window.end


@lru_cache(maxsize=1024)
def _make_windows(cron: str, timezone: str) -> dg.TimeWindowPartitionsDefinition:
    # Only used to find ticks. Because bounds are not respected, the start does not matter.
    return dg.TimeWindowPartitionsDefinition(start=datetime(1970, 1, 1), fmt="%Y-%m-%dT%H:%M:%S%z", cron_schedule=cron, timezone=timezone)
