"""Give typed access to the mappings of a YAML file, and report every value that does not match Starlake's schema."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..errors import Location, Problem, Severity, suggest_name
from .model import EMPTY, FrozenDict, Origin
from .yaml_source import Positions


class Context:
    """The state that all sections of one file share.

    Attributes:
        file: name of the file.
        positions: the places of its keys.
        problems: list that problems are added to.
        severity: of a value of the wrong type: ``error`` if Starlake stops, ``warning`` if it skips the file.
        broken: set if a value had the wrong type, so that Starlake would reject the file.
    """

    __slots__ = ("blocks", "broken", "effect", "file", "lenient", "positions", "problems", "reported", "severity")

    def __init__(
        self, file: str, positions: Positions, problems: list[Problem], severity: Severity, *, lenient: bool = False, effect: str = ""
    ) -> None:
        self.file = file
        self.positions = positions
        self.problems = problems
        self.severity = severity
        self.lenient = lenient
        """True if everything is a warning, because nothing in the file has an effect."""
        self.broken = False
        self.effect = f"; {effect}" if effect else ""
        """The consequence of rejecting the file."""
        self.reported: set[str] = set()
        """Unknown keys that were reported already: one warning per key and file."""
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

    def join_key(self, key: str) -> str:
        """Return the dotted key of a key of this section."""
        return f"{self.path}.{key}" if self.path else key

    def find_location(self, key: str = "") -> Location:
        """Return the place of a key, or of the section."""
        return Origin(self.context.file, self.start.line, self.context.positions).locate(self.join_key(key) if key else self.path)

    @property
    def start(self) -> Location:
        """Return the place of the file's root key."""
        positions = self.context.positions
        return positions[""] if "" in positions else Location(self.context.file, 1)

    def make_origin(self) -> Origin:
        """Return the origin of the object that this section, the root of its file, describes."""
        return Origin(self.context.file, self.start.line, self.context.positions)

    def report_error(self, key: str, message: str) -> None:
        """Report a wrong value that has an effect."""
        self.context.problems.append(Problem(self.find_location(key), "warning" if self.context.lenient else "error", message))

    def report_warning(self, key: str, message: str) -> None:
        """Report something suspicious."""
        self.context.problems.append(Problem(self.find_location(key), "warning", message))

    def refuse_file(self, key: str, message: str) -> None:
        """Report something that makes Starlake reject the whole file."""
        self.context.broken = True
        skips = self.context.severity == "warning" and not self.context.lenient
        self.context.problems.append(
            Problem(self.find_location(key), self.context.severity, message + self.context.effect, skips_file=skips)
        )

    def _refuse_value(self, key: str, expected: str) -> None:
        value = self.data[key]
        shown = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
        self.refuse_file(key, f"{self.join_key(key)}: expected {expected}, found {shown}")

    def _accept_text(self, key: str, expected: str) -> None:
        """Report a string that is accepted here but not by Starlake's JSON schema: ``"true"`` for a boolean. Starlake: starlake.json."""
        message = (
            f"{self.join_key(key)}: expected {expected}, found the string {self.data[key]!r}, for which Starlake refuses the file: "
            "write it without quotes"
        )
        self.context.problems.append(Problem(self.find_location(key), "warning", message, refused=not self.context.lenient))

    def get_text(self, key: str) -> str | None:
        """Return a scalar as Starlake's string; None if it is absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is str:
            return value
        text = format_scalar(value)
        if text is None:
            self._refuse_value(key, "a string")
        return text

    def get_name(self, key: str) -> str | None:
        """Return a string; None if it is absent, empty, or blank."""
        value = self.get_text(key)
        return value if value and value.strip() else None

    def get_boolean(self, key: str) -> bool | None:
        """Return true or false; None if it is absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is bool:
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            self._accept_text(key, "true or false")
            return value.lower() == "true"
        if value != "":
            self._refuse_value(key, "true or false")
        return None

    def get_integer(self, key: str) -> int | None:
        """Return a whole number; None if it is absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is int:
            return value
        if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 20:
            self._accept_text(key, "a whole number")
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        self._refuse_value(key, "a whole number")
        return None

    def get_texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; empty if it is absent."""
        value = self.data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self._refuse_value(key, "a list")
            single = format_scalar(value)
            return (single,) if single else ()
        found = []
        for index, item in enumerate(value):
            text = format_scalar(item)
            if text is None and item is not None:
                self.refuse_file(
                    f"{key}[{index}]",
                    f"{self.join_key(key)}[{index}]: expected a string, found {'a mapping' if isinstance(item, dict) else 'a list'}",
                )
            elif text is not None:
                found.append(text)
        return tuple(found)

    def get_mapping(self, key: str) -> Mapping[str, str]:
        """Return a mapping of strings; empty if it is absent. A null value is an empty string (Starlake: Nulls.AS_EMPTY)."""
        value = self.data.get(key)
        if value is None:
            return EMPTY
        if not isinstance(value, dict):
            self._refuse_value(key, "a mapping")
            return EMPTY
        found = {}
        for name, item in value.items():
            text = "" if item is None else format_scalar(item)
            if text is None:
                self.refuse_file(
                    f"{key}.{name}",
                    f"{self.join_key(key)}.{name}: expected a string, found {'a mapping' if isinstance(item, dict) else 'a list'}",
                )
            else:
                found[name] = text
        return FrozenDict(found) if found else EMPTY

    def get_section(self, key: str) -> "Section | None":
        """Return a mapping as a section; None if it is absent or null."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._refuse_value(key, "a mapping")
            return None
        return Section(self.context, value, self.join_key(key))

    def get_sections(self, key: str, example: str = "") -> list["Section"]:
        """Return a list of mappings as sections; empty if it is absent or null. An error about another item shows the example."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self._refuse_value(key, "a list")
            return []
        found = []
        path = self.join_key(key)
        wanted = f"a mapping ('{example}')" if example else "a mapping"
        for index, item in enumerate(value):
            if isinstance(item, dict):
                found.append(Section(self.context, item, f"{path}[{index}]"))
            elif item is not None:
                shown = "a list" if isinstance(item, list) else repr(item)
                self.refuse_file(f"{key}[{index}]", f"{path}[{index}]: expected {wanted}, found {shown}")
        return found

    def get_choice(self, key: str, known: Collection[str], what: str, convert: Callable[[str], str] = str.upper) -> str | None:
        """Return a string that must be one of ``known`` after ``convert``. Report an unknown one, but return it."""
        value = self.get_name(key)
        if value is None:
            return None
        value = convert(value.strip())
        if value not in known:
            hint = suggest_name(value, known) or f" (known: {', '.join(sorted(known))})"
            self.report_error(key, f"unknown {what} '{self.data[key]}'{hint}")
        return value

    def warn_about_unknown_keys(self, known: Collection[str], where: str, legacy: Collection[str] = ()) -> list[str]:
        """Warn about keys that Starlake's strict schema refuses, once per key and file; return them."""
        unknown = [key for key in self.data if key not in known]
        for key in unknown:
            if key in self.context.reported or key in legacy:
                continue
            self.context.reported.add(key)
            self.report_warning(
                key, f"unknown key '{key}' in {where}{suggest_name(key, known)}; it is ignored here, and Starlake rejects the file"
            )
        return unknown

    def require_keys(self, keys: Sequence[str], where: str) -> bool:
        """Report missing keys; return whether all are present."""
        missing = [key for key in keys if key not in self]
        for key in missing:
            near = [name for name in self.data if suggest_name(name, (key,))]
            hint = f"; '{near[0]}' is unknown: did you mean that?" if near else ""
            self.refuse_file(key, f"{where} needs '{key}', which is missing{hint}")
        return not missing


def format_scalar(value: Any) -> str | None:
    """Return a scalar as Jackson converts it to a string; None for null, lists, and mappings."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return None
