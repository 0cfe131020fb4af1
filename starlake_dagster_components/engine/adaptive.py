"""``writeStrategy.types``: conditions in Scala that choose the strategy for a file. Starlake: AdaptiveWriteStrategy, CompilerUtils.

Supported are comparisons, ``&& || !``, arithmetic, some methods of strings, ``group("name")`` of the table's pattern, the size of the file
and the days that Starlake offers. Conditions are never run as code: Python's parser reads them, because its syntax for these expressions is
almost the same, and all other syntax is rejected.
"""

import ast
import functools
import keyword
import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import suggest_name
from ..project.file_patterns import compile_pattern
from ..project.model import Table
from .engine_errors import BadSetting, NotSupported

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(\d+)[LlDdFf]?|([A-Za-z_]\w*)|(==|!=|<=|>=|&&|\|\||[<>!()+\-*/%.,]))')
_IN_PYTHON = {"&&": "and", "||": "or", "!": "~"}
"""Operators whose equivalents in Python have another name. ``not`` would bind less tightly than ``!``."""
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
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.Invert: operator.not_,
    ast.And: lambda one, other: one and other,
    ast.Or: lambda one, other: one or other,
}


class _Unknown(Exception):
    """A condition uses syntax that is not supported."""


def choose_strategy(table: Table, file: Path, zone: str | None = None) -> str:
    """Return the write strategy whose condition a file of a table meets. ``zone`` is the time zone of the days, UTC by default.

    Raises:
        BadSetting: no condition or more than one is met, or one cannot be evaluated for this file.
        NotSupported: a condition uses something that the engine cannot evaluate.
    """
    written = table.metadata.write_strategy
    types = written.types if written else {}
    values = _list_values(table, file, _find_zone(table, zone))
    fulfilled = []
    for kind, condition in types.items():
        where = table.origin.locate(f"metadata.writeStrategy.types.{kind}")
        try:
            value = _evaluate(_parse_condition(str(condition), values), values)
        except _Unknown as error:
            reason = f"the condition of {kind}, '{condition}', is not supported by the embedded engine: {error}"
            raise NotSupported(where, reason) from error
        except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
            raise BadSetting(where, f"the condition of {kind}, '{condition}', cannot be evaluated for {file.name}: {error}") from error
        if not isinstance(value, bool):
            raise BadSetting(where, f"the condition of {kind}, '{condition}', is '{value}', which is neither true nor false")
        if value:
            fulfilled.append(kind)
    if len(fulfilled) != 1:
        found = f"several write strategies ({', '.join(fulfilled)})" if fulfilled else "no write strategy"
        place = table.origin.locate("metadata.writeStrategy.types")
        raise BadSetting(place, f"{table.full_name}: {found} for {file.name}: exactly one condition must be true")
    return fulfilled[0].upper()


def _find_zone(table: Table, name: str | None) -> tzinfo:
    if not name:
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadSetting(table.origin.locate("metadata.writeStrategy.types"), f"unknown time zone '{name}'") from error


def _list_values(table: Table, file: Path, zone: tzinfo) -> Mapping[str, Any]:
    """Return the names that a condition may use, with their values."""
    today = datetime.now(zone)
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

    return {**values, "group": group}


def _parse_condition(condition: str, values: Mapping[str, Any]) -> ast.expr:
    """Return the syntax tree of a condition."""
    words: list[str] = []
    at, text = 0, condition.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _Unknown(f"'{text[at:].strip()}'")
        string, number, word, sign = match.groups()
        if keyword.iskeyword(word or ""):
            raise _Unknown(f"'{word}'{suggest_name(word, values)}")
        literal = repr(re.sub(r"\\(.)", r"\1", string[1:-1])) if string else str(int(number)) if number else ""
        words.append(literal or word or _IN_PYTHON.get(sign, sign))
        at = match.end()
    try:
        return ast.parse(" ".join(words), mode="eval").body
    except SyntaxError as error:
        raise _Unknown(error.msg) from error


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Return the value of a part of a condition. Both sides of ``&&`` and ``||`` are always evaluated."""
    evaluate = functools.partial(_evaluate, values=values)
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name) if name in values and name != "group":
            return values[name]
        case ast.BoolOp(sign, parts):
            return functools.reduce(_OPERATORS[type(sign)], map(evaluate, parts))
        case ast.UnaryOp(ast.USub() | ast.Invert() as sign, operand):
            return _OPERATORS[type(sign)](evaluate(operand))
        case ast.BinOp(left, sign, right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](evaluate(left), evaluate(right))
        case ast.Compare(left, signs, others):
            value = evaluate(left)
            for comparison, other in zip(signs, others, strict=True):
                value = _OPERATORS[type(comparison)](value, evaluate(other))
            return value
        case ast.Call(ast.Name("group"), arguments):
            return values["group"](*map(evaluate, arguments))
        case ast.Attribute(value, name) | ast.Call(ast.Attribute(value, name)):
            if name not in _METHODS:
                raise _Unknown(f"'.{name}'{suggest_name(name, _METHODS)}")
            return _METHODS[name](evaluate(value), *map(evaluate, node.args if isinstance(node, ast.Call) else ()))
    raise _Unknown(f"'{ast.unparse(node)}'{suggest_name(node.id, values) if isinstance(node, ast.Name) else ''}")
