"""Look up Jinjava's filters by name, and provide its function ``range``. Jinjava: lib/filter.

A filter takes the value and its arguments, with None for null. Jinjava passes the arguments of most filters as strings.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..word_sets import split_words
from .collection_filters import ATTRIBUTE_FILTERS, COLLECTION_FILTERS, map_items
from .filter_arguments import GetAttribute, read_boolean, read_int
from .number_filters import NUMBER_FILTERS
from .text_filters import TEXT_FILTERS
from .values import ExpressionError, is_true, write_value

UNSUPPORTED_FILTERS = split_words("""
    allow_snake_case between_times close_html closehtml convert_rgb datetimeformat escape_jinjava escapeJs escapejs filesizeformat
    format_currency_value format_date format_datetime format_number format_time fromyaml ipaddr ipv4 ipv6 log minus_time plus_time
    pprint random render root shuffle striptags strtodate strtotime toyaml truncatehtml unescape_html unixtimestamp urlize wordwrap
    xmlattr
""")
"""Jinjava's filters that this package does not support. As in Jinjava, any other unknown filter returns null."""


def filter_default(value: Any, default_value: Any, truthy: Any = False) -> Any:
    """Return the value, or the default (as a string, unless it is a collection) if the value is null or, with ``truthy``, false."""
    if is_true(value) if truthy is True or read_boolean(truthy) else value is not None:
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


def build_filters(get_attribute: GetAttribute) -> Mapping[str, Callable[..., Any]]:
    """Return the filters by name. ``get_attribute`` gets an attribute of a value."""
    bound = {name: partial(filter_, get_attribute) for name, filter_ in ATTRIBUTE_FILTERS.items()}
    found: dict[str, Callable[..., Any]] = {**_PLAIN, **bound}
    found["map"] = partial(map_items, get_attribute, found.get)
    return found


def build_range(first: Any, *more: Any) -> list[int]:
    """Return the first 1,000 numbers of a range. The arguments are the end, or the start, end, and step. Jinjava: Functions.range.

    Raise ExpressionError if the first argument is null.
    """
    if first is None:
        raise ExpressionError("range needs a number")
    start, end, step = 0, read_int(first, 0), 1
    if more:
        start, end = end, read_int(more[0], 0) if more[0] is not None else 0
        step = read_int(more[1], 1) if len(more) > 1 else 1
    return list(range(start, end, step)[:1000]) if step else []
