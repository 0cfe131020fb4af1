"""Jinjava's filters for lists and maps. Jinjava: lib/filter."""

from collections.abc import Callable, Container, Mapping
from decimal import Decimal
from functools import cmp_to_key, partial
from typing import Any

from .expression_tests import TESTS
from .filter_arguments import GetAttribute, read_boolean, read_int, take_argument
from .values import (
    EXACT,
    Entry,
    ExpressionError,
    check_length,
    check_size,
    convert_to_decimal,
    format_value,
    is_less,
    list_items,
    write_value,
)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple, Mapping)) else 0


def _list(value: Any) -> Any:
    if value is None:
        return None
    return [value] if isinstance(value, Mapping) else list(value if isinstance(value, str) else list_items(value))


def _compare_values(case_sensitive: bool) -> Any:
    def compare(left: Any, right: Any) -> int:
        if isinstance(left, str) and isinstance(right, str) and not case_sensitive:
            left, right = left.lower(), right.lower()
        if type(left) is not type(right):
            raise ExpressionError("sort: values of different types cannot be compared")
        return -1 if is_less(left, right) else 1 if is_less(right, left) else 0

    return cmp_to_key(compare)


def _batch(value: Any, *arguments: Any) -> list[list[Any]]:
    size = read_int(take_argument(arguments, 0), 0)
    if value is None or size <= 0:
        return []
    items = list(list_items(value))
    rows = [items[start : start + size] for start in range(0, len(items), size)]
    if rows:
        check_size(size)
        rows[-1] += [take_argument(arguments, 1)] * (size - len(rows[-1]))
    return rows


def _slice(value: Any, *arguments: Any) -> list[list[Any]]:
    # In Jinjava, the argument is the length of each slice, not their number.
    size = min(read_int(take_argument(arguments, 0), 3), 1000)
    if not arguments or size <= 0:
        raise ExpressionError("slice needs a positive number")
    rows = _batch(value, size, *arguments[1:])
    if rows and len(arguments) == 1:
        rows[-1] = rows[-1][: len(list_items(value)) - size * (len(rows) - 1)]
    return rows


def _join(get: GetAttribute, value: Any, separator: Any = "", attribute: Any = None) -> str:
    items = list_items(value)
    found = items if attribute is None else [get(item, write_value(attribute)) for item in items]
    return str(check_length(write_value(separator).join(map(format_value, found))))


def _sort(get: GetAttribute, value: Any, reverse: Any = False, case_sensitive: Any = False, attribute: Any = None) -> Any:
    if value is None:
        return None
    key = _compare_values(read_boolean(case_sensitive))

    def find_key(item: Any) -> Any:
        for name in write_value(attribute).split(".") if attribute is not None else ():
            item = get(item, name)
        if item is None:
            raise ExpressionError("sort: a value is null")
        return key(item)

    return sorted(list_items(value), key=find_key, reverse=read_boolean(reverse))


def _unique(get: GetAttribute, value: Any, attribute: Any = None) -> list[Any]:
    found: dict[str, Any] = {}
    for item in list_items(value):
        key = item if attribute is None else get(item, write_value(attribute))
        found.setdefault(f"{type(key).__name__} {write_value(key)}", item)
    return list(found.values())


def _sum(get: GetAttribute, value: Any, start: Any = 0, /, *, attribute: Any = None, **_ignored: Any) -> Decimal:
    # In Jinjava, the start has no name.
    total = convert_to_decimal(start or 0)
    for item in list_items(value):
        number = item if attribute is None else get(item, write_value(attribute))
        try:
            # As in Jinjava, Doubles are not rounded to their shortest decimal form.
            added = Decimal(number) if isinstance(number, float) else convert_to_decimal(number) if number is not None else Decimal(0)
            total = EXACT.add(total, added)
        except ExpressionError:
            continue
    return total


def _group_by(get: GetAttribute, value: Any, attribute: Any) -> list[Any]:
    groups: dict[str, dict[str, Any]] = {}
    for item in list_items(value):
        key = get(item, write_value(attribute))
        entry = groups.setdefault(write_value(key), {"grouper": write_value(key), "grouperObject": key, "list": []})
        entry["list"].append(item)
    return list(groups.values())


def map_items(
    get: GetAttribute,
    find_filter: Callable[[str], Callable[..., Any] | None],
    value: Any,
    name: Any = None,
    *arguments: Any,
    attribute: Any = None,
) -> list[Any]:
    """Apply a filter to each item, or get an attribute of each item: Jinjava's filter ``map``.

    ``get`` returns an attribute of a value by name, and ``find_filter`` a filter by name.
    """
    apply = find_filter(write_value(name)) if attribute is None else None
    if apply is not None:
        return [apply(item, *arguments) for item in list_items(value)]
    return [get(item, write_value(name if attribute is None else attribute)) for item in list_items(value)]


def _select(by_attribute: bool, wanted: bool, get: GetAttribute, value: Any, *arguments: Any) -> list[Any]:
    rest = list(arguments)
    attribute = write_value(rest.pop(0)) if by_attribute and rest else None
    if not rest and not by_attribute:
        raise ExpressionError("select and reject need the name of a test")
    test = TESTS.get(write_value(rest.pop(0)) if rest else "truthy")
    if test is None:
        raise ExpressionError("select or reject: unknown test")
    # A test may search its argument for each item.
    searched = max((len(one) for one in rest if isinstance(one, (list, tuple, Mapping))), default=1)
    check_size(len(list_items(value)) * searched)
    return [item for item in list_items(value) if test(item if attribute is None else get(item, attribute), *rest) == wanted]


def _build_set(items: Any) -> dict[str, Any]:
    """Return the different items, each with a key that is the same for equal items."""
    return {f"{type(item).__name__} {write_value(item)}": item for item in list_items(items)}


def _select_by_key(value: Any, keys: Container[str], wanted: bool) -> list[Any]:
    return [item for key, item in _build_set(value).items() if (key in keys) == wanted]


def _dictsort(value: Any, *arguments: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    key = _compare_values(read_boolean(take_argument(arguments, 0)))
    index = 1 if write_value(take_argument(arguments, 1, "key")).lower() == "value" else 0
    return sorted(map(Entry._make, value.items()), key=lambda item: key(item[index]))


COLLECTION_FILTERS: Mapping[str, Callable[..., Any]] = {
    "batch": _batch,
    "count": _length,
    "dictsort": _dictsort,
    "difference": lambda value, other: _select_by_key(value, _build_set(other), False),
    "first": lambda value: next(iter(list_items(value)), None),
    "intersect": lambda value, other: _select_by_key(value, _build_set(other), True),
    "last": lambda value: list_items(value)[-1] if len(list_items(value)) else None,
    "length": _length,
    "list": _list,
    "reverse": lambda value: value[::-1] if isinstance(value, (str, list, tuple)) else value,
    "slice": _slice,
    "symmetric_difference": lambda value, other: [
        *_select_by_key(value, _build_set(other), False),
        *_select_by_key(other, _build_set(value), False),
    ],
    "union": lambda value, other: list(_build_set([*list_items(value), *list_items(other)]).values()),
}
ATTRIBUTE_FILTERS: Mapping[str, Callable[..., Any]] = {
    "attr": lambda get, value, name: get(value, write_value(name)),
    "groupby": _group_by,
    "join": _join,
    "reject": partial(_select, False, False),
    "rejectattr": partial(_select, True, False),
    "select": partial(_select, False, True),
    "selectattr": partial(_select, True, True),
    "sort": _sort,
    "sum": _sum,
    "unique": _unique,
}
"""Filters whose first argument is a function that gets an attribute of a value."""
