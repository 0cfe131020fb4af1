"""Secrets in texts."""

import pytest

from starlake_dagster_components.masking import Mask, is_secret_name


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD", "dbPassword", "PGPASSWORD", "SNOWFLAKE_PASSPHRASE", "CLIENT_SECRET", "GITHUB_TOKEN", "token", "API_KEY", "APIKEY",
        "AWS_ACCESS_KEY_ID",
        "PRIVATE_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "DB_PASS", "DB_PWD", "SNOWFLAKE_PAT", "AZURE_STORAGE_KEY",
        "AZURE_CONNECTION_STRING",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PWD", "OLDPWD", "HOME", "MONKEY", "KEYBOARD", "SL_ROOT", "PATH", "COMPASS", "PATTERN", "BYPASS_CACHE", "JAVA_HOME"]
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)


def test_values_are_hidden_wherever_they_stand() -> None:
    mask = Mask({"A_TOKEN": "s3cret"}, {"B_PASSWORD": "s3cret-and-more", "HOME": "/home/ann"})
    assert mask("a s3cret-and-more b s3cret, /home/ann") == "a *** b ***, /home/ann"


def test_each_line_of_a_value_is_hidden() -> None:
    mask = Mask({"PRIVATE_KEY": "-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n"})
    assert mask("MIIEvQIBADAN") == "***"


@pytest.mark.parametrize("value", ["", "  ", "1", "abc", "true", "None"])
def test_short_and_common_values_are_no_secrets(value: str) -> None:
    assert Mask({"A_TOKEN": value})("true None abc 1  x") == "true None abc 1  x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jdbc:postgresql://bob:hunter2@db:5432/x", "jdbc:postgresql://bob:***@db:5432/x"),
        ("https://:tok@host/a and ftp://a:b@c", "https://:***@host/a and ftp://a:***@c"),
        ("file:///a/b@c https://host:80/x@y mail@host", "file:///a/b@c https://host:80/x@y mail@host"),
    ],
)
def test_passwords_in_addresses_are_hidden_whatever_they_are_called(text: str, shown: str) -> None:
    assert Mask()(text) == shown


def test_values_with_special_characters() -> None:
    assert Mask({"A_TOKEN": "a.b*c(d"})("x a.b*c(d y aXbbc(d") == "x *** y aXbbc(d"
