"""The ``samples`` setting: the number of rows of each table to show, and the columns to hide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .checks import build_error, check_keys

MAX_ROWS = 100


@dataclass(frozen=True, slots=True)
class Samples:
    """The ``samples`` setting: the number of rows to show, and the names of columns to hide in addition to those with ``privacy``.

    0 rows = none. In names, ``*`` matches any characters.
    """

    rows: int = 0
    mask: tuple[str, ...] = ()


def check_samples(name: str, value: Any) -> Samples:
    """Convert a mapping with ``rows`` and ``mask``, a number of rows, true (10 rows), or false (none).

    Raises:
        InvalidSetting: the value is something else.
    """
    if isinstance(value, Samples):
        return value
    if value is None or value is False or value == "" or str(value).lower() in ("false", "off"):
        return Samples()
    if value is True or str(value).lower() == "true":
        return Samples(10)
    if not isinstance(value, Mapping):
        return Samples(_check_rows(name, value))
    check_keys(name, value, ("rows", "mask"))
    mask = value.get("mask") or ()
    mask = (mask,) if isinstance(mask, str) else mask
    if not isinstance(mask, (list, tuple)) or not all(isinstance(item, str) and item for item in mask):
        raise build_error(f"{name}.mask", mask, "a list of column names")
    return Samples(_check_rows(f"{name}.rows", value.get("rows", 10)), tuple(mask))


def _check_rows(name: str, value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or int(text) > MAX_ROWS:
        raise build_error(name, value, f"a whole number from 0 to {MAX_ROWS}")
    return int(text)
