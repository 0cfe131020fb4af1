"""An event that is set when a run is canceled, with callbacks, so that no thread has to poll it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Canceled(threading.Event):
    """An event that calls functions when it is set. If a signal handler sets it, they run in the main thread."""

    def __init__(self) -> None:
        super().__init__()
        # Re-entrant: a signal handler may set the event while its own thread registers a callback.
        self._guard = threading.RLock()
        self._callbacks: dict[object, Callable[[], None]] = {}

    def set(self) -> None:
        """Set the event, then call the registered functions."""
        super().set()
        self._run_callbacks()

    @contextmanager
    def notify(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call a function once if the event is set before or during the ``with`` block, but not after it.

        The function runs in the thread that sets the event (or in this one, if it is already set), and must return quickly.
        """
        key = object()
        with self._guard:
            self._callbacks[key] = callback
        if self.is_set():
            self._run_callbacks()
        try:
            yield
        finally:
            with self._guard:
                self._callbacks.pop(key, None)

    def _run_callbacks(self) -> None:
        with self._guard:
            while self._callbacks:
                self._callbacks.pop(next(iter(self._callbacks)))()
