"""Find the secrets in variables, options and other data."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from .names import is_secret_name, matches_name
from .patterns import HIDDEN, find_in_patterns

_NEVER_SECRET = frozenset(("true", "false", "none", "null", "yes", HIDDEN))
_SHORTEST = 4
"""Shorter values occur in too many harmless words to be hidden everywhere."""
_DEEPEST = 20
_PLACEHOLDER = re.compile(r"\s*(?:\{\{[^{}]*\}\}|\$\{[^{}]*\})\s*")


def find_secrets(source: Any, names: Sequence[str] = ()) -> Iterator[str]:
    """Yield the secrets in a mapping, or in an object with fields, including nested ones.

    The secrets are the values of secret names, each line of values with several lines, the secret fields of JSON values, and secrets that
    show in any value (``user:secret@host``, ``password=secret``).

    Args:
        source: a mapping, a sequence, or a pydantic model.
        names: patterns of additional secret names.
    """
    yield from _walk("", source, names, 0)


def _walk(name: str, value: Any, names: Sequence[str], depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    if isinstance(value, (str, int, float)):
        yield from _find_in_scalar(name, str(value), names, depth)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(str(key), item, names, depth + 1)
    elif isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray)):
        for item in value:
            yield from _walk(name, item, names, depth + 1)
    elif hasattr(value, "get_secret_value"):
        yield from _split_value(str(value.get_secret_value()))
    elif hasattr(type(value), "model_fields"):
        yield from _walk(name, {field: getattr(value, field, None) for field in type(value).model_fields}, names, depth + 1)


def _find_in_scalar(name: str, value: str, names: Sequence[str], depth: int) -> Iterator[str]:
    if _PLACEHOLDER.fullmatch(value):
        return
    if is_secret_name(name) or (names and matches_name(name, names)):
        yield from _split_value(value)
    elif "=" in value or "@" in value:
        for found in find_in_patterns(value):
            yield from _split_value(found)
    if value.lstrip()[:1] in ("{", "["):
        try:
            data = json.loads(value)
        except (ValueError, RecursionError):
            return
        yield from _walk(name if isinstance(data, list) else "", data, names, depth + 1)


def _split_value(value: str) -> Iterator[str]:
    # The first and last lines of keys are the same for all keys.
    for part in {value.strip(), *(line.strip() for line in value.splitlines() if not line.startswith("-----"))}:
        if len(part) >= _SHORTEST and part.lower() not in _NEVER_SECRET and not _PLACEHOLDER.fullmatch(part):
            yield part
