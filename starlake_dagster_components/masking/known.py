"""Collect the secrets that this process knows: those of projects, their connections, DAG options, and executors, and of the environment.

Objects that contain secrets are registered when they are read, which takes no time. They are searched when the first text is masked.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from .forms import encode_secret
from .mask import Mask, is_word
from .values import find_secrets

_sources: dict[tuple[str, str], tuple[Any, ...]] = {}
_names: dict[str, tuple[str, ...]] = {}
_revision = object()
"""Replaced whenever something is registered."""


def register_secrets(owner: str, kind: str, *sources: Any) -> None:
    """Register objects that contain secrets. They replace those that were registered before for the same owner and kind.

    Args:
        owner: the owner of the secrets: the folder of a project.
        kind: distinguishes several registrations of the owner.
        sources: mappings or objects with fields, which are searched later.
    """
    _sources[owner, kind] = sources
    _replace_revision()


def register_secret_names(owner: str, names: Iterable[str]) -> None:
    """Register the names in the ``secrets`` setting of a project, in addition to those that are always secret."""
    _names[owner] = tuple(names)
    _replace_revision()


def forget_secrets() -> None:
    """Forget all registered objects."""
    _sources.clear()
    _names.clear()
    _replace_revision()


def _replace_revision() -> None:
    global _revision
    _revision = object()


def list_known_secrets() -> frozenset[str]:
    """Return all known secrets."""
    return _collect_secrets(_revision)


@lru_cache(maxsize=1)
def _collect_secrets(_of_revision: object) -> frozenset[str]:
    """Search all registered objects, once for each revision: what another thread registers during a search begins another revision."""
    # Copied first, because other threads may register more in the meantime.
    sources = [source for group in list(_sources.values()) for source in group]
    return frozenset(find_secrets((os.environ, *sources), _list_names()))


def build_mask(*sources: Mapping[str, Any]) -> Mask:
    """Return the mask that hides all known secrets and those in additional data."""
    return _build_mask(list_known_secrets() | find_secrets(sources, _list_names()))


def mask_text(text: str) -> str:
    """Return a string with the known secrets masked."""
    return _build_mask(list_known_secrets())(text)


def mask_data(data: Any) -> Any:
    """Return mappings, lists, and strings with the known secrets masked. Other values are unchanged."""
    mask = _build_mask(list_known_secrets())

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return mask(value)
        if isinstance(value, Mapping):
            return {hide(key): hide(item) for key, item in value.items()}
        # Not named tuples, because some of Dagster's records are named tuples.
        if type(value) in (list, tuple):
            return type(value)(hide(item) for item in value)
        return value

    return hide(data)


def holds_secrets(body: bytes) -> bool:
    """Return whether bytes contain a known secret. Plain words do not count, because they may have another meaning there."""
    return any(encode_secret(secret) in body for secret in list_known_secrets() if not is_word(secret))


def _list_names() -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in list(_names.values()) for name in names))


@lru_cache(maxsize=16)
def _build_mask(secrets: frozenset[str]) -> Mask:
    return Mask(secrets=secrets)


class MaskingFilter(logging.Filter):
    """Hides secrets in log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask a record, and return True to keep it."""
        message = record.getMessage()
        hidden = mask_text(message)
        if hidden != message:
            record.msg, record.args = hidden, ()
        return True


LOG_FILTER = MaskingFilter()
logging.getLogger("starlake_dagster_components").addFilter(LOG_FILTER)
