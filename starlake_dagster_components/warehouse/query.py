"""Run a query in a warehouse within a time limit."""

import importlib.util
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import StarlakeError
from .address import Address

if TYPE_CHECKING:
    import sqlalchemy

SECONDS = 60.0
"""Time limit for connecting and running a query."""

_MODULES = {
    "postgresql+psycopg": ("psycopg",),
    "postgresql+psycopg2": ("psycopg2",),
    "redshift+psycopg2": ("sqlalchemy_redshift", "psycopg2"),
    "mysql+pymysql": ("pymysql",),
    "snowflake": ("snowflake.sqlalchemy",),
    "bigquery": ("sqlalchemy_bigquery",),
}


class QueryFailed(StarlakeError):
    """A query that failed. The message is one line without secrets."""


class TableMissing(QueryFailed):
    """A query that the warehouse rejected, usually because a table does not exist."""


def run_query(address: Address, statement: str, parameters: Mapping[str, Any] | None = None, *, seconds: float = SECONDS) -> list[Any]:
    """Run a query and return its rows as named tuples.

    Each query opens and closes its own connection: commands take a long time, and warehouses limit the number of connections.

    Args:
        address: the warehouse.
        statement: a SELECT statement, with parameters written as ``:name``.
        parameters: the values of the parameters, by name.
        seconds: time limit. A query that exceeds it continues in a background thread, and its result is discarded.

    Raises:
        TableMissing: the warehouse rejected the statement.
        QueryFailed: no driver is installed, the warehouse cannot be reached, or the query takes too long.
    """
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.extend(_fetch_rows(address, statement, parameters or {}))
        except Exception as error:  # noqa: BLE001 -- drivers raise all kinds of errors; they are raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, name="starlake-warehouse", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise QueryFailed(f"no response within {seconds:g} seconds")
    if failed:
        raise _build_query_failure(address, failed[0]) from None
    return found


def _fetch_rows(address: Address, statement: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
    import sqlalchemy

    with build_engine(address).connect() as connection:
        # Only PostgreSQL's dialect uses this option.
        reader = connection.execution_options(postgresql_readonly=True)
        return reader.execute(sqlalchemy.text(statement), dict(parameters)).all()


@lru_cache(maxsize=32)
def build_engine(address: Address) -> "sqlalchemy.Engine":
    """Return the SQLAlchemy engine for an address. Equal addresses share an engine, which opens no connection yet.

    Raises:
        QueryFailed: no driver is installed.
    """
    import sqlalchemy

    url = sqlalchemy.URL.create(
        find_driver(address), address.username, address.password, address.host, address.port, address.database, dict(address.query)
    )
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool, connect_args=dict(address.arguments))


def find_driver(address: Address) -> str:
    """Return the first driver of an address that is installed, as SQLAlchemy's ``dialect+driver``.

    Raises:
        QueryFailed: none is installed; the message names the extra to install.
    """
    for driver in address.drivers:
        if all(map(_is_installed, _MODULES[driver])):
            return driver
    raise QueryFailed(f"no driver for this database is installed: install starlake-dagster-components with the '{address.extra}' extra")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _build_query_failure(address: Address, error: BaseException) -> QueryFailed:
    if isinstance(error, QueryFailed):
        return error
    import sqlalchemy.exc

    # SQLAlchemy's own message repeats the statement and its parameters.
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = address.mask(lines[0] if lines else type(cause).__name__)[:300]
    rejected = isinstance(error, sqlalchemy.exc.ProgrammingError) or "not found" in text.lower()
    return TableMissing(text) if rejected else QueryFailed(text)
