"""The setting ``samples``: how many rows of tables are shown, and which columns are always hidden."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidSetting, describe_unknown

MAX_ROWS = 100


@dataclass(frozen=True, slots=True)
class Samples:
    """Options of the rows of tables that are shown in Dagster.

    Attributes:
        rows: how many; 0 = none.
        mask: names of columns whose values are hidden in addition to those with ``privacy``; ``*`` stands for any characters.
    """

    rows: int = 0
    mask: tuple[str, ...] = ()


def check_samples(name: str, value: Any) -> Samples:
    """Return which rows are shown: of a mapping with ``rows`` and ``mask``, a number of rows, or false for none.

    Raises:
        InvalidSetting: something else.
    """
    if isinstance(value, Samples):
        return value
    if value is None or value is False or value == "" or str(value).lower() in ("false", "off"):
        return Samples()
    if value is True or str(value).lower() == "true":
        return Samples(10)
    if not isinstance(value, Mapping):
        return Samples(_check_rows(name, value))
    for key in value:
        if key not in ("rows", "mask"):
            raise InvalidSetting(f"{name}: {describe_unknown('key', str(key), ('rows', 'mask'))}")
    mask = value.get("mask") or ()
    mask = (mask,) if isinstance(mask, str) else mask
    if not isinstance(mask, (list, tuple)) or not all(isinstance(item, str) and item for item in mask):
        raise InvalidSetting(f"{name}.mask: {mask!r} cannot be used (expected a list of names of columns)")
    return Samples(_check_rows(f"{name}.rows", value.get("rows", 10)), tuple(mask))


def _check_rows(name: str, value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or int(text) > MAX_ROWS:
        raise InvalidSetting(f"{name}: {value!r} cannot be used (expected a whole number from 0 to {MAX_ROWS})")
    return int(text)
