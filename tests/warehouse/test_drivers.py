"""Each extra installs a driver for its warehouse or object store. ``make test-matrix`` installs all of them."""

import importlib.util
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from postgres_server import PostgresServer

from starlake_dagster_components.project.model import Connection
from starlake_dagster_components.warehouse.address import Address, find_address
from starlake_dagster_components.warehouse.query import QueryFailed, build_engine, run_query

WAREHOUSES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "postgres": ("psycopg", "jdbc", {"url": "jdbc:postgresql://127.0.0.1:{port}/sales", "user": "u", "password": "p"}),
    "redshift": ("sqlalchemy_redshift", "jdbc", {"url": "jdbc:redshift://127.0.0.1:{port}/sales", "user": "u", "password": "p"}),
    "mysql": ("pymysql", "jdbc", {"url": "jdbc:mysql://127.0.0.1:{port}/sales", "user": "u", "password": "p"}),
    "snowflake": ("snowflake", "jdbc", {"url": "jdbc:snowflake://acme.snowflakecomputing.com/", "user": "u", "password": "p", "db": "d"}),
    "bigquery": ("sqlalchemy_bigquery", "bigquery", {"projectId": "acme"}),
}


def find_warehouse(name: str, **replaced: object) -> Address:
    module, kind, options = WAREHOUSES[name]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs the extra '{name}'")
    address = find_address(Connection(name, kind, {key: value.format(**replaced) for key, value in options.items()}))
    assert address is not None
    assert address.extra == name
    return address


@pytest.mark.parametrize("name", ["postgres", "redshift", "mysql"])
def test_a_database_that_does_not_answer_is_reported_in_one_sentence(name: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = find_warehouse(name, port=closed.getsockname()[1])
        with pytest.raises(QueryFailed, match=r"(?i)refused"):
            run_query(address, "select 1")


def test_redshift_is_read_through_the_protocol_of_postgresql(postgres: PostgresServer) -> None:
    find_warehouse("redshift", port=1)
    url = postgres.options["url"].replace("postgresql", "redshift")
    address = find_address(Connection("r", "jdbc", {**postgres.options, "url": url, "sslmode": "prefer"}))
    assert address is not None
    assert [row.n for row in run_query(address, "select 1 as n")] == [1]


@pytest.mark.filterwarnings("ignore:The GenericFunction")
def test_snowflake_takes_the_options_of_the_connection() -> None:
    engine = build_engine(find_warehouse("snowflake"))
    _, options = engine.dialect.create_connect_args(engine.url)
    assert (options["account"], options["user"], options["database"]) == ("acme", "u", "d")


def test_bigquery_takes_the_key_file(tmp_path: Path) -> None:
    find_warehouse("bigquery")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "acme",
        "client_email": "reader@acme.example",
        "token_uri": "http://127.0.0.1/token",
    }
    file = tmp_path / "key.json"
    file.write_text(json.dumps({**account, "private_key": key.decode()}))
    options = {"projectId": "acme", "authType": "SERVICE_ACCOUNT_JSON_KEYFILE", "jsonKeyfile": str(file)}
    address = find_address(Connection("bq", "bigquery", options))
    assert address is not None
    engine = build_engine(address)
    given, named = engine.dialect.create_connect_args(engine.url)
    client: Any = named["client"] if "client" in named else given[0]
    assert client.project == "acme"
