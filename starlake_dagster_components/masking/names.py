"""Recognize the names of variables, options, and keys whose values are secret."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

_SECRET_NAME = re.compile(
    r"PASS(?:WORD|WD|PHRASE|CODE)|(?:^|_)(?:PASS|PWD|PW|PAT|SALT|SIGNATURE|SIG|DSN)(?:_|$)|SECRET|TOKEN|CREDENTIAL|"
    r"(?:^|_|API|ACCESS|PRIVATE|SECRET|ENCRYPTION|SAS|ACCOUNT)KEYS?(?:_|$)|CONNECTION_?STRING|AUTHORIZATION"
)
_NO_SECRET_NAME = re.compile(
    r"^(?:OLD)?PWD$|"
    r"(?:PRIMARY|FOREIGN|PARTITION|CLUSTER|CLUSTERING|SORT|UNIQUE|ASSET|MERGE|UPSERT|JOIN|BUSINESS|NATURAL|SURROGATE|PUBLIC)_?KEYS?$|"
    r"_(?:FILE|PATH|DIR|HOME|URI|ENDPOINT)$"
)
_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a variable with this name usually contains a secret (``DB_PASSWORD``, ``apiKey``,
    ``spark.hadoop.fs.s3a.secret.key``).
    """
    words = _WORD_BORDER.sub("_", name).upper()
    return _SECRET_NAME.search(words) is not None and _NO_SECRET_NAME.search(words) is None


def matches_name(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches one of the patterns of the ``secrets`` setting (``*_PIN``), in any case."""
    folded = name.casefold()
    return any(fnmatchcase(folded, pattern.casefold()) for pattern in patterns)
