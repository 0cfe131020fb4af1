"""Keep secrets out of logs, error messages and metadata."""

import re
from collections.abc import Iterable, Mapping

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"PASS(?:WORD|WD|PHRASE|CODE)|(?:^|_)(?:PASS|PWD|PW|PAT|SALT|SIGNATURE|DSN)(?:_|$)|SECRET|TOKEN|CREDENTIAL|"
    r"(?:^|_|API|ACCESS|PRIVATE|SECRET|ENCRYPTION|SAS|ACCOUNT)KEYS?(?:_|$)|CONNECTION_?STRING",
    re.IGNORECASE,
)
_NO_SECRET_NAME = re.compile(
    r"^(?:OLD)?PWD$|(?:PRIMARY|FOREIGN|PARTITION|CLUSTER|CLUSTERING|SORT|UNIQUE|MERGE|UPSERT|JOIN|BUSINESS|NATURAL|SURROGATE|PUBLIC)_?KEYS?$",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(?<=://)([^/\s:@'\"]*):([^/\s@'\"]+)@")
_NEVER_SECRET = frozenset(("true", "false", "none", "null", "yes"))
_SHORTEST = 4
"""Shorter values stand in too many harmless words to be hidden everywhere."""


def is_secret_name(name: str) -> bool:
    """Say whether a variable of this name usually holds a secret (``DB_PASSWORD``, ``API_KEY``, ``GITHUB_TOKEN``)."""
    return _SECRET_NAME.search(name) is not None and _NO_SECRET_NAME.search(name) is None


class Mask:
    """Replaces known secrets in texts by ``***``.

    Hidden are the values of variables whose names look secret, each line of a value that has several, and the password of
    ``scheme://user:password@host`` whatever it is called.
    """

    __slots__ = ("_pattern", "_values")

    def __init__(self, *environments: Mapping[str, str]) -> None:
        values = {part for environment in environments for part in find_secrets(environment)}
        self._values = tuple(sorted(values, key=lambda v: (-len(v), v)))
        self._pattern = re.compile("|".join(map(re.escape, self._values))) if self._values else None

    def __call__(self, text: str) -> str:
        """Return the text without its secrets."""
        # Looking for plain substrings first is several times faster than the pattern, and most lines have no secret.
        if self._pattern is not None and any(value in text for value in self._values):
            text = self._pattern.sub(HIDDEN, text)
        if "://" in text and "@" in text:
            text = _USER_INFO.sub(rf"\1:{HIDDEN}@", text)
        return text


def find_secrets(environment: Mapping[str, str]) -> Iterable[str]:
    """Yield the values of variables whose names look secret, and each line of those that have several."""
    for name, value in environment.items():
        if is_secret_name(name):
            for part in {value.strip(), *(line.strip() for line in value.splitlines())}:
                if len(part) >= _SHORTEST and part.lower() not in _NEVER_SECRET:
                    yield part
