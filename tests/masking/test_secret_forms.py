"""Secrets as URLs, JSON, shells, SQL, and XML write them."""

import base64
import json
import os
import shutil
import string
import subprocess
from html import escape
from urllib.parse import quote, quote_plus, urlencode

import pytest

from starlake_dagster_components.masking import Mask

SECRETS = [f"p4ss{character}w0rd" for character in string.punctuation + " \t"]
LETTERS = ["pässwörd1", "пароль99", "p4ss w0rd é", "𝒫assword"]


def hide(secret: str, written: str) -> str:
    return Mask({"DB_PASSWORD": secret})(f"<<{written}>>")


@pytest.mark.parametrize("secret", [*SECRETS, *LETTERS])
def test_secrets_are_hidden_in_urls_and_json(secret: str) -> None:
    for written in (
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret, safe="").lower().replace("p4ss", secret[:4]) if secret in SECRETS else quote(secret),
        urlencode({"x": secret})[2:],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        secret.replace("'", "''"),
        secret.replace('"', '""'),
        secret.replace("'", "\\'"),
        repr(secret)[1:-1],
        escape(secret),
        escape(secret, quote=False),
        base64.b64encode(secret.encode()).decode(),
    ):
        assert hide(secret, written) == "<<***>>", written


def test_secrets_are_hidden_as_bash_quotes_them() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    written = subprocess.run([bash, "-c", 'printf "%q\\n" "$@"', "bash", *SECRETS], capture_output=True, text=True, check=True).stdout
    for secret, line in zip(SECRETS, written.splitlines(), strict=True):
        if "\t" not in secret:
            assert hide(secret, line) == "<<***>>", line


@pytest.mark.parametrize("character", list('"\\$`!'))
def test_secrets_are_hidden_in_double_quotes_of_a_shell(character: str) -> None:
    assert hide(f"p4ss{character}w0rd", f"p4ss\\{character}w0rd") == "<<***>>"


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        pytest.param("p4ss~w$rd", "p4ss~w\\$rd", id="double quotes of a shell"),
        pytest.param('pä$s"word', 'pä$s\\"word', id="JSON with letters as they are"),
        pytest.param("p4ss'w rd", "p4ss\\'w rd", id="a backslash before quotes only"),
        pytest.param("p'4\"s\\s", "p\\'4\"s\\\\s", id="Python"),
        pytest.param('p4"ss<w', 'p4"ss&lt;w', id="XML between tags"),
    ],
)
def test_secrets_with_several_characters_of_which_some_are_escaped(secret: str, written: str) -> None:
    assert hide(secret, written) == "<<***>>"


def test_bytes_that_are_not_text_in_the_environment() -> None:
    """Python reads the byte FF of a variable as half a character."""
    secret = os.fsdecode(b"p4ss\xffword")
    for written in (secret, "p4ss%FFword", "p4ss%ffword", base64.b64encode(b"p4ss\xffword").decode()):
        assert hide(secret, written) == "<<***>>", written


def test_halves_of_characters_in_json_are_hidden() -> None:
    mask = Mask({"SERVICE": '{"password": "p4ss\\ud83dword"}'})
    assert mask("<<p4ss\ud83dword>>") == "<<***>>"


@pytest.mark.parametrize(("secret", "hidden"), [("abcdefghi", True), ("abcdefgh", True), ("abcdef", False)])
def test_base64_of_short_secrets_is_left_as_it_may_be_any_word(secret: str, hidden: bool) -> None:
    written = base64.b64encode(secret.encode()).decode()
    assert hide(secret, written) == ("<<***>>" if hidden else f"<<{written}>>")
    assert (hide(secret, written.rstrip("=")) == "<<***>>") is hidden
