"""Jinjava's filters for strings, including those that encode and decode. Jinjava: lib/filter."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from .filter_arguments import read_boolean, read_int, take_argument
from .strings import repeat_string, replace_regex, replace_string
from .values import ExpressionError, Single, check_length, check_nesting, check_size, convert_to_long, format_value, write_value


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
    if not read_boolean(take_argument(arguments, 1)):
        while 0 < length < len(value):
            length -= 1
            if value[length].isspace():
                break
        length += 1
    return value[: max(length, 0)] + write_value(take_argument(arguments, 2, "..."))


def _split(value: Any, *arguments: Any) -> list[str]:
    text, separator, limit = format_value(value), take_argument(arguments, 0), read_int(take_argument(arguments, 1), 0)
    parts = re.split(r"\s", text) if separator is None else text.split(write_value(separator) or None)
    parts = [part.strip() for part in parts if part.strip()]
    if 0 < limit < len(parts):
        joiner = " " if separator is None else write_value(separator)
        parts = [*parts[: limit - 1], joiner.join(parts[limit - 1 :])]
    return parts


def _indent(value: Any, width: Any = 4, indentfirst: Any = False) -> str:
    blank = repeat_string(" ", max(read_int(width, 4), 0))
    lines = format_value(value).split("\n")
    if len(lines) * len(blank) > 10_000_000:
        raise ExpressionError("indent: the text would be too long")
    first = blank if read_boolean(indentfirst) else ""
    return str(check_length("\n".join([first + lines[0], *(blank + line for line in lines[1:])])))


_FORMAT = re.compile(r"%(?:(\d+)\$)?([-#+ 0,(]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")


def _format(value: Any, *arguments: Any) -> str:
    """Format arguments. Java: String.format."""
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
        raise ExpressionError(f"format: '{write_value(value)[:80]}' cannot be formatted with %{kind}")
    if "+" in flags and lower in "dfeg" and not text.startswith("-"):
        text = f"+{text}"
    text = text.upper() if kind.isupper() else text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and lower != "s":
        sign = text[0] if text[:1] in ("-", "+") else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _write_json(value: Any) -> str:
    def convert(item: Any) -> Any:
        return float(item) if isinstance(item, Decimal) else write_value(item)

    check_nesting(value)
    return str(check_length(json.dumps(_shorten_floats(value), ensure_ascii=False, separators=(",", ":"), default=convert)))


def _shorten_floats(value: Any) -> Any:
    """Return a value in which each Float is the Double that is printed for it."""
    if isinstance(value, Mapping):
        return {key: _shorten_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shorten_floats(item) for item in value]
    return value.shorten() if isinstance(value, Single) else value


def _read_json(value: Any) -> Any:
    try:
        return json.loads(write_value(value), parse_float=float)
    except (ValueError, RecursionError) as error:
        raise ExpressionError(f"fromjson: {error}") from error


def _escape(value: Any) -> str:
    return str(check_length(html.escape(format_value(value)).replace("&#x27;", "&#39;")))


def _center(value: Any, size: Any = 80) -> Any:
    if value is None:
        return None
    text, width = write_value(value), read_int(size, 80)
    check_size(width)
    left = max(width - len(text), 0) // 2
    return (" " * left + text).ljust(width)


def _replace(value: Any, *arguments: Any) -> Any:
    if value is None:
        return None
    if len(arguments) < 2:
        raise ExpressionError("replace needs two arguments: the text to replace and the replacement")
    count = read_int(take_argument(arguments, 2), -1)
    return replace_string(write_value(value), format_value(arguments[0]), format_value(arguments[1]), count)


def _encode_url(value: Any) -> str:
    if isinstance(value, Mapping):
        return "&".join(f"{_encode_url(write_value(key))}={_encode_url(write_value(item))}" for key, item in value.items())
    return quote_plus(format_value(value), safe="*")


TEXT_FILTERS: Mapping[str, Callable[..., Any]] = {
    "b64decode": lambda value: base64.b64decode(format_value(value)).decode("utf-8", "replace"),
    "b64encode": lambda value: base64.b64encode(format_value(value).encode()).decode(),
    "capitalize": lambda value: value[:1].upper() + value[1:].lower() if isinstance(value, str) else value,
    "center": _center,
    "cut": lambda value, part: replace_string(format_value(value), format_value(part), ""),
    "e": _escape,
    "escape": _escape,
    "escapejson": lambda value: json.dumps(write_value(value))[1:-1],
    "forceescape": _escape,
    "format": _format,
    "fromjson": _read_json,
    "indent": _indent,
    "lower": lambda value: value.lower() if isinstance(value, str) else value,
    "md5": lambda value: hashlib.md5(value.encode(), usedforsecurity=False).hexdigest() if isinstance(value, str) else value,
    "regex_replace": lambda value, pattern, new: None if value is None else replace_regex(write_value(value), pattern, new),
    "replace": _replace,
    "safe": lambda value: value,
    "split": _split,
    "string": write_value,
    "title": _title,
    "tojson": _write_json,
    "trim": lambda value: write_value(value).strip("".join(map(chr, range(33)))),
    "truncate": _truncate,
    "upper": lambda value: check_length(value.upper()) if isinstance(value, str) else value,
    "urldecode": lambda value: unquote_plus(format_value(value)),
    "urlencode": _encode_url,
    "wordcount": lambda value: len(re.findall(r"\w+", format_value(value))),
}
