"""Strings that look like secrets, whether they are known or not."""

import pytest

from starlake_dagster_components.masking.patterns import find_in_patterns, hide_patterns

HIDDEN = [
    ("mysql://ann:p4ss@host", "mysql://ann:***@host", ["p4ss"]),
    ("mysql://ann:p:4@s@host", "mysql://ann:***@host", ["p:4@s"]),
    ("x://ann:8080@host", "x://ann:***@host", ["8080"]),
    ("x://host:8080/a@b", "x://host:8080/a@b", []),
    ("x://host:8080?a@b", "x://host:8080?a@b", []),
    ("x://host:8080#a@b", "x://host:8080#a@b", []),
    ("JDBC:Oracle:oci:scott/tiger@h", "JDBC:Oracle:oci:scott/***@h", ["tiger"]),
    ("--token abc --user ann", "--token *** --user ann", ["abc"]),
    ("--db.secret-value=abc", "--db.secret-value=***", ["abc"]),
    ("--Api-Key 'a b' x", "--Api-Key '***' x", ["a b"]),
    ('--passphrase "a \\" b" x', '--passphrase "***" x', ['a \\" b']),
    ("--password --user ann", "--password --user ann", []),
    ("--password $(cat file)", "--password $(cat file)", []),
    ("--password ${PW} --password {{pw}} --password ***", "--password ${PW} --password {{pw}} --password ***", []),
    ("x--token abc", "x--token abc", []),
    ("Server=h;Pwd=abc;Encrypt=yes", "Server=h;Pwd=***;Encrypt=yes", ["abc"]),
    ("user=u,passcode = 'it''s',x=1", "user=u,passcode = '***',x=1", ["it''s"]),
    ("PWD={a;b};x", "PWD={***};x", ["a;b"]),
    ("https://store/x?sig=abc%2F&se=1", "https://store/x?sig=***&se=1", ["abc%2F"]),
    ("https://store/x?X-Amz-Signature=abc", "https://store/x?X-Amz-Signature=***", ["abc"]),
    ("design=abc", "design=abc", []),
    ("AccountKey=abc==;EndpointSuffix=x", "AccountKey=***;EndpointSuffix=x", ["abc=="]),
    ("shared_access_key=abc sas-key=def encryption.key=ghi", "shared_access_key=*** sas-key=*** encryption.key=***", ["abc", "def", "ghi"]),
    ("credential=abc credentials=def", "credential=*** credentials=***", ["abc", "def"]),
    ("connection_string='Endpoint=x;Key=y'", "connection_string='***'", ["Endpoint=x;Key=y"]),
    ("connection_string='Endpoint=x'", "connection_string='***'", ["Endpoint=x"]),
    ("password=~abc~", "password=***", ["~abc~"]),
    ("password=?", "password=?", []),
    ("password=%(password)s", "password=%(password)s", []),
    ("password=''", "password=''", []),
    ("{'password': 'abc', 'user': 'ann'}", "{'password': '***', 'user': 'ann'}", ["abc"]),
    ('{"apiKey" : "a\\"b"}', '{"apiKey" : "***"}', ['a\\"b']),
    ('{"message": "{\\"token\\": \\"abc\\"}"}', '{"message": "{\\"token\\": \\"***\\"}"}', ["abc"]),
    ('{"message": "{\\"token\\": \\"\'\\"}"}', '{"message": "{\\"token\\": \\"***\\"}"}', []),
    ("password: abc", "password: ***", ["abc"]),
    ("db_secret : 'abc'", "db_secret : '***'", ["abc"]),
    ("token: abc", "token: abc", []),
    ("<user>ann</user><db.password>a&lt;b</db.password>", "<user>ann</user><db.password>***</db.password>", ["a&lt;b"]),
    ('<Token type="x">\n abc\n</Token>', '<Token type="x">\n ***\n</Token>', ["abc"]),
    ("<password>${PW}</password> <secrets/> a<token>b", "<password>${PW}</password> <secrets/> a<token>b", []),
    ("CREATE USER u IDENTIFIED BY 'a''b'", "CREATE USER u IDENTIFIED BY '***'", ["a''b"]),
    ("key_id 'abc', session_token 'def'", "key_id '***', session_token '***'", ["abc", "def"]),
    ("expected token ',', got '='; token 'abc'", "expected token ',', got '='; token '***'", ["abc"]),
    ("authorization: basic abc=", "authorization: basic ***", ["abc="]),
    ("'Authorization': 'Bearer abc'", "'Authorization': 'Bearer ***'", ["abc"]),
    ("authorization=token abc, x", "authorization=token ***, x", ["abc"]),
    ("-----BEGIN PRIVATE KEY-----\nabc\ndef\n-----END PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----",
     ["\nabc\ndef\n"]),
    ("-----BEGIN PRIVATE KEY-----\nabc", "-----BEGIN PRIVATE KEY-----***", ["\nabc"]),
    ("the password is not shown; keys of a token", "the password is not shown; keys of a token", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown", "found"), HIDDEN)
def test_strings_that_look_like_secrets_are_hidden_by_patterns(text: str, shown: str, found: list[str]) -> None:
    assert hide_patterns(text) == shown
    assert set(filter(None, find_in_patterns(text))) == set(found)


@pytest.mark.parametrize(("text", "shown", "found"), HIDDEN)
def test_hiding_twice_hides_nothing_more(text: str, shown: str, found: list[str]) -> None:
    assert hide_patterns(hide_patterns(text)) == shown


@pytest.mark.parametrize(
    "text", ["x://" + "a" * 20_000, "password" * 5_000, "--token" * 5_000 + "=", '"token":"' * 5_000, "://a:" * 5_000 + "@"]
)
def test_long_lines_are_searched_to_their_end(text: str) -> None:
    assert hide_patterns(f"{text}\n--password abc").endswith("--password ***")
