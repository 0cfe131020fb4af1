"""The table of Jinjava's filters, and its function ``range``. Jinjava: lib/filter.

Each filter receives the value and its arguments, with None for null. Jinjava passes the arguments of most filters as strings.
"""

from collections.abc import Callable, Mapping
from typing import Any

from .collection_filters import ATTRIBUTE_FILTERS, COLLECTION_FILTERS, make_map_filter
from .filter_arguments import GetAttribute, read_int, read_switch
from .number_filters import NUMBER_FILTERS
from .text_filters import TEXT_FILTERS
from .values import ExpressionError, is_true, write_value

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


def filter_default(value: Any, default_value: Any, truthy: Any = False) -> Any:
    """Return the value, or the default as a string if the value is null (or false, with ``truthy``)."""
    if is_true(value) if truthy is True or read_switch(truthy) else value is not None:
        return value
    return default_value if default_value is None or isinstance(default_value, (list, tuple, dict)) else write_value(default_value)


_PLAIN: Mapping[str, Callable[..., Any]] = {
    **TEXT_FILTERS,
    **NUMBER_FILTERS,
    **COLLECTION_FILTERS,
    "d": filter_default,
    "default": filter_default,
}
FILTER_NAMES: frozenset[str] = frozenset((*_PLAIN, *ATTRIBUTE_FILTERS, "map"))


class Filters:
    """The filters, with a function that gets an attribute of a value."""

    def __init__(self, get_attribute: GetAttribute) -> None:
        self._get = get_attribute

    def find(self, name: str) -> Callable[..., Any] | None:
        """Return a filter by name; None if Jinjava does not have it."""
        if name == "map":
            return make_map_filter(self._get, self.find)
        if name in ATTRIBUTE_FILTERS:
            return ATTRIBUTE_FILTERS[name](self._get)
        return _PLAIN.get(name)


def make_range(first: Any, *more: Any) -> list[int]:
    """Return the numbers of a range, at most 1,000 of them. Jinjava: Functions.range."""
    if first is None:
        raise ExpressionError("range needs a number")
    start, end, step = 0, read_int(first, 0), 1
    if more:
        start, end = end, read_int(more[0], 0) if more[0] is not None else 0
        step = read_int(more[1], 1) if len(more) > 1 else 1
    return list(range(start, end, step)[:1000]) if step else []
