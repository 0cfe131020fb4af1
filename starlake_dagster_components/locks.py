"""Lock between processes, so that commands on one DuckDB file wait for each other and the files of a running load are left alone.

A lock is a file in a folder inside the temporary folder (see ``lock_folders``), locked with ``flock``. Processes started by a command
inherit the lock. If the worker dies (SIGKILL, out of memory) while its command lives on, the lock is held until that command has ended.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from .errors import CommandCancelled, CommandError
from .lock_folders import choose_lock_folder, remove_abandoned_locks

INHERITED_LOCKS = "STARLAKE_DAGSTER_LOCKS"
"""Environment variable that tells a process which locks its parent holds for it."""

Taken = TypeVar("Taken")
LockLog = Callable[[Literal["info"], str], None]

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25
_LONGEST_NOTE = 65_536


@dataclass(frozen=True, slots=True)
class _Lock:
    key: str
    descriptor: int


class _LocksOfThread(threading.local):
    """The locks of one thread: a thread never waits for itself."""

    def __init__(self) -> None:
        self.locks: list[_Lock] = []


_own = _LocksOfThread()
_ONCE = "step"
"""Prefix of the names of locks that are used only once."""


@contextlib.contextmanager
def lock_database(
    path: str | os.PathLike[str], *, cancelled: threading.Event | None = None, log: LockLog | None = None, holder: str = ""
) -> Iterator[None]:
    """Hold a lock on a DuckDB file against all other holders, in this process or another; wait until it is free.

    Taking it again in the same thread, or in a process started while holding it, is allowed and does nothing.

    Args:
        path: the database file, which need not exist. Several paths of one file are one lock.
        cancelled: stops waiting when it is set.
        log: receives one line if the lock is not free.
        holder: description of the holder, shown to others while they wait.

    Raises:
        CommandCancelled: ``cancelled`` was set while waiting.
        CommandError: the lock file cannot be created.
    """
    real = os.path.realpath(path)
    with hold_lock(f"database {real}", beside=os.path.dirname(real), cancelled=cancelled, log=log, holder=holder):
        yield


@contextlib.contextmanager
def lock_databases(
    paths: Iterable[str], *, cancelled: threading.Event | None = None, log: LockLog | None = None, holder: str = ""
) -> Iterator[None]:
    """Lock several DuckDB files, always in the same order, so that two commands cannot wait for each other."""
    with contextlib.ExitStack() as stack:
        for path in sorted({os.path.realpath(p) for p in paths}):
            stack.enter_context(lock_database(path, cancelled=cancelled, log=log, holder=holder))
        yield


@contextlib.contextmanager
def hold_lock(
    name: str,
    *,
    beside: str | os.PathLike[str] | None = None,
    cancelled: threading.Event | None = None,
    log: LockLog | None = None,
    holder: str = "",
    passing: bool = False,
) -> Iterator[None]:
    """Hold the lock with any name; see :func:`lock_database`.

    Args:
        name: a kind, a space, and anything: ``step a of run b``.
        beside: the folder of the data that the lock protects; None = no other user is involved.
        cancelled: stops waiting when it is set.
        log: receives one line if the lock is not free.
        holder: description of the holder, shown to others while they wait.
        passing: whether to remove the lock's file afterward, for names that are used only once.
    """
    key = _build_file_name(name)
    if _is_own(key):
        yield
        return
    path = choose_lock_folder(beside) / key
    if passing:
        remove_abandoned_locks(path.parent, f"{_ONCE}-*.lock", _take_file)
    waiting = _Waiting(name, path, cancelled, log)
    gate = _find_gate(key)
    # Threads of this process hand the lock over to each other directly. Only other processes are polled.
    waiting.wait_until(lambda pause: gate.acquire(timeout=pause))
    try:
        descriptor = waiting.wait_until(lambda pause: _try_lock(path), between=True)
        lock = _Lock(key, descriptor)
        try:
            _own.locks.append(lock)
            _write_note(descriptor, {"name": name, "pid": os.getpid(), "holder": holder})
            yield
        finally:
            _own.locks.remove(lock)
            if passing:
                with contextlib.suppress(OSError):
                    path.unlink()
            _release_lock(descriptor)
    finally:
        gate.release()


@contextlib.contextmanager
def try_lock(name: str, *, beside: str | os.PathLike[str] | None = None) -> Iterator[bool]:
    """Hold the lock with a name if it is free; yield whether it was. See :func:`hold_lock`."""
    key = _build_file_name(name)
    gate = _find_gate(key)
    if _is_own(key) or not gate.acquire(blocking=False):
        yield False
        return
    try:
        with _take_file(choose_lock_folder(beside) / key) as taken:
            yield taken
    finally:
        gate.release()


def is_locked_elsewhere(name: str, *, beside: str | os.PathLike[str] | None = None) -> bool:
    """Return whether another thread or process currently holds the lock with a name."""
    key = _build_file_name(name)
    path = choose_lock_folder(beside) / key
    if _is_own(key) or not path.exists():
        return False
    with _take_file(path) as taken:
        return not taken


def find_locks_elsewhere(prefix: str, *, beside: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the names of all locks with a prefix that another thread or process currently holds."""
    names = []
    for path in choose_lock_folder(beside).glob(f"{_simplify(prefix.partition(' ')[0])}-*.lock"):
        name = str(_read_note(path).get("name", ""))
        if name.startswith(prefix) and is_locked_elsewhere(name, beside=beside):
            names.append(name)
    return sorted(names)


def _is_own(key: str) -> bool:
    return key in _read_inherited() or any(lock.key == key for lock in _own.locks)


@contextlib.contextmanager
def _take_file(path: Path) -> Iterator[bool]:
    descriptor = _try_lock(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _release_lock(descriptor)


def list_inherited_descriptors() -> tuple[int, ...]:
    """Return the descriptors that a new process must inherit to keep the locks of this thread (``pass_fds``)."""
    return tuple(lock.descriptor for lock in _own.locks)


def build_inherited_environment() -> dict[str, str]:
    """Return the environment that tells a new process that it has the locks of this thread."""
    keys = [*sorted(_read_inherited()), *(lock.key for lock in _own.locks)]
    return {INHERITED_LOCKS: os.pathsep.join(keys)} if keys else {}


def _read_inherited() -> frozenset[str]:
    return frozenset(filter(None, os.environ.get(INHERITED_LOCKS, "").split(os.pathsep)))


_gates: dict[str, threading.Lock] = {}
_gates_guard = threading.Lock()


def _find_gate(key: str) -> threading.Lock:
    with _gates_guard:
        return _gates.setdefault(key, threading.Lock())


def _forget_gates() -> None:
    """Start over after a fork, because a thread that held a gate does not exist in the child."""
    global _gates_guard
    _gates_guard = threading.Lock()
    _gates.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_gates)


class _Waiting:
    """Waits for something that may be taken; can be canceled, and logs once what it waits for."""

    def __init__(self, name: str, path: Path, cancelled: threading.Event | None, log: LockLog | None) -> None:
        self._name = name
        self._path = path
        self._cancelled = cancelled
        self._log = log
        self._announced = False

    def wait_until(self, take: Callable[[float], Taken | None], *, between: bool = False) -> Taken:
        """Try until the call succeeds.

        Args:
            take: receives the number of seconds that it may wait; returns None or False if it did not succeed.
            between: whether to pause between two tries, because ``take`` does not wait.
        """
        pause = _SHORTEST_PAUSE
        while True:
            if self._cancelled is not None and self._cancelled.is_set():
                raise CommandCancelled(f"canceled while waiting for {self._name}")
            taken = take(pause)
            # 0 is a valid descriptor.
            if taken is not None and taken is not False:
                return taken
            self._announce(pause)
            if between and self._cancelled is not None:
                self._cancelled.wait(pause)
            elif between:
                time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _announce(self, pause: float) -> None:
        if not self._announced and self._log is not None and pause > 4 * _SHORTEST_PAUSE:
            self._log("info", f"waiting for {self._name}{_describe_holder(_read_note(self._path))}")
            self._announced = True


def _describe_holder(note: Mapping[str, Any]) -> str:
    holder = f": {note['holder']}" if note.get("holder") else ""
    return f" (in use by process {note['pid']}{holder})" if note.get("pid") else ""


def _try_lock(path: Path) -> int | None:
    """Return the descriptor of the locked lock file; None if another thread or process holds it."""
    while True:
        descriptor = _open_locked(path)
        if descriptor is None or _leads_to(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last holder removed it after it was opened here


def _open_locked(path: Path) -> int | None:
    import fcntl

    descriptor = _open_file(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CommandError(f"the lock file {path} is not a file")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


_MAX_OPENS = 1000
"""Number of times that a lock's file is reopened if other holders create and remove it at the same time."""


def _open_file(path: Path) -> int:
    """Open a lock's file, creating it if it does not exist.

    Raises:
        CommandError: it cannot be opened.
    """
    problems: list[OSError] = []
    for _ in range(_MAX_OPENS):
        descriptor, problems = _open_or_create(path)
        if descriptor is not None:
            return descriptor
        # It existed when it was to be created and was gone when it was to be opened: another holder has created and removed it in between.
        removed = isinstance(problems[-1], FileNotFoundError) and any(isinstance(problem, FileExistsError) for problem in problems)
        if not removed:
            break
    raise CommandError(f"cannot open the lock file {path}: {problems[-1].strerror}") from problems[-1]


def _open_or_create(path: Path) -> tuple[int | None, list[OSError]]:
    """Return the descriptor of a lock's file, or the reasons why each way of opening it failed.

    Another user's file may be read-only, which is enough to lock it. With O_CREAT, even that is refused in a folder
    like /tmp (Linux: fs.protected_regular).
    """
    # O_NONBLOCK, because a named pipe would wait for a writer.
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    problems: list[OSError] = []
    for way in (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR, os.O_RDONLY):
        try:
            descriptor = os.open(path, flags | way, 0o666)
        except OSError as error:
            problems.append(error)
            continue
        if way & os.O_CREAT:
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, 0o666)
        return descriptor, problems
    return None, problems


def _leads_to(path: Path, descriptor: int) -> bool:
    """Return whether a path still refers to an open file."""
    try:
        there, here = path.stat(follow_symlinks=False), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _release_lock(descriptor: int) -> None:
    import fcntl

    # Unlock explicitly instead of only closing: processes left behind by a command share the open file and would keep the lock.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _write_note(descriptor: int, note: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        if os.fstat(descriptor).st_nlink > 1:
            return  # a hard link to a file that is not a lock
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)


def _read_note(path: Path) -> dict[str, Any]:
    try:
        # O_NONBLOCK, because a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            note = json.loads(file.read(_LONGEST_NOTE))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _build_file_name(name: str) -> str:
    kind, _, rest = name.partition(" ")
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{_simplify(kind)}-{_simplify(rest.rpartition('/')[2])[:40]}-{digest}.lock"


def _simplify(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", text)
