"""The secrets that this process knows: of projects, their connections, DAG options and executors, and of its own environment.

Objects that contain secrets are registered when they are read, which takes no time. They are searched when the first text is masked.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from .mask import Mask, is_word
from .values import find_secrets

_sources: dict[tuple[str, str], tuple[Any, ...]] = {}
_names: dict[str, tuple[str, ...]] = {}
_cached: list[frozenset[str]] = []


def register_secrets(owner: str, kind: str, *sources: Any) -> None:
    """Register objects that contain secrets, in place of those registered before.

    Args:
        owner: whose they are: the folder of a project.
        kind: which of the owner's.
        sources: mappings or objects with fields, searched later.
    """
    _sources[owner, kind] = sources
    _cached.clear()


def register_secret_names(owner: str, names: Iterable[str]) -> None:
    """Note the names that the setting ``secrets`` of a project lists, besides those that are always secret."""
    _names[owner] = tuple(names)
    _cached.clear()


def forget_secrets() -> None:
    """Forget all registered objects."""
    _sources.clear()
    _names.clear()
    _cached.clear()


def list_known_secrets() -> frozenset[str]:
    """Return all secrets that are known."""
    if not _cached:
        names = _list_names()
        # Copied at once: other threads may note more meanwhile.
        sources = [source for group in list(_sources.values()) for source in group]
        _cached.append(frozenset(secret for source in (os.environ, *sources) for secret in find_secrets(source, names)))
    return next(iter(_cached), frozenset())


def build_mask(*sources: Mapping[str, Any]) -> Mask:
    """Return what hides all known secrets and those of more data."""
    names = _list_names()
    more = {secret for source in sources for secret in find_secrets(source, names)}
    return _make_mask(list_known_secrets() | more)


def mask_text(text: str) -> str:
    """Return a string without the secrets that are known."""
    return _make_mask(list_known_secrets())(text)


def mask_data(data: Any) -> Any:
    """Return mappings, lists and strings without the secrets that are known; other values as they are."""
    mask = _make_mask(list_known_secrets())

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return mask(value)
        if isinstance(value, Mapping):
            return {hide(key): hide(item) for key, item in value.items()}
        # Not tuples with names: Dagster's records are some.
        if type(value) in (list, tuple):
            return type(value)(hide(item) for item in value)
        return value

    return hide(data)


def holds_secrets(body: bytes) -> bool:
    """Return whether bytes hold a known secret; a plain word does not count, as it may well stand there for something else."""
    return any(secret.encode("utf-8", "surrogateescape") in body for secret in list_known_secrets() if not is_word(secret))


def _list_names() -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in list(_names.values()) for name in names))


@lru_cache(maxsize=16)
def _make_mask(secrets: frozenset[str]) -> Mask:
    return Mask(secrets=secrets)


class MaskingFilter(logging.Filter):
    """Hides secrets in what a logger is given."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide them, and let every record pass."""
        message = record.getMessage()
        hidden = mask_text(message)
        if hidden != message:
            record.msg, record.args = hidden, ()
        return True


LOG_FILTER = MaskingFilter()
logging.getLogger("starlake_dagster_components").addFilter(LOG_FILTER)
