"""A folder of files that hold what was worked out before; never wrong, never an error.

A file that was cut short, changed, written by somebody else or by another version is as good as none. Files are replaced as a whole, so that any
number of processes may write at once; where nothing can be written, nothing is kept.
"""

import gc
import importlib
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import InvalidSetting

OFF = "off"
VARIABLE = "SL_DAGSTER_CACHE"
"""Environment variable with the folder, or ``off``."""

_PACKAGE = __package__ or ""
_MAGIC = b"starlake-dagster-components cache 1\n"
_CHECKSUM = 32
_SUFFIX = ".plan"
_DAYS_UNUSED = 30
_PARTS = ("errors.py", "cache.py", "project", "pipelines")
_LIBRARIES = ("sqlglot", "jinja2", "PyYAML")
_PLAIN = frozenset(("datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta", "datetime.timezone"))
_OWN = (f"{_PACKAGE}.errors", f"{_PACKAGE}.project.", f"{_PACKAGE}.pipelines.")


class Cache:
    """Entries by name in one folder.

    Attributes:
        folder: where they are; made when the first one is kept.
        readable: whether everybody may read what is kept, as in an image whose processes run as another user than its build; else its
            owner only.
    """

    def __init__(self, folder: str | os.PathLike[str], *, readable: bool = False) -> None:
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        self.readable = readable

    def path(self, name: str) -> Path:
        """Return the file of an entry."""
        return self.folder / f"{name}{_SUFFIX}"

    def get(self, name: str) -> memoryview | None:
        """Return an entry as it was kept; None where there is none, or none to be trusted."""
        try:
            with open(self.path(name), "rb") as file:
                if not _is_ours(os.fstat(file.fileno())):
                    return None
                found = memoryview(file.read())
        except OSError:
            return None
        start = len(_MAGIC) + _CHECKSUM
        if found[: len(_MAGIC)] != _MAGIC or found[len(_MAGIC) : start] != _checksum(found[start:]):
            return None
        return found[start:]

    def put(self, name: str, body: bytes) -> Path:
        """Keep an entry and return its file. Entries that nobody used for a month go.

        Raises:
            OSError: it cannot be written.
        """
        self.folder.mkdir(mode=0o755 if self.readable else 0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=self.folder)
        try:
            with open(handle, "wb") as file:
                file.write(_MAGIC + _checksum(body) + body)
            if self.readable:
                os.chmod(temporary, 0o644)
            os.replace(temporary, self.path(name))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self._forget_unused()
        return self.path(name)

    def used(self, name: str) -> None:
        """Note that an entry was of use, once a day."""
        with suppress(OSError):
            if time.time() - self.path(name).stat().st_mtime > 86_400:
                os.utime(self.path(name))

    def _forget_unused(self) -> None:
        limit = time.time() - _DAYS_UNUSED * 86_400
        with suppress(OSError):
            for entry in list(os.scandir(self.folder)):
                if entry.name.endswith((_SUFFIX, ".tmp")) and entry.stat().st_mtime < limit:
                    with suppress(OSError):
                        os.unlink(entry.path)


def cache_of(setting: str | os.PathLike[str] | None, environ: Mapping[str, str], *, readable: bool = False) -> Cache | None:
    """Return the cache that a setting means.

    Args:
        setting: a folder, ``off``, or None: what ``SL_DAGSTER_CACHE`` says, else a folder of the user's.
        environ: process environment.
        readable: whether everybody may read what is kept.

    Raises:
        InvalidSetting: the folder is a file.
    """
    chosen = os.fspath(setting) if setting else environ.get(VARIABLE, "").strip()
    if chosen.lower() == OFF:
        return None
    if chosen and os.path.isfile(os.path.expanduser(chosen)):
        raise InvalidSetting(f"cache: {chosen} is a file (expected a folder, or {OFF})")
    return Cache(chosen or _folder_of_user(environ), readable=readable)


def _folder_of_user(environ: Mapping[str, str]) -> str:
    own = environ.get("XDG_CACHE_HOME", "") or (environ.get("LOCALAPPDATA", "") if os.name == "nt" else "")
    return os.path.join(own if os.path.isabs(own) else os.path.join("~", ".cache"), "starlake-dagster-components")


def name_of(*parts: object) -> str:
    """Return the name of an entry for all that it is about; other versions of this package and of what it reads with have other names."""
    text = "\0".join(map(repr, (*parts, _versions())))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def _versions() -> tuple[str, ...]:
    libraries = []
    for library in _LIBRARIES:
        try:
            libraries.append(version(library))
        except PackageNotFoundError:
            libraries.append("")
    return (sys.version, *libraries, _source_checksum())


def _source_checksum() -> str:
    """Return a checksum of the code that reads and plans: while this package is developed its version says little."""
    here = Path(__file__).parent
    seen = blake2b(digest_size=16)
    for part in _PARTS:
        for path in sorted((here / part).glob("*.py")) if not part.endswith(".py") else [here / part]:
            with suppress(OSError):
                seen.update(path.read_bytes())
    return seen.hexdigest()


def dumps(value: object) -> bytes:
    """Return a value as bytes."""
    return pickle.dumps(value, protocol=5)


def loads(body: memoryview) -> Any:
    """Return the value of bytes; data only: of classes, those of this package's model, paths and times.

    Raises:
        Exception: the bytes are no such value.
    """
    with without_gc():
        return _Loader(_Reader(body)).load()


class _Reader:
    """A file of bytes that are in memory already; ``io.BytesIO`` would copy them."""

    __slots__ = ("_body", "_place")

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        end = len(self._body) if size < 0 else self._place + size
        found = bytes(self._body[self._place : end])
        self._place += len(found)
        return found

    def readinto(self, buffer: bytearray) -> int:
        found = self._body[self._place : self._place + len(buffer)]
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def readline(self) -> bytes:
        end = bytes(self._body[self._place : self._place + 200]).find(b"\n") + 1
        return self.read(end or 200)


class _Loader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        own = module.startswith(_OWN) and "." not in name
        path = name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath") and module.partition(".")[0] == "pathlib"
        if own or path or f"{module}.{name}" in _PLAIN:
            found = getattr(importlib.import_module(module), name)
            # Functions of our modules are none of the data's business.
            if isinstance(found, (type, Mapping)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not expected here")


@contextmanager
def without_gc() -> Iterator[None]:
    """Keep the garbage collector from going through what is being made and kept: it would do so many times, and find nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _checksum(body: bytes | memoryview) -> bytes:
    return blake2b(body, digest_size=_CHECKSUM).digest()


def _is_ours(status: os.stat_result) -> bool:
    """Tell whether nobody but this user and the administrator can have written a file."""
    if os.name == "nt":
        return True
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
