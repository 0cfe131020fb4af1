"""Jinjava's filters for numbers and booleans. Jinjava: lib/filter."""

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

from .filter_arguments import parse_number, read_boolean, read_int, take_argument
from .values import ExpressionError, Single, calculate, convert_to_decimal, convert_to_long, is_number, write_value


def _round(value: Any, *arguments: Any) -> Any:
    if value is None:
        return None
    modes = {"ceil": ROUND_CEILING, "floor": ROUND_FLOOR}
    precision = read_int(take_argument(arguments, 0), 0)
    if abs(precision) > 100:
        raise ExpressionError(f"round: {precision} digits is too many")
    number = convert_to_decimal(value)
    return number.quantize(Decimal(1).scaleb(-precision), rounding=modes.get(take_argument(arguments, 1, ""), ROUND_HALF_UP))


def _float(value: Any, default: Any = None) -> float:
    fallback = parse_number(write_value(default)) if default is not None else None
    number = value if is_number(value) else None if value is None else parse_number(write_value(value))
    return Single(float(number if number is not None else fallback or 0))


def _int(value: Any, default: Any = None) -> int:
    number = value if is_number(value) else None if value is None else parse_number(write_value(value).strip())
    return convert_to_long(number) if number is not None else read_int(default, 0)


NUMBER_FILTERS: Mapping[str, Callable[..., Any]] = {
    "abs": lambda value: None if value is None else abs(value if is_number(value) else convert_to_decimal(value)),
    "add": lambda value, other: None if value is None else convert_to_decimal(value) + convert_to_decimal(other or 0),
    "bool": lambda value: value is not None and (write_value(value) == "1" or read_boolean(write_value(value))),
    "divide": lambda value, other: value if other is None else calculate("/", value, convert_to_decimal(other)),
    "divisible": lambda value, other: (
        isinstance(value, (int, float)) and not isinstance(value, bool) and calculate("%", int(value), convert_to_long(other)) == 0
    ),
    "float": _float,
    "int": _int,
    "multiply": lambda value, other: value if other is None else calculate("*", value, convert_to_decimal(other)),
    "round": _round,
}
