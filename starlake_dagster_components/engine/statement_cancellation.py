"""Ends running statements when their command is cancelled: one thread for all commands of this process."""

import contextlib
import threading
from collections.abc import Iterator

import duckdb

_POLL = 0.1

_changed = threading.Condition()
_watched: dict[int, tuple[threading.Event, duckdb.DuckDBPyConnection]] = {}
_watcher: threading.Thread | None = None


@contextlib.contextmanager
def interrupt_when(cancelled: threading.Event, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt whatever the connection runs in the body when the event is set."""
    global _watcher
    key = id(connection)
    with _changed:
        _watched[key] = (cancelled, connection)
        if _watcher is None or not _watcher.is_alive():
            _watcher = threading.Thread(target=_watch, name="duckdb-cancel", daemon=True)
            _watcher.start()
        _changed.notify()
    try:
        yield
    finally:
        with _changed:
            del _watched[key]


def _watch() -> None:
    while True:
        with _changed:
            while not _watched:
                _changed.wait()
            # Holding the condition: a connection that is interrupted here is still in the hands of its command.
            for cancelled, connection in _watched.values():
                if cancelled.is_set():
                    connection.interrupt()
            _changed.wait(_POLL)
