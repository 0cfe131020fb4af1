"""Values of variables, options, and connections that are secrets."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from starlake_dagster_components.masking.names import is_secret_name, matches_name
from starlake_dagster_components.masking.values import find_secrets

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANB\n  kqhkiG9w0BAQ  \n-----END PRIVATE KEY-----\n"


class Credentials(BaseModel):
    """Fields of an executor or a resource."""

    user: str = "loader"
    password: str = "p4ssw0rd"
    pin: SecretStr = SecretStr("9876")
    inner: "Credentials | None" = None


class Wrapper:
    """A secret of another library than pydantic."""

    def get_secret_value(self) -> str:
        return "wr4pped"


@pytest.mark.parametrize(
    ("source", "secrets"),
    [
        ({"password": "p4ssw0rd", "user": "loader"}, {"p4ssw0rd"}),
        ({"password": "  p4ssw0rd \n"}, {"p4ssw0rd"}),
        ({"password": "four"}, {"four"}),
        ({"password": "abc"}, set()),
        ({"password": 12345}, {"12345"}),
        ({"password": 123.5}, {"123.5"}),
        ({"password": True, "token": None, "secret": ""}, set()),
        ({"password": "{{DB_PASSWORD}}", "token": " ${TOKEN} "}, set()),
        ({"password": "abcd ${TOKEN}"}, {"abcd ${TOKEN}"}),
        ({"password": "line one\n{{DB_PASSWORD}}\n"}, {"line one", "line one\n{{DB_PASSWORD}}"}),
        ({"private_key": PEM}, {PEM.strip(), "MIIEvQIBADANB", "kqhkiG9w0BAQ"}),
        ({"url": "postgresql://ann:p4ssw0rd@host/db"}, {"p4ssw0rd"}),
        ({"command": "load password=p4ssw0rd"}, {"p4ssw0rd"}),
        ({"command": "load user=ann, mail ann@example.org"}, set()),
        ({"deep": {"deeper": [{"token": "t0k3n"}, {"token": "0th3r"}]}}, {"t0k3n", "0th3r"}),
        ({"tokens": ["one1", "two2"]}, {"one1", "two2"}),
        ({"tokens": frozenset({"one1"})}, {"one1"}),
        ({"tokens": b"bytes of a token"}, set()),
        ({"tokens": bytearray(b"bytes of a token")}, set()),
        ({"options": json.dumps({"password": "p4ssw0rd", "user": "loader"})}, {"p4ssw0rd"}),
        ({"options": '  {"password": "p4ssw0rd"}'}, {"p4ssw0rd"}),
        ({"options": '[{"password": "p4ssw0rd"}]'}, {"p4ssw0rd"}),
        ({"token": '["0ne1", "tw02"]'}, {'["0ne1", "tw02"]', "0ne1", "tw02"}),
        ({"token": '{"user": "loader"}'}, {'{"user": "loader"}'}),
        ({"options": '{"password": "p4ssw0rd"'}, set()),
        (Credentials(), {"p4ssw0rd", "9876"}),
        (Credentials(inner=Credentials(password="1nn3r")), {"p4ssw0rd", "9876", "1nn3r"}),
        ({"anything": Wrapper()}, {"wr4pped"}),
        ({"anything": object()}, set()),
    ],
)
def test_secrets_are_found_in_data(source: Any, secrets: set[str]) -> None:
    assert find_secrets([source]) == secrets


@pytest.mark.parametrize(
    ("names", "secrets"), [((), set()), (["*_PIN"], {"4711"}), (["card*"], {"4711"}), (["pin"], set()), (["x", "CARD_PIN"], {"4711"})]
)
def test_configured_names_are_secret(names: Sequence[str], secrets: set[str]) -> None:
    assert find_secrets([{"card_pin": "4711", "user": "loader"}], names) == secrets


def nest(levels: int, make: Any) -> Any:
    value: Any = "d33p"
    for _ in range(levels):
        value = make(value)
    return value


@pytest.mark.parametrize("make", [lambda value: {"token": value}, lambda value: [value]], ids=["mappings", "lists"])
def test_nested_data_is_searched_to_twenty_levels(make: Any) -> None:
    assert find_secrets([{"token": nest(19, make)}]) == {"d33p"}
    assert find_secrets([{"token": nest(20, make)}]) == set()


def test_data_that_contains_itself_does_not_hang() -> None:
    data: dict[str, Any] = {"token": "l00p"}
    data["self"] = data
    assert find_secrets([data]) == {"l00p"}


def test_nested_json_strings_do_not_hang() -> None:
    text = "d33p"
    for _ in range(8):
        text = json.dumps([text])
    assert "d33p" in find_secrets([{"token": text}])
    assert find_secrets([{"token": "[" * 100_000}]) == {"[" * 100_000}


def test_json_strings_in_data_are_levels_of_nesting() -> None:
    def nest_lists(levels: int) -> str:
        return "[" * levels + '"d33p"' + "]" * levels

    assert "d33p" in find_secrets([{"token": nest_lists(18)}])
    assert "d33p" not in find_secrets([{"token": nest_lists(19)}])


def test_nested_models_are_searched_to_a_limited_depth() -> None:
    credentials: Credentials | None = None
    for number in range(30):
        credentials = Credentials(password=f"level{number}", inner=credentials)
    found = find_secrets([credentials])
    # A model and its fields are two levels.
    assert "level29" in found
    assert "level0" not in found


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("spark.hadoop.fs.s3a.secret.key", True),
        ("apiKey", True),
        ("sasKey", True),
        ("sshPassphrase", True),
        ("db-pw", True),
        ("proxy.authorization", True),
        ("PASSPORT_NUMBER", False),
        ("primaryKey", False),
        ("foreign_keys", False),
        ("PARTITION_KEY", False),
        ("SL_DAGSTER_ASSET_KEYS", False),
        ("publicKey", False),
        ("PASSWORD_FILE", False),
        ("TOKEN_ENDPOINT", False),
        ("SECRET_PATH", False),
        ("keyboard", False),
        ("", False),
    ],
)
def test_names_that_are_written_in_any_way(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_patterns_of_names_are_compared_in_any_case() -> None:
    assert matches_name("Card_Pin", ["other", "*_PIN"])
    assert not matches_name("Card_Pin", ["pin"])
