"""``writeStrategy.types``: conditions in Scala that choose the strategy for a file. Starlake: AdaptiveWriteStrategy, CompilerUtils.

Conditions are evaluated by a small parser of comparisons, ``&& || !``, sums, ``group("name")`` of the table's pattern,
the size of the file and the days that Starlake offers. They are never run as code.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import suggest_name
from ..project.file_patterns import compile_pattern
from ..project.model import Table
from .engine_errors import BadSetting, NotSupported

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(\d+)[LlDdFf]?|([A-Za-z_]\w*)|(==|!=|<=|>=|&&|\|\||[<>!()+\-*/%.,]))')
_METHODS: Mapping[str, Callable[..., Any]] = {
    "equals": lambda value, other: value == other,
    "startsWith": lambda value, other: value.startswith(other),
    "endsWith": lambda value, other: value.endswith(other),
    "contains": lambda value, other: other in value,
    "matches": lambda value, other: compile_pattern(other).fullmatch(value) is not None,
    "equalsIgnoreCase": lambda value, other: value.lower() == other.lower(),
    "toInt": int,
    "toLong": int,
    "toLowerCase": str.lower,
    "toUpperCase": str.upper,
    "trim": str.strip,
    "length": len,
    "isEmpty": lambda value: not value,
    "nonEmpty": bool,
}
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class _Unknown(Exception):
    """A condition uses syntax that the parser does not support."""


def choose_strategy(table: Table, file: Path, zone: str | None = None, now: datetime | None = None) -> str:
    """Return the write strategy whose condition a file meets.

    Args:
        table: the table; its strategy has ``types``.
        file: a file of the table.
        zone: time zone of the days, UTC by default.
        now: the time.

    Raises:
        BadSetting: no condition or more than one is met, or one cannot be evaluated for this file.
        NotSupported: a condition uses something that the engine cannot evaluate.
    """
    written = table.metadata.write_strategy
    types = written.types if written else {}
    context = _make_context(table, file, _find_zone(table, zone), now)
    place = table.origin.locate("metadata.writeStrategy.types")
    fulfilled = []
    for kind, condition in types.items():
        where = table.origin.locate(f"metadata.writeStrategy.types.{kind}")
        try:
            value = _Parser(str(condition), context).evaluate()
        except _Unknown as error:
            raise NotSupported(
                where, f"the condition of {kind}, '{condition}', is not supported by the embedded engine: {error}"
            ) from error
        except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
            raise BadSetting(where, f"the condition of {kind}, '{condition}', cannot be evaluated for {file.name}: {error}") from error
        if not isinstance(value, bool):
            raise BadSetting(where, f"the condition of {kind}, '{condition}', is '{value}', which is neither true nor false")
        if value:
            fulfilled.append(kind)
    if len(fulfilled) != 1:
        found = f"several write strategies ({', '.join(fulfilled)})" if fulfilled else "no write strategy"
        raise BadSetting(place, f"{table.full_name}: {found} for {file.name}: exactly one condition must be true")
    return fulfilled[0].upper()


def _find_zone(table: Table, name: str | None) -> tzinfo:
    if not name:
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadSetting(table.origin.locate("metadata.writeStrategy.types"), f"unknown time zone '{name}'") from error


@dataclass(frozen=True, slots=True)
class _Context:
    values: Mapping[str, Any]
    group: Callable[[Any], str]


def _make_context(table: Table, file: Path, zone: tzinfo, now: datetime | None) -> _Context:
    today = (now or datetime.now(timezone.utc)).astimezone(zone)
    found = file.stat()
    day = datetime.fromtimestamp(found.st_mtime, zone)
    values: dict[str, Any] = {"true": True, "false": False, "fileSize": found.st_size, "fileSizeB": found.st_size}
    for power, unit in enumerate(("Ko", "Mo", "Go", "To"), 1):
        values[f"fileSize{unit}"] = found.st_size // 1024**power
    for prefix, moment in (("", today), ("File", day)):
        values[f"is{prefix}FirstDayOfMonth"] = moment.day == 1
        values[f"is{prefix}LastDayOfMonth"] = (moment + timedelta(days=1)).day == 1
    values["dayOfWeek"], values["fileDayOfWeek"] = today.isoweekday(), day.isoweekday()
    match = compile_pattern(table.pattern).fullmatch(file.name)

    def group(name: Any) -> str:
        if match is None:
            raise IndexError("the file does not match the pattern")
        return match.group(name) or ""

    return _Context(values, group)


class _Parser:
    """Evaluates one condition."""

    def __init__(self, text: str, context: _Context) -> None:
        self._context = context
        self._tokens: list[str] = []
        at = 0
        text = text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise _Unknown(f"'{text[at:].strip()}'")
            self._tokens.append(next(group for group in match.groups() if group is not None))
            at = match.end()
        self._at = 0

    def evaluate(self) -> Any:
        value = self._parse_or()
        if self._at < len(self._tokens):
            raise _Unknown(f"'{self._tokens[self._at]}'")
        return value

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *tokens: str) -> str:
        token = self._peek()
        if token in tokens:
            self._at += 1
            return token
        return ""

    def _parse_or(self) -> Any:
        value = self._parse_and()
        while self._take("||"):
            # Both sides are read, regardless of the first one's value.
            other = self._parse_and()
            value = value or other
        return value

    def _parse_and(self) -> Any:
        value = self._parse_comparison()
        while self._take("&&"):
            other = self._parse_comparison()
            value = value and other
        return value

    def _parse_comparison(self) -> Any:
        value = self._parse_sum()
        while sign := self._take(*_COMPARE):
            value = _COMPARE[sign](value, self._parse_sum())
        return value

    def _parse_sum(self) -> Any:
        value = self._parse_product()
        while sign := self._take("+", "-"):
            other = self._parse_product()
            value = value + other if sign == "+" else value - other
        return value

    def _parse_product(self) -> Any:
        value = self._parse_unary()
        while sign := self._take("*", "/", "%"):
            other = self._parse_unary()
            value = value * other if sign == "*" else value // other if sign == "/" else value % other
        return value

    def _parse_unary(self) -> Any:
        if self._take("!"):
            return not self._parse_unary()
        if self._take("-"):
            return -self._parse_unary()
        value = self._parse_atom()
        while self._take("."):
            value = self._call_method(value)
        return value

    def _call_method(self, value: Any) -> Any:
        name = self._peek()
        self._at += 1
        if name not in _METHODS:
            raise _Unknown(f"'.{name}'{suggest_name(name, _METHODS)}")
        return _METHODS[name](value, *self._parse_arguments()) if self._peek() == "(" else _METHODS[name](value)

    def _parse_arguments(self) -> list[Any]:
        self._expect_token("(")
        values = []
        while not self._take(")"):
            values.append(self._parse_or())
            if not self._take(",") and self._peek() != ")":
                raise _Unknown(f"'{self._peek()}'")
        return values

    def _parse_atom(self) -> Any:
        token = self._peek()
        self._at += 1
        if token == "(":
            value = self._parse_or()
            self._expect_token(")")
            return value
        if token.startswith('"'):
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        if token.isdigit():
            return int(token)
        if token == "group":
            return self._context.group(*self._parse_arguments())
        if token in self._context.values:
            return self._context.values[token]
        raise _Unknown(f"'{token}'{suggest_name(token, self._context.values)}")

    def _expect_token(self, token: str) -> None:
        if not self._take(token):
            raise _Unknown(f"'{token}' is missing")
