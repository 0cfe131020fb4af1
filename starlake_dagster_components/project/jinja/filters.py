"""The filters of Jinjava and its function ``range``. Jinjava: lib/filter.

Each filter receives the value and its arguments, with None for null. Jinjava passes the arguments of most filters as strings.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from functools import cmp_to_key
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from .expression_tests import TESTS
from .strings import repeat_string, replace_regex, replace_string
from .values import (
    Entry,
    ExpressionError,
    calculate,
    check_length,
    convert_to_decimal,
    convert_to_long,
    format_value,
    is_less,
    is_true,
    list_items,
    write_value,
)

GetAttribute = Callable[[Any, str], Any]

UNSUPPORTED_FILTERS = frozenset(
    [
        "allow_snake_case",
        "between_times",
        "close_html",
        "closehtml",
        "convert_rgb",
        "datetimeformat",
        "escape_jinjava",
        "escapeJs",
        "escapejs",
        "filesizeformat",
        "format_currency_value",
        "format_date",
        "format_datetime",
        "format_number",
        "format_time",
        "fromyaml",
        "ipaddr",
        "ipv4",
        "ipv6",
        "log",
        "minus_time",
        "plus_time",
        "pprint",
        "random",
        "render",
        "root",
        "shuffle",
        "striptags",
        "strtodate",
        "strtotime",
        "toyaml",
        "truncatehtml",
        "unescape_html",
        "unixtimestamp",
        "urlize",
        "wordwrap",
        "xmlattr",
    ]
)
"""Jinjava filters that are not supported here. Any other unknown filter returns nothing, as in Jinjava."""

_FORMAT = re.compile(r"%(?:(\d+)\$)?([-#+ 0,(]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")
_NUMBER = re.compile(r"-?(?:\d[\d,]*)?(?:\.\d*)?(?:E-?\d+)?")


def _take(arguments: tuple[Any, ...], index: int, default: Any = None) -> Any:
    return arguments[index] if index < len(arguments) else default


def _read_switch(value: Any) -> bool:
    """Return a boolean argument. Java: BooleanUtils.toBoolean."""
    return value is True or (isinstance(value, str) and value.lower() in ("true", "yes", "on", "y", "t"))


def _read_int(value: Any, default: int) -> int:
    try:
        return convert_to_long(write_value(value)) if value not in (None, "") else default
    except ExpressionError:
        return default


def _parse_number(text: str) -> Decimal | None:
    """Parse a string that is entirely a number; return None if it is not. Java: NumberFormat."""
    match = _NUMBER.fullmatch(text)
    digits = text.replace(",", "")
    return Decimal(digits) if match and any(char.isdigit() for char in digits.partition("E")[0]) and len(digits) < 400 else None


def filter_default(value: Any, default_value: Any, truthy: Any = False) -> Any:
    """Return the value, or the default as a string if the value is null (or false, with ``truthy``)."""
    if is_true(value) if truthy is True or _read_switch(truthy) else value is not None:
        return value
    return default_value if default_value is None or isinstance(default_value, (list, tuple, dict)) else write_value(default_value)


def _title(value: Any) -> Any:
    if value is None:
        return None
    out = []
    titled = False
    for char in write_value(value):
        if char.isspace():
            titled = False
        elif titled:
            char = char.lower()
        elif char.lower() != char.upper():
            char, titled = char.title() if len(char.title()) == 1 else char, True
        out.append(char)
    return "".join(out)


def _truncate(value: Any, *arguments: Any) -> Any:
    if not isinstance(value, str):
        return value
    length = 255
    if arguments:
        try:
            length = convert_to_long(write_value(arguments[0]))
        except ExpressionError as error:
            raise ExpressionError(f"truncate needs a length, found '{write_value(arguments[0])[:80]}'") from error
    if len(value) <= length:
        return value
    if not _read_switch(_take(arguments, 1)):
        while 0 < length < len(value):
            length -= 1
            if value[length].isspace():
                break
        length += 1
    return value[: max(length, 0)] + write_value(_take(arguments, 2, "..."))


def _round(value: Any, *arguments: Any) -> Any:
    if value is None:
        return None
    modes = {"ceil": ROUND_CEILING, "floor": ROUND_FLOOR}
    precision = _read_int(_take(arguments, 0), 0)
    if abs(precision) > 100:
        raise ExpressionError(f"round: {precision} digits are too many")
    number = convert_to_decimal(value)
    return number.quantize(Decimal(1).scaleb(-precision), rounding=modes.get(_take(arguments, 1, ""), ROUND_HALF_UP))


def _float(value: Any, default: Any = None) -> float:
    fallback = _parse_number(write_value(default)) if default is not None else None
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return _narrow(float(value))
    number = None if value is None else _parse_number(write_value(value))
    return _narrow(float(number if number is not None else fallback or 0))


def _narrow(number: float) -> float:
    """Return the shortest number that equals the same 32-bit Float."""
    import struct

    try:
        single = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    for digits in range(1, 10):
        short = float(f"{single:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == single:
            return short
    return float(single)


def _int(value: Any, default: Any = None) -> int:
    fallback = _read_int(default, 0)
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return convert_to_long(value)
    number = None if value is None else _parse_number(write_value(value).strip())
    return convert_to_long(number) if number is not None else fallback


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple, Mapping)) else 0


def _list(value: Any) -> Any:
    if value is None:
        return None
    return list(value) if isinstance(value, (str, list, tuple)) else list(list_items(value)) if not isinstance(value, Mapping) else [value]


def _compare_values(case_sensitive: bool) -> Any:
    def compare(left: Any, right: Any) -> int:
        if isinstance(left, str) and isinstance(right, str) and not case_sensitive:
            left, right = left.lower(), right.lower()
        if type(left) is not type(right):
            raise ExpressionError("sort: values of several types cannot be compared")
        return -1 if is_less(left, right) else 1 if is_less(right, left) else 0

    return cmp_to_key(compare)


def _split(value: Any, *arguments: Any) -> list[str]:
    text, separator, limit = format_value(value), _take(arguments, 0), _read_int(_take(arguments, 1), 0)
    parts = re.split(r"\s", text) if separator is None else text.split(write_value(separator) or None)
    parts = [part.strip() for part in parts if part.strip()]
    if 0 < limit < len(parts):
        joiner = " " if separator is None else write_value(separator)
        parts = [*parts[: limit - 1], joiner.join(parts[limit - 1 :])]
    return parts


def _batch(value: Any, *arguments: Any) -> list[list[Any]]:
    size = _read_int(_take(arguments, 0), 0)
    if value is None or size <= 0:
        return []
    items = list(list_items(value))
    rows = [items[start : start + size] for start in range(0, len(items), size)]
    if rows:
        check_length(range(size))
        rows[-1] += [_take(arguments, 1)] * (size - len(rows[-1]))
    return rows


def _slice(value: Any, *arguments: Any) -> list[list[Any]]:
    # Jinjava makes slices of that length, not that many slices.
    size = min(_read_int(_take(arguments, 0), 3), 1000)
    if not arguments or size <= 0:
        raise ExpressionError("slice needs a positive number of slices")
    rows = _batch(value, size, *arguments[1:])
    if rows and len(arguments) == 1:
        rows[-1] = rows[-1][: len(list_items(value)) - size * (len(rows) - 1)]
    return rows


def _indent(value: Any, width: Any = 4, indentfirst: Any = False) -> str:
    blank = repeat_string(" ", max(_read_int(width, 4), 0))
    lines = format_value(value).split("\n")
    if len(lines) * len(blank) > 10_000_000:
        raise ExpressionError("indent: the text would be too long")
    first = blank if _read_switch(indentfirst) else ""
    return str(check_length("\n".join([first + lines[0], *(blank + line for line in lines[1:])])))


def _format(value: Any, *arguments: Any) -> str:
    """Format as Java does. Java: String.format."""
    used = 0

    def write(match: re.Match[str]) -> str:
        nonlocal used
        position, flags, width, precision, kind = match.groups()
        if kind in "n%":
            return "\n" if kind == "n" else "%"
        index = int(position) - 1 if position else used
        used += 0 if position else 1
        if index >= len(arguments):
            raise ExpressionError(f"format: no value for '{match.group()}'")
        if int(width or 0) > 10_000 or int(precision or 0) > 1000:
            raise ExpressionError(f"format: '{match.group()}' is too wide")
        return _format_one(arguments[index], flags, int(width or 0), int(precision) if precision else None, kind)

    if "%" in _FORMAT.sub("", format_value(value)):
        raise ExpressionError("format: a % without a conversion")
    return str(check_length(_FORMAT.sub(write, format_value(value))))


def _format_one(value: Any, flags: str, width: int, precision: int | None, kind: str) -> str:
    lower = kind.lower()
    if lower == "s":
        text = write_value(value)[:precision] if precision is not None else write_value(value)
    elif lower == "b":
        text = write_value(value is not None and value is not False)
    elif lower in "dxo" and isinstance(value, int) and not isinstance(value, bool):
        text = format(value, ("," if "," in flags and lower == "d" else "") + lower)
    elif lower in "feg" and isinstance(value, (float, Decimal)):
        text = format(value, f"{',' if ',' in flags else ''}.{6 if precision is None else precision}{lower}")
    else:
        raise ExpressionError(f"format: '{write_value(value)[:80]}' does not go with %{kind}")
    if "+" in flags and lower in "dfeg" and not text.startswith("-"):
        text = f"+{text}"
    text = text.upper() if kind.isupper() else text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and lower != "s":
        sign = text[0] if text[:1] in ("-", "+") else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _join(get: GetAttribute) -> Callable[..., str]:
    def join(value: Any, separator: Any = "", attribute: Any = None) -> str:
        items = list_items(value)
        found = items if attribute is None else [get(item, write_value(attribute)) for item in items]
        return str(check_length(write_value(separator).join(map(format_value, found))))

    return join


def _sort(get: GetAttribute) -> Callable[..., Any]:
    def sort(value: Any, reverse: Any = False, case_sensitive: Any = False, attribute: Any = None) -> Any:
        if value is None:
            return None
        key = _compare_values(_read_switch(case_sensitive))

        def find_key(item: Any) -> Any:
            for name in write_value(attribute).split(".") if attribute is not None else ():
                item = get(item, name)
            if item is None:
                raise ExpressionError("sort: a value is null")
            return key(item)

        return sorted(list_items(value), key=find_key, reverse=_read_switch(reverse))

    return sort


def _unique(get: GetAttribute) -> Callable[..., list[Any]]:
    def unique(value: Any, attribute: Any = None) -> list[Any]:
        found: dict[str, Any] = {}
        for item in list_items(value):
            key = item if attribute is None else get(item, write_value(attribute))
            found.setdefault(f"{type(key).__name__} {write_value(key)}", item)
        return list(found.values())

    return unique


def _sum(get: GetAttribute) -> Callable[..., Decimal]:
    def add_items(value: Any, start: Any = 0, attribute: Any = None) -> Decimal:
        total = convert_to_decimal(start or 0)
        for item in list_items(value):
            number = item if attribute is None else get(item, write_value(attribute))
            try:
                # Numbers are converted to Doubles first, as in Jinjava.
                total += Decimal(number) if isinstance(number, float) else convert_to_decimal(number) if number is not None else 0
            except ExpressionError:
                continue
        return total

    return add_items


def _group_by(get: GetAttribute) -> Callable[..., list[Any]]:
    def group(value: Any, attribute: Any) -> list[Any]:
        groups: dict[str, dict[str, Any]] = {}
        for item in list_items(value):
            key = get(item, write_value(attribute))
            entry = groups.setdefault(write_value(key), {"grouper": write_value(key), "grouperObject": key, "list": []})
            entry["list"].append(item)
        return list(groups.values())

    return group


def _map(get: GetAttribute) -> Callable[..., list[Any]]:
    filters = Filters(get)

    def map_items(value: Any, name: Any = None, *arguments: Any, attribute: Any = None) -> list[Any]:
        apply = filters.find(write_value(name)) if attribute is None else None
        if apply is not None:
            return [apply(item, *arguments) for item in list_items(value)]
        return [get(item, write_value(name if attribute is None else attribute)) for item in list_items(value)]

    return map_items


def _select(get: GetAttribute, by_attribute: bool, wanted: bool) -> Callable[..., list[Any]]:
    def select(value: Any, *arguments: Any) -> list[Any]:
        rest = list(arguments)
        attribute = write_value(rest.pop(0)) if by_attribute and rest else None
        if not rest and not by_attribute:
            raise ExpressionError("select and reject need the name of a test")
        test = TESTS.get(write_value(rest.pop(0)) if rest else "truthy")
        if test is None:
            raise ExpressionError("unknown test in a filter")
        items = list_items(value)
        return [item for item in items if test(item if attribute is None else get(item, attribute), *rest) == wanted]

    return select


def _make_set(items: Any) -> list[Any]:
    return list({f"{type(item).__name__} {write_value(item)}": item for item in list_items(items)}.values())


def _dictsort(value: Any, *arguments: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    key = _compare_values(_read_switch(_take(arguments, 0)))
    index = 1 if write_value(_take(arguments, 1, "key")).lower() == "value" else 0
    return sorted(map(Entry, value.items()), key=lambda item: key(item[index]))


def _reverse(value: Any) -> Any:
    return value[::-1] if isinstance(value, (str, list, tuple)) else value


def _write_json(value: Any) -> str:
    return str(
        check_length(
            json.dumps(
                value,
                ensure_ascii=False,
                separators=(",", ":"),
                default=lambda item: float(item) if isinstance(item, Decimal) else write_value(item),
            )
        )
    )


def _read_json(value: Any) -> Any:
    try:
        return json.loads(write_value(value), parse_float=float)
    except (ValueError, RecursionError) as error:
        raise ExpressionError(f"fromjson: {error}") from error


def _escape(value: Any) -> str:
    text = format_value(value)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ('"', "&quot;")):
        text = text.replace(char, entity)
    return str(check_length(text))


def _center(value: Any, size: Any = 80) -> Any:
    if value is None:
        return None
    text, width = write_value(value), _read_int(size, 80)
    check_length(range(max(width, 0)))
    left = max(width - len(text), 0) // 2
    return (" " * left + text).ljust(width)


def _replace(value: Any, *arguments: Any) -> Any:
    if value is None:
        return None
    if len(arguments) < 2:
        raise ExpressionError("replace needs two arguments: the text to replace and the replacement")
    count = _read_int(_take(arguments, 2), -1)
    return replace_string(write_value(value), format_value(arguments[0]), format_value(arguments[1]), count)


def _abs(value: Any) -> Any:
    if value is None:
        return None
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    return abs(value if is_number else convert_to_decimal(value))


def _encode_url(value: Any) -> str:
    if isinstance(value, Mapping):
        return "&".join(f"{_encode_url(write_value(key))}={_encode_url(write_value(item))}" for key, item in value.items())
    return quote_plus(format_value(value), safe="*")


_PLAIN: Mapping[str, Callable[..., Any]] = {
    "abs": _abs,
    "add": lambda value, other: None if value is None else convert_to_decimal(value) + convert_to_decimal(other or 0),
    "b64decode": lambda value: base64.b64decode(format_value(value)).decode("utf-8", "replace"),
    "b64encode": lambda value: base64.b64encode(format_value(value).encode()).decode(),
    "batch": _batch,
    "bool": lambda value: value is not None and (write_value(value) == "1" or _read_switch(write_value(value))),
    "capitalize": lambda value: value[:1].upper() + value[1:].lower() if isinstance(value, str) else value,
    "center": _center,
    "count": _length,
    "cut": lambda value, part: replace_string(format_value(value), format_value(part), ""),
    "d": filter_default,
    "default": filter_default,
    "dictsort": _dictsort,
    "difference": lambda value, other: [item for item in _make_set(value) if item not in list_items(other)],
    "divide": lambda value, other: value if other is None else calculate("/", value, convert_to_decimal(other)),
    "divisible": lambda value, other: (
        isinstance(value, (int, float)) and not isinstance(value, bool) and calculate("%", int(value), convert_to_long(other)) == 0
    ),
    "e": _escape,
    "escape": _escape,
    "escapejson": lambda value: json.dumps(write_value(value))[1:-1],
    "first": lambda value: next(iter(list_items(value)), None),
    "float": _float,
    "forceescape": _escape,
    "format": _format,
    "fromjson": _read_json,
    "indent": _indent,
    "int": _int,
    "intersect": lambda value, other: [item for item in _make_set(value) if item in list_items(other)],
    "last": lambda value: list_items(value)[-1] if len(list_items(value)) else None,
    "length": _length,
    "list": _list,
    "lower": lambda value: value.lower() if isinstance(value, str) else value,
    "md5": lambda value: hashlib.md5(value.encode(), usedforsecurity=False).hexdigest() if isinstance(value, str) else value,
    "multiply": lambda value, other: value if other is None else calculate("*", value, convert_to_decimal(other)),
    "regex_replace": lambda value, pattern, new: None if value is None else replace_regex(write_value(value), pattern, new),
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "safe": lambda value: value,
    "slice": _slice,
    "split": _split,
    "string": write_value,
    "symmetric_difference": lambda value, other: [
        item for item in _make_set([*list_items(value), *list_items(other)]) if (item in list_items(value)) != (item in list_items(other))
    ],
    "title": _title,
    "tojson": _write_json,
    "trim": lambda value: write_value(value).strip("".join(map(chr, range(33)))),
    "truncate": _truncate,
    "union": lambda value, other: _make_set([*list_items(value), *list_items(other)]),
    "upper": lambda value: check_length(value.upper()) if isinstance(value, str) else value,
    "urldecode": lambda value: unquote_plus(format_value(value)),
    "urlencode": _encode_url,
    "wordcount": lambda value: len(re.findall(r"\w+", format_value(value))),
}
_WITH_ATTRIBUTES: Mapping[str, Callable[[GetAttribute], Callable[..., Any]]] = {
    "attr": lambda get: lambda value, name: get(value, write_value(name)),
    "groupby": _group_by,
    "join": _join,
    "map": _map,
    "reject": lambda get: _select(get, False, False),
    "rejectattr": lambda get: _select(get, True, False),
    "select": lambda get: _select(get, False, True),
    "selectattr": lambda get: _select(get, True, True),
    "sort": _sort,
    "sum": _sum,
    "unique": _unique,
}
FILTER_NAMES: frozenset[str] = frozenset((*_PLAIN, *_WITH_ATTRIBUTES))


class Filters:
    """The filters, with a function that gets an attribute of a value."""

    def __init__(self, get_attribute: GetAttribute) -> None:
        self._get = get_attribute

    def find(self, name: str) -> Callable[..., Any] | None:
        """Return a filter by name; None if Jinjava does not have it."""
        if name in _WITH_ATTRIBUTES:
            return _WITH_ATTRIBUTES[name](self._get)
        return _PLAIN.get(name)


def make_range(first: Any, *more: Any) -> list[int]:
    """Return the numbers of a range, at most 1,000 of them. Jinjava: Functions.range."""
    if first is None:
        raise ExpressionError("range needs a number")
    start, end, step = 0, _read_int(first, 0), 1
    if more:
        start, end = end, _read_int(more[0], 0) if more[0] is not None else 0
        step = _read_int(more[1], 1) if len(more) > 1 else 1
    return list(range(start, end, step)[:1000]) if step else []
