"""JSON of any depth, with the line of every object and key: dependency trees nest two levels per task of a chain."""

import json
import re
from typing import Any

_TOKEN = re.compile(
    r"""(?P<newline>\n)|[ \t\r]+|(?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")|(?P<mark>[{}\[\]:,])"""
    r"""|(?P<scalar>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null)"""
)


class InvalidJson(ValueError):
    """A text that is no JSON.

    Attributes:
        line: where, from 1.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line

    def __reduce__(self) -> tuple[type["InvalidJson"], tuple[int, str]]:
        """Let the exception travel between processes."""
        return InvalidJson, (self.line, str(self))


class JsonObject(dict[str, Any]):
    """An object with the place of its keys.

    Attributes:
        line: line of its opening brace.
        lines: key -> line.
    """

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


def parse_json(text: str) -> Any:
    """Return a JSON document; its objects are :class:`JsonObject`.

    Raises:
        InvalidJson: the text is no JSON; has the line.
    """
    return _Parser().parse(text.removeprefix("\ufeff"))


class _Parser:
    """A parser without recursion: ``_open`` holds the containers around the current place."""

    def __init__(self) -> None:
        self._open: list[JsonObject | list[Any]] = []
        self._keys: list[str] = []
        self._document: list[Any] = []
        self._expected = "value"

    def parse(self, text: str) -> Any:
        line, position = 1, 0
        for match in _TOKEN.finditer(text):
            if match.start() != position:
                break
            position = match.end()
            kind = match.lastgroup
            if kind == "newline":
                line += 1
            elif kind:
                self._take(kind, match[kind], line)
        if position != len(text):
            raise InvalidJson(line, f"unexpected {text[position : position + 20].splitlines()[0]!r}, expected {self._wanted()}")
        if self._open or not self._document:
            raise InvalidJson(line, f"the text ends early, expected {self._wanted()}")
        return self._document[0]

    def _wanted(self) -> str:
        return {
            "value": "a value",
            "value or ]": "a value or ']'",
            "key or }": "a name in double quotes or '}'",
            "key": "a name in double quotes",
            ":": "':'",
            "end": "nothing more",
        }.get(self._expected, "',' or the end of the list or object")

    def _refuse(self, token: str, line: int) -> InvalidJson:
        return InvalidJson(line, f"unexpected {token[:20]!r}, expected {self._wanted()}")

    def _take(self, kind: str, token: str, line: int) -> None:
        expected = self._expected
        if kind == "string" and expected in ("key", "key or }"):
            key = self._decode(token, line)
            container = self._open[-1]
            if isinstance(container, JsonObject):
                container.lines[key] = line
            self._keys.append(key)
            self._expected = ":"
        elif token == ":" and expected == ":":
            self._expected = "value"
        elif token == "," and expected == ",":
            self._expected = "key" if isinstance(self._open[-1], JsonObject) else "value"
        elif token in ("}", "]"):
            self._close(token, line)
        elif expected not in ("value", "value or ]") or token in (":", ","):
            raise self._refuse(token, line)
        elif token == "{":
            self._put(JsonObject(line))
            self._expected = "key or }"
        elif token == "[":
            self._put([])
            self._expected = "value or ]"
        else:
            self._put(self._decode(token, line))

    def _close(self, token: str, line: int) -> None:
        inside = self._open[-1] if self._open else None
        fits = isinstance(inside, JsonObject) if token == "}" else isinstance(inside, list)
        if not fits or self._expected not in (",", "key or }" if token == "}" else "value or ]"):
            raise self._refuse(token, line)
        self._open.pop()
        self._expected = "," if self._open else "end"

    def _put(self, value: Any) -> None:
        container = self._open[-1] if self._open else self._document
        if isinstance(container, JsonObject):
            container[self._keys.pop()] = value
        else:
            container.append(value)
        if isinstance(value, (JsonObject, list)):
            self._open.append(value)
        else:
            self._expected = "," if self._open else "end"

    @staticmethod
    def _decode(token: str, line: int) -> Any:
        if token[0] == '"' and "\\" not in token:
            return token[1:-1]
        try:
            return json.loads(token)
        except ValueError as error:
            raise InvalidJson(line, f"{token[:20]!r}: {error}") from None
