"""Replace secrets in text."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .forms import list_forms
from .patterns import HIDDEN as HIDDEN
from .patterns import hide_patterns
from .values import find_secrets

_WORD_LENGTH = 12
"""Shorter secrets that consist only of letters, or only of digits, are hidden only as whole words, because file names may contain them."""


class Mask:
    """Replaces secrets in text with ``***``.

    It hides the values of variables with secret names, in all forms in which they may be written, and everything that looks like a secret,
    regardless of its name (see ``patterns``).

    Args:
        sources: variables or other data, see :func:`~starlake_dagster_components.masking.values.find_secrets`.
        secrets: additional secrets.
    """

    __slots__ = ("_forms", "_pattern")

    def __init__(self, *sources: Mapping[str, Any], secrets: Iterable[str] = ()) -> None:
        found = {*secrets, *find_secrets(sources)}
        # A shorter form may be part of a longer one.
        forms = {form for secret in found for form in list_forms(secret)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._pattern = re.compile("|".join(map(_build_pattern, self._forms)))

    def __call__(self, text: str) -> str:
        """Return the text with its secrets masked."""
        # Searching for plain substrings first is several times faster than the pattern, and most lines contain no secret.
        if any(form in text for form in self._forms):
            text = self._pattern.sub(HIDDEN, text)
        return hide_patterns(text)


def _build_pattern(form: str) -> str:
    escaped = re.escape(form)
    return rf"(?<![A-Za-z0-9_]){escaped}(?![A-Za-z0-9_])" if is_word(form) else escaped


def is_word(secret: str) -> bool:
    """Return whether a secret is a word or a number, which may have another meaning in a string."""
    return len(secret) < _WORD_LENGTH and (secret.isalpha() or secret.isdigit())
