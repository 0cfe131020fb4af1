"""Interrupt running statements when their command is canceled."""

import contextlib
import threading
from collections.abc import Iterator

import duckdb

from ..cancellation_event import Canceled

_PAUSE = 0.1
"""Seconds between two interrupts: DuckDB ignores one that arrives between two statements."""


@contextlib.contextmanager
def interrupt_when(canceled: Canceled, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt every statement of a connection in the ``with`` block once the event is set, in a thread that is started only then."""
    done = threading.Event()
    threads: list[threading.Thread] = []

    def interrupt() -> None:
        while not done.is_set():
            connection.interrupt()
            done.wait(_PAUSE)

    def begin() -> None:
        thread = threading.Thread(target=interrupt, name="duckdb-cancel", daemon=True)
        threads.append(thread)
        thread.start()

    with canceled.notify(begin):
        try:
            yield
        finally:
            # The connection may be lent to another command, which must not be interrupted.
            done.set()
            for thread in threads:
                thread.join()
