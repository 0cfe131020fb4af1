"""The database file of a command: lock, attached files, transactions, search path, list of tables."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb

from ..cancellation_event import Canceled
from ..errors import CommandCanceled
from ..locks import LockLog, lock_databases
from .connection_options import ConnectionSetup
from .duckdb_errors import describe_error
from .engine_errors import DatabaseFailed
from .instances import Instance, lend_instance
from .sqltext import quote, quote_literal, quote_path
from .statement_cancellation import interrupt_when

_PRIVATE = frozenset({"memory", "system", "temp"})
_SMALL = 8 << 20
WAIT_FOR_OTHERS = 5.0
"""Seconds to wait for a file that another program has open."""
_PAUSE = 0.1
_HEADERS = 3 * 4096
"""Size of the headers of a database file, in bytes."""
_COSTLY = "fsst,dict_fsst,alp,alprd,chimp,patas,zstd,roaring"
_SPOILS = frozenset({"SET", "RESET", "PRAGMA", "LOAD", "INSTALL", "FORCE", "ATTACH", "DETACH", "USE", "UPDATE EXTENSIONS"})

# Statements that do not change the schemas, tables, and views of the database.
_CHANGES_NOTHING = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|MERGE|TRUNCATE|DESCRIBE|SET|USE|BEGIN|COMMIT|COMMENT|CREATE (?:OR REPLACE )?TEMP|DROP TABLE "
    r"temp)\b",
    re.IGNORECASE,
)

Kind = Literal["table", "view"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. ``type`` is as DuckDB writes it."""

    name: str
    type: str
    nullable: bool = True


class Database:
    """One DuckDB file, locked against all other commands and attached to an instance of this process.

    Attributes:
        path: the file.
        catalog: name, in SQL, of the database that is written to: the file's name without its extension, as if the file were opened alone.
        connection: the connection that runs SQL.
        last: the last statement that was run.
    """

    def __init__(self, path: Path, catalog: str, lent: Instance, canceled: Canceled | None, others: Sequence[str] = ()) -> None:
        self.path = path
        self.catalog = catalog
        self.connection = lent.connection
        self._lent = lent
        self._others = others
        self._canceled = canceled
        self.last = ""
        self._large = False
        self._threads = os.cpu_count() or 1
        self._entries: tuple[Mapping[str, str], Mapping[tuple[str, str], Kind]] | None = None

    def execute(self, sql: str, *, cancellable: bool = True) -> duckdb.DuckDBPyConnection:
        """Run one statement, even if the command was canceled, unless the statement is ``cancellable``.

        Raises:
            duckdb.Error: the statement failed.
            CommandCanceled: the command was canceled in the meantime.
        """
        if cancellable and self._canceled is not None and self._canceled.is_set():
            raise CommandCanceled("the command was canceled")
        self.last = sql
        if _CHANGES_NOTHING.match(sql) is None:
            self._entries = None
        try:
            return self.connection.execute(sql)
        except duckdb.InterruptException as error:
            raise CommandCanceled("the command was canceled") from error

    def fetch_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows."""
        try:
            return self.execute(sql).fetchall()
        except duckdb.InterruptException as error:
            raise CommandCanceled("the command was canceled") from error

    def fetch_count(self, sql: str) -> int:
        """Run a statement whose result is one number (a count query, or an INSERT, UPDATE, or DELETE), and return it."""
        row = self.fetch_rows(sql)
        return int(row[0][0]) if row and row[0] and row[0][0] is not None else 0

    def spoil_if(self, keyword: str) -> None:
        """Discard the instance after the command if a statement that begins with this word may change more than the database."""
        if keyword in _SPOILS:
            self._lent.spoiled = True

    @contextlib.contextmanager
    def begin_transaction(self) -> Iterator[None]:
        """Run the ``with`` block in one transaction. It is committed at the end, or rolled back if the block raises an exception."""
        self.execute("BEGIN TRANSACTION")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self._entries = None
            with contextlib.suppress(duckdb.Error):
                self.connection.execute("ROLLBACK")
            raise

    def set_search_path(self, schemas: Sequence[str]) -> None:
        """Set the schemas in which unqualified names are looked up, in this order, before ``main``. Missing schemas are left out."""
        existing, _ = self._read_entries()
        found = [existing[name.lower()] for name in schemas if name.lower() in existing]
        own = [f"{quote(self.catalog)}.{quote(name)}" for name in dict.fromkeys([*found, "main"])]
        text = ",".join([*own, *self._list_other_schemas()])
        self.execute(f"SET search_path = {quote_literal(text)}")

    def _list_other_schemas(self) -> list[str]:
        """Return the schemas of the other databases: DuckDB finds ``schema.table`` there only if the schema is in its search path."""
        if not self._others:
            return []
        names = ", ".join(map(quote_literal, self._others))
        rows = self.fetch_rows(
            f"SELECT database_name, schema_name FROM duckdb_schemas() WHERE NOT internal AND database_name IN ({names}) ORDER BY ALL"
        )
        return [quote_path(*row) for row in rows]

    def find_kind(self, schema: str, name: str) -> Kind | None:
        """Return ``table`` or ``view``; None if neither exists."""
        return self._read_entries()[1].get((schema.lower(), name.lower()))

    def list_columns(self, schema: str, name: str) -> list[Column]:
        """Return the columns of a table or view, in order; empty if it does not exist. Raise DatabaseFailed if a view no longer works."""
        kind = self.find_kind(schema, name)
        if kind is None:
            return []
        try:
            rows = self.fetch_rows(f"DESCRIBE {quote_path(self.catalog, schema, name)}")
        except duckdb.Error as error:
            if kind != "view":
                raise
            raise DatabaseFailed(f"the view {schema}.{name} no longer works: {str(error).splitlines()[0]}") from error
        return [Column(row[0], row[1], row[2] != "NO") for row in rows]

    def is_transaction_lost(self) -> bool:
        """Return whether the current transaction can only be rolled back. The errors that cause this depend on DuckDB's version."""
        try:
            self.connection.execute("SELECT 1")
        except duckdb.Error:
            return True
        return False

    def _read_entries(self) -> tuple[Mapping[str, str], Mapping[tuple[str, str], Kind]]:
        """Return the schemas that the transaction sees, by lower-case name, and the kinds of its tables and views, by schema and name.

        A statement on a missing table would abort the transaction.
        """
        if self._entries is None:
            own = f"database_name = {quote_literal(self.catalog)}"
            rows = self.fetch_rows(
                f"SELECT 'schema', schema_name, '' FROM duckdb_schemas() WHERE {own} "
                f"UNION ALL SELECT 'table', schema_name, table_name FROM duckdb_tables() WHERE {own} "
                f"UNION ALL SELECT 'view', schema_name, view_name FROM duckdb_views() WHERE {own}"
            )
            schemas = {schema.lower(): schema for kind, schema, _ in rows if kind == "schema"}
            self._entries = schemas, {(s.lower(), name.lower()): kind for kind, s, name in rows if kind != "schema"}
        return self._entries

    @property
    def is_small(self) -> bool:
        """True if the file is so small that one thread is faster than several."""
        try:
            return self.path.stat().st_size < _SMALL
        except OSError:
            return True

    def expect_large(self) -> None:
        """Prepare for large data: use all processors, and compress as well as possible.

        Otherwise, one processor is used, because waking the others takes longer than small statements do. Costly compression methods are
        disabled, because on a small table, trying them at each checkpoint is most of the work.
        """
        if not self._large:
            self._large = True
            self.execute(f"SET threads = {self._threads}")
            self.execute("SET disabled_compression_methods = ''")

    def keep_threads(self) -> None:
        """Use no more processors than the settings of the connection allow."""
        self._threads = self.fetch_count("SELECT current_setting('threads')")

    @contextlib.contextmanager
    def fill_row_groups(self) -> Iterator[None]:
        """Copy many rows between tables in the ``with`` block, into full row groups.

        If several processors preserve the order of rows, row groups are as uneven as those of the first table, and the next checkpoint
        writes the whole table again. With one processor, nothing is changed, and the order is preserved.
        """
        if not self._large:
            yield
            return
        self.execute("SET preserve_insertion_order = false")
        try:
            yield
        finally:
            try:
                self.connection.execute("RESET preserve_insertion_order")
            except duckdb.Error:
                # The transaction was aborted, so the setting cannot be restored.
                self._lent.spoiled = True


@contextlib.contextmanager
def open_database(
    path: Path,
    *,
    also: Sequence[Path] = (),
    canceled: Canceled | None = None,
    log: LockLog | None = None,
    holder: str = "",
    setup: ConnectionSetup | None = None,
) -> Iterator[Database]:
    """Lock a database file and open it. Wait while another command holds the lock.

    Args:
        path: the file; created if it does not exist.
        also: other files to read from: attached read-only under their own names, which come after that of the file in the search path.
        canceled: ends the wait and running statements when set.
        log: receives a line if the command has to wait.
        holder: description of this command, shown to the commands that wait for it.
        setup: options of the connection; None = DuckDB's defaults.

    Raises:
        CommandCanceled: ``canceled`` was set.
        DatabaseFailed: the file cannot be opened, or an option of the connection does not work.
    """
    setup = setup or ConnectionSetup()
    others = [other for other in also if other != path]
    attached = [file for action in setup.actions if (file := action.attached_file)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock_databases([*(str(p) for p in (path, *others)), *attached], canceled=canceled, log=log, holder=holder))
        lent = stack.enter_context(lend_instance())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseFailed(f"cannot open the database {path}: {describe_error(error)}") from error
        names: list[str] = []
        for one in (path, *others):
            read_only = one != path or setup.read_only is not None
            names.append(_attach(lent.connection, one, names, read_only=read_only, canceled=canceled, log=log))
            stack.callback(_detach, lent, names[-1])
        catalog, *rest = names
        database = Database(path, catalog, lent, canceled, others=rest)
        database.execute(f"USE {quote(catalog)}")
        # Errors then contain the position in the statement.
        database.execute("SET errors_as_json = true")
        if database.is_small:
            database.execute("SET threads = 1")
            database.execute(f"SET disabled_compression_methods = '{_COSTLY}'")
        else:
            database.expect_large()
        if canceled is not None:
            stack.enter_context(interrupt_when(canceled, lent.connection))
        _set_up(database, setup, lent)
        yield database


def _set_up(database: Database, setup: ConnectionSetup, lent: Instance) -> None:
    """Apply the options of a connection. Raise DatabaseFailed if one does not work, or would send the engine's rows elsewhere."""
    if setup.zone:
        database.execute(f"SET SESSION TimeZone = {quote_literal(setup.zone)}")
    if setup.settings or setup.actions:
        lent.spoiled = True
    statements = [(f"SET {quote(name)} = {quote_literal(value)}", place, f"option '{name}'", "") for name, value, place in setup.settings]
    statements += [(action.sql, action.location, "preActions", f": {action.sql}") for action in setup.actions]
    for sql, location, what, shown in statements:
        try:
            database.fetch_rows(sql)
        except duckdb.Error as error:
            raise DatabaseFailed(f"{location}: {what} of connection '{setup.name}': {describe_error(error)}{shown}") from error
    if any(name.lower() in ("threads", "worker_threads") for name, _, _ in setup.settings):
        database.keep_threads()
    if setup.actions:
        _follow_use(database, setup)


def _follow_use(database: Database, setup: ConnectionSetup) -> None:
    """Write to the file that ``preActions`` made the current database, as Starlake does. Raise DatabaseFailed if it is not DuckDB's."""
    current, kind, path = database.fetch_rows(
        "SELECT database_name, type, path FROM duckdb_databases() WHERE database_name = current_database()"
    )[0]
    if current == database.catalog:
        return
    if kind != "duckdb" or not path:
        raise DatabaseFailed(
            f"{setup.actions[-1].location}: preActions of connection '{setup.name}' make {current} the current database, which is not a "
            "DuckDB file: the embedded engine writes to DuckDB files only"
        )
    database.catalog = current


def _attach(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    taken: Sequence[str],
    *,
    read_only: bool,
    canceled: Canceled | None,
    log: LockLog | None,
) -> str:
    """Attach a file under a name that is not taken, and return the name. Wait a few seconds for others that have it open to close it."""
    name = path.name.split(".")[0] or "database"
    while name.lower() in {*_PRIVATE, *map(str.lower, taken)}:
        name += "_"
    removed = False
    until: float | None = None
    while True:
        try:
            connection.execute(f"ATTACH {quote_literal(str(path))} AS {quote(name)}{' (READ_ONLY)' if read_only else ''}")
            return name
        except duckdb.Error as error:
            held = _explain_held(error)
            if held is None and not (read_only or removed) and _remove_incomplete_file(path):
                removed = True
                continue
            if held is None or (until is not None and time.monotonic() >= until):
                raise DatabaseFailed(f"cannot open the database {path}: {held or describe_error(error)}") from error
        if until is None:
            until = time.monotonic() + WAIT_FOR_OTHERS
            if log is not None:
                log("info", f"waiting for the database {path}: {held}")
        if canceled is not None and canceled.is_set():
            raise CommandCanceled(f"canceled while waiting for the database {path}")
        time.sleep(_PAUSE)


def _remove_incomplete_file(path: Path) -> bool:
    """Remove a file that ends within the headers of a database.

    DuckDB leaves it behind if the disk is full or the process is killed while it creates the file, and cannot open it.
    """
    with contextlib.suppress(OSError), path.open("rb") as file:
        begin = file.read(_HEADERS)
        if len(begin) < _HEADERS and begin[8:12] in (b"", b"DUCK") and not Path(f"{path}.wal").exists():
            path.unlink()
            return True
    return False


def _explain_held(error: duckdb.Error) -> str | None:
    """Return a message that names the process that has the file open, if that is why it cannot be opened."""
    text = str(error)
    if "Unique file handle conflict" in text:
        return f"a connection of this process (PID {os.getpid()}) has it open; close it there"
    if "Could not set lock" in text or "Conflicting lock" in text:
        holder = re.search(r"Conflicting lock is held in (.*?)\.(?: |$)", text)
        return f"another program has it open{f' ({holder.group(1)})' if holder else ''}; close it there"
    return None


def _detach(lent: Instance, name: str) -> None:
    try:
        lent.connection.execute("USE memory")
        lent.connection.execute(f"DETACH {quote(name)}")
    except duckdb.Error:
        lent.spoiled = True
