"""Keep DuckDB instances between commands, because creating one takes longer than a small load.

An instance is in memory; a command attaches its database file and detaches it at the end, so that the file is not open between commands. An
instance serves one command at a time.
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
        connection: a separate connection, which takes its temporary objects and local settings with it when it is closed.
        spoiled: whether the command changed something that outlives its connection (global settings, extensions, attached files), so that
            the instance must not be lent again.
    """

    def __init__(self, base: _Base) -> None:
        self.connection = base.connection.cursor()
        self.spoiled = False


@contextlib.contextmanager
def lend_instance() -> Iterator[Instance]:
    """Lend an instance, or a new one if none is free. It is lent again later unless it was marked as ``spoiled``."""
    base = _take_base()
    taken = Instance(base)
    try:
        yield taken
    finally:
        taken.connection.close()
        _give_back(base, spoiled=taken.spoiled)


def _take_base() -> _Base:
    with _guard:
        while _free:
            base = _free.pop()
            # After a fork, the instance's threads exist only in the parent. The instance is useless here, and closing it would wait for
            # them.
            if base.pid == os.getpid():
                return base
    scratch = Scratch()
    try:
        folder = scratch.make_file("duckdb")
    except OSError:
        # Most commands need no temporary file. Only those that do will fail.
        folder = Path(tempfile.gettempdir(), f"starlake-dagster-duckdb-{os.getpid()}-{threading.get_ident()}")
    atexit.register(scratch.close)
    # DuckDB must not look for a missing table among the Python variables of this package.
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(folder),
        "threads": 1,
        "python_enable_replacements": False,
    }
    return _Base(os.getpid(), duckdb.connect(":memory:", config=config), scratch)


def _give_back(base: _Base, *, spoiled: bool) -> None:
    with _guard:
        if not spoiled and len(_free) < _KEPT:
            _free.append(base)
            return
    base.connection.close()
    base.scratch.close()
    atexit.unregister(base.scratch.close)
