"""Jinjava's tests, such as ``x is even``. Jinjava: lib/exptest."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from .values import ExpressionError, check_size, compare, contains, convert_to_long, is_equal, is_number, is_true, list_items, write_value


def _is_divisible(value: Any, divisor: Any = None) -> bool:
    if not is_number(value) or divisor is None or value != convert_to_long(value):
        return False
    if not is_number(divisor) or divisor == 0:
        raise ExpressionError("divisibleby needs a number other than 0")
    return int(value) % int(divisor) == 0


def _is_iterable(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, Mapping))


def _contains_all(value: Any, items: Any) -> bool:
    found = list_items(items)
    check_size(len(found) * len(list_items(value)))
    return all(contains(value, item) for item in found)


def _compare_order(operator: str) -> Callable[[Any, Any], bool]:
    return lambda value, other: value is not None and other is not None and compare(operator, value, other)


TESTS: Mapping[str, Callable[..., Any]] = {
    "boolean": lambda value: isinstance(value, bool),
    "containing": lambda value, item: contains(value, item),
    "containingall": _contains_all,
    "defined": lambda value: value is not None,
    "divisibleby": _is_divisible,
    "even": lambda value: is_number(value) and convert_to_long(value) % 2 == 0,
    "false": lambda value: value is False,
    "float": lambda value: isinstance(value, float) or (isinstance(value, Decimal) and int(value.as_tuple().exponent) < 0),
    "in": lambda value, container: contains(container, value),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, Decimal) and value.as_tuple().exponent == 0)
    ),
    "iterable": _is_iterable,
    "lower": lambda value: isinstance(value, str) and value.isalpha() and value.islower(),
    "mapping": lambda value: isinstance(value, Mapping),
    "none": lambda value: value is None,
    "number": is_number,
    "odd": lambda value: is_number(value) and convert_to_long(value) % 2 != 0,
    "sameas": lambda value, other: value is other,
    "sequence": _is_iterable,
    "string": lambda value: isinstance(value, str),
    "string_containing": lambda value, part: isinstance(value, str) and write_value(part) in value,
    "string_startingwith": lambda value, part: isinstance(value, str) and value.startswith(write_value(part)),
    "true": lambda value: value is True,
    "truthy": is_true,
    "undefined": lambda value: value is None,
    "upper": lambda value: isinstance(value, str) and value.isalpha() and value.isupper(),
    "within": lambda value, container: contains(container, value),
    **dict.fromkeys(("==", "eq", "equalto"), is_equal),
    **dict.fromkeys(("!=", "ne"), lambda value, other: not is_equal(value, other)),
    **dict.fromkeys(("<", "lt", "lessthan"), _compare_order("lt")),
    **dict.fromkeys((">", "gt", "greaterthan"), _compare_order("gt")),
    **dict.fromkeys(("<=", "le"), _compare_order("lteq")),
    **dict.fromkeys((">=", "ge"), _compare_order("gteq")),
}
