"""Find ticks of crons as Dagster's schedules do: in any time zone, across clock changes."""

from datetime import datetime
from functools import lru_cache

import dagster as dg


def find_interval_before(cron: str, timezone: str | None, moment: datetime) -> tuple[datetime, datetime]:
    """Return the last complete interval of a cron: the last tick that is not after a moment, and the tick before that.

    If the moment is a tick, the interval is from the previous tick to that tick. starlake-orchestration: ``scheduled_dates_range``.

    Args:
        cron: five fields or a macro (``@daily``).
        timezone: IANA name; None = UTC.
        moment: any time with an offset.

    Returns:
        Start and end of the interval, in the time zone.
    """
    window = _make_windows(cron, timezone or "UTC").get_prev_partition_window(moment, respect_bounds=False)
    if window is None:
        raise ValueError(f"cron '{cron}' has no tick before {moment.isoformat()}")
    return window.start, window.end


@lru_cache(maxsize=1024)
def _make_windows(cron: str, timezone: str) -> dg.TimeWindowPartitionsDefinition:
    # Only its arithmetic is used. The windows are bounded by ticks, and without bounds, its start does not matter.
    return dg.TimeWindowPartitionsDefinition(start=datetime(1970, 1, 1), fmt="%Y-%m-%dT%H:%M:%S%z", cron_schedule=cron, timezone=timezone)
