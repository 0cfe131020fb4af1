"""Read typed values from the mappings of a YAML file, and report those that do not match Starlake's schema."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from ..errors import Location, Problem, ProblemList, Severity, suggest_name
from .model import EMPTY, FrozenDict, Origin
from .yaml_source import Positions, join_key

_NEAR_NAMES = 100
"""Keys of a mapping that are compared with a missing one, to find a misspelled key."""


class Context:
    """The state that all sections of one file share.

    Attributes:
        file: name of the file.
        positions: the locations of its keys.
        problems: the list that problems are added to.
        severity: the severity of a value of the wrong type: ``error`` if Starlake stops, ``warning`` if it skips the file.
        broken: True if a value has the wrong type, so that Starlake rejects the file.
        lenient: True if all problems are warnings, because nothing in the file has an effect.
        effect: the consequence of a rejected file, as the end of a message.
        reported: unknown keys that were reported already. There is one warning per key and file.
        blocks: keys of block scalars, whose text begins on the line after the key.
    """

    __slots__ = ("blocks", "broken", "effect", "file", "lenient", "positions", "problems", "reported", "severity")

    def __init__(
        self, file: str, positions: Positions, problems: ProblemList, severity: Severity, *, lenient: bool = False, effect: str = ""
    ) -> None:
        self.file = file
        self.positions = positions
        self.problems = problems
        self.severity = severity
        self.lenient = lenient
        self.broken = False
        self.effect = f"; {effect}" if effect else ""
        self.reported: set[str] = set()
        self.blocks: frozenset[str] = frozenset()


class Section:
    """A mapping in a YAML file.

    Attributes:
        context: the state of the file.
        data: the mapping.
        path: its dotted key in the file; empty for the content of the root key.
    """

    __slots__ = ("context", "data", "path")

    def __init__(self, context: Context, data: Mapping[str, Any], path: str = "") -> None:
        self.context = context
        self.data = data
        self.path = path

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def join_key(self, key: str) -> str:
        """Return the dotted key, in the file, of a key of this section."""
        return join_key(self.path, key)

    def find_location(self, key: str = "") -> Location:
        """Return the location of a key, or of the section."""
        return Origin(self.context.file, self.start.line, self.context.positions).locate(self.join_key(key) if key else self.path)

    @property
    def start(self) -> Location:
        """The location of the file's root key."""
        positions = self.context.positions
        return positions[""] if "" in positions else Location(self.context.file, 1)

    def build_origin(self) -> Origin:
        """Return the origin of the object that the section describes."""
        if not self.path:
            return Origin(self.context.file, self.start.line, self.context.positions)
        return Origin(self.context.file, self.find_location().line, self.context.positions.select_below(self.path))

    def report_error(self, key: str, message: str) -> None:
        """Report a wrong value: an error, or a warning if the file has no effect."""
        self.context.problems.append(Problem(self.find_location(key), "warning" if self.context.lenient else "error", message))

    def report_warning(self, key: str, message: str) -> None:
        """Report a suspicious value."""
        self.context.problems.append(Problem(self.find_location(key), "warning", message))

    def reject_file(self, key: str, message: str) -> None:
        """Report a value because of which Starlake rejects the whole file."""
        self.context.broken = True
        skips = self.context.severity == "warning" and not self.context.lenient
        self.context.problems.append(
            Problem(self.find_location(key), self.context.severity, message + self.context.effect, skips_file=skips)
        )

    @property
    def is_full(self) -> bool:
        """Return whether problems of the file are left out already, because there are so many."""
        return self.context.problems.is_full(self.context.file)

    def suggest_name(self, name: str, known: Iterable[str]) -> str:
        """Return a hint at the known name closest to a name, unless the file has too many problems for that."""
        return "" if self.is_full else suggest_name(name, known)

    def _reject_value(self, key: str, expected: str) -> None:
        self._reject_item(key, self.data[key], expected)

    def _reject_item(self, key: str, value: Any, expected: str) -> None:
        self.reject_file(key, f"{self.join_key(key)}: expected {expected}, found {describe_value(value)}")

    def _accept_string(self, key: str, expected: str) -> None:
        """Warn about a string that is accepted here, but not by Starlake's JSON schema, such as ``"true"`` for a boolean."""
        message = (
            f"{self.join_key(key)}: expected {expected}, found the string {self.data[key]!r}; Starlake rejects the file: "
            "write the value without quotes"
        )
        self.context.problems.append(Problem(self.find_location(key), "warning", message, rejected=not self.context.lenient))

    def get_string(self, key: str) -> str | None:
        """Return a scalar as the string that Starlake reads; None if it is absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is str:
            return value
        text = format_scalar(value)
        if text is None:
            self._reject_value(key, "a string")
        return text

    def get_name(self, key: str) -> str | None:
        """Return a string; None if it is absent, empty, or blank."""
        value = self.get_string(key)
        return value if value and value.strip() else None

    def get_boolean(self, key: str) -> bool | None:
        """Return true or false; None if it is absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is bool:
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            self._accept_string(key, "true or false")
            return value.lower() == "true"
        if value != "":
            self._reject_value(key, "true or false")
        return None

    def get_integer(self, key: str) -> int | None:
        """Return a whole number; None if it is absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is int:
            return value
        if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 20:
            self._accept_string(key, "a whole number")
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        self._reject_value(key, "a whole number")
        return None

    def get_strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; empty if it is absent or null."""
        value = self.data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self._reject_value(key, "a list")
            single = format_scalar(value)
            return (single,) if single else ()
        found = []
        for index, item in enumerate(value):
            text = format_scalar(item)
            if text is None and item is not None:
                self._reject_item(f"{key}[{index}]", item, "a string")
            elif text is not None:
                found.append(text)
        return tuple(found)

    def get_mapping(self, key: str) -> Mapping[str, str]:
        """Return a mapping of strings; empty if it is absent. A null value is an empty string (Starlake: Nulls.AS_EMPTY)."""
        value = self.data.get(key)
        if value is None:
            return EMPTY
        if not isinstance(value, dict):
            self._reject_value(key, "a mapping")
            return EMPTY
        found = {}
        for name, item in value.items():
            text = "" if item is None else format_scalar(item)
            if text is None:
                self._reject_item(f"{key}.{name}", item, "a string")
            else:
                found[name] = text
        return FrozenDict(found) if found else EMPTY

    def get_section(self, key: str) -> "Section | None":
        """Return a mapping as a section; None if it is absent or null."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._reject_value(key, "a mapping")
            return None
        return Section(self.context, value, self.join_key(key))

    def get_sections(self, key: str, example: str = "") -> list["Section"]:
        """Return a list of mappings as sections; empty if it is absent or null.

        Args:
            key: the key of the list.
            example: an item, to be shown in the message about an item that is not a mapping.
        """
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self._reject_value(key, "a list")
            return []
        found = []
        path = self.join_key(key)
        wanted = f"a mapping ('{example}')" if example else "a mapping"
        for index, item in enumerate(value):
            if isinstance(item, dict):
                found.append(Section(self.context, item, f"{path}[{index}]"))
            elif item is not None:
                self._reject_item(f"{key}[{index}]", item, wanted)
        return found

    def get_choice(self, key: str, known: Collection[str], what: str, convert: Callable[[str], str] = str.upper) -> str | None:
        """Return a converted string; None if it is absent, empty, or blank. An unknown value is reported, but still returned.

        Args:
            key: the key of the value.
            known: the valid values, after conversion.
            what: the kind of value, for the message.
            convert: applied to the value.
        """
        value = self.get_name(key)
        if value is None:
            return None
        value = convert(value.strip())
        if value not in known:
            hint = self.suggest_name(value, known) or f" (known: {', '.join(sorted(known))})"
            self.report_error(key, f"unknown {what} '{self.data[key]}'{hint}")
        return value

    def warn_about_unknown_keys(self, known: Collection[str], where: str, legacy: Collection[str] = ()) -> list[str]:
        """Warn about unknown keys, which Starlake's schema does not allow, once per key and file. Return them.

        Args:
            known: the keys of the schema.
            where: the kind of section, for the message.
            legacy: keys that are not reported.
        """
        unknown = [key for key in self.data if key not in known]
        for key in unknown:
            if key in self.context.reported or key in legacy or self.is_full:
                continue
            self.context.reported.add(key)
            self.report_warning(
                key, f"unknown key '{key}' in {where}{self.suggest_name(key, known)}; it is ignored here, and Starlake rejects the file"
            )
        return unknown

    def require_keys(self, keys: Sequence[str], where: str) -> bool:
        """Report missing keys; return whether all are present."""
        missing = [key for key in keys if key not in self]
        for key in missing:
            near = [name for name in islice(self.data, _NEAR_NAMES) if suggest_name(name, (key,))]
            hint = f"; is it misspelled as '{near[0]}'?" if near else ""
            self.reject_file(key, f"{where} needs '{key}', which is missing{hint}")
        return not missing


def describe_value(value: Any) -> str:
    """Return a value of the wrong type as a message shows it."""
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)


def format_scalar(value: Any) -> str | None:
    """Return the string that Jackson makes of a scalar; None for null, lists, and mappings."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return None
