"""The methods of strings, lists, and maps in Jinjava: those of Java's String and Jinjava's PyList and PyMap."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from .values import Entry, ExpressionError, check_length, check_size, convert_to_long, write_value

_SPECIAL = re.compile(r"[\\^$.|?*+()\[\]{}]")
_REPEATS = re.compile(r"(?<!\\)[*+]|\{\d*,\d*\}")
_MAX_REGEX_TEXT = 20_000


def compile_regex(pattern: str, text: str) -> re.Pattern[str]:
    """Compile a regular expression of a template that will be applied to some text.

    Raises:
        ExpressionError: it is not a regular expression, or it might take too long on this text.
    """
    if len(pattern) > 1000 or (_SPECIAL.search(pattern) and (len(_REPEATS.findall(pattern)) > 1 or len(text) > _MAX_REGEX_TEXT)):
        raise ExpressionError("the regular expression is too complicated: at most one repetition is supported")
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ExpressionError(f"'{pattern[:80]}' is not a regular expression: {error}") from error


def replace_regex(text: str, pattern: str, replacement: str, count: int = 0) -> str:
    """Replace the matches of a regular expression. ``$1`` in the replacement is the first group.

    Raises:
        ExpressionError: the regular expression or the replacement is invalid, or the result is too long.
    """
    template = re.sub(r"\$(\d)", r"\\g<\1>", replacement.replace("\\", "\\\\"))
    try:
        return str(check_length(compile_regex(pattern, text).sub(template, text, count=count)))
    except (re.error, IndexError) as error:
        raise ExpressionError(f"'{replacement[:80]}' is not a valid replacement: {error}") from error


def split_string(text: str, separator: str, limit: int = 0) -> list[str]:
    """Split a string at a regular expression, and drop trailing empty strings. Java: String.split."""
    if separator == "":
        parts = list(text)
    elif _SPECIAL.search(separator):
        parts = compile_regex(separator, text).split(text, maxsplit=max(limit - 1, 0))
    else:
        parts = text.split(separator, limit - 1 if limit > 0 else -1)
    if limit == 0:
        while len(parts) > 1 and parts[-1] == "":
            parts.pop()
    return parts


def _find_substring(text: str, start: Any, end: Any = None) -> str:
    first = convert_to_long(start)
    last = len(text) if end is None else convert_to_long(end)
    if not 0 <= first <= last <= len(text):
        raise ExpressionError(f"substring({first}, {last}) is outside a string of {len(text)} characters")
    return text[first:last]


def repeat_string(text: str, count: int) -> str:
    """Repeat a string. Raise ExpressionError if the result would be too long."""
    check_size(len(text) * count)
    return text * count


def replace_string(text: str, old: str, new: str, count: int = -1) -> str:
    """Replace a substring, or raise ExpressionError if the result would be too long. An empty substring is never found.

    Java: StringUtils.replace.
    """
    if not old:
        return text
    check_size(text.count(old) * max(len(new) - len(old), 0) + len(text))
    return text.replace(old, new, count)


STRING_METHODS: Mapping[str, Callable[..., Any]] = {
    "charAt": lambda s, i: _find_substring(s, i, convert_to_long(i) + 1),
    "concat": lambda s, o: check_length(s + write_value(o)),
    "contains": lambda s, o: write_value(o) in s,
    "endsWith": lambda s, o: s.endswith(write_value(o)),
    "equals": lambda s, o: s == o,
    "equalsIgnoreCase": lambda s, o: s.lower() == write_value(o).lower(),
    "indexOf": lambda s, o, start=0: s.find(write_value(o), convert_to_long(start)),
    "isBlank": lambda s: not s.strip(),
    "isEmpty": lambda s: s == "",
    "lastIndexOf": lambda s, o: s.rfind(write_value(o)),
    "length": len,
    "matches": lambda s, o: compile_regex(write_value(o), s).fullmatch(s) is not None,
    "repeat": lambda s, n: repeat_string(s, convert_to_long(n)),
    "replace": lambda s, a, b: replace_string(s, write_value(a), write_value(b)),
    "replaceAll": lambda s, a, b: replace_regex(s, write_value(a), write_value(b)),
    "replaceFirst": lambda s, a, b: replace_regex(s, write_value(a), write_value(b), 1),
    "split": lambda s, o, limit=0: split_string(s, write_value(o), convert_to_long(limit)),
    "startsWith": lambda s, o: s.startswith(write_value(o)),
    "strip": lambda s: s.strip(),
    "substring": _find_substring,
    "toLowerCase": lambda s: s.lower(),
    "toString": lambda s: s,
    "toUpperCase": lambda s: s.upper(),
    "trim": lambda s: s.strip("".join(map(chr, range(33)))),
}


def _append_item(items: list[Any], item: Any) -> bool:
    items.append(item)
    check_length(items)
    return True


def _extend_items(items: list[Any], more: Any) -> bool:
    items.extend(list(more))
    check_length(items)
    return True


def _insert_item(items: list[Any], index: Any, item: Any) -> None:
    items.insert(convert_to_long(index), item)
    check_length(items)


LIST_METHODS: Mapping[str, Callable[..., Any]] = {
    "add": _append_item,
    "addAll": _extend_items,
    "append": _append_item,
    "contains": lambda items, item: item in items,
    "copy": list,
    "count": lambda items, item: list(items).count(item),
    "extend": _extend_items,
    "get": lambda items, index: items[convert_to_long(index)],
    "index": lambda items, item, *area: items.index(item, *area) if item in items else -1,
    "indexOf": lambda items, item: items.index(item) if item in items else -1,
    "insert": _insert_item,
    "isEmpty": lambda items: not items,
    "pop": lambda items, index=-1: items.pop(convert_to_long(index)),
    "reverse": lambda items: items.reverse(),
    "size": len,
}


def _put(mapping: dict[Any, Any], key: Any, value: Any) -> Any:
    before = mapping.get(key)
    mapping[key] = value
    return before


MAP_METHODS: Mapping[str, Callable[..., Any]] = {
    "containsKey": lambda mapping, key: key in mapping,
    "containsValue": lambda mapping, value: value in mapping.values(),
    "get": lambda mapping, key, default=None: mapping.get(key, default),
    "getOrDefault": lambda mapping, key, default: mapping.get(key, default),
    "isEmpty": lambda mapping: not mapping,
    "items": lambda mapping: list(map(Entry._make, mapping.items())),
    "keySet": list,
    "keys": list,
    "put": _put,
    "size": len,
    "update": lambda mapping, other: mapping.update(other),
    "values": lambda mapping: list(mapping.values()),
}


def find_method(value: Any, name: str) -> Callable[..., Any] | None:
    """Return a method of a string, list, or map, bound to the value; None if there is no such method."""
    kinds = ((str, STRING_METHODS), ((list, tuple), LIST_METHODS), (Mapping, MAP_METHODS))
    method = next((methods.get(name) for kind, methods in kinds if isinstance(value, kind)), None)
    return method and (lambda *arguments: method(value, *arguments))
