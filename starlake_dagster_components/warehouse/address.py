"""Convert the options of a Starlake connection to an SQLAlchemy URL for the same warehouse.

Starlake passes these options to a JDBC driver, or to the clients of BigQuery and Snowflake (``JdbcDbUtils``, ``BigQueryJobBase``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..masking import Mask, build_mask
from ..project.model import Connection

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

CONNECT_SECONDS = 10
"""Time limit for connecting, for drivers that have such an option."""

_SNOWFLAKE_HOST = ".snowflakecomputing.com"


@dataclass(frozen=True, slots=True)
class Address:
    """The address and credentials of a warehouse.

    Attributes:
        drivers: SQLAlchemy drivers (``dialect+driver``) in order of preference; the first one that is installed is used.
        extra: the extra of this package that installs one of them.
        username, password, host, port, database, query: the parts of the URL.
        arguments: further arguments for the driver's ``connect`` function.
        quote: the character that quotes names.
    """

    drivers: tuple[str, ...]
    extra: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None
    database: str | None = None
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    quote: str = '"'

    def __hash__(self) -> int:
        """Return a hash without the mappings, which are not hashable."""
        return hash((self.drivers, self.username, self.host, self.port, self.database))

    @property
    def mask(self) -> Mask:
        """The mask that hides the secrets of this address and all other known secrets."""
        return build_mask({"password": self.password or ""}, self.query, {name: str(value) for name, value in self.arguments.items()})

    def quote_name(self, *parts: str) -> str:
        """Return a qualified name for a statement, with each part quoted if necessary."""
        return ".".join(quote_name(part, self.quote) for part in parts)


def quote_name(name: str, quote: str = '"') -> str:
    """Return a name for a statement: unquoted if it is a plain word, as Starlake writes it, or else quoted."""
    return name if _PLAIN_NAME.fullmatch(name) else f"{quote}{name.replace(quote, quote * 2)}{quote}"


def find_address(connection: Connection) -> Address | None:
    """Return the address of a connection for SQLAlchemy; None if SQLAlchemy cannot read it (files, Spark, DuckDB, ...)."""
    # Starlake and the drivers ignore the case of most options.
    options = {name.lower(): str(value) for name, value in connection.options.items() if value not in (None, "")}
    engine = "snowflake" if "sfurl" in options else connection.engine
    build = _BUILDERS.get(engine)
    return build(options) if build else None


def _build_jdbc(
    options: Mapping[str, str],
    *,
    drivers: tuple[str, ...],
    extra: str,
    port: int,
    quote: str = '"',
    reads_ssl: bool = True,
    **arguments: str,
) -> Address:
    """Return the address of a URL of the form ``jdbc:engine://host:port/database?name=value``."""
    rest = options.get("url", "").removeprefix("jdbc:").partition(":")[2]
    parts = urlsplit(rest if rest.startswith("//") else f"///{rest}")
    # Of a list of hosts, the first is the primary one.
    address = parts.netloc.rpartition("@")[2].split(",")[0]
    host, _, number = address.rpartition(":")
    if not number.isdecimal():
        host, number = address, str(port)
    options = {**{name.lower(): value for name, value in parse_qsl(parts.query.replace(";", "&"))}, **options}
    return Address(
        drivers,
        extra,
        options.get("user"),
        options.get("password"),
        host.strip("[]") or "localhost",
        int(number),
        unquote(parts.path.strip("/")) or options.get("user"),
        _read_ssl(options) if reads_ssl else {},
        {"connect_timeout": CONNECT_SECONDS, **arguments},
        quote,
    )


def _read_ssl(options: Mapping[str, str]) -> dict[str, str]:
    """Convert the TLS options of the JDBC driver to those of libpq."""
    found = {name: options[name] for name in ("sslmode", "sslrootcert", "sslcert", "sslkey") if name in options}
    if "sslmode" not in found and options.get("ssl", "").lower() == "true":
        found["sslmode"] = "verify-full" if "sslrootcert" in found else "require"
    return found


def _build_snowflake(options: Mapping[str, str]) -> Address:
    options = {name.removeprefix("sf"): value for name, value in options.items()}
    url = options.get("url", "").removeprefix("jdbc:snowflake:").removeprefix("https:").lstrip("/")
    host, _, rest = url.partition("/")
    options = {**{name.lower(): value for name, value in parse_qsl(rest.partition("?")[2])}, **options}
    account = host.partition(":")[0].removesuffix(_SNOWFLAKE_HOST) or options.get("account", "")
    database, schema = options.get("db") or options.get("database"), options.get("schema")
    return Address(
        ("snowflake",),
        "snowflake",
        options.get("user"),
        options.get("password"),
        account,
        None,
        "/".join(filter(None, (database, schema if database else None))) or None,
        {name: options[name] for name in ("warehouse", "role", "authenticator", "token") if name in options},
        {
            "login_timeout": CONNECT_SECONDS,
            **{name: options[name] for name in ("private_key_file", "private_key_file_pwd") if name in options},
        },
    )


def _build_bigquery(options: Mapping[str, str]) -> Address:
    query = {"location": options["location"]} if "location" in options else {}
    if options.get("authtype", "").upper() == "SERVICE_ACCOUNT_JSON_KEYFILE" and "jsonkeyfile" in options:
        query["credentials_path"] = options["jsonkeyfile"]
    return Address(("bigquery",), "bigquery", host=options.get("projectid") or options.get("gcpproject"), query=query, quote="`")


_MYSQL = partial(_build_jdbc, drivers=("mysql+pymysql",), extra="mysql", port=3306, quote="`", reads_ssl=False)
_BUILDERS: Mapping[str, Callable[[Mapping[str, str]], Address]] = {
    "postgres": partial(
        _build_jdbc, drivers=("postgresql+psycopg", "postgresql+psycopg2"), extra="postgres", port=5432, client_encoding="utf8"
    ),
    "redshift": partial(_build_jdbc, drivers=("redshift+psycopg2",), extra="redshift", port=5439),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "snowflake": _build_snowflake,
    "bigquery": _build_bigquery,
}
