"""Convert the arguments of filters, which Jinjava passes as strings."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .values import ExpressionError, convert_to_long, write_value

GetAttribute = Callable[[Any, str], Any]
"""A function that returns an attribute of a value by name."""

_NUMBER = re.compile(r"-?(?:\d[\d,]*)?(?:\.\d*)?(?:E-?\d+)?")


def take_argument(arguments: tuple[Any, ...], index: int, default: Any = None) -> Any:
    """Return an argument by position, or the default if there are not enough arguments."""
    return arguments[index] if index < len(arguments) else default


def read_boolean(value: Any) -> bool:
    """Convert an argument to a boolean. Java: BooleanUtils.toBoolean."""
    return value is True or (isinstance(value, str) and value.lower() in ("true", "yes", "on", "y", "t"))


def read_int(value: Any, default: int) -> int:
    """Convert an argument to a whole number. Return the default if it is empty or not a number."""
    try:
        return convert_to_long(write_value(value)) if value not in (None, "") else default
    except ExpressionError:
        return default


def parse_number(text: str) -> Decimal | None:
    """Parse a string as a number. Return None if any part of it is not a number. Java: NumberFormat."""
    match = _NUMBER.fullmatch(text)
    digits = text.replace(",", "")
    return Decimal(digits) if match and any(char.isdigit() for char in digits.partition("E")[0]) and len(digits) < 400 else None
