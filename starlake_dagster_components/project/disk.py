"""Access the file system while a project is read and planned. All lookups go through here, so that they can be recorded and repeated.

A cached plan is valid as long as each lookup has the same result as before (see :mod:`starlake_dagster_components.cache`).
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

T = TypeVar("T")
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
        digest = _compute_digest(result)
        if self.seen.setdefault((kind, path), digest) != digest:
            self.consistent = False


_lookups: ContextVar[Lookups | None] = ContextVar("_lookups", default=None)


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
        if (known.get(lookup) or _compute_digest(_repeat_lookup(*lookup))) != digest:
            return lookup[1]
    return None


def _look_up(kind: str, path: str, find: Callable[[str], T]) -> T:
    """Return the result of a lookup, and record it."""
    lookups = _lookups.get()
    try:
        found = find(path)
    except OSError as error:
        if lookups is not None:
            lookups.record(kind, path, _encode_failure(error))
        raise
    if lookups is not None:
        lookups.record(kind, path, _LOOKUPS[kind][1](found))
    return found


def _repeat_lookup(kind: str, path: str) -> bytes:
    find, encode = _LOOKUPS[kind]
    try:
        return encode(find(path))
    except OSError as error:
        return _encode_failure(error)
    except ValueError:
        return b""


def read_bytes(path: str | Path, limit: int = MAX_FILE_SIZE) -> bytes:
    """Return the bytes of a regular file that is not larger than the limit.

    Raises:
        OSError: the file cannot be read, is too large, or is not a regular file (a pipe would block; a device never ends).
    """
    found = _look_up("content", str(path), lambda name: _read_regular_file(name, limit))
    lookups = _lookups.get()
    if lookups is not None and (b"{{" in found or b"{%" in found or b"${" in found):
        lookups.words.update(find_words(found))
    return found


def _read_regular_file(path: str, limit: int = MAX_FILE_SIZE) -> bytes:
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        parts = []
        size = 0
        while part := file.read(min(limit + 1 - size, _READ_AT_ONCE)):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise OSError(errno.EOVERFLOW, f"it is larger than {limit // 1_000_000} MB")
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
        link: the target as written if it is a link, else empty.
        failure: the reason why it cannot be accessed (for example, a link to itself); empty if it can be.
    """

    name: str
    path: str
    kind: EntryKind
    link: str
    failure: str


def list_entries(folder: str | Path) -> list[Entry]:
    """Return a folder's entries, sorted by name, without hidden ones; none if it is missing. Raise OSError if it cannot be read."""
    return _look_up("folder", str(folder), _scan_folder)


def find_kind(path: str | Path) -> Literal["", "file", "folder"]:
    """Return the kind of a path, following links; ``""`` if it does not exist.

    A path that cannot be accessed is a ``file``, so that the attempt to read it reports the reason.
    """
    return _look_up("kind", str(path), _find_kind)


def resolve_links(path: str | Path) -> str:
    """Return a path with all links resolved."""
    return _look_up("real", str(path), os.path.realpath)


def is_below(real: str, folders: Iterable[str | Path]) -> bool:
    """Return whether a path without links is one of the folders, whose links are resolved, or below one of them."""
    return any(real == found or real.startswith(os.path.join(found, "")) for found in map(resolve_links, folders))


def find_files(base: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match a pattern, sorted by path. Raise ValueError if the pattern is not a glob."""
    return _look_up("glob", f"{base}\0{pattern}", _glob_files)


def _scan_folder(folder: str) -> list[Entry]:
    try:
        with os.scandir(folder) as found:
            return sorted(_describe_entry(entry) for entry in found if entry.name[:1] != ".")
    except FileNotFoundError:
        return []


def _describe_entry(entry: os.DirEntry[str]) -> Entry:
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
    return Entry(entry.name, entry.path, kind, link, failure)


def _encode_entries(found: list[Entry]) -> bytes:
    return os.fsencode("\0".join(f"{name}\0{kind}\0{link}\0{failure}" for name, _, kind, link, failure in found))


def _find_kind(path: str) -> Literal["", "file", "folder"]:
    try:
        return "folder" if stat.S_ISDIR(os.stat(path).st_mode) else "file"
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "file" if os.path.islink(path) else ""
    except OSError:
        return "file"


def _glob_files(base_and_pattern: str) -> list[Path]:
    base, _, pattern = base_and_pattern.partition("\0")
    try:
        return sorted(p for p in Path(base).glob(pattern) if p.is_file())
    except (NotImplementedError, IndexError) as error:
        raise ValueError(str(error)) from error


def _encode_failure(error: OSError) -> bytes:
    return f"!{error.errno}".encode()


def _compute_digest(result: bytes) -> bytes:
    return blake2b(result, digest_size=16).digest()


_LOOKUPS: Mapping[str, tuple[Callable[[str], Any], Callable[[Any], bytes]]] = {
    "content": (_read_regular_file, lambda content: b"=" + content),
    "folder": (_scan_folder, _encode_entries),
    "kind": (_find_kind, str.encode),
    "real": (os.path.realpath, os.fsencode),
    "glob": (_glob_files, lambda paths: b"\0".join(map(os.fsencode, paths))),
}
"""Kind of a lookup -> the function that makes it, and the one that encodes its result, so that results can be compared."""
