"""The SQLAlchemy URLs that are made from the options of Starlake's connections."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from starlake_dagster_components.project.model import Connection
from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.warehouse.address import Address, find_address

Parts = tuple[str, str | None, str | None, str | None, int | None, str | None]


def split_address(address: Address | None) -> Parts:
    assert address is not None
    return (address.drivers[0], address.username, address.password, address.host, address.port, address.database)


@pytest.mark.parametrize(
    ("type_", "options", "expected", "query"),
    [
        (
            "jdbc",
            {"url": "jdbc:postgresql://db.example:5433/sales", "user": "u", "password": "p@ss"},
            ("postgresql+psycopg", "u", "p@ss", "db.example", 5433, "sales"),
            {},
        ),
        (
            "jdbc",
            {"url": "jdbc:postgresql://a:5432,b:5433/sales?user=u&password=p&ssl=true"},
            ("postgresql+psycopg", "u", "p", "a", 5432, "sales"),
            {"sslmode": "require"},
        ),
        ("jdbc", {"url": "jdbc:postgresql:sales", "user": "u"}, ("postgresql+psycopg", "u", None, "localhost", 5432, "sales"), {}),
        ("jdbc", {"url": "jdbc:postgresql://h/", "user": "u"}, ("postgresql+psycopg", "u", None, "h", 5432, "u"), {}),
        (
            "jdbc",
            {"url": "jdbc:postgresql://[::1]:5432/s%20x", "user": "u", "sslmode": "verify-ca", "sslrootcert": "/ca"},
            ("postgresql+psycopg", "u", None, "::1", 5432, "s x"),
            {"sslmode": "verify-ca", "sslrootcert": "/ca"},
        ),
        (
            "jdbc",
            {"url": "jdbc:redshift://c.region.example:5439/dev", "user": "u", "password": "p"},
            ("redshift+psycopg2", "u", "p", "c.region.example", 5439, "dev"),
            {},
        ),
        (
            "jdbc",
            {"url": "jdbc:mysql://h/sales?useSSL=false", "user": "u", "password": "p"},
            ("mysql+pymysql", "u", "p", "h", 3306, "sales"),
            {},
        ),
        (
            "jdbc",
            {"url": "jdbc:mariadb://h:3307/sales", "USER": "u", "Password": "p"},
            ("mysql+pymysql", "u", "p", "h", 3307, "sales"),
            {},
        ),
        (
            "jdbc",
            {
                "url": "jdbc:snowflake://acme-x1.snowflakecomputing.com/",
                "account": "acme-x1",
                "user": "u",
                "password": "p",
                "warehouse": "WH",
                "db": "DB",
                "schema": "S",
            },
            ("snowflake", "u", "p", "acme-x1", None, "DB/S"),
            {"warehouse": "WH"},
        ),
        (
            "jdbc",
            {"url": "jdbc:snowflake://acme.eu-west-1.snowflakecomputing.com/?warehouse=WH&role=R", "user": "u", "password": "p"},
            ("snowflake", "u", "p", "acme.eu-west-1", None, None),
            {"warehouse": "WH", "role": "R"},
        ),
        (
            "jdbc",
            {
                "sfUrl": "acme.snowflakecomputing.com",
                "sfUser": "u",
                "sfPassword": "p",
                "sfDatabase": "DB",
                "sfWarehouse": "WH",
                "sfRole": "R",
            },
            ("snowflake", "u", "p", "acme", None, "DB"),
            {"warehouse": "WH", "role": "R"},
        ),
        (
            "bigquery",
            {"location": "EU", "authType": "SERVICE_ACCOUNT_JSON_KEYFILE", "jsonKeyfile": "/key.json", "projectId": "acme"},
            ("bigquery", None, None, "acme", None, None),
            {"location": "EU", "credentials_path": "/key.json"},
        ),
        ("bq", {"authType": "APPLICATION_DEFAULT", "jsonKeyfile": "/key.json"}, ("bigquery", None, None, None, None, None), {}),
    ],
)
def test_connections_are_converted_to_addresses(type_: str, options: Mapping[str, str], expected: Parts, query: Mapping[str, str]) -> None:
    address = find_address(Connection("c", type_, options))
    assert address is not None
    assert split_address(address) == expected
    assert dict(address.query) == query


@pytest.mark.parametrize(
    ("type_", "options"),
    [("fs", {}), ("spark", {}), ("jdbc", {"url": "jdbc:duckdb:/x.db"}), ("jdbc", {"url": "jdbc:h2:mem:x"}), ("jdbc", {}), ("kafka", {})],
)
def test_unsupported_connections_have_no_address(type_: str, options: Mapping[str, str]) -> None:
    assert find_address(Connection("c", type_, options)) is None


def test_an_address_does_not_show_its_secrets() -> None:
    options = {"url": "jdbc:postgresql://h/s?password=fromtheurl", "user": "u"}
    address = find_address(Connection("c", "jdbc", options))
    assert address is not None
    assert "fromtheurl" not in repr(address)
    assert address.mask("login as u with fromtheurl") == "login as u with ***"


def test_connections_of_real_projects_have_addresses(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOWFLAKE_ACCOUNT", "acme")
    monkeypatch.setenv("POSTGRES_HOST", "db")
    monkeypatch.setenv("REDSHIFT_HOST", "red")
    application = read_project(shared / "corpus/starlake-samples-any-engine").application
    found = {name: find_address(connection) for name, connection in application.connections.items()}
    assert {name: re.split(r"\+", a.drivers[0])[0] for name, a in found.items() if a} == {
        "postgresql": "postgresql",
        "redshift": "redshift",
        "redshift_spark": "redshift",
        "snowflake": "snowflake",
        "bigquery": "bigquery",
    }
    assert {name for name, a in found.items() if a is None} == {"duckdb", "spark_local"}
    assert found["snowflake"]
    assert found["snowflake"].host == "acme"
