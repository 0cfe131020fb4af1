"""Run one query in a warehouse, within a limited time, and say in one sentence why it could not be run."""

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
"""Seconds that a query may take, with the connection that it needs."""

_MODULES = {
    "postgresql+psycopg": ("psycopg",),
    "postgresql+psycopg2": ("psycopg2",),
    "redshift+psycopg2": ("sqlalchemy_redshift", "psycopg2"),
    "mysql+pymysql": ("pymysql",),
    "snowflake": ("snowflake.sqlalchemy",),
    "bigquery": ("sqlalchemy_bigquery",),
}


class QueryFailed(StarlakeError):
    """A query could not be run: the message is one line without secrets."""


class TableMissing(QueryFailed):
    """The warehouse has rejected the statement, usually because a table does not exist."""


def run_query(address: Address, statement: str, parameters: Mapping[str, Any] | None = None, *, seconds: float = SECONDS) -> list[Any]:
    """Return the rows of a query, as named tuples.

    Each query has a separate connection, which is closed afterwards: commands take long, and warehouses limit connections.

    Args:
        address: the warehouse.
        statement: one SELECT; parameters are written as ``:name``.
        parameters: their values.
        seconds: how long it may take; a query that takes longer continues in the background, and its result is dropped.

    Raises:
        TableMissing: the warehouse rejected the statement.
        QueryFailed: no driver is installed, the warehouse cannot be reached, or it takes too long.
    """
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.extend(_fetch_rows(address, statement, parameters or {}))
        except Exception as error:  # noqa: BLE001 -- drivers raise what they like; it is raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, name="starlake-warehouse", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise QueryFailed(f"no answer within {seconds:g} seconds")
    if failed:
        raise _explain(address, failed[0]) from None
    return found


def _fetch_rows(address: Address, statement: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
    import sqlalchemy

    with make_engine(address).connect() as connection:
        # Other dialects ignore the option.
        reader = connection.execution_options(postgresql_readonly=True)
        return reader.execute(sqlalchemy.text(statement), dict(parameters)).all()


def make_engine(address: Address) -> "sqlalchemy.Engine":
    """Return the engine that SQLAlchemy has for an address. Equal addresses share one; nothing is connected yet.

    Raises:
        QueryFailed: no driver is installed.
    """
    return _make_engine_once(_Hashable(address))


class _Hashable:
    """An address as the key of a cache."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._key = repr((address, address.password, dict(address.query), dict(address.arguments)))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashable) and self._key == other._key


@lru_cache(maxsize=32)
def _make_engine_once(key: _Hashable) -> "sqlalchemy.Engine":
    import sqlalchemy

    address = key.address
    url = sqlalchemy.URL.create(
        find_driver(address), address.username, address.password, address.host, address.port, address.database, dict(address.query)
    )
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool, connect_args=dict(address.arguments))


def find_driver(address: Address) -> str:
    """Return the first driver of an address that is installed.

    Raises:
        QueryFailed: none is; the message names the extra.
    """
    for driver in address.drivers:
        if all(map(_is_installed, _MODULES[driver])):
            return driver
    raise QueryFailed(f"no driver is installed: install starlake-dagster-components with the extra '{address.extra}'")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _explain(address: Address, error: BaseException) -> QueryFailed:
    if isinstance(error, QueryFailed):
        return error
    import sqlalchemy.exc

    # SQLAlchemy's own text repeats the statement and its parameters.
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = address.mask(lines[0] if lines else type(cause).__name__)[:300]
    refused = isinstance(error, sqlalchemy.exc.ProgrammingError) or "not found" in text.lower()
    return TableMissing(text) if refused else QueryFailed(text)
