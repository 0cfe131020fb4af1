"""Typed access to the mappings of a YAML file, with a problem for everything that is not as Starlake's schema wants it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..errors import Location, Problem, Severity, did_you_mean
from .model import EMPTY, FrozenDict, Origin
from .yaml_source import Positions


class Context:
    """What the sections of one file share.

    Attributes:
        file: name of the file.
        positions: where its keys are.
        problems: list that problems are added to.
        severity: of a value of the wrong kind: ``error`` where Starlake stops, ``warning`` where it skips the file.
        broken: set when a value was of the wrong kind, so that Starlake would refuse the file.
    """

    __slots__ = ("blocks", "broken", "effect", "file", "lenient", "positions", "problems", "severity", "told")

    def __init__(
        self, file: str, positions: Positions, problems: list[Problem], severity: Severity, *, lenient: bool = False, effect: str = ""
    ) -> None:
        self.file = file
        self.positions = positions
        self.problems = problems
        self.severity = severity
        self.lenient = lenient
        """Everything is a warning: nothing of the file is acted on."""
        self.broken = False
        self.effect = f"; {effect}" if effect else ""
        """What it means that the file is refused."""
        self.told: set[str] = set()
        """Unknown keys that were warned about: one warning per key and file."""
        self.blocks: frozenset[str] = frozenset()
        """Keys of block scalars, whose text begins on the line after the key."""


class Section:
    """A mapping of a YAML file."""

    __slots__ = ("context", "data", "path")

    def __init__(self, context: Context, data: Mapping[str, Any], path: str = "") -> None:
        self.context = context
        self.data = data
        self.path = path

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def key(self, key: str) -> str:
        """Return the dotted key of a key of this section."""
        return f"{self.path}.{key}" if self.path else key

    def at(self, key: str = "") -> Location:
        """Return the place of a key, or of the section."""
        return Origin(self.context.file, self.start.line, self.context.positions).at(self.key(key) if key else self.path)

    @property
    def start(self) -> Location:
        """Return the place of the file's root key."""
        positions = self.context.positions
        return positions[""] if "" in positions else Location(self.context.file, 1)

    def origin(self) -> Origin:
        """Return the origin of the object that this section, the root of its file, describes."""
        return Origin(self.context.file, self.start.line, self.context.positions)

    def error(self, key: str, message: str) -> None:
        """Report a value that is acted on and wrong."""
        self.context.problems.append(Problem(self.at(key), "warning" if self.context.lenient else "error", message))

    def warn(self, key: str, message: str) -> None:
        """Report something odd."""
        self.context.problems.append(Problem(self.at(key), "warning", message))

    def refuse(self, key: str, message: str) -> None:
        """Report that Starlake would not read the file."""
        self.context.broken = True
        self.context.problems.append(Problem(self.at(key), self.context.severity, message + self.context.effect))

    def _wrong(self, key: str, expected: str) -> None:
        value = self.data[key]
        shown = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
        self.refuse(key, f"{self.key(key)}: expected {expected}, found {shown}")

    def text(self, key: str) -> str | None:
        """Return a scalar as Starlake's text; None when absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is str:
            return value
        text = scalar_text(value)
        if text is None:
            self._wrong(key, "a text")
        return text

    def name(self, key: str) -> str | None:
        """Return a text; None also when it is empty or blank."""
        value = self.text(key)
        return value if value and value.strip() else None

    def boolean(self, key: str) -> bool | None:
        """Return true or false; None when absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is bool:
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if value != "":
            self._wrong(key, "true or false")
        return None

    def integer(self, key: str) -> int | None:
        """Return a whole number; None when absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is int:
            return value
        if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 20:
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        self._wrong(key, "a whole number")
        return None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; empty when absent."""
        value = self.data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self._wrong(key, "a list")
            single = scalar_text(value)
            return (single,) if single else ()
        found = []
        for index, item in enumerate(value):
            text = scalar_text(item)
            if text is None and item is not None:
                self.refuse(
                    f"{key}[{index}]",
                    f"{self.key(key)}[{index}]: expected a text, found {'a mapping' if isinstance(item, dict) else 'a list'}",
                )
            elif text is not None:
                found.append(text)
        return tuple(found)

    def mapping(self, key: str) -> Mapping[str, str]:
        """Return a mapping of texts; empty when absent. A null value is an empty text (Starlake: Nulls.AS_EMPTY)."""
        value = self.data.get(key)
        if value is None:
            return EMPTY
        if not isinstance(value, dict):
            self._wrong(key, "a mapping")
            return EMPTY
        found = {}
        for name, item in value.items():
            text = "" if item is None else scalar_text(item)
            if text is None:
                self.refuse(
                    f"{key}.{name}", f"{self.key(key)}.{name}: expected a text, found {'a mapping' if isinstance(item, dict) else 'a list'}"
                )
            else:
                found[name] = text
        return FrozenDict(found) if found else EMPTY

    def section(self, key: str) -> "Section | None":
        """Return a mapping as a section; None when absent or null."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._wrong(key, "a mapping")
            return None
        return Section(self.context, value, self.key(key))

    def sections(self, key: str) -> list["Section"]:
        """Return a list of mappings as sections; empty when absent or null."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong(key, "a list")
            return []
        found = []
        path = self.key(key)
        for index, item in enumerate(value):
            if isinstance(item, dict):
                found.append(Section(self.context, item, f"{path}[{index}]"))
            elif item is not None:
                shown = "a list" if isinstance(item, list) else repr(item)
                self.refuse(f"{key}[{index}]", f"{path}[{index}]: expected a mapping, found {shown}")
        return found

    def choice(self, key: str, known: Collection[str], what: str, convert: Callable[[str], str] = str.upper) -> str | None:
        """Return a text that must be one of ``known`` after ``convert``; an unknown one is an error and kept."""
        value = self.name(key)
        if value is None:
            return None
        value = convert(value.strip())
        if value not in known:
            hint = did_you_mean(value, known) or f" (known: {', '.join(sorted(known))})"
            self.error(key, f"unknown {what} '{self.data[key]}'{hint}")
        return value

    def unknown_keys(self, known: Collection[str], where: str, legacy: Collection[str] = ()) -> list[str]:
        """Warn about keys that Starlake's strict schema refuses, once per key and file; return them."""
        unknown = [key for key in self.data if key not in known]
        for key in unknown:
            if key in self.context.told or key in legacy:
                continue
            self.context.told.add(key)
            self.warn(key, f"unknown key '{key}' in {where}{did_you_mean(key, known)}; it is ignored, and Starlake refuses the file")
        return unknown

    def require(self, keys: Sequence[str], where: str) -> bool:
        """Report missing keys; return whether all are there."""
        missing = [key for key in keys if key not in self]
        for key in missing:
            near = [name for name in self.data if did_you_mean(name, (key,))]
            hint = f"; '{near[0]}' is not known, is it meant?" if near else ""
            self.refuse(key, f"{where} needs '{key}', which is missing{hint}")
        return not missing


def scalar_text(value: Any) -> str | None:
    """Return a scalar as Jackson turns it into text; None for null, lists and mappings."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return None
