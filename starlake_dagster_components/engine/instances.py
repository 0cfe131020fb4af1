"""DuckDB instances of this process, kept between commands: creating one takes longer than a small load.

An instance is in memory; a command attaches its database file to it and detaches it at the end, so that nothing of the file
stays open between commands. An instance serves one command at a time.
"""

import atexit
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from .scratch import Scratch

_KEPT = 2
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Base:
    """An instance created by a process, and the folder for data that does not fit in memory."""

    pid: int
    connection: duckdb.DuckDBPyConnection
    scratch: Scratch


_free: list[_Base] = []


class Instance:
    """An instance that is lent to a command.

    Attributes:
        connection: a separate connection, whose temporary objects and local settings end with it.
        spoiled: set when the command changed what outlives its connection (global settings, extensions, attached files).
    """

    def __init__(self, base: _Base) -> None:
        self.base = base
        self.connection = base.connection.cursor()
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


def _take() -> _Base:
    with _guard:
        while _free:
            base = _free.pop()
            # After a fork the instance's threads are the parent's: it is useless here, and closing it would wait for them.
            if base.pid == os.getpid():
                return base
    scratch = Scratch()
    try:
        folder = scratch.make_file("duckdb")
    except OSError:
        # Most commands need no temporary file: only those that do fail.
        folder = Path(tempfile.gettempdir(), f"starlake-dagster-duckdb-{os.getpid()}-{threading.get_ident()}")
    atexit.register(scratch.close)
    # A table that is not in the database must not be looked for among the variables of this package.
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(folder),
        "threads": 1,
        "python_enable_replacements": False,
    }
    return _Base(os.getpid(), duckdb.connect(":memory:", config=config), scratch)


def _give_back(used: Instance) -> None:
    base = used.base
    with _guard:
        if not used.spoiled and len(_free) < _KEPT:
            _free.append(base)
            return
    base.connection.close()
    base.scratch.close()
    atexit.unregister(base.scratch.close)
