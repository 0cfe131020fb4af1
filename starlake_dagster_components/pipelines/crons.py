"""Validity of cron texts: what Dagster accepts, said clearly, without importing Dagster."""

import re
from dataclasses import dataclass

MACROS = {
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_MONTHS = {name: n for n, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}
_DAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: dict[str, int]
    question_mark: bool = False


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}, question_mark=True),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS, question_mark=True),
)
_DAY_OF_MONTH, _MONTH, _DAY_OF_WEEK = _FIELDS[2], _FIELDS[3], _FIELDS[4]
_NTH_DAY = re.compile(r"(?P<days>[a-z]{3}-[a-z]{3}|[a-z]{3}|\d+)#(?P<nth>\d+)")
_NUMBER = re.compile(r"[0-9]+")


class InvalidCron(ValueError):
    """A cron text that Dagster could not follow; the message says which part is wrong and what was expected."""


def check_cron(text: str) -> str:
    """Return a cron text as Dagster takes it: trimmed, one blank between its five fields, macros (``@daily``) as they are.

    Raises:
        InvalidCron: Dagster would refuse it. A Quartz text (six or seven fields) gets its five-field equivalent in the message.

    Dagster: ``is_valid_cron_schedule`` (croniter, five fields, no 30th or 31st of February).
    """
    text = " ".join(text.split())
    lower = text.lower()
    if lower in MACROS:
        return lower
    fields = lower.split(" ") if lower else []
    if len(fields) in (6, 7):
        raise InvalidCron(_about_quartz(text))
    if len(fields) != len(_FIELDS):
        what = f"has {len(fields)} field{'s' if len(fields) != 1 else ''}" if fields else "is empty"
        raise InvalidCron(f"cron '{text}' {what}; expected five: minute, hour, day of month, month, day of week")
    try:
        plain = [_check_field(field, value) for field, value in zip(_FIELDS, fields, strict=True)]
        _check_days_of_week(fields[4])
    except ValueError as error:
        raise InvalidCron(f"cron '{text}': {error}") from None
    if plain[3] == {2} and plain[2] and plain[2] <= {30, 31} and len(plain[2]) == 1:
        raise InvalidCron(f"cron '{text}' never comes: February has no day {next(iter(plain[2]))}")
    return text


def is_cron(text: str) -> bool:
    """Tell whether :func:`check_cron` accepts a text."""
    try:
        check_cron(text)
    except InvalidCron:
        return False
    return True


def _check_field(field: _Field, text: str) -> set[int] | None:
    """Check one field and return the values that it lists one by one; None when there are others (ranges, steps, ``*``, ``l``)."""
    if "?" in text:
        if text != "?" or not field.question_mark:
            raise ValueError(f"'{text}' in the field {field.name}; '?' stands alone, as day of month or day of week")
        return None
    values: set[int] = set()
    plain = True
    for item in text.split(","):
        value = _check_item(field, item, text)
        if value is None:
            plain = False
        else:
            values.add(value)
    return values if plain else None


def _check_item(field: _Field, item: str, text: str) -> int | None:
    if not item:
        raise ValueError(f"an empty item in '{text}' ({field.name})")
    if field is _DAY_OF_WEEK:
        nth = _NTH_DAY.fullmatch(item)
        if nth:
            if not 1 <= int(nth["nth"]) <= 5:
                raise ValueError(f"'{item}' ({field.name}): expected #1 to #5")
            for day in nth["days"].split("-"):
                _value(field, day, item)
            return None
        if re.fullmatch(r"l[0-9]+", item):
            _value(field, item[1:], item)
            return None
    base, slash, step = item.partition("/")
    if slash and (not _NUMBER.fullmatch(step) or int(step) == 0):
        raise ValueError(f"step '{step}' in '{item}' ({field.name}) is not a positive number")
    low, dash, high = base.partition("-")
    if dash:
        _value(field, low, item)
        if not (field is _DAY_OF_MONTH and high == "l"):
            _value(field, high, item)
        return None
    if base == "*" or (field is _DAY_OF_MONTH and base == "l" and not slash):
        return None
    value = _value(field, base, item)
    return None if slash else value


def _value(field: _Field, text: str, item: str) -> int:
    if text in field.names:
        return field.names[text]
    if not _NUMBER.fullmatch(text):
        named = f" or {', '.join(field.names)}" if field.names else ""
        raise ValueError(f"'{item}' ({field.name}): expected {field.low} to {field.high}{named}")
    if not field.low <= int(text) <= field.high:
        raise ValueError(f"'{item}' ({field.name}) is out of range: expected {field.low} to {field.high}")
    return int(text)


def _check_days_of_week(text: str) -> None:
    """Refuse the mix of ``fri`` and ``fri#2``, which croniter cannot follow."""
    nth: set[int] = set()
    literal: set[int] = set()
    for item in text.split(","):
        match = _NTH_DAY.fullmatch(item)
        if match:
            nth |= _days(match["days"])
        elif re.fullmatch(r"l[0-9]+", item):
            nth.add(int(item[1:]) % 7)
        elif item not in ("*", "?"):
            literal |= _days(item)
    star = bool({"*", "?"} & set(text.split(",")))
    if nth and literal - nth and len(literal | nth) + star != len(_DAYS):
        raise ValueError(f"'{text}' ({_DAY_OF_WEEK.name}) mixes days with numbered days (#)")


def _days(item: str) -> set[int]:
    """Return the days of an item as croniter counts them: a range may pass Sunday, and equal ends mean the whole week."""
    base, slash, step_text = item.partition("/")
    step = int(step_text) if slash else 1
    low_text, dash, high_text = base.partition("-")
    if base == "*":
        return set(range(0, 7, step))
    low = _value(_DAY_OF_WEEK, low_text, item) % 7
    if not dash and not slash:
        return {low}
    high = _value(_DAY_OF_WEEK, high_text, item) % 7 if dash else 6
    if low == high:
        return set(range(0, 7, step))
    if low > high:
        return {*range(low, 7, step), *range(0, high + 1, step)}
    return set(range(low, high + 1, step))


def _about_quartz(text: str) -> str:
    fields = text.split(" ")
    equivalent = quartz_equivalent(text)
    message = f"cron '{text}' has {len(fields)} fields like Quartz'; expected five (minute, hour, day of month, month, day of week)"
    if equivalent is None:
        return message
    lost = []
    if fields[0] != "0":
        lost.append("without its seconds")
    if len(fields) == 7 and fields[6] != "*":
        lost.append("without its years")
    return f"{message}: write '{equivalent}'{' (' + ', '.join(lost) + ')' if lost else ''}"


def quartz_equivalent(text: str) -> str | None:
    """Return the five-field text for one of Quartz (seconds first, Sunday = 1); None when there is none.

    ``0 0 1 * * ?`` becomes ``0 1 * * *``.
    """
    fields = text.split()
    if len(fields) not in (6, 7):
        return None
    minute, hour, day, month, weekday = ("*" if f == "?" else f for f in fields[1:6])
    weekday = re.sub(r"^([1-7])[lL]$", r"L\1", weekday)
    # Quartz counts days from 1 = Sunday, cron from 0; numbers behind # or / are no days.
    weekday = re.sub(r"(?<![#/0-9])([1-7])(?![0-9])", lambda m: str(int(m[1]) - 1), weekday)
    equivalent = " ".join((minute, hour, day, month, weekday))
    return equivalent if is_cron(equivalent) else None
