"""The tokenizer for SQL."""

import pytest

from starlake_dagster_components.engine.sqltext import split_statements
from starlake_dagster_components.project.sql.tokens import ANY_DATABASE, DUCKDB, STARLAKE, TokenRules, tokenize_sql

TEXTS = [
    "select 'it''s', \"a\"\"b\", E'\\'', $$ ; $$, $t$ $$ ; $t$ -- end\nfrom `x`.[y] /* a /* b */ c */ where a1 = 1.5e3",
    "select 'open",
    'select "open',
    "select /* open /* again",
    "select $a$ open $b$",
    "select e'open \\'",
    "$1 $ $$",
    "",
]


@pytest.mark.parametrize("rules", [DUCKDB, ANY_DATABASE, STARLAKE])
@pytest.mark.parametrize("sql", TEXTS)
def test_the_tokens_cover_the_whole_statement(sql: str, rules: TokenRules) -> None:
    tokens = list(tokenize_sql(sql, rules))
    assert "".join(token.text for token in tokens) == sql
    assert all(sql.startswith(token.text, token.start) and token.text for token in tokens)


def _list_kinds(sql: str, rules: TokenRules) -> list[tuple[str, str]]:
    return [(token.kind, token.text) for token in tokenize_sql(sql, rules) if token.kind != "blank"]


def test_quotes_and_comments() -> None:
    assert _list_kinds("/* a /* b */ c */ x", DUCKDB) == [("comment", "/* a /* b */ c */"), ("word", "x")]
    assert _list_kinds("/* a /* b */ c", STARLAKE) == [("comment", "/* a /* b */"), ("word", "c")]
    assert _list_kinds("\"a--b\" 'c--d'", DUCKDB) == [("quoted", '"a--b"'), ("string", "'c--d'")]
    assert _list_kinds('"a--b"', STARLAKE) == [("other", '"'), ("word", "a"), ("comment", '--b"')]
    assert _list_kinds("[a b] [1]", ANY_DATABASE) == [("quoted", "[a b]"), ("other", "["), ("number", "1"), ("other", "]")]
    assert _list_kinds("E'a\\'b' name'c'", DUCKDB) == [("string", "E'a\\'b'"), ("word", "name"), ("string", "'c'")]


def test_statements_of_a_script() -> None:
    script = " -- one; two\n;/* a /* ; */ ; */ Create table x;select ';' as \"a;b\", $$;$$ ; (select 1)"
    found = split_statements(script)
    assert [(one.text, one.keyword) for one in found] == [
        ("/* a /* ; */ ; */ Create table x", "CREATE"),
        ("select ';' as \"a;b\", $$;$$", "SELECT"),
        ("(select 1)", ""),
    ]
    assert all(script.startswith(one.text, one.offset) for one in found)
