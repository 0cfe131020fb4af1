"""Locks between processes: commands that write the same DuckDB file wait for each other, and files of a running load are left alone.

A lock is a file in the temporary folder (see ``lock_folders``), locked with ``flock``. Child processes inherit the lock, so if the worker
dies (SIGKILL, out of memory), the lock is held until its command has ended.
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
from pathlib import Path
from typing import Any, Literal, TypeVar

from .errors import CommandCanceled, CommandError, CommandTimeout
from .lock_folders import choose_lock_folder, remove_abandoned_locks

INHERITED_LOCKS = "STARLAKE_DAGSTER_LOCKS"
"""Environment variable with the file names of the locks that a process has inherited."""

Taken = TypeVar("Taken")
LockLog = Callable[[Literal["info"], str], None]

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25
_LONGEST_NOTE = 65_536


class _LocksOfThread(threading.local):
    """The locks that one thread holds, so that it never waits for itself: file name -> descriptor."""

    def __init__(self) -> None:
        self.locks: dict[str, int] = {}


_own = _LocksOfThread()
_ONCE = "step"
"""Kind of the locks that are used only once."""


@contextlib.contextmanager
def lock_database(
    path: str | os.PathLike[str],
    *,
    canceled: threading.Event | None = None,
    log: LockLog | None = None,
    holder: str = "",
    seconds: float | None = None,
) -> Iterator[None]:
    """Wait for the lock of a DuckDB file, and hold it during the ``with`` block.

    The file need not exist, and paths that lead to the same file share a lock. See :func:`hold_lock` for arguments and exceptions.
    """
    real = os.path.realpath(path)
    with hold_lock(f"database {real}", beside=os.path.dirname(real), canceled=canceled, log=log, holder=holder, seconds=seconds):
        yield


@contextlib.contextmanager
def lock_databases(
    paths: Iterable[str], *, canceled: threading.Event | None = None, log: LockLog | None = None, holder: str = ""
) -> Iterator[None]:
    """Lock several DuckDB files, always in the same order, so that two commands cannot deadlock. See :func:`lock_database`."""
    with contextlib.ExitStack() as stack:
        for path in sorted({os.path.realpath(p) for p in paths}):
            stack.enter_context(lock_database(path, canceled=canceled, log=log, holder=holder))
        yield


@contextlib.contextmanager
def hold_lock(
    name: str,
    *,
    beside: str | os.PathLike[str] | None = None,
    canceled: threading.Event | None = None,
    log: LockLog | None = None,
    holder: str = "",
    single_use: bool = False,
    seconds: float | None = None,
) -> Iterator[None]:
    """Wait for the lock ``name``, and hold it during the ``with`` block.

    The lock is reentrant within a thread, and for the processes that the thread starts.

    Args:
        name: a kind, a space, and any text, such as ``step a of run b``.
        beside: the folder of the data that the lock protects; None = only this user writes the data.
        canceled: event that ends the wait.
        log: receives a message if the lock is not free.
        holder: description of the holder, shown to those who wait for it.
        single_use: whether to remove the lock's file afterward, for names that are used only once.
        seconds: maximum time to wait; None = no limit. A lock that is free is taken however late this process gets to it.

    Raises:
        CommandCanceled: ``canceled`` was set while waiting.
        CommandTimeout: the time is over.
        CommandError: the lock file cannot be created.
    """
    key = _build_file_name(name)
    if _is_own(key):
        yield
        return
    path = choose_lock_folder(beside) / key
    if single_use:
        remove_abandoned_locks(path.parent, f"{_ONCE}-*.lock", _take_file)
    waiting = _Waiting(name, path, canceled, log, seconds)
    gate = _gates.setdefault(key, threading.Lock())
    # Threads of this process wait for each other without polling. Only locks of other processes are polled.
    waiting.wait_until(lambda pause: gate.acquire(timeout=pause))
    try:
        descriptor = waiting.wait_until(lambda pause: _try_lock(path), sleep=True)
        try:
            _own.locks[key] = descriptor
            _write_note(descriptor, {"name": name, "pid": os.getpid(), "holder": holder})
            yield
        finally:
            del _own.locks[key]
            if single_use:
                with contextlib.suppress(OSError):
                    path.unlink()
            _release_lock(descriptor)
    finally:
        gate.release()


@contextlib.contextmanager
def try_lock(name: str, *, beside: str | os.PathLike[str] | None = None) -> Iterator[bool]:
    """Hold the lock ``name`` if it is free, and yield whether it was. See :func:`hold_lock`."""
    key = _build_file_name(name)
    gate = _gates.setdefault(key, threading.Lock())
    if _is_own(key) or not gate.acquire(blocking=False):
        yield False
        return
    try:
        with _take_file(choose_lock_folder(beside) / key) as taken:
            yield taken
    finally:
        gate.release()


def is_locked_elsewhere(name: str, *, beside: str | os.PathLike[str] | None = None) -> bool:
    """Return whether another thread or process holds the lock ``name``. See :func:`hold_lock`."""
    key = _build_file_name(name)
    path = choose_lock_folder(beside) / key
    if _is_own(key) or not path.exists():
        return False
    with _take_file(path) as taken:
        return not taken


def find_locks_elsewhere(prefix: str, *, beside: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the sorted names, beginning with a prefix, of the locks that other threads and processes hold."""
    names = []
    for path in choose_lock_folder(beside).glob(f"{_replace_special_characters(prefix.partition(' ')[0])}-*.lock"):
        name = str(_read_note(path).get("name", ""))
        if name.startswith(prefix) and is_locked_elsewhere(name, beside=beside):
            names.append(name)
    return sorted(names)


def _is_own(key: str) -> bool:
    return key in _read_inherited() or key in _own.locks


@contextlib.contextmanager
def _take_file(path: Path) -> Iterator[bool]:
    descriptor = _try_lock(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _release_lock(descriptor)


def list_inherited_descriptors() -> tuple[int, ...]:
    """Return the descriptors that a child process must inherit (``pass_fds``) to share the locks of this thread."""
    return tuple(_own.locks.values())


def build_inherited_environment() -> dict[str, str]:
    """Return the environment variable that a child process needs to share the locks of this thread."""
    keys = [*sorted(_read_inherited()), *_own.locks]
    return {INHERITED_LOCKS: os.pathsep.join(keys)} if keys else {}


def _read_inherited() -> frozenset[str]:
    return frozenset(filter(None, os.environ.get(INHERITED_LOCKS, "").split(os.pathsep)))


_gates: dict[str, threading.Lock] = {}
"""Locks between the threads of this process, by file name."""

if hasattr(os, "register_at_fork"):
    # The threads that held a gate do not exist in the child process.
    os.register_at_fork(after_in_child=_gates.clear)


class _Waiting:
    """A wait for a lock that can be canceled. After a moment, it logs who holds the lock."""

    def __init__(self, name: str, path: Path, canceled: threading.Event | None, log: LockLog | None, seconds: float | None) -> None:
        self._name = name
        self._path = path
        self._canceled = canceled
        self._log = log
        self._end = None if seconds is None else time.monotonic() + seconds
        self._announced = False

    def wait_until(self, take: Callable[[float], Taken | None], *, sleep: bool = False) -> Taken:
        """Call a function until it succeeds, and return its result.

        Args:
            take: function of the number of seconds that it may wait; returns None or False if it did not succeed.
            sleep: whether to sleep between calls, because ``take`` does not wait.

        Raises:
            CommandCanceled: the wait was canceled.
            CommandTimeout: it took too long.
        """
        pause = _SHORTEST_PAUSE
        while True:
            if self._canceled is not None and self._canceled.is_set():
                raise CommandCanceled(f"canceled while waiting for {self._name}")
            # Looked up before the attempt: on a busy machine, this process may get to its first attempt only after the time is up.
            is_over = self._end is not None and time.monotonic() >= self._end
            taken = take(pause)
            # 0 is a valid descriptor.
            if taken is not None and taken is not False:
                return taken
            if is_over:
                raise CommandTimeout(f"waited too long for {self._name}{_describe_holder(_read_note(self._path))}")
            self._announce(pause)
            if sleep and self._canceled is not None:
                self._canceled.wait(pause)
            elif sleep:
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
    """Lock a lock file and return its descriptor; None if another thread or process holds the lock."""
    while True:
        descriptor = _open_locked(path)
        if descriptor is None or _is_same_file(path, descriptor):
            return descriptor
        os.close(descriptor)  # the previous holder removed the file after it was opened here


def _open_locked(path: Path) -> int | None:
    import fcntl

    descriptor = _open_file(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CommandError(f"the lock file {path} is not a regular file")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


_MAX_OPENS = 1000
"""Number of attempts to open a lock file while other processes create and remove it."""


def _open_file(path: Path) -> int:
    """Open a lock file, and create it if it does not exist.

    Raises:
        CommandError: the file cannot be opened.
    """
    problems: list[OSError] = []
    for _ in range(_MAX_OPENS):
        descriptor, problems = _open_or_create(path)
        if descriptor is not None:
            return descriptor
        # The file existed when it was to be created, but not when it was to be opened: another process removed it in between.
        removed = isinstance(problems[-1], FileNotFoundError) and any(isinstance(problem, FileExistsError) for problem in problems)
        if not removed:
            break
    raise CommandError(f"cannot open the lock file {path}: {problems[-1].strerror}") from problems[-1]


def _open_or_create(path: Path) -> tuple[int | None, list[OSError]]:
    """Return the descriptor of a lock file, or the error of each attempt to open it.

    Read access to another user's file is enough to lock it. But Linux rejects O_CREAT for such a file in a folder like /tmp
    (``fs.protected_regular``), so opening and creating are separate attempts.
    """
    # O_NONBLOCK, because opening a named pipe would otherwise wait for a writer.
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    problems: list[OSError] = []
    for mode in (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR, os.O_RDONLY):
        try:
            descriptor = os.open(path, flags | mode, 0o666)
        except OSError as error:
            problems.append(error)
            continue
        if mode & os.O_CREAT:
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, 0o666)
        return descriptor, problems
    return None, problems


def _is_same_file(path: Path, descriptor: int) -> bool:
    """Return whether a path still refers to an open file."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False


def _release_lock(descriptor: int) -> None:
    import fcntl

    # Closing the file is not enough: processes that a command left behind share the open file, and would keep the lock.
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
        # O_NONBLOCK, because opening a named pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            note = json.loads(file.read(_LONGEST_NOTE))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _build_file_name(name: str) -> str:
    kind, _, rest = name.partition(" ")
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{_replace_special_characters(kind)}-{_replace_special_characters(rest.rpartition('/')[2])[:40]}-{digest}.lock"


def _replace_special_characters(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", text)
