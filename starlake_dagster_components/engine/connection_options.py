"""Read the options of a connection: those that Starlake passes to DuckDB's driver, and the statements that it runs first. Starlake:
JdbcDbUtils.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import Location
from ..project.model import Connection
from ..project.word_sets import split_words
from .engine_errors import NotSupported
from .sqltext import split_statements

# Options that Starlake does not pass to the driver. Starlake: JdbcDbUtils.nonDuckDbProperties.
_STARLAKES_OWN = split_words(
    "url driver dbtable numpartitions sl_access_token account allowunderscoresinhost database db authenticator user password data_path "
    "sl_data_path storagetype quoteidentifiers quote separator quackservertoken quackbind quackport preactions"
)
_ALLOWED = split_words("SET RESET PRAGMA LOAD INSTALL FORCE ATTACH DETACH USE UPDATE CREATE DROP CALL SELECT")
_FILE = re.compile(r"ATTACH\s+(?:DATABASE\s+)?(?:IF\s+NOT\s+EXISTS\s+)?'((?:[^']|'')+)'", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9_]+:")


@dataclass(frozen=True, slots=True)
class Action:
    """A statement of ``preActions``, which are at ``location``."""

    sql: str
    location: Location

    @property
    def attached_file(self) -> str | None:
        """The database file that the statement attaches; None if it does not attach one."""
        found = _FILE.match(self.sql)
        path = found.group(1).replace("''", "'") if found else None
        return path if path and path != ":memory:" and _SCHEME.match(path) is None else None


@dataclass(frozen=True, slots=True)
class ConnectionSetup:
    """The options with which a database is opened.

    Attributes:
        name: the connection.
        read_only: the location of the option that makes it read-only; None if it is writable.
        settings: DuckDB settings, with their locations.
        actions: statements to run before all others.
        zone: time zone of the session; None = that of the process.
    """

    name: str = ""
    read_only: Location | None = None
    settings: tuple[tuple[str, str, Location], ...] = ()
    actions: tuple[Action, ...] = ()
    zone: str | None = None


def read_setup(connection: Connection | None, zone: str | None) -> ConnectionSetup:
    """Return the setup that the options of a connection describe. Raise NotSupported if the engine can neither use nor ignore one."""
    if connection is None:
        return ConnectionSetup(zone=zone)
    options = {name.lower(): (name, str(value)) for name, value in connection.options.items()}
    read_only = None
    settings = []
    for key, (name, value) in options.items():
        place = connection.origin.locate(f"options.{name}")
        # jdbc_ options say how the JDBC driver returns rows.
        if key in _STARLAKES_OWN or key.startswith(("sl_", "fs.", "jdbc_")):
            continue
        if key == "postactions":
            if value.strip():
                raise NotSupported(place, f"connection '{connection.name}': postActions are not run by the embedded engine")
        elif key in ("duckdb.read_only", "access_mode"):
            if value.strip().lower() in ("true", "read_only"):
                read_only = place
        else:
            settings.append((name, value, place))
    return ConnectionSetup(connection.name, read_only, tuple(settings), _read_actions(connection, options), zone)


def list_ignored_options(connection: Connection | None) -> list[str]:
    """Return the options of a connection that have an effect in Starlake, but not in the engine."""
    ignored = ("sl_duckdb_home", "sl_duckdb_secret_home")
    options = connection.options if connection else {}
    return sorted(name for name in options if name.lower().startswith("fs.") or name.lower() in ignored)


def _read_actions(connection: Connection, options: Mapping[str, tuple[str, str]]) -> tuple[Action, ...]:
    name, text = options.get("preactions", ("preActions", ""))
    place = connection.origin.locate(f"options.{name}")
    found = split_statements(text)
    for statement in found:
        if statement.keyword not in _ALLOWED:
            reason = f"the embedded engine does not run '{statement.text.strip()}' there"
            raise NotSupported(place, f"preActions of connection '{connection.name}': {reason}")
    return tuple(Action(statement.text, place) for statement in found)
