"""Run a program, and leave none of its processes behind."""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from ... import locks
from ...errors import CommandCanceled, CommandError, CommandTimeout
from ..starlake_output.process_output import Stream

Feed = Callable[[Stream, bytes], None]

_CHUNK = 1 << 16
_POLL = 0.25
"""Seconds between two checks for cancellation and the time limit. Output and the end of the program are noticed immediately."""
_SETTLE = 1.0
"""Seconds for processes that outlive the program to finish writing."""
_LAST_RESORT = 10.0
"""Seconds to wait for processes after SIGKILL. Only a process that is stuck in the kernel takes longer, and nothing can end it."""


def run_process(
    argv: Sequence[str],
    *,
    folder: str,
    environment: Mapping[str, str],
    feed: Feed,
    canceled: threading.Event,
    timeout: float | None = None,
    grace: float = 20.0,
    report: Callable[[str], None] = lambda text: None,
) -> int:
    """Run a program to its end, in a new session, and pass on its output as it arrives.

    When this function returns or raises any exception, no process of the program's process group is running: they get SIGTERM, and after
    the grace period SIGKILL. This includes processes that outlive the program, but not those that have moved to another session (daemons).

    Args:
        argv: the program (a path) and its arguments.
        folder: its working directory.
        environment: its complete environment.
        feed: receives the output.
        canceled: ends the program when set.
        timeout: the time limit in seconds; None = no limit.
        grace: seconds between SIGTERM and SIGKILL.
        report: receives messages about signals to the processes.

    Returns:
        The exit code; ``128 + n`` if signal n ended the program.

    Raises:
        CommandCanceled: ``canceled`` was set.
        CommandTimeout: it ran longer than ``timeout``.
        CommandError: it could not be started.
    """
    process = _start_process(argv, folder, environment)
    ended = False
    try:
        with _Pipes(process, feed) as pipes:
            try:
                _follow_process(process, pipes, canceled, timeout)
            finally:
                pipes.ending = True
                _end_process(process, pipes, grace, report)
                ended = True
    finally:
        if not ended:  # Interrupted again while the program was being ended.
            _signal_group(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_RESORT)
    code = process.returncode
    if code is None:
        raise CommandError(f"process {process.pid} of the command cannot be ended")
    return 128 - code if code < 0 else code


def find_signal_name(exit_code: int) -> str | None:
    """Return the name of the signal that an exit code above 128 stands for."""
    with contextlib.suppress(ValueError):
        return signal.Signals(exit_code - 128).name if exit_code > 128 else None
    return None


def _start_process(argv: Sequence[str], folder: str, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=locks.list_inherited_descriptors(),
            bufsize=0,
        )
    except FileNotFoundError as error:
        if not Path(folder).is_dir():
            raise CommandError(f"the project's folder {folder} does not exist", retry=False) from error
        raise CommandError(
            f"cannot start {argv[0]}: the file, or the interpreter in its first line, does not exist", retry=False
        ) from error
    except PermissionError as error:
        raise CommandError(f"cannot start {argv[0]}: not executable for this user ({error.strerror})", retry=False) from error
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot start {argv[0]}: {error}") from error


class _Pipes:
    """The output of a process, which is read without blocking."""

    def __init__(self, process: "subprocess.Popen[bytes]", feed: Feed) -> None:
        self._process = process
        self._feed = feed
        self._selector = selectors.DefaultSelector()
        self._end_of_process: int | None = None
        self.ending = False
        """True if the process is being ended. Then output that cannot be passed on is dropped."""

    def __enter__(self) -> "_Pipes":
        streams: list[tuple[IO[bytes] | None, Stream]] = [(self._process.stdout, "out"), (self._process.stderr, "err")]
        for pipe, stream in streams:
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, stream)
        # With a pidfd (Linux), the end of the program ends the wait even if its children keep the pipes open.
        with contextlib.suppress(AttributeError, OSError):
            self._end_of_process = os.pidfd_open(self._process.pid)
            self._selector.register(self._end_of_process, selectors.EVENT_READ, None)
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        if self._end_of_process is not None:
            os.close(self._end_of_process)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    @property
    def open(self) -> bool:
        """True while a process has the pipes open."""
        return any(key.data is not None for key in self._selector.get_map().values())

    def read(self, seconds: float) -> bool:
        """Pass on the output that arrives within ``seconds``; return whether there was any."""
        if not self._selector.get_map():
            time.sleep(min(seconds, 0.05))
            return False
        some = False
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._selector.unregister(key.fileobj)
                continue
            try:
                data = os.read(key.fd, _CHUNK)
            except BlockingIOError:
                continue
            if data:
                some = True
                self._pass_on_output(key.data, data)
            else:
                self._selector.unregister(key.fileobj)
        return some

    def _pass_on_output(self, stream: Stream, data: bytes) -> None:
        try:
            self._feed(stream, data)
        except Exception:
            if not self.ending:
                raise
            self._feed = lambda stream, data: None


def _follow_process(process: "subprocess.Popen[bytes]", pipes: _Pipes, canceled: threading.Event, timeout: float | None) -> None:
    end = None if timeout is None else time.monotonic() + timeout
    while process.poll() is None:
        if canceled.is_set():
            raise CommandCanceled("the run was canceled; the Starlake process was ended")
        rest = _POLL if end is None else end - time.monotonic()
        if rest <= 0:
            raise CommandTimeout(f"the command ran longer than {timeout:g} seconds and was ended (setting 'timeout' of the executor)")
        pipes.read(min(_POLL, rest))


def _end_process(process: "subprocess.Popen[bytes]", pipes: _Pipes, grace: float, report: Callable[[str], None]) -> None:
    """End the remaining processes of the program's group, and pass on the last output."""
    by_itself = process.poll() is not None
    if by_itself:
        _wait_until(lambda: not pipes.open, _SETTLE, pipes.read)

    def has_group_ended() -> bool:
        return process.poll() is not None and not is_group_alive(process.pid)

    if not has_group_ended():
        if by_itself:
            report(f"the program ended and left processes behind (group {process.pid}), which are ended too")
        end_group(process.pid, grace, report, lambda seconds: _wait_until(has_group_ended, seconds, pipes.read))
    # Pass on the output so far. A process that has escaped may keep the pipes open and continue to write.
    end = time.monotonic() + _SETTLE
    while pipes.read(0) and time.monotonic() < end:
        pass


def _wait_until(condition: Callable[[], bool], seconds: float, wait: Callable[[float], object] = time.sleep) -> bool:
    """Wait up to ``seconds`` until a condition is met, and return whether it is. ``wait`` is called with each pause."""
    end = time.monotonic() + seconds
    pause = 0.01
    while not condition():
        rest = end - time.monotonic()
        if rest <= 0:
            return False
        wait(min(pause, rest))
        pause = min(pause * 1.5, 0.1)
    return True


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def is_group_alive(group: int) -> bool:
    """Return whether any process of a process group is running; zombies do not count."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    states = list(_read_states(group))
    return any(state not in "ZX" for state in states) if states else not Path("/proc/self/stat").exists()


def end_group(group: int, grace: float, report: Callable[[str], None], wait: Callable[[float], bool] | None = None) -> None:
    """End the processes of a group: with SIGTERM, and after the grace period with SIGKILL.

    Args:
        group: the process group.
        grace: seconds between SIGTERM and SIGKILL.
        report: receives messages about processes that do not end.
        wait: waits up to some seconds for the end of the group, and returns whether it has ended. By default, the group is polled.
    """
    wait = wait or partial(_wait_until, lambda: not is_group_alive(group))
    _signal_group(group, signal.SIGTERM)
    if wait(grace):
        return
    report(f"processes of the command (group {group}) are still running {grace:g} s after SIGTERM, so they get SIGKILL")
    _signal_group(group, signal.SIGKILL)
    if not wait(_LAST_RESORT):
        report(f"processes of the command (group {group}) cannot be ended, not even by SIGKILL")


def _read_states(group: int) -> Iterator[str]:
    """Yield the states of the processes of a group on systems with /proc (Linux)."""
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    # pid (name) state parent group ...; the name may contain any character.
                    state, _, of = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()[:3]
                    if int(of) == group:
                        yield state.decode()


def has_ended(pid: int) -> bool:
    """Return whether another process's child has ended. Only Linux knows this before the parent has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        with contextlib.suppress(PermissionError):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
        return False
