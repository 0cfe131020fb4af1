"""Parse JSON of any depth, and find the lines of its objects and keys."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_SLICE = 150
"""Number of levels that are parsed at a time if a document is too deep for Python's parser, which recurses once per level."""

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_PLACE = re.compile(rf"(?P<text>{_STRING})(?P<colon>\s*:)?|{{", re.DOTALL)
_PLACEHOLDER = "\0"
"""The only key of an object that replaces a part that was parsed already."""


class InvalidJson(ValueError):
    """A string that is not JSON; ``line`` is the line of the error, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line

    def __reduce__(self) -> tuple[type["InvalidJson"], tuple[int, str]]:
        return InvalidJson, (self.line, str(self))


def parse_json(text: str) -> Any:
    """Parse a document, or raise InvalidJson.

    A dependency tree has two levels for each task of a chain. If this exceeds Python's recursion limit, the tree is parsed in slices.
    """
    text = text.removeprefix("\ufeff")
    try:
        return json.loads(text)
    except RecursionError:
        return _parse_in_slices(text)
    except json.JSONDecodeError as error:
        raise InvalidJson(error.lineno, error.msg) from None


def _parse_in_slices(text: str) -> Any:
    """Parse the innermost levels first, and replace them with a placeholder that has the same number of lines."""
    parsed: list[Any] = []
    slices: list[tuple[int, list[str]]] = [(1, [])]
    depth, position, line = 0, 0, 1
    for match in _BRACKET.finditer(text):
        bracket = match[0]
        if bracket in ("{", "["):
            depth += 1
            if depth % _SLICE == 0:
                before = text[position : match.start()]
                slices[-1][1].append(before)
                line += before.count("\n")
                slices.append((line, []))
                position = match.start()
        elif bracket in ("}", "]"):
            if depth % _SLICE == 0 and len(slices) > 1:
                first, texts = slices.pop()
                rest = text[position : match.end()]
                line += rest.count("\n")
                parsed.append(_parse_slice("".join((*texts, rest)), first, parsed))
                slices[-1][1].append(f'{{"\\u0000": {len(parsed) - 1}}}' + "\n" * (line - first))
                position = match.end()
            depth -= 1
    first, texts = slices[-1]
    return _parse_slice("".join((*texts, text[position:])), first, parsed)


def _parse_slice(text: str, first_line: int, parsed: list[Any]) -> Any:
    def restore(value: dict[str, Any]) -> Any:
        return parsed[value[_PLACEHOLDER]] if value.keys() == {_PLACEHOLDER} else value

    try:
        return json.loads(text, object_hook=restore)
    except json.JSONDecodeError as error:
        raise InvalidJson(first_line + error.lineno - 1, error.msg) from None


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of the objects and keys of a document, which :func:`parse_json` returned. They are computed on first use."""

    text: str
    document: Any

    @cached_property
    def _lines(self) -> dict[tuple[int, str | None], int]:
        return dict(_number_lines(self.text, self.document))

    def find(self, value: dict[str, Any], key: str | None = None) -> int:
        """Return the line of an object's key, or of the object itself; 0 if it is unknown."""
        return self._lines.get((id(value), key)) or self._lines.get((id(value), None), 0)


def _number_lines(text: str, document: Any) -> Iterator[tuple[tuple[int, str | None], int]]:
    """Yield ((id of an object, key, or None for the object itself), line), in the order of the text.

    Stops early if the document and the text have different orders, as after a repeated key.
    """
    places = _find_places(text)
    stack: list[Iterator[tuple[dict[str, Any] | None, str, Any]]] = [iter([(None, "", document)])]
    while stack:
        for owner, key, value in stack[-1]:
            if owner is not None:
                written, line = next(places, ("", 0))
                if written != key and "\\" not in written:
                    return
                yield (id(owner), key), line
            if isinstance(value, dict):
                _, line = next(places, ("", 0))
                yield (id(value), None), line
                stack.append(iter([(value, name, inner) for name, inner in value.items()]))
                break
            if isinstance(value, list):
                stack.append(iter([(None, "", inner) for inner in value]))
                break
        else:
            stack.pop()


def _find_places(text: str) -> Iterator[tuple[str, int]]:
    """Yield (key as written, or ``{`` for an object; line), in the order of the text."""
    line, position = 1, 0
    for match in _PLACE.finditer(text):
        if match["text"] and not match["colon"]:
            continue
        line += text.count("\n", position, match.start())
        position = match.start()
        yield (match["text"][1:-1] if match["text"] else "{"), line
