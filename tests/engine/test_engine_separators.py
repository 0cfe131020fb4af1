"""Separators that are too long for DuckDB."""

import csv
import io
import random
from pathlib import Path

import pytest
from engine_help import Sandbox, make

from starlake_dagster_components.engine.formats import separators
from starlake_dagster_components.engine.formats.separators import shorten_separators
from starlake_dagster_components.engine.scratch import Scratch

PIECES = ["a", "#", "<", "~>", '"', '""', "\\", "'", " ", "\n", "\r\n", "\r", "é", "", "longer text "]


def convert(file: Path, separator: str, quote: str = '"') -> tuple[bytes, bytes, bool]:
    with Scratch() as scratch:
        copy, short, quoted = shorten_separators(file, separator, quote, scratch)
        return copy.read_bytes(), short.encode(), quoted


@pytest.mark.parametrize("separator", ["<-~->", "#####", "|;|;|", "ababab", "€€€"])
def test_a_copy_differs_in_nothing_but_its_separator(separator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(separator)
    file = tmp_path / "f.csv"
    for _ in range(200):
        content = "".join(chance.choice([*PIECES, separator, separator]) for _ in range(chance.randint(0, 60))).encode()
        file.write_bytes(content)
        monkeypatch.setattr(separators, "_CHUNK", chance.choice([1, 7, 50, 10_000]))
        copy, short, quoted = convert(file, separator)
        assert short == b"\x1f"
        assert copy == content.replace(separator.encode(), short)
        assert quoted == (b'"' in content)


def test_a_copy_has_a_separator_that_the_file_does_not_have(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(b"a<~~~>b\x1f\n")
    assert convert(file, "<~~~>")[:2] == (b"a\x1eb\x1f\n", b"\x1e")


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def test_quoted_fields_keep_the_separator(box: Sandbox) -> None:
    rows = [("1", "a <~~~> b"), ("2", 'say "<~~~>'), ("3", "two\nlines <~~~>"), ("4", None), ("5", "<~~~><~~~>")]
    text = io.StringIO()
    csv.writer(text, delimiter="\x01", lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("id", "text"), *rows])
    box.table("d", "x", "{ name: id, type: long }\n{ name: text, type: string }", 'format: DSV, separator: "<~~~>", escape: "\\""')
    box.load("d", {"x.csv": text.getvalue().replace("\x01", "<~~~>")})
    assert box.rows("select id::varchar, text from d.x order by id") == rows
    result = box.load("d", {"x2.csv": '"id"<~~~>"text"\n"1<~~~>"<~~~>"a"\n'}, check=False)
    assert "line 2: column 'id': '1<~~~>' is not of type long" in (result.reason or "")


@pytest.mark.parametrize(
    ("separator", "said"), [('<\\"\\"\\">', "quote"), ("<\\\\\\\\>-", "escape"), ("|\\n|\\n|", "line end"), ('\\"|', "quote")]
)
def test_separators_that_cannot_be_distinguished_from_other_characters(box: Sandbox, separator: str, said: str) -> None:
    box.table("d", "x", "{ name: id, type: long }\n{ name: text, type: string }", f'format: DSV, separator: "{separator}"')
    result = box.load("d", {"x.csv": "id\n1\n"}, check=False)
    assert f"must not contain the {said}" in (result.reason or "")
