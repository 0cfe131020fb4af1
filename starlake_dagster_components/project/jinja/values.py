"""Evaluate Jinjava's expressions: truth, printing, arithmetic, and comparison.

Jinjava: ObjectTruthValue, TruthyTypeConverter, AdditionOperator, TruncDivOperator, PowerOfOperator, CollectionMembershipOperator;
JUEL: TypeConverterImpl, NumberOperations, BooleanOperations. None represents Java's null and undefined names, int Long, float
Double, Decimal BigDecimal, list and tuple PyList, and dict PyMap.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any, NamedTuple

MAX_LENGTH = 2_000_000
"""Maximum length of a string or list that an expression creates."""
_LONG = 2**63
EXACT = Context(prec=2000)
"""Calculates with all digits of a BigDecimal. Its limit keeps templates from building numbers of any size."""


class ExpressionError(ValueError):
    """An expression that Jinjava rejects, too, or whose value would be too large."""


class Single(float):
    """A Float, which has 32 bits. It is printed with few digits, but calculations use its exact value."""

    def __new__(cls, number: float) -> "Single":
        """Round a number to a Float."""
        try:
            return super().__new__(cls, struct.unpack("f", struct.pack("f", number))[0])
        except OverflowError:
            return super().__new__(cls, math.copysign(math.inf, number))

    def __neg__(self) -> "Single":
        """Return the negative Float."""
        return Single(-float(self))

    def __abs__(self) -> "Single":
        """Return the Float without its sign."""
        return Single(abs(float(self)))

    def shorten(self) -> float:
        """Return the Double with the fewest digits that rounds to the same Float."""
        exact = float(self)
        return next((short for digits in range(1, 10) if Single(short := float(f"{exact:.{digits}g}")) == self), exact)


class Entry(NamedTuple):
    """An entry of a map."""

    key: Any
    value: Any


def is_true(value: Any) -> bool:
    """Return whether a value is true. Null, false, 0, empty collections, ``""``, and ``"false"`` in any case are false."""
    if isinstance(value, str):
        return value != "" and value.lower() != "false"
    return bool(value)


def format_value(value: Any) -> str:
    """Return a value as ``{{ }}`` prints it; an empty string for null."""
    return "" if value is None else write_value(value)


def write_value(value: Any) -> str:
    """Return a value as Java prints it; ``null`` for null. Java: Objects.toString."""
    if isinstance(value, (list, tuple, Mapping)):
        check_nesting(value)
    return _write_part(value)


def _write_part(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _write_double(value.shorten() if isinstance(value, Single) else value)
    if isinstance(value, Entry):
        return f"{_write_part(value.key)}={_write_part(value.value)}"
    if isinstance(value, Mapping):
        return str(check_length("{" + ", ".join(f"{_write_part(key)}={_write_part(item)}" for key, item in value.items()) + "}"))
    if isinstance(value, (list, tuple)):
        return str(check_length("[" + ", ".join(map(_write_part, value)) + "]"))
    return str(value)


def _write_double(value: float) -> str:
    """Return a Double as Java prints it. Java: Double.toString."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        text = format(Decimal(repr(value)), "f")
        return text if "." in text else f"{text}.0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    power = len(digits) + int(exponent) - 1
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{power}"


def check_length(value: Any) -> Any:
    """Return a string or list unchanged, or raise ExpressionError if it is too long."""
    check_size(len(value))
    return value


def check_size(size: int) -> None:
    """Raise ExpressionError if a string or list of this length would be too long."""
    if size > MAX_LENGTH:
        raise ExpressionError(f"a value is longer than {MAX_LENGTH} characters or items")


def check_nesting(*values: Any) -> None:
    """Raise ExpressionError if lists or maps contain too many items with those of their lists and maps.

    A list that contains another one twice has its items twice. Lists that double in a loop are small, but take forever to compare or write.
    """
    sizes: dict[int, int] = {}

    def measure(value: Any) -> int:
        if not isinstance(value, (list, tuple, Mapping)):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = 0
            sizes[id(value)] = 1 + sum(map(measure, value.values() if isinstance(value, Mapping) else value))
            check_size(sizes[id(value)])
        return sizes[id(value)]

    check_size(sum(map(measure, values)))


def convert_to_long(value: Any) -> int:
    """Convert a value to a whole number, or raise ExpressionError. Null and the empty string are 0."""
    if value is None or value == "":
        return 0
    if isinstance(value, float):
        # Java's cast saturates at the limits.
        return 0 if math.isnan(value) else int(value) if abs(value) < _LONG else _LONG - 1 if value > 0 else -_LONG
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return _wrap(int(value))
    if isinstance(value, str) and len(value) <= 20:
        digits = value[1:] if value[0] in "+-" else value
        if digits.isdecimal() and -_LONG <= int(value) < _LONG:
            return int(value)
    raise ExpressionError(f"'{_shorten(value)}' is not a whole number")


def convert_to_double(value: Any) -> float:
    """Convert a value to a Double, or raise ExpressionError. Null and the empty string are 0."""
    if value is None or value == "":
        return 0.0
    if is_number(value):
        return float(value)
    if isinstance(value, str) and "_" not in value and len(value) < 400:
        try:
            return float(value)
        except ValueError:
            pass
    raise ExpressionError(f"'{_shorten(value)}' is not a number")


def convert_to_decimal(value: Any) -> Decimal:
    """Convert a number, or a string that contains one, to a BigDecimal. Any other value raises ExpressionError."""
    text = write_value(value)
    try:
        number = Decimal(text) if "_" not in text and len(text) < 400 and text == text.strip() else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number.adjusted()) > 400:
        raise ExpressionError(f"'{_shorten(value)}' is not a number")
    return number


def _coerce_to_decimal(value: Any) -> Decimal:
    """Convert an operand to a BigDecimal. Null and the empty string are 0; a boolean is not a number."""
    if isinstance(value, float) and math.isfinite(value):
        return Decimal(value)
    return Decimal(0) if value is None or value == "" else convert_to_decimal(value)


def is_number(value: Any) -> bool:
    """Return whether a value is a number. In Python, booleans would be, too."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _shorten(value: Any) -> str:
    text = write_value(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _wrap(number: int) -> int:
    return (number + _LONG) % (2 * _LONG) - _LONG


def _is_real(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, str) and any(char in value for char in ".eE"))


def add(left: Any, right: Any) -> Any:
    """Return ``left + right``: a joined list, a merged map, a string if either is a string, else a number."""
    if isinstance(left, (list, tuple)):
        return check_length([*left, *right] if isinstance(right, (list, tuple)) else [*left, right])
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return {**left, **right}
    if isinstance(left, str) or isinstance(right, str):
        return check_length(write_value(left) + write_value(right))
    return _calculate("+", left, right)


def calculate(operator: str, left: Any, right: Any) -> Any:
    """Return the result of an arithmetic operation. Numeric strings count as numbers.

    Raises:
        ExpressionError: an operand is not a number, or a whole number is divided by zero.
    """
    if operator == "+":
        return add(left, right)
    if operator in ("//", "**"):
        return _calculate_numbers(operator, left, right)
    if operator == "/":
        return _divide(left, right)
    return _find_remainder(left, right) if operator == "%" else _calculate(operator, left, right)


def _find_remainder(left: Any, right: Any) -> Any:
    if isinstance(left, Decimal) or isinstance(right, Decimal) or _is_real(left) or _is_real(right):
        first, second = convert_to_double(left), convert_to_double(right)
        return math.fmod(first, second) if second and math.isfinite(first) else math.nan
    if left is None and right is None:
        return 0
    dividend, divisor = convert_to_long(left), convert_to_long(right)
    if divisor == 0:
        raise ExpressionError("division by zero")
    # As in Java, the remainder has the sign of the dividend.
    return abs(dividend) % abs(divisor) * (-1 if dividend < 0 else 1)


def _calculate(operator: str, left: Any, right: Any) -> Any:
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        operation = {"+": EXACT.add, "-": EXACT.subtract, "*": EXACT.multiply}[operator]
        return operation(_coerce_to_decimal(left), _coerce_to_decimal(right))
    if _is_real(left) or _is_real(right):
        return _apply(operator, convert_to_double(left), convert_to_double(right))
    return _wrap(_apply(operator, convert_to_long(left), convert_to_long(right)))


def _apply(operator: str, left: Any, right: Any) -> Any:
    return left + right if operator == "+" else left - right if operator == "-" else left * right


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        dividend, divisor = _coerce_to_decimal(left), _coerce_to_decimal(right)
        if not divisor:
            raise ExpressionError("division by zero")
        exponent = int(dividend.as_tuple().exponent)
        return EXACT.divide(dividend, divisor).quantize(Decimal(1).scaleb(exponent), rounding=ROUND_HALF_UP, context=EXACT)
    if left is None and right is None:
        return 0
    first, second = convert_to_double(left), convert_to_double(right)
    if second == 0:
        return math.nan if first == 0 or math.isnan(first) else math.copysign(math.inf, first) * math.copysign(1, second)
    return first / second


def _calculate_numbers(operator: str, left: Any, right: Any) -> Any:
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ExpressionError(f"unsupported operands for {operator}: '{_shorten(left)}' and '{_shorten(right)}'")
    whole = isinstance(left, int) and isinstance(right, int)
    if operator == "//":
        if whole:
            if right == 0:
                raise ExpressionError("division by zero")
            return left // right
        quotient = _divide(left, right)
        return float(math.floor(quotient)) if math.isfinite(quotient) else quotient
    try:
        power = math.pow(left, right)
    except OverflowError:
        power = math.inf
    except ValueError:
        power = math.nan
    if not whole:
        return power
    return 0 if math.isnan(power) else _LONG - 1 if power >= _LONG else -_LONG if power < -_LONG else int(power)


def negate(value: Any) -> Any:
    """Return ``-value``."""
    if isinstance(value, (Decimal, Single)):
        return -value
    return -convert_to_double(value) if _is_real(value) else _wrap(-convert_to_long(value))


def drop_sign(value: Any) -> Any:
    """Return ``+value``, which in Jinjava is the absolute value. Jinjava: AbsOperator."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ExpressionError(f"+ needs a number, found '{_shorten(value)}'")
    return abs(value)


def is_equal(left: Any, right: Any) -> bool:
    """Return ``left == right``. A number and a string compare as numbers, a boolean and another value as booleans."""
    if left is None or right is None:
        return left is right
    if isinstance(left, (list, tuple, Mapping)) and isinstance(right, (list, tuple, Mapping)):
        check_nesting(left, right)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return list(left) == list(right)
    if type(left) is type(right):
        return bool(left == right)
    convert = _find_conversion(left, right, _EQUALITY)
    return bool(left == right if convert is None else convert(left) == convert(right))


_Conversions = Mapping[type, Callable[[Any], Any]]
_NUMBERS: _Conversions = {Decimal: _coerce_to_decimal, float: convert_to_double, Single: convert_to_double, int: convert_to_long}
_EQUALITY: _Conversions = {**_NUMBERS, bool: is_true, str: format_value}
_ORDER: _Conversions = {**_NUMBERS, str: format_value}


def _find_conversion(left: Any, right: Any, conversions: _Conversions) -> Callable[[Any], Any] | None:
    """Return the first of the conversions, in the order of precedence, whose type is that of an operand. It converts both."""
    return next((convert for kind, convert in conversions.items() if kind in (type(left), type(right))), None)


def is_less(left: Any, right: Any) -> bool:
    """Return ``left < right`` for values that are not null. Raise ExpressionError if they cannot be compared."""
    convert = _find_conversion(left, right, _ORDER)
    if convert is None and not (isinstance(left, bool) and isinstance(right, bool)):
        raise ExpressionError(f"cannot compare '{_shorten(left)}' and '{_shorten(right)}'")
    return bool(convert(left) < convert(right) if convert else left < right)


def compare(operator: str, left: Any, right: Any) -> bool:
    """Return the result of a comparison. An ordering of null is false. ``operator`` is Jinja2's name, such as ``eq``, ``lt``, or ``in``."""
    if operator in ("eq", "ne"):
        return is_equal(left, right) == (operator == "eq")
    if operator in ("in", "notin"):
        return contains(right, left) == (operator == "in")
    if left is right and operator in ("lteq", "gteq"):
        return True
    if left is None or right is None:
        return False
    less = is_less(left, right) if operator in ("lt", "gteq") else is_less(right, left)
    return less == (operator in ("lt", "gt"))


def contains(container: Any, value: Any) -> bool:
    """Return whether a string, list, or map contains ``value``, which is first converted to the type of the first item."""
    if isinstance(container, str):
        return format_value(value) in container
    if not isinstance(container, (list, tuple, Mapping)):
        return False
    if value is None and next(iter(container), None) is None:
        return len(container) > 0
    first = next((item for item in container if item is not None), None)
    if isinstance(value, (list, tuple, Mapping)):
        check_nesting(value, container)
    try:
        return first is not None and convert_like(value, first) in container
    except (ExpressionError, TypeError):
        return False


def convert_like(value: Any, example: Any) -> Any:
    """Convert a value to the type of another value, or raise ExpressionError."""
    for kind, convert in ((bool, is_true), (str, format_value), (int, convert_to_long), (float, convert_to_double)):
        if isinstance(example, kind):
            return convert(value)
    return value


def list_items(value: Any) -> Sequence[Any]:
    """Return the items that a loop iterates over: those of a list, or the values of a map. Null has no items.

    Any other value, such as a string, is its own only item. Jinjava: ObjectIterator.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return value
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else (value,)
