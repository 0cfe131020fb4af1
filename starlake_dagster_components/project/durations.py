"""Parse the durations of ``freshness``, in Scala's notation. Starlake: Freshness. Scala: scala.concurrent.duration.Duration."""

import re
from datetime import timedelta
from decimal import Decimal

_UNITS: dict[str, Decimal] = {}
for _seconds, _names in {
    "86400": "d day",
    "3600": "h hr hour",
    "60": "m min minute",
    "1": "s sec second",
    "0.001": "ms milli millisecond",
    "0.000001": "µs micro microsecond",
    "0.000000001": "ns nano nanosecond",
}.items():
    for _name in _names.split():
        _UNITS[_name] = Decimal(_seconds)
        # In Scala, one-letter names and abbreviations have no plural.
        if len(_name) > 1 and _name not in ("ms", "µs", "ns"):
            _UNITS[f"{_name}s"] = Decimal(_seconds)

_DURATION = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([a-zµ]+)")
_LIMIT = Decimal(2**63) / Decimal(10**9)


def parse_duration(text: str) -> timedelta:
    """Parse a duration like ``3 days``, ``2h``, or ``1.5 hours``.

    Raises:
        ValueError: Scala would reject it (``1 week``, ``5``, ``3 D``), or it is longer than about 292 years.
    """
    match = _DURATION.fullmatch("".join(text.split()))
    unit = _UNITS.get(match.group(2)) if match else None
    if match is None or unit is None:
        raise ValueError(
            f"'{text}' is not a duration: expected a number of days, hours, minutes, or seconds, such as '3 days', '2h', or '30 min'"
        )
    seconds = Decimal(match.group(1)) * unit
    if abs(seconds) > _LIMIT:
        raise ValueError(f"'{text}' is too long: Starlake allows about 292 years")
    return timedelta(microseconds=int(seconds * 1_000_000))
