"""Check that crons have five fields, valid values, and a day that exists. Suggest the five-field equivalent of a Quartz cron.

Planning does not import Dagster. The messages of these checks name the field. Dagster checks the rest when it defines schedules.
"""

import re
from dataclasses import dataclass

MACROS = frozenset(("@midnight", "@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually"))

_MONTHS = {name: n for n, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}
_DAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
"""Days of the months that have fewer than 31."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: dict[str, int]
    special: str = r"(?!)"
    """Pattern of items that only this field allows."""


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}, r"\?|l|0*([1-9]|[12]\d|3[01])-l(/0*[1-9]\d*)?"),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS, r"\?|l[0-7]|([a-z]{3}-[a-z]{3}|[a-z]{3}|[0-7])#[1-5]"),
)


class InvalidCron(ValueError):
    """A cron that Dagster cannot use; the message names the part that is wrong and the values that are valid."""


def check_cron(text: str) -> str:
    """Return a cron in Dagster's form, with one space between the fields. Macros such as ``@daily`` are returned in lowercase.

    Raises:
        InvalidCron: the number of fields is wrong, a value is invalid, or the day does not exist (April 31). For a Quartz cron (six or
            seven fields), the message suggests the five-field equivalent.
    """
    text = " ".join(text.split())
    lower = text.lower()
    if lower in MACROS:
        return lower
    fields = lower.split()
    if len(fields) in (6, 7):
        raise InvalidCron(_describe_quartz(text))
    if len(fields) != len(_FIELDS):
        found = f"has {len(fields)} field{'s' if len(fields) != 1 else ''}" if fields else "is empty"
        raise InvalidCron(f"cron '{text}' {found}; expected five: minute, hour, day of month, month, day of week")
    for field, value in zip(_FIELDS, fields, strict=True):
        try:
            _check_field(field, value)
        except ValueError as error:
            raise InvalidCron(f"cron '{text}': {error}") from None
    if not _has_day(fields[2], fields[3]):
        raise InvalidCron(f"cron '{text}' never occurs: month {fields[3]} has no day {fields[2]}")
    return text


def _check_field(field: _Field, text: str) -> None:
    for item in text.split(","):
        if re.fullmatch(field.special, item):
            continue
        base, slash, step = item.partition("/")
        if slash and not re.fullmatch(r"0*[1-9][0-9]*", step):
            raise ValueError(f"step '{step}' in '{item}' ({field.name}) is not a positive number")
        for value in base.split("-", 1) if base != "*" else ():
            _parse_value(field, value, item)


def _parse_value(field: _Field, text: str, item: str) -> int:
    if text in field.names:
        return field.names[text]
    expected = f"expected {field.low} to {field.high}{' or ' if field.names else ''}{', '.join(field.names)}"
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"'{item}' ({field.name}): {expected}")
    if not field.low <= int(text) <= field.high:
        raise ValueError(f"'{item}' ({field.name}) is out of range: {expected}")
    return int(text)


def _has_day(day: str, month: str) -> bool:
    """Return whether any of the months has any of the days. Otherwise, Dagster's croniter fails, whatever the day of the week."""
    if "l" in day or "?" in day:
        return True
    days, months = _expand_field(_FIELDS[2], day), _expand_field(_FIELDS[3], month)
    return any(min(days) <= _LONGEST.get(number, _FIELDS[2].high) for number in months)


def _expand_field(field: _Field, text: str) -> set[int]:
    values: set[int] = set()
    for item in text.split(","):
        base, slash, step = item.partition("/")
        first, dash, last = (f"{field.low}-{field.high}" if base == "*" else base).partition("-")
        low = _parse_value(field, first, item)
        high = _parse_value(field, last, item) if dash else field.high if slash else low
        # A range that wraps around includes the lowest value, which is the only one that matters.
        values.update(range(low, high + 1, int(step or 1)) if low <= high else (field.low,))
    return values


def _describe_quartz(text: str) -> str:
    fields = text.split()
    equivalent = convert_quartz(text)
    message = (
        f"cron '{text}' has {len(fields)} fields, like those of Quartz; expected five (minute, hour, day of month, month, day of week)"
    )
    if equivalent is None:
        return message
    lost = [*(["without the seconds"] if fields[0] != "0" else []), *(["without the years"] if fields[6:] not in ([], ["*"]) else [])]
    return f"{message}: write '{equivalent}'{' (' + ', '.join(lost) + ')' if lost else ''}"


def convert_quartz(text: str) -> str | None:
    """Return the five-field equivalent of a Quartz cron (seconds first, Sunday = 1); None if there is none.

    ``0 0 1 * * ?`` becomes ``0 1 * * *``.
    """
    fields = text.split()
    if len(fields) not in (6, 7):
        return None
    minute, hour, day, month, weekday = ("*" if f == "?" else f for f in fields[1:6])
    weekday = re.sub(r"^([1-7])[lL]$", r"L\1", weekday)
    # Quartz counts weekdays from 1 = Sunday, cron from 0. Numbers after # or / are not weekdays.
    weekday = re.sub(r"(?<![#/0-9])([1-7])(?![0-9])", lambda m: str(int(m[1]) - 1), weekday)
    try:
        return check_cron(f"{minute} {hour} {day} {month} {weekday}")
    except InvalidCron:
        return None
