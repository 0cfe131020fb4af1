"""Send each line that a step prints to its own log, although all steps share one process.

A process has one standard output, so Dagster's own capture, which redirects file descriptors, can only capture all steps together.
During a run, this module replaces ``sys.stdout`` and ``sys.stderr`` with streams that find the step of the calling thread.
They do not see output that a subprocess writes to an inherited descriptor; it goes to the output of the run's process.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any, Literal, Protocol

Stream = Literal["stdout", "stderr"]


class StepOutput(Protocol):
    """Receives the printed output of one attempt of a step."""

    def write(self, stream: Stream, text: str) -> None:
        """Append text. May be called from several threads."""

    def close(self) -> None:
        """Mark the output as complete, and publish it."""


OpenStream = Callable[[Stream], Any]
"""Returns a context manager with a text file to append to (or None)."""

MAX_OPEN = 64
"""Number of files that the whole process keeps open between two lines. With hundreds of steps, it would run out of descriptors."""

_open_files = threading.BoundedSemaphore(MAX_OPEN)


class FileOutput:
    """A step's output in two files.

    Args:
        open_stream: opens one of the two files for appending.
        publish: called once, after the last line.
    """

    def __init__(self, open_stream: OpenStream, publish: Callable[[], None]) -> None:
        self._open = open_stream
        self._publish = publish
        self._lock = threading.Lock()
        self._kept: dict[Stream, tuple[Any, IO[str]]] = {}
        self._closed = False

    def write(self, stream: Stream, text: str) -> None:
        """Append text."""
        with self._lock:
            if self._closed:
                return
            file = self._file(stream)
            if file is None:
                with self._open(stream) as once:
                    once.write(text)
                return
            file.write(text)
            file.flush()

    def close(self) -> None:
        """Close the files and publish them."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for manager, _ in self._kept.values():
                manager.__exit__(None, None, None)
                _open_files.release()
            self._kept.clear()
        self._publish()

    def _file(self, stream: Stream) -> IO[str] | None:
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


_OUTPUT: ContextVar[StepOutput | None] = ContextVar("starlake_step_output", default=None)
_lock = threading.Lock()
_users = 0


def redirect_prints(output: StepOutput | None) -> None:
    """Redirect what the calling thread prints to a step's output; None ends the redirection."""
    _OUTPUT.set(output)


@contextmanager
def route_output() -> Iterator[None]:
    """Replace the standard streams while at least one run of this process is in this context."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            sys.stdout = _Routed("stdout", sys.stdout)
            sys.stderr = _Routed("stderr", sys.stderr)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                # Code that has replaced the streams in the meantime keeps its own.
                if isinstance(sys.stdout, _Routed):
                    sys.stdout = sys.stdout._original
                if isinstance(sys.stderr, _Routed):
                    sys.stderr = sys.stderr._original
