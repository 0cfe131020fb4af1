"""Read typed values from the mappings of a YAML file, and report those that do not match Starlake's schema."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from ..errors import Location, Problem, ProblemList, Severity, suggest_name
from .model import EMPTY, FrozenDict, Origin
from .schema_shapes import find_keys
from .yaml_source import Positions, join_key

C = TypeVar("C", list[Any], dict[str, Any])
T = TypeVar("T")
_NEAR_NAMES = 100
"""Keys of a mapping that are compared with a missing one, to find a misspelled key."""


@dataclass(slots=True)
class Context:
    """The state that all sections of one file share.

    Attributes:
        file: name of the file.
        positions: the locations of its keys.
        problems: the list that problems are added to.
        severity: the severity of a value of the wrong type: ``error`` if Starlake stops, ``warning`` if it skips the file.
        lenient: True if all problems are warnings, because nothing in the file has an effect.
        effect: the consequence of a rejected file, for messages.
        blocks: keys of block scalars, whose text begins on the line after the key.
        broken: True if a value has the wrong type, so that Starlake rejects the file.
        reported: unknown keys that were reported already. There is one warning per key and file.
    """

    file: str
    positions: Positions
    problems: ProblemList
    severity: Severity
    lenient: bool = False
    effect: str = ""
    blocks: Collection[str] = ()
    broken: bool = False
    reported: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Section:
    """A mapping in a YAML file, and its dotted key in the file, which is empty for the content of the root key."""

    context: Context
    data: Mapping[str, Any]
    path: str = ""

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
        positions = self.context.positions
        return Origin(self.context.file, self.find_location().line, positions.select_below(self.path) if self.path else positions)

    def report_error(self, key: str, message: str) -> None:
        """Report a wrong value: an error, or a warning if the file has no effect."""
        self.context.problems.append(Problem(self.find_location(key), "warning" if self.context.lenient else "error", message))

    def report_warning(self, key: str, message: str) -> None:
        """Report a suspicious value."""
        self.context.problems.append(Problem(self.find_location(key), "warning", message))

    def reject_file(self, key: str, message: str) -> None:
        """Report a value because of which Starlake rejects the whole file."""
        self.context.broken = True
        severity, effect = self.context.severity, self.context.effect
        full = f"{message}; {effect}" if effect else message
        skips = severity == "warning" and not self.context.lenient
        self.context.problems.append(Problem(self.find_location(key), severity, full, skips_file=skips))

    @property
    def is_full(self) -> bool:
        """True if further problems of the file are no longer recorded, because there are too many."""
        return self.context.problems.is_full(self.context.file)

    def suggest_name(self, name: str, known: Iterable[str]) -> str:
        """Return a hint at the known name closest to ``name``, unless the file has too many problems for that."""
        return "" if self.is_full else suggest_name(name, known)

    def _reject_value(self, key: str, value: Any, expected: str) -> None:
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
            self._reject_value(key, value, "a string")
        return text

    def get_name(self, key: str) -> str | None:
        """Return a string; None if it is absent, empty, or blank."""
        value = self.get_string(key)
        return value if value and value.strip() else None

    def parse_name(self, key: str, parse: Callable[[str], T], what: str) -> T | None:
        """Return a parsed string; None if it is absent, empty, blank, or invalid. ``what`` and the ValueError of ``parse`` are reported."""
        text = self.get_name(key)
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            self.report_error(key, f"{what}{error}")
            return None

    def get_boolean(self, key: str) -> bool | None:
        """Return true or false; None if it is absent or null."""
        value = self.data.get(key)
        if value is None or value.__class__ is bool:
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            self._accept_string(key, "true or false")
            return value.lower() == "true"
        if value != "":
            self._reject_value(key, value, "true or false")
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
        self._reject_value(key, value, "a whole number")
        return None

    def get_strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; empty if it is absent or null."""
        value = self.data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self._reject_value(key, value, "a list")
            single = format_scalar(value)
            return (single,) if single else ()
        found = []
        for index, item in enumerate(value):
            text = format_scalar(item)
            if text is None and item is not None:
                self._reject_value(f"{key}[{index}]", item, "a string")
            elif text is not None:
                found.append(text)
        return tuple(found)

    def _get_collection(self, key: str, kind: type[C], expected: str) -> C | None:
        """Return a list or mapping; None if it is absent, null, or of the wrong type, which is reported."""
        value = self.data.get(key)
        if value is None or isinstance(value, kind):
            return value
        self._reject_value(key, value, expected)
        return None

    def get_mapping(self, key: str) -> Mapping[str, str]:
        """Return a mapping of strings; empty if it is absent. A null value is an empty string (Starlake: Nulls.AS_EMPTY)."""
        found = {}
        for name, item in (self._get_collection(key, dict, "a mapping") or {}).items():
            text = "" if item is None else format_scalar(item)
            if text is None:
                self._reject_value(f"{key}.{name}", item, "a string")
            else:
                found[name] = text
        return FrozenDict(found) if found else EMPTY

    def get_section(self, key: str, kind: str = "", where: str = "") -> "Section | None":
        """Return a mapping as a section; None if it is absent or null.

        ``kind`` is the kind of the object in Starlake's schema. If it is given, unknown keys are reported, and ``where`` is its name in
        the messages (by default, the key).
        """
        value = self._get_collection(key, dict, "a mapping")
        if value is None:
            return None
        section = Section(self.context, value, self.join_key(key))
        if kind:
            section.warn_about_unknown_keys(find_keys(kind), where or key)
        return section

    def get_sections(self, key: str, kind: str, where: str, example: str = "") -> list["Section"]:
        """Return a list of mappings as sections, as :meth:`get_section` does; empty if it is absent or null.

        The message about an item that is not a mapping shows an example.
        """
        found = []
        path = self.join_key(key)
        for index, item in enumerate(self._get_collection(key, list, "a list") or ()):
            if isinstance(item, dict):
                found.append(Section(self.context, item, f"{path}[{index}]"))
                found[-1].warn_about_unknown_keys(find_keys(kind), where)
            elif item is not None:
                self._reject_value(f"{key}[{index}]", item, f"a mapping ('{example}')" if example else "a mapping")
        return found

    def get_choice(self, key: str, known: Collection[str], what: str, convert: Callable[[str], str] = str.upper) -> str | None:
        """Return a converted string; None if it is absent, empty, or blank. An unknown value is reported, but still returned.

        ``known`` has the valid values, after conversion, and ``what`` names the kind of value in the message.
        """
        value = self.get_name(key)
        if value is None:
            return None
        value = convert(value.strip())
        if value not in known:
            hint = self.suggest_name(value, known) or f" (known: {', '.join(sorted(known))})"
            self.report_error(key, f"unknown {what} '{self.data[key]}'{hint}")
        return value

    def warn_about_unknown_keys(self, known: frozenset[str], where: str) -> None:
        """Warn about keys that Starlake's schema does not allow, once per key and file. ``where`` names the kind of section."""
        if known.issuperset(self.data):
            return
        for key in self.data:
            if key in known or key in self.context.reported or self.is_full:
                continue
            self.context.reported.add(key)
            self.report_warning(
                key, f"unknown key '{key}' in {where}{self.suggest_name(key, known)}; it is ignored here, and Starlake rejects the file"
            )

    def require_keys(self, keys: Sequence[str], where: str) -> bool:
        """Report missing keys; return whether all are present."""
        missing = [key for key in keys if key not in self]
        for key in missing:
            near = [name for name in islice(self.data, _NEAR_NAMES) if suggest_name(name, (key,))]
            hint = f"; is it misspelled as '{near[0]}'?" if near else ""
            self.reject_file(key, f"{where} needs '{key}', which is missing{hint}")
        return not missing


def write_key(field_name: str) -> str:
    """Return the YAML key of a field: ``writeStrategy`` for ``write_strategy``."""
    first, *others = field_name.split("_")
    return first + "".join(map(str.capitalize, others))


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
