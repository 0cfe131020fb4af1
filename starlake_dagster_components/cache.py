"""A cache of computed values in a folder, with one file per entry.

A truncated or modified file, or one written by another user or version, counts as missing. Files are replaced atomically, so several
processes can write at the same time.
"""

import io
import os
import pickle
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import InvalidSetting
from .garbage_collection import pause_garbage_collection
from .trusted_files import mark_used, read_trusted, write_whole

OFF = "off"
VARIABLE = "SL_DAGSTER_CACHE"
"""Environment variable with the cache folder, or ``off``."""

_MAGIC = b"starlake-dagster-components cache 2\n"
_CHECKSUM = 32
_SUFFIX = ".plan"
_DAYS_UNUSED = 30
_PARTS = ("errors.py", "cache.py", "project/**/*.py", "pipelines/**/*.py", "lineage/*.py")
_LIBRARIES = ("sqlglot", "jinja2", "PyYAML")


class Cache:
    """The entries in a folder.

    Attributes:
        folder: the folder; created when the first entry is written.
        readable: whether all users may read the entries, as in an image that runs as another user than the one that built it; otherwise
            only the owner may.
    """

    def __init__(self, folder: str | os.PathLike[str], *, readable: bool = False) -> None:
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        self.readable = readable

    def get_path(self, name: str) -> Path:
        """Return the path of an entry's file."""
        return self.folder / f"{name}{_SUFFIX}"

    def get(self, name: str) -> memoryview | None:
        """Return the content of an entry; None if it is missing, damaged, or not trusted."""
        content = read_trusted(self.get_path(name), longest=-1, follow_links=True)
        if content is None:
            return None
        found = memoryview(content)
        start = len(_MAGIC) + _CHECKSUM
        if found[: len(_MAGIC)] != _MAGIC or found[len(_MAGIC) : start] != _compute_checksum(found[start:]):
            return None
        mark_used(self.get_path(name))
        return found[start:]

    def put(self, name: str, body: bytes) -> Path:
        """Store an entry, and return its file. Entries that have not been used for 30 days are removed.

        Raises:
            OSError: the file cannot be written.
        """
        write_whole(self.get_path(name), _MAGIC + _compute_checksum(body) + body, readable=self.readable)
        self._remove_unused()
        return self.get_path(name)

    def _remove_unused(self) -> None:
        limit = time.time() - _DAYS_UNUSED * 86_400
        with suppress(OSError):
            for entry in list(os.scandir(self.folder)):
                with suppress(OSError):
                    if entry.name.endswith((_SUFFIX, ".tmp")) and entry.stat(follow_symlinks=False).st_mtime < limit:
                        os.unlink(entry.path)


def open_cache(setting: str | os.PathLike[str] | None, environ: Mapping[str, str], *, readable: bool = False) -> Cache | None:
    """Return the cache, or None if it is off.

    Args:
        setting: a folder, or ``off``; None = the value of ``SL_DAGSTER_CACHE``, or else the user's cache folder.
        environ: the process environment.
        readable: whether all users may read the entries.

    Raises:
        InvalidSetting: the path is a file.
    """
    chosen = os.fspath(setting) if setting else environ.get(VARIABLE, "").strip()
    if chosen.lower() == OFF:
        return None
    if os.path.isfile(os.path.expanduser(chosen)):
        raise InvalidSetting(f"cache: {chosen} is a file (expected a folder, or {OFF})")
    own = environ.get("XDG_CACHE_HOME", "") or (environ.get("LOCALAPPDATA", "") if os.name == "nt" else "")
    folder = chosen or os.path.join(own if os.path.isabs(own) else os.path.join("~", ".cache"), "starlake-dagster-components")
    return Cache(folder, readable=readable)


def build_entry_name(*parts: object) -> str:
    """Return the name of the cache entry for the given values and for the versions of this package and its libraries."""
    text = "\0".join(map(repr, (*parts, _describe_versions())))
    return blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def _describe_versions() -> tuple[str, ...]:
    versions = [sys.version]
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            versions.append(f"{library} {version(library)}")
    return (*versions, _compute_source_checksum())


def _compute_source_checksum() -> str:
    """Return a checksum of the code that computes entries, because the version does not change with every edit during development."""
    checksum = blake2b()
    for part in _PARTS:
        for path in sorted(Path(__file__).parent.glob(part)):
            with suppress(OSError):
                checksum.update(path.read_bytes())
    return checksum.hexdigest()


def serialize(value: object) -> bytes:
    """Return a value as bytes, for :func:`deserialize`."""
    return pickle.dumps(value, protocol=5)


def deserialize(body: memoryview | bytes, allowed: Mapping[tuple[str, str], Any]) -> Any:
    """Return the value that :func:`serialize` converted to bytes.

    Args:
        body: the bytes.
        allowed: (module, name) -> class or constant that the bytes may refer to. Nothing else is imported or called.

    Raises:
        Exception: the bytes are invalid. The unpickler raises exceptions of many types.
    """
    with pause_garbage_collection():
        return _Loader(body, allowed).load()


class _Loader(pickle.Unpickler):
    def __init__(self, body: memoryview | bytes, allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(io.BytesIO(body))
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected here") from None


def _compute_checksum(body: bytes | memoryview) -> bytes:
    return blake2b(body, digest_size=_CHECKSUM).digest()
