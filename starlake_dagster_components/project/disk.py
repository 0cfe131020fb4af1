"""Access to the file system while a project is read and planned: every lookup goes through here, so that all can be recorded and repeated.

A cached plan is valid as long as each lookup gives the result that it gave then (see :mod:`starlake_dagster_components.cache`).
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple

Lookup = tuple[str, str]
"""A lookup: ``content``, ``folder``, ``kind``, ``real`` or ``glob``, and the path."""

_WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*|\$\{\s*([^\s{}$]+)\s*\}|\{\{\s*([^\s{}]+)\s*\}\}")


@dataclass(slots=True)
class Lookups:
    """All lookups in the file system, and their results.

    Attributes:
        seen: lookup -> digest of its result.
        words: words of the files that hold placeholders or Jinja: no other variable can have had an effect.
        steady: False when two equal lookups had different results.
    """

    seen: dict[Lookup, bytes] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    steady: bool = True

    def note(self, kind: str, path: str, result: bytes) -> None:
        """Record a lookup."""
        digest = _digest(result)
        if self.seen.setdefault((kind, path), digest) != digest:
            self.steady = False


_lookups: ContextVar[Lookups | None] = ContextVar("_looks", default=None)


@contextmanager
def record_lookups() -> Iterator[Lookups]:
    """Record all lookups in the file system within a ``with`` block; an outer block does not see those of an inner one."""
    lookups = Lookups()
    token = _lookups.set(lookups)
    try:
        yield lookups
    finally:
        _lookups.reset(token)


def find_change(seen: Mapping[Lookup, bytes], known: Mapping[Lookup, bytes]) -> str | None:
    """Lookup again; return the first path that does not show what it showed, or None.

    Args:
        seen: the lookups to repeat.
        known: lookups that were made just now and need not be repeated.
    """
    for look, digest in seen.items():
        now = known.get(look)
        if now is None:
            kind, path = look
            now = _digest(_AGAIN[kind](path))
        if now != digest:
            return look[1]
    return None


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    lookups = _lookups.get()
    if lookups is None:
        with open(path, "rb") as file:
            return file.read()
    try:
        with open(path, "rb") as file:
            found = file.read()
    except OSError as error:
        lookups.note("content", str(path), _encode_failure(error))
        raise
    lookups.note("content", str(path), b"=" + found)
    if b"{{" in found or b"{%" in found or b"${" in found:
        lookups.words.update(find_words(found))
    return found


def find_words(text: bytes) -> Iterator[str]:
    """Yield every word of a text that may be the name of a variable."""
    for match in _WORD.finditer(text):
        word: bytes = match.group(1) or match.group(2) or match.group()
        yield word.decode("utf-8", "replace")


class Entry(NamedTuple):
    """An entry of a folder."""

    name: str
    path: str
    is_folder: bool


def list_entries(folder: str | Path) -> list[Entry]:
    """Return what is in a folder, by name, without what begins with a dot; nothing where the folder cannot be read."""
    lookups = _lookups.get()
    found = _scan_folder(str(folder))
    if lookups is not None:
        lookups.note("folder", str(folder), _encode_entries(found))
    return [Entry(name, path, is_folder) for name, path, is_folder, _ in found]


def find_kind(path: str | Path) -> Literal["", "file", "folder"]:
    """Return what is at a path, links followed; ``""`` for nothing."""
    found = _find_kind(str(path))
    lookups = _lookups.get()
    if lookups is not None:
        lookups.note("kind", str(path), found.encode())
    return found


def resolve_links(path: str | Path) -> str:
    """Return a path with its links followed."""
    found = os.path.realpath(path)
    lookups = _lookups.get()
    if lookups is not None:
        lookups.note("real", str(path), os.fsencode(found))
    return found


def find_files(base: Path, pattern: str) -> list[Path]:
    """Return the files that match a glob below a folder, by path.

    Raises:
        ValueError: it is not a glob pattern.
    """
    found = _glob(base, pattern)
    lookups = _lookups.get()
    if lookups is not None:
        lookups.note("glob", f"{base}\0{pattern}", _encode_paths(found))
    return found


def _scan_folder(folder: str) -> list[tuple[str, str, bool, str]]:
    try:
        with os.scandir(folder) as found:
            return sorted((e.name, e.path, e.is_dir(), os.readlink(e.path) if e.is_symlink() else "") for e in found if e.name[:1] != ".")
    except OSError:
        return []


def _encode_entries(found: list[tuple[str, str, bool, str]]) -> bytes:
    return os.fsencode("\0".join(f"{name}\0{'folder' if is_folder else 'file'}\0{link}" for name, _, is_folder, link in found))


def _find_kind(path: str) -> Literal["", "file", "folder"]:
    return "folder" if os.path.isdir(path) else "file" if os.path.exists(path) else ""


def _glob(base: Path, pattern: str) -> list[Path]:
    try:
        return sorted(p for p in base.glob(pattern) if p.is_file())
    except (NotImplementedError, IndexError) as error:
        raise ValueError(str(error)) from error


def _encode_paths(paths: list[Path]) -> bytes:
    return b"\0".join(os.fsencode(p) for p in paths)


def _read_again(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return b"=" + (file.read() or b"")
    except OSError as error:
        return _encode_failure(error)


def _glob_again(look: str) -> bytes:
    base, _, pattern = look.partition("\0")
    try:
        return _encode_paths(_glob(Path(base), pattern))
    except ValueError:
        return b""


def _encode_failure(error: OSError) -> bytes:
    return f"!{error.errno}".encode()


def _digest(result: bytes) -> bytes:
    return blake2b(result, digest_size=16).digest()


_AGAIN: Mapping[str, Callable[[str], bytes]] = {
    "content": _read_again,
    "folder": lambda path: _encode_entries(_scan_folder(path)),
    "kind": lambda path: _find_kind(path).encode(),
    "real": lambda path: os.fsencode(os.path.realpath(path)),
    "glob": _glob_again,
}
