"""Find the secrets in variables, options, and other data."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from .names import is_secret_name, matches_name
from .patterns import find_in_patterns

_SHORTEST = 4
"""Shorter values occur in too many harmless words to be hidden everywhere."""
_NEVER_SECRET = frozenset(("true", "false", "none", "null"))
_DEEPEST = 20
_PLACEHOLDER = re.compile(r"\s*(?:\{\{[^{}]*\}\}|\$\{[^{}]*\})\s*")


def find_secrets(sources: Iterable[Any], names: Sequence[str] = ()) -> set[str]:
    """Return the secrets in mappings, sequences, or pydantic models, including nested ones.

    The secrets are the values of secret names, each line of values with several lines, the secret fields of JSON values, and secrets that
    show in any value (``user:secret@host``, ``password=secret``). ``names`` are patterns of additional secret names.
    """
    search = _Search(names)
    for source in sources:
        search.visit("", source, 0)
    return search.found


class _Search:
    """Collects the secrets of values. A value that occurs again with the same name, as options of jobs do, is examined once."""

    __slots__ = ("_names", "_seen", "found")

    def __init__(self, names: Sequence[str]) -> None:
        self.found: set[str] = set()
        self._names = names
        self._seen: set[tuple[str, str]] = set()

    def visit(self, name: str, value: Any, depth: int) -> None:
        """Collect the secrets of a value that has a name."""
        if depth > _DEEPEST:
            return
        if isinstance(value, (str, int, float)):
            self._visit_scalar(name, str(value), depth)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                if item.__class__ is not str or (key, item) not in self._seen:
                    self.visit(str(key), item, depth + 1)
        elif isinstance(value, (Sequence, Set)):
            for item in value:
                self.visit(name, item, depth + 1)
        elif hasattr(value, "get_secret_value"):
            self.found.update(_split_value(str(value.get_secret_value())))
        elif hasattr(type(value), "model_fields"):
            self.visit(name, {field: getattr(value, field, None) for field in type(value).model_fields}, depth + 1)

    def _visit_scalar(self, name: str, value: str, depth: int) -> None:
        if (name, value) in self._seen:
            return
        self._seen.add((name, value))
        if is_secret_name(name) or matches_name(name, self._names):
            self.found.update(_split_value(value))
        elif "=" in value or "@" in value:
            for found in find_in_patterns(value):
                self.found.update(_split_value(found))
        if value.lstrip()[:1] in ("{", "["):
            try:
                data = json.loads(value)
            except (ValueError, RecursionError):
                return
            self.visit(name if isinstance(data, list) else "", data, depth + 1)


def _split_value(value: str) -> Iterator[str]:
    # The first and last lines of keys are the same for all keys.
    for part in {value.strip(), *(line.strip() for line in value.splitlines() if not line.startswith("-----"))}:
        if len(part) >= _SHORTEST and part.lower() not in _NEVER_SECRET and not _PLACEHOLDER.fullmatch(part):
            yield part
