"""Send each line that a step prints to its own log, although all steps share one process.

A process has one standard output, so Dagster's own capture, which redirects file descriptors, can only capture all steps together.
During a run, this module replaces ``sys.stdout`` and ``sys.stderr`` with streams that find the step of the calling thread.
They do not see output that a subprocess writes to an inherited descriptor; it goes to the output of the run's process.
"""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import IO, Any, Literal

from ..full_disk import explain_full_disk

logger = logging.getLogger("starlake_dagster_components")

Stream = Literal["stdout", "stderr"]
_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


MAX_OPEN = 64
"""Number of files that the whole process keeps open between two lines. With hundreds of steps, it would run out of descriptors."""

_open_files = threading.BoundedSemaphore(MAX_OPEN)

MAX_LOG = 50_000_000
"""Number of characters to keep from the beginning of a step's standard output, and of its standard error. Of the rest, the last
:data:`KEPT_END` are kept."""
KEPT_END = 1_000_000


class LogCap:
    """Passes on the beginning of a log (``limit`` characters), and keeps the end of the rest."""

    def __init__(self, write: Callable[[str], object], limit: int = MAX_LOG) -> None:
        self._write = write
        self._limit = limit
        self._passed = 0
        self._left_out = 0
        self._end: deque[str] = deque()
        self._kept = 0

    def write(self, text: str) -> None:
        """Pass on a string, or keep its end if it exceeds the limit."""
        if self._passed < self._limit:
            room = self._limit - self._passed
            self._write(text[:room])
            self._passed += min(len(text), room)
            if self._passed < self._limit:
                return
            self._write(f"\n... more than {self._limit:,} characters: only the end of the rest is kept\n")
            text = text[room:]
        self._end.append(text[-KEPT_END:])
        self._kept += len(self._end[-1])
        self._left_out += len(text)
        while self._kept - len(self._end[0]) >= KEPT_END:
            self._kept -= len(self._end.popleft())

    def write_line(self, line: str) -> None:
        """Pass on a line. Text that exceeds the limit is lost."""
        if self._passed < self._limit:
            self.write(line)

    def close(self) -> None:
        """Write the end of the text if any text was omitted."""
        if self._left_out:
            self._write(f"... {self._left_out - self._kept:,} characters omitted; the end is:\n{''.join(self._end)}")
            self._left_out = 0


class FileOutput:
    """The printed output of one attempt of a step, in two files.

    Args:
        open_stream: returns a context manager with a text file to append to (or None).
        publish: called once, after the last line.
    """

    def __init__(self, open_stream: Callable[[Stream], Any], publish: Callable[[], None]) -> None:
        self._open = open_stream
        self._publish = publish
        self._lock = threading.Lock()
        self._kept: dict[Stream, tuple[Any, IO[str]]] = {}
        self._caps = {stream: LogCap(partial(self._append, stream)) for stream in _STREAMS}
        self._lost = False
        self._closed = False

    def write(self, stream: Stream, text: str) -> None:
        """Append text. May be called from several threads."""
        with self._lock:
            if not self._closed:
                self._caps[stream].write(text)

    def _append(self, stream: Stream, text: str) -> None:
        if self._lost or not text:
            return
        try:
            file = self._open_file(stream)
            if file is None:
                with self._open(stream) as once:
                    once.write(text)
                return
            file.write(text)
            file.flush()
        except OSError as error:
            # A step does not fail because its log cannot be written.
            self._lost = True
            path = error.filename or (getattr(self._kept[stream][1], "name", "") if stream in self._kept else "")
            reason = explain_full_disk(OSError(error.errno, error.strerror, path)) or str(error)
            logger.warning(f"the output of a step is no longer kept: {reason}")

    def close(self) -> None:
        """Mark the output as complete, and publish it."""
        with self._lock:
            if self._closed:
                return
            for cap in self._caps.values():
                cap.close()
            self._closed = True
            for manager, _ in self._kept.values():
                with suppress(OSError):
                    manager.__exit__(None, None, None)
                _open_files.release()
            self._kept.clear()
        self._publish()

    def _open_file(self, stream: Stream) -> IO[str] | None:
        """Return the open file of a stream; None if too many files are open."""
        if stream not in self._kept:
            if not _open_files.acquire(blocking=False):
                return None
            try:
                manager = self._open(stream)
                self._kept[stream] = manager, manager.__enter__()
            except BaseException:
                _open_files.release()
                raise
        return self._kept[stream][1]


class _Routed:
    """``sys.stdout`` or ``sys.stderr`` of a process whose threads run steps."""

    def __init__(self, name: Stream, original: Any) -> None:
        self._name: Stream = name
        self._original = original

    def write(self, text: str) -> int:
        """Write to the output of the calling thread's step and to that of the process."""
        output = _OUTPUT.get()
        if output is not None:
            output.write(self._name, text)
        return int(self._original.write(text) or 0)

    def writelines(self, lines: Any) -> None:
        """Write several strings."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


_OUTPUT: ContextVar[FileOutput | None] = ContextVar("starlake_step_output", default=None)
_lock = threading.Lock()
_users = 0


def redirect_prints(output: FileOutput | None) -> None:
    """Redirect the output of the calling thread to a step; None ends the redirection."""
    _OUTPUT.set(output)


@contextmanager
def route_output() -> Iterator[None]:
    """Replace the standard streams while at least one run of this process is in this context."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            for name in _STREAMS:
                setattr(sys, name, _Routed(name, getattr(sys, name)))
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            for name in _STREAMS if _users == 0 else ():
                # If other code has replaced a stream in the meantime, leave its replacement in place.
                if isinstance(routed := getattr(sys, name), _Routed):
                    setattr(sys, name, routed._original)
