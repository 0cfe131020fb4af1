"""What steps print: each line goes to its own step's log, although all steps share one process.

A process has one standard output, so Dagster's own capture, which redirects file descriptors, can only catch all steps together.
Here ``sys.stdout`` and ``sys.stderr`` are replaced, for the time of a run, by streams that look which step the calling thread belongs
to. What a subprocess writes to an inherited descriptor is not seen by them and goes to the output of the run's process.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any, Literal, Protocol

Stream = Literal["stdout", "stderr"]


class StepOutput(Protocol):
    """Takes what one attempt of a step prints."""

    def write(self, stream: Stream, text: str) -> None:
        """Append a text. May be called from several threads."""

    def close(self) -> None:
        """Say that nothing more comes, and publish what came."""


OpenStream = Callable[[Stream], Any]
"""Returns a context manager with a text file to append to (or None)."""

MAX_OPEN = 64
"""Files that are kept open between two lines, in the whole process; with hundreds of steps a process has not enough descriptors."""

_open_files = threading.BoundedSemaphore(MAX_OPEN)


class FileOutput:
    """A step's output in two files.

    Args:
        open_stream: opens one of the two for appending.
        publish: called once, after the last line.
    """

    def __init__(self, open_stream: OpenStream, publish: Callable[[], None]) -> None:
        self._open = open_stream
        self._publish = publish
        self._lock = threading.Lock()
        self._kept: dict[Stream, tuple[Any, IO[str]]] = {}
        self._closed = False

    def write(self, stream: Stream, text: str) -> None:
        """Append a text."""
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
        """Return the open file of a stream; None when there are too many open files."""
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
        """Write to the output of the calling thread's step and to the process's own."""
        output = _OUTPUT.get()
        if output is not None:
            output.write(self._name, text)
        return int(self._original.write(text) or 0)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


_OUTPUT: ContextVar[StepOutput | None] = ContextVar("starlake_step_output", default=None)
_lock = threading.Lock()
_users = 0


def redirect_prints(output: StepOutput | None) -> None:
    """Send what the calling thread prints from now on to a step's output; None ends that."""
    _OUTPUT.set(output)


@contextmanager
def route_output() -> Iterator[None]:
    """Replace the standard streams while at least one run of this process is inside."""
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
                # Whoever has replaced the streams meanwhile keeps theirs.
                if isinstance(sys.stdout, _Routed):
                    sys.stdout = sys.stdout._original
                if isinstance(sys.stderr, _Routed):
                    sys.stderr = sys.stderr._original
