"""Access the file system while a project is read and planned. All lookups go through here, so that they can be recorded and repeated.

A cached plan is valid as long as each lookup has the same result as before (see :mod:`starlake_dagster_components.cache`).
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple

Lookup = tuple[str, str]
"""(kind, path) of a lookup. The kind is ``content``, ``folder``, ``kind``, ``real``, or ``glob``."""

MAX_FILE_SIZE = 64_000_000
"""Size of the largest file that is read, in bytes."""
_READ_AT_ONCE = 1_000_000
_WORD = re.compile(rb"([A-Za-z_][A-Za-z_0-9]*)|\$\{\s*([^\s{}$]+)\s*\}|\{\{\s*([^\s{}]+)\s*\}\}")


@dataclass(slots=True)
class Lookups:
    """The recorded lookups in the file system, and their results.

    Attributes:
        seen: lookup -> digest of its result.
        words: all words of the files that contain placeholders or Jinja. No variable with another name can have an effect.
        consistent: False if the same lookup had different results.
    """

    seen: dict[Lookup, bytes] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    consistent: bool = True

    def record(self, kind: str, path: str, result: bytes) -> None:
        """Record a lookup."""
        digest = _digest(result)
        if self.seen.setdefault((kind, path), digest) != digest:
            self.consistent = False


_lookups: ContextVar[Lookups | None] = ContextVar("_lookups", default=None)


def _record(kind: str, path: str, result: bytes) -> None:
    lookups = _lookups.get()
    if lookups is not None:
        lookups.record(kind, path, result)


@contextmanager
def record_lookups() -> Iterator[Lookups]:
    """Record the lookups in the file system within a ``with`` block. Those of an inner block are not recorded in the outer one."""
    lookups = Lookups()
    token = _lookups.set(lookups)
    try:
        yield lookups
    finally:
        _lookups.reset(token)


def find_change(seen: Mapping[Lookup, bytes], known: Mapping[Lookup, bytes]) -> str | None:
    """Repeat lookups; return the first path whose result has changed, or None.

    ``seen`` has the digests of the earlier results. ``known`` lookups were made just now and are not repeated.
    """
    for lookup, digest in seen.items():
        kind, path = lookup
        now = known.get(lookup) or _digest(_REPEAT[kind](path))
        if now != digest:
            return path
    return None


def read_bytes(path: str | Path, limit: int = MAX_FILE_SIZE) -> bytes:
    """Return the bytes of a regular file that is not larger than the limit.

    Raises:
        OSError: the file cannot be read, is too large, or is not a regular file (a pipe would block; a device never ends).
    """
    lookups = _lookups.get()
    if lookups is None:
        return _read_regular_file(path, limit)
    try:
        found = _read_regular_file(path, limit)
    except OSError as error:
        lookups.record("content", str(path), _encode_failure(error))
        raise
    lookups.record("content", str(path), b"=" + found)
    if b"{{" in found or b"{%" in found or b"${" in found:
        lookups.words.update(find_words(found))
    return found


def _read_regular_file(path: str | Path, limit: int) -> bytes:
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        parts = []
        size = 0
        while part := file.read(min(limit + 1 - size, _READ_AT_ONCE)):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise OSError(errno.EFBIG, f"it is larger than {limit // 1_000_000} MB")
        return parts[0] if len(parts) == 1 else b"".join(parts)


def find_words(text: bytes) -> Iterator[str]:
    """Yield every word that may be the name of a variable, once."""
    for words in set(_WORD.findall(text)):
        yield b"".join(words).decode("utf-8", "replace")


EntryKind = Literal["folder", "file", "other"]


class Entry(NamedTuple):
    """An entry of a folder.

    Attributes:
        kind: the kind after following links; ``other`` for pipes, devices, and the like.
        is_link: whether it is a link.
        failure: the reason why it cannot be accessed (for example, a link to itself); empty if it can be.
    """

    name: str
    path: str
    kind: EntryKind
    is_link: bool
    failure: str


def list_entries(folder: str | Path) -> list[Entry]:
    """Return a folder's entries, sorted by name, without hidden ones. A missing folder has no entries.

    Raises:
        OSError: the folder exists and cannot be read.
    """
    try:
        found = _scan_folder(str(folder))
    except OSError as error:
        _record("folder", str(folder), _encode_failure(error))
        raise
    _record("folder", str(folder), _encode_entries(found))
    return [Entry(name, path, kind, link != "", failure) for name, path, kind, link, failure in found]


def find_kind(path: str | Path) -> Literal["", "file", "folder"]:
    """Return the kind of a path, following links; ``""`` if it does not exist.

    A path that cannot be accessed is a ``file``, so that the attempt to read it reports the reason.
    """
    found = _find_kind(str(path))
    _record("kind", str(path), found.encode())
    return found


def resolve_links(path: str | Path) -> str:
    """Return a path with all links resolved."""
    found = os.path.realpath(path)
    _record("real", str(path), os.fsencode(found))
    return found


def find_files(base: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match a glob, sorted by path.

    Raises:
        ValueError: the pattern is not a glob.
    """
    found = _glob(base, pattern)
    _record("glob", f"{base}\0{pattern}", _encode_paths(found))
    return found


def _scan_folder(folder: str) -> list[tuple[str, str, EntryKind, str, str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(_describe_entry(entry) for entry in found if entry.name[:1] != ".")
    except FileNotFoundError:
        return []


def _describe_entry(entry: os.DirEntry[str]) -> tuple[str, str, EntryKind, str, str]:
    link = failure = ""
    kind: EntryKind = "file"
    try:
        if entry.is_symlink():
            link = os.readlink(entry.path)
        kind = "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
        if kind == "other" and link and not os.path.exists(entry.path):
            kind, failure = "file", f"is a link to {link}, which does not exist"
    except OSError as error:
        failure = f"cannot be read: {error.strerror or error}"
    return entry.name, entry.path, kind, link, failure


def _scan_again(path: str) -> bytes:
    try:
        return _encode_entries(_scan_folder(path))
    except OSError as error:
        return _encode_failure(error)


def _encode_entries(found: list[tuple[str, str, EntryKind, str, str]]) -> bytes:
    return os.fsencode("\0".join(f"{name}\0{kind}\0{link}\0{failure}" for name, _, kind, link, failure in found))


def _find_kind(path: str) -> Literal["", "file", "folder"]:
    try:
        return "folder" if stat.S_ISDIR(os.stat(path).st_mode) else "file"
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "file" if os.path.islink(path) else ""
    except OSError:
        return "file"


def _glob(base: Path, pattern: str) -> list[Path]:
    try:
        return sorted(p for p in base.glob(pattern) if p.is_file())
    except (NotImplementedError, IndexError) as error:
        raise ValueError(str(error)) from error


def _encode_paths(paths: list[Path]) -> bytes:
    return b"\0".join(os.fsencode(p) for p in paths)


def _read_again(path: str) -> bytes:
    try:
        return b"=" + _read_regular_file(path, MAX_FILE_SIZE)
    except OSError as error:
        return _encode_failure(error)


def _glob_again(path: str) -> bytes:
    base, _, pattern = path.partition("\0")
    try:
        return _encode_paths(_glob(Path(base), pattern))
    except ValueError:
        return b""


def _encode_failure(error: OSError) -> bytes:
    return f"!{error.errno}".encode()


def _digest(result: bytes) -> bytes:
    return blake2b(result, digest_size=16).digest()


_REPEAT: Mapping[str, Callable[[str], bytes]] = {
    "content": _read_again,
    "folder": _scan_again,
    "kind": lambda path: _find_kind(path).encode(),
    "real": lambda path: os.fsencode(os.path.realpath(path)),
    "glob": _glob_again,
}
