"""Secrets in strings."""

import pytest

from starlake_dagster_components.masking import (
    Mask,
    forget_secrets,
    is_secret_name,
    mask_data,
    mask_exception,
    mask_text,
    register_secret_names,
    register_secrets,
)


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD", "dbPassword", "PGPASSWORD", "SNOWFLAKE_PASSPHRASE", "CLIENT_SECRET", "GITHUB_TOKEN", "token", "API_KEY", "APIKEY",
        "AWS_ACCESS_KEY_ID",
        "PRIVATE_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "DB_PASS", "DB_PWD", "SNOWFLAKE_PAT", "AZURE_STORAGE_KEY",
        "AZURE_CONNECTION_STRING",
    ],
)  # fmt: skip
def test_names_of_secrets_are_recognized(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PWD", "OLDPWD", "HOME", "MONKEY", "KEYBOARD", "SL_ROOT", "PATH", "COMPASS", "PATTERN", "BYPASS_CACHE", "JAVA_HOME"]
)
def test_other_names_are_not_secret(name: str) -> None:
    assert not is_secret_name(name)


def test_values_are_hidden_anywhere_in_text() -> None:
    mask = Mask({"A_TOKEN": "s3cret"}, {"B_PASSWORD": "s3cret-and-more", "HOME": "/home/ann"})
    assert mask("a s3cret-and-more b s3cret, /home/ann") == "a *** b ***, /home/ann"


def test_each_line_of_a_value_is_hidden() -> None:
    mask = Mask({"PRIVATE_KEY": "-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n"})
    assert mask("MIIEvQIBADAN") == "***"


@pytest.mark.parametrize("value", ["", "  ", "1", "abc", "true", "False", "None", "NULL", "yes"])
def test_short_and_common_values_are_not_secrets(value: str) -> None:
    text = "true false False None null NULL yes abc 1  x"
    assert Mask({"A_TOKEN": value})(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jdbc:postgresql://bob:hunter2@db:5432/x", "jdbc:postgresql://bob:***@db:5432/x"),
        ("https://:tok@host/a and ftp://a:b@c", "https://:***@host/a and ftp://a:***@c"),
        ("file:///a/b@c https://host:80/x@y mail@host", "file:///a/b@c https://host:80/x@y mail@host"),
    ],
)
def test_passwords_in_urls_are_hidden_regardless_of_variable_names(text: str, shown: str) -> None:
    assert Mask()(text) == shown


def test_values_with_special_characters_are_hidden() -> None:
    assert Mask({"A_TOKEN": "a.b*c(d"})("x a.b*c(d y aXbbc(d") == "x *** y aXbbc(d"


SPECIAL = "p@ss w\"o'r$d\\1/x&y"


@pytest.mark.parametrize(
    "form",
    [
        SPECIAL,
        "p%40ss%20w%22o%27r%24d%5C1%2Fx%26y",
        "p%40ss%20w%22o%27r%24d%5c1%2fx%26y",
        "p%40ss+w%22o%27r%24d%5C1%2Fx%26y",
        "p@ss w\\\"o'r$d\\\\1/x&y",
        "p@ss w\"o'\"'\"'r$d\\1/x&y",
        "p@ss w\"o'\\''r$d\\1/x&y",
        "p@ss w\"o''r$d\\1/x&y",
        "p@ss w&quot;o&#x27;r$d\\1/x&amp;y",
        "cEBzcyB3Im8nciRkXDEveCZ5",
    ],
)
def test_a_secret_is_hidden_in_all_of_its_forms(form: str) -> None:
    assert Mask({"DB_PASSWORD": SPECIAL})(f"before {form} after") == "before *** after"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("starlake --password hunter2 load", "starlake --password *** load"),
        ("--db-password=hunter2 x", "--db-password=*** x"),
        ("jdbc:mysql://h/d?user=u&password=hunter2&ssl=true", "jdbc:mysql://h/d?user=u&password=***&ssl=true"),
        ("jdbc:oracle:thin:scott/tiger@h:1521:x", "jdbc:oracle:thin:scott/***@h:1521:x"),
        ('{"client_secret": "abc"}', '{"client_secret": "***"}'),
        ("CREATE SECRET s (TYPE s3, SECRET 'abc')", "CREATE SECRET s (TYPE s3, SECRET '***')"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("unexpected token: FROM", "unexpected token: FROM"),
        ("primary_key=id, key=abc", "primary_key=id, key=abc"),
    ],
)
def test_strings_that_look_like_secrets_are_hidden(text: str, shown: str) -> None:
    assert Mask()(text) == shown


def test_a_secret_word_is_hidden_only_as_a_whole_word() -> None:
    assert Mask({"PASSWORD": "starlake"})("starlake_dagster /x/starlake/y xstarlake") == "starlake_dagster /x/***/y xstarlake"


def test_the_secret_fields_of_json_are_secrets() -> None:
    mask = Mask({"SERVICE": '{"type": "account", "private_key": "-----BEGIN KEY-----\\nMIIEvQ\\n", "other": "harmless"}'})
    assert mask("MIIEvQ account harmless") == "*** account harmless"


def test_known_secrets_are_hidden_in_strings_data_and_exceptions() -> None:
    register_secrets("/project", "test", {"API_TOKEN": "abc-def-123", "CUSTOMER_PIN": "994-112"})
    assert mask_text("abc-def-123 994-112") == "*** 994-112"
    register_secret_names("/project", ["customer_*"])
    assert mask_data({"a": ["abc-def-123", ("994-112", 5)], "abc-def-123": None}) == {"a": ["***", ("***", 5)], "***": None}
    error = RuntimeError("with abc-def-123")
    error.__cause__ = ValueError("cannot read abc-def-123")
    mask_exception(error)
    assert (str(error), str(error.__cause__)) == ("with ***", "cannot read ***")
    forget_secrets()
    assert mask_text("abc-def-123") == "abc-def-123"
