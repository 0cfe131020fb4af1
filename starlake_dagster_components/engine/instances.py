"""DuckDB instances of this process, kept between commands: making one takes longer than a small load.

An instance is in memory; a command attaches its database file to it and detaches it at the end, so that nothing of the file
stays open between commands. An instance serves one command at a time.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb

_KEPT = 2
_guard = threading.Lock()
_free: list[tuple[int, duckdb.DuckDBPyConnection]] = []


class Instance:
    """An instance in the hands of a command.

    Attributes:
        connection: a connection of its own: temporary objects and local settings go with it.
        spoiled: set when the command changed what outlives its connection (global settings, extensions, attached files).
    """

    def __init__(self, base: duckdb.DuckDBPyConnection) -> None:
        self.base = base
        self.connection = base.cursor()
        self.spoiled = False


@contextlib.contextmanager
def lend_instance() -> Iterator[Instance]:
    """Lend an instance, a new one when none is free; closed afterwards when it was spoiled."""
    taken = Instance(_take())
    try:
        yield taken
    finally:
        taken.connection.close()
        _give_back(taken)


def _take() -> duckdb.DuckDBPyConnection:
    with _guard:
        while _free:
            pid, base = _free.pop()
            # After a fork the instance's threads are the parent's: it is useless here, and closing it would wait for them.
            if pid == os.getpid():
                return base
    folder = Path(tempfile.gettempdir()) / f"starlake-dagster-duckdb-{os.getpid()}-{threading.get_ident()}"
    # A table that is not in the database must not be looked for among the variables of this package.
    return duckdb.connect(":memory:", config={"temp_directory": str(folder), "threads": 1, "python_enable_replacements": False})


def _give_back(used: Instance) -> None:
    with _guard:
        if not used.spoiled and len(_free) < _KEPT:
            _free.append((os.getpid(), used.base))
            return
    used.base.close()
