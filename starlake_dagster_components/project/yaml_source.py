"""Parse YAML as Starlake does, and record the line of every key.

Starlake: Jackson's YAML mapper reads YAML 1.2, in which ``on``, ``yes``, and ``no`` are strings and only ``true`` and ``false`` are
booleans. PyYAML's C parser builds the nodes, and this module resolves the values.
"""

import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from ..errors import Location

_MAX_DEPTH = 60
_MAX_NODES = 200_000
"""Maximum number of keys and values in a document. Reading more takes too long, even if the file is not too large."""
_TOO_LARGE = f"is too large: it has more than {_MAX_NODES:,} keys and values"
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_FIRST_OF_NUMBER = frozenset("0123456789+-.")

# Dotted key of a parent -> key of a child -> dotted key. All documents share it, so that each string is stored once.
_joined: dict[str, dict[str, str]] = {}
# The keys of packed positions. Files with the same keys share them.
_shapes: dict[tuple[str, ...], tuple[str, ...]] = {}
# The positions that were unpacked last, and their lines.
_unpacked: tuple[object, dict[str, int]] = (None, {})


class YamlError(Exception):
    """Text that is not valid YAML, too large, or nested too deeply; ``line`` is the line in the text, from 1."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(message)


class Positions(Mapping[str, Location]):
    """A mapping of dotted keys to locations in one file. The locations of inherited values are in other files."""

    __slots__ = ("_file", "_inherited", "_own", "_packed")

    def __init__(
        self,
        file: str,
        lines: dict[str, int] | None,
        inherited: dict[str, Location] | None = None,
        packed: tuple[tuple[str, ...], bytes] = ((), b""),
    ) -> None:
        self._file = file
        self._own = lines
        self._inherited = inherited or {}
        self._packed = packed

    @property
    def _lines(self) -> dict[str, int]:
        """The lines by key. After packing, only those of the file that was used last are unpacked, because few are requested."""
        global _unpacked
        if self._own is not None:
            return self._own
        packed, lines = _unpacked
        if packed is not self._packed:
            lines = dict(zip(self._packed[0], memoryview(self._packed[1]).cast("I"), strict=True))
            _unpacked = self._packed, lines
        return lines

    def __getitem__(self, key: str) -> Location:
        line = self._lines.get(key)
        return Location(self._file, line) if line is not None else self._inherited[key]

    def __contains__(self, key: object) -> bool:
        return key in self._lines or key in self._inherited

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        yield from (key for key in self._inherited if key not in self._lines)

    def __len__(self) -> int:
        return len(self._lines.keys() | self._inherited.keys())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Positions):
            return NotImplemented
        return (self._file, self._lines, self._inherited) == (other._file, other._lines, other._inherited)

    def __hash__(self) -> int:
        return hash(self._file)

    def __repr__(self) -> str:
        return f"Positions({self._file!r}, {len(self)} keys)"

    def __reduce__(self) -> tuple[type["Positions"], tuple[str, None, dict[str, Location] | None, tuple[tuple[str, ...], bytes]]]:
        self.pack()
        return Positions, (self._file, None, self._inherited or None, self._packed)

    def pack(self) -> None:
        """Reduce the memory to a quarter. Lookups become slower."""
        if self._own is not None:
            keys = tuple(self._own)
            self._packed = (_shapes.setdefault(keys, keys), array("I", self._own.values()).tobytes())
            self._own = None

    def inherit(self, inherited: dict[str, Location]) -> "Positions":
        """Return these positions plus the locations of inherited keys. Own keys take precedence."""
        return Positions(self._file, self._lines, {**self._inherited, **inherited})

    def select_below(self, prefix: str) -> "Positions":
        """Return the positions of an object inside this document, with the prefix removed from its keys."""
        start = len(prefix) + 1
        return Positions(self._file, {key[start:]: line for key, line in self._lines.items() if key.startswith(prefix + ".")})

    def select_under(self, keys: Iterable[str]) -> dict[str, Location]:
        """Return the locations of keys and of all keys below them."""
        exact = frozenset(keys)
        starts = tuple(f"{key}{sign}" for key in exact for sign in ".[")
        return {name: self[name] for name in self if name in exact or name.startswith(starts)}


@dataclass(slots=True)
class YamlDocument:
    """A parsed YAML document.

    Attributes:
        data: mappings as dict, sequences as list, scalars as str, bool, int, float, or None. A number that is not in canonical
            form (``007``, ``1.10``) stays a string, because Starlake uses it as written where it expects a string.
        lines: dotted key -> line. Keys below the root key do not include it.
        duplicates: (dotted key, line of the first, line of the second) of each repeated key, however often it is repeated.
        blocks: dotted keys of block scalars (``|`` and ``>``), whose text begins on the line after the key.
        more: line of a second document, which Starlake does not read; 0 if there is none.
    """

    data: Any
    lines: dict[str, int] = field(default_factory=dict)
    duplicates: list[tuple[str, int, int]] = field(default_factory=list)
    blocks: set[str] = field(default_factory=set)
    more: int = 0


class _TooManyNodes(Exception):
    """A document has more keys and values than are read."""


class _NoResolver:
    """Gives plain scalars an empty tag, and all other nodes ``!``. This module resolves the values instead of PyYAML.

    PyYAML resolves each node when it makes it, so that too many nodes are noticed here before they cost time and memory.
    """

    count = 0

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: tuple[bool, bool] | bool) -> str:
        self.count += 1
        if self.count > _MAX_NODES:
            raise _TooManyNodes
        return "" if implicit is True or (kind is yaml.ScalarNode and implicit[0]) else "!"  # type: ignore[index]

    def descend_resolver(self, parent: object, index: object) -> None:
        """Do nothing: tags do not depend on the position."""

    def ascend_resolver(self) -> None:
        """Do nothing: tags do not depend on the position."""


if TYPE_CHECKING or not yaml.__with_libyaml__:

    class _Composer(_NoResolver, Reader, Scanner, Parser, Composer):
        """PyYAML's Python parser, for installations without libyaml."""

        def __init__(self, text: str) -> None:
            for part in (Reader, Scanner, Parser, Composer):
                part.__init__(self, *([text] if part is Reader else []))

else:

    class _Composer(_NoResolver, yaml.cyaml.CParser):
        """libyaml's parser."""

        def __init__(self, text: str) -> None:
            yaml.cyaml.CParser.__init__(self, text)


def _find_first_document(text: str) -> tuple[yaml.Node | None, int]:
    """Return the first document of a YAML text, and the line of the second; None and 0 if there are none.

    Raise YamlError if the document has too many keys and values, and yaml.YAMLError if it is not YAML.
    """
    composer = _Composer(text)
    try:
        if not composer.check_node():
            return None, 0
        node: yaml.Node | None = composer.get_node()
        try:
            more = composer.peek_event().start_mark.line + 1 if composer.check_node() else 0  # type: ignore[no-untyped-call]
        except yaml.YAMLError:
            more = 0
        return node, more
    except _TooManyNodes:
        raise YamlError(_TOO_LARGE, composer.peek_event().start_mark.line + 1) from None  # type: ignore[no-untyped-call]
    finally:
        composer.dispose()


def join_key(path: str, key: str) -> str:
    """Return the dotted key of a key below a path, which is empty for the document."""
    return f"{path}.{key}" if path else key


def parse_yaml(text: str, root: str) -> YamlDocument:
    """Parse the first document of a YAML text. The dotted keys do not include the root key.

    Raises:
        YamlError: it is not YAML, or is too large or nested too deeply.
    """
    _check_nesting(text)
    try:
        node, more = _find_first_document(text)
    except yaml.MarkedYAMLError as error:
        raise _build_syntax_error(error, text) from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        raise YamlError(f"is not YAML: {error}", line) from error
    document = YamlDocument(None, more=more)
    if node is not None:
        document.data = _Walk(document, root).build_value(node, "", 0)
    return document


def _build_syntax_error(error: yaml.MarkedYAMLError, text: str) -> YamlError:
    mark = error.problem_mark or error.context_mark
    parts = [error.problem or "", error.context or ""]
    message = ", ".join(part for part in parts if part)
    if mark and "cannot start any token" in message and "\t" in text.split("\n")[mark.line][: mark.column + 1]:
        message += " (YAML does not allow tabs for indentation)"
    if error.context_mark and mark and error.context_mark.line != mark.line:
        message += f" that begins on line {error.context_mark.line + 1}"
    column = f", column {mark.column + 1}" if mark else ""
    return YamlError(f"is not YAML: {message}{column}", mark.line + 1 if mark else 1)


def _check_nesting(text: str) -> None:
    # The C composer recurses without limit. Each level of nesting needs a bracket, another column of indentation, or a dash.
    if len(text) < 2000:
        return
    if text.count("[") + text.count("{") > _MAX_DEPTH * 8:
        depth = 0
        for match in re.finditer(r"[\[\]{}]", text):
            depth = depth + 1 if match.group() in "[{" else max(0, depth - 1)
            if depth > _MAX_DEPTH * 8:
                raise YamlError("is nested too deeply", text.count("\n", 0, match.start()) + 1)
    for match in re.finditer(r"(?m)^(?:[ \t]|[-?:][ \t]){400,}", text):
        raise YamlError("is nested too deeply", text.count("\n", 0, match.start()) + 1)


@dataclass(slots=True, eq=False)
class _Walk:
    """Turns nodes into values and records their lines."""

    _document: YamlDocument
    _root: str
    _count: int = 0

    def build_value(self, node: yaml.Node, path: str, depth: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            if not node.tag:
                value = resolve_plain_value(node.value)
                # Types, names, and options repeat often.
                return sys.intern(value) if value.__class__ is str and len(value) <= 40 else value
            if node.style in ("|", ">"):
                self._document.blocks.add(path)
            name = node.tag.rpartition(":")[2] if node.tag.startswith("tag:yaml.org,2002:") else ""
            return resolve_plain_value(node.value) if name in ("int", "float", "bool", "null") else node.value
        self._count += len(node.value)
        if depth > _MAX_DEPTH or self._count > _MAX_NODES:
            raise YamlError("is nested too deeply" if depth > _MAX_DEPTH else _TOO_LARGE, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, path, depth)
        lines = self._document.lines
        values = []
        for index, item in enumerate(node.value):
            key = f"{path}[{index}]"
            lines[key] = item.start_mark.line + 1
            values.append(self.build_value(item, key, depth + 1))
        return values

    def _build_mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        lines = self._document.lines
        joined = _joined.get(path)
        if joined is None:
            joined = _joined[path] = {}
        result: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        repeated: set[str] = set()
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError("is not YAML that Starlake supports: a key must be a string; quote a value that begins with { or [", line)
            key = key_node.value
            if key in result and key not in repeated:
                repeated.add(key)
                self._document.duplicates.append((join_key(path, key), first_line[key], line))
            first_line.setdefault(key, line)
            full = joined.get(key)
            if full is None:
                full = joined[key] = join_key(path, key)
            if depth == 0 and key == self._root:
                result[key] = self.build_value(value_node, "", 1)
                lines[""] = line
                continue
            lines[full] = line
            result[key] = self.build_value(value_node, full, depth + 1)
        return result


def resolve_plain_value(text: str) -> str | bool | int | float | None:
    """Return the value of a plain (unquoted) scalar in YAML 1.2's core schema. Numbers that are not in canonical form stay strings."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST_OF_NUMBER or len(text) > 18:
        return text
    if _INT.fullmatch(text):
        number = int(text)
        return number if str(number) == text else text
    if _FLOAT.fullmatch(text):
        real = float(text)
        return real if repr(real) == text else text
    return text
