"""The file system as reading and planning see it: every look at it goes through here, so that all of them can be noted and repeated.

A cache of what was read is valid as long as each look shows what it showed then (see :mod:`starlake_dagster_components.cache`).
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

Look = tuple[str, str]
"""What was looked at: ``content``, ``folder``, ``kind``, ``real`` or ``glob``, and the path."""

_WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*|\$\{\s*([^\s{}$]+)\s*\}|\{\{\s*([^\s{}]+)\s*\}\}")


@dataclass(slots=True)
class Looks:
    """All looks at the file system, and what they showed.

    Attributes:
        seen: look -> digest of what it showed.
        words: words of the files that hold placeholders or Jinja: no other variable can have had an effect.
        steady: False when something looked at twice was not the same.
    """

    seen: dict[Look, bytes] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    steady: bool = True

    def note(self, kind: str, path: str, shown: bytes) -> None:
        """Note a look."""
        digest = _digest(shown)
        if self.seen.setdefault((kind, path), digest) != digest:
            self.steady = False


_looks: ContextVar[Looks | None] = ContextVar("_looks", default=None)


@contextmanager
def noting() -> Iterator[Looks]:
    """Note all looks at the file system within a ``with`` block; an outer block does not see those of an inner one."""
    looks = Looks()
    token = _looks.set(looks)
    try:
        yield looks
    finally:
        _looks.reset(token)


def first_change(seen: Mapping[Look, bytes], known: Mapping[Look, bytes]) -> str | None:
    """Look again; return the first path that does not show what it showed, or None.

    Args:
        seen: the looks to repeat.
        known: looks that were taken just now and need not be taken again.
    """
    for look, digest in seen.items():
        now = known.get(look)
        if now is None:
            kind, path = look
            now = _digest(_AGAIN[kind](path))
        if now != digest:
            return look[1]
    return None


def content(path: str | Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    looks = _looks.get()
    if looks is None:
        with open(path, "rb") as file:
            return file.read()
    try:
        with open(path, "rb") as file:
            found = file.read()
    except OSError as error:
        looks.note("content", str(path), _failure(error))
        raise
    looks.note("content", str(path), b"=" + found)
    if b"{{" in found or b"{%" in found or b"${" in found:
        looks.words.update(words_of(found))
    return found


def words_of(text: bytes) -> Iterator[str]:
    """Yield every word of a text that may be the name of a variable."""
    for match in _WORD.finditer(text):
        word: bytes = match.group(1) or match.group(2) or match.group()
        yield word.decode("utf-8", "replace")


class Entry(NamedTuple):
    """An entry of a folder."""

    name: str
    path: str
    is_folder: bool


def entries(folder: str | Path) -> list[Entry]:
    """Return what is in a folder, by name, without what begins with a dot; nothing where the folder cannot be read."""
    looks = _looks.get()
    found = _scan(str(folder))
    if looks is not None:
        looks.note("folder", str(folder), _shown(found))
    return [Entry(name, path, is_folder) for name, path, is_folder, _ in found]


def kind(path: str | Path) -> Literal["", "file", "folder"]:
    """Return what is at a path, links followed; ``""`` for nothing."""
    found = _kind(str(path))
    looks = _looks.get()
    if looks is not None:
        looks.note("kind", str(path), found.encode())
    return found


def real(path: str | Path) -> str:
    """Return a path with its links followed."""
    found = os.path.realpath(path)
    looks = _looks.get()
    if looks is not None:
        looks.note("real", str(path), os.fsencode(found))
    return found


def matches(base: Path, pattern: str) -> list[Path]:
    """Return the files that fit a glob below a folder, by path.

    Raises:
        ValueError: it is no glob.
    """
    found = _matches(base, pattern)
    looks = _looks.get()
    if looks is not None:
        looks.note("glob", f"{base}\0{pattern}", _paths(found))
    return found


def _scan(folder: str) -> list[tuple[str, str, bool, str]]:
    try:
        with os.scandir(folder) as found:
            return sorted((e.name, e.path, e.is_dir(), os.readlink(e.path) if e.is_symlink() else "") for e in found if e.name[:1] != ".")
    except OSError:
        return []


def _shown(found: list[tuple[str, str, bool, str]]) -> bytes:
    return os.fsencode("\0".join(f"{name}\0{'folder' if is_folder else 'file'}\0{link}" for name, _, is_folder, link in found))


def _kind(path: str) -> Literal["", "file", "folder"]:
    return "folder" if os.path.isdir(path) else "file" if os.path.exists(path) else ""


def _matches(base: Path, pattern: str) -> list[Path]:
    try:
        return sorted(p for p in base.glob(pattern) if p.is_file())
    except (NotImplementedError, IndexError) as error:
        raise ValueError(str(error)) from error


def _paths(paths: list[Path]) -> bytes:
    return b"\0".join(os.fsencode(p) for p in paths)


def _content_again(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return b"=" + (file.read() or b"")
    except OSError as error:
        return _failure(error)


def _matches_again(look: str) -> bytes:
    base, _, pattern = look.partition("\0")
    try:
        return _paths(_matches(Path(base), pattern))
    except ValueError:
        return b""


def _failure(error: OSError) -> bytes:
    return f"!{error.errno}".encode()


def _digest(shown: bytes) -> bytes:
    return blake2b(shown, digest_size=16).digest()


_AGAIN: Mapping[str, Callable[[str], bytes]] = {
    "content": _content_again,
    "folder": lambda path: _shown(_scan(path)),
    "kind": lambda path: _kind(path).encode(),
    "real": lambda path: os.fsencode(os.path.realpath(path)),
    "glob": _matches_again,
}
