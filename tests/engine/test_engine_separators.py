"""Separators that are too long for DuckDB: the quick way gives what going through every field gives."""

import csv
import io
import random
from pathlib import Path

import pytest

from starlake_dagster_components.engine.formats import separators
from starlake_dagster_components.engine.formats.separators import shorten_separators
from starlake_dagster_components.engine.scratch import Scratch

PIECES = ["a", "#", "<", "~>", '"', '""', "\\", "'", " ", "\n", "\r\n", "é", "", "longer text "]


def convert(file: Path, separator: str, quote: str, escape: str) -> bytes:
    with Scratch() as scratch:
        copy, short = shorten_separators(file, separator, quote, escape, scratch)
        assert short == "\x1f"
        return copy.read_bytes()


@pytest.mark.parametrize("separator", ["<-~->", "#####", "|;|;|", "ababab"])
@pytest.mark.parametrize(("quote", "escape"), [('"', "\\"), ('"', '"'), ("'", "'"), ("", "")])
def test_the_quick_way_gives_the_same(separator: str, quote: str, escape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(separator + quote + escape)
    quick = 0
    simple = separators._Shortening._convert_simple_block
    for _ in range(150):
        lines = []
        tidy = chance.random() < 0.5
        for _ in range(chance.randint(1, 12)):
            fields = []
            for _ in range(chance.randint(1, 4)):
                text = "".join(chance.choice([*PIECES, separator]) for _ in range(chance.randint(0, 3)))
                if quote and (chance.random() < 0.4 or (tidy and any(sign in text for sign in (separator, quote, "\n")))):
                    text = quote + text.replace(quote, escape + quote) + quote
                fields.append(text)
            lines.append(separator.join(fields))
        file = tmp_path / "f.csv"
        file.write_text(chance.choice(["\n", "\r\n"]).join(lines) + chance.choice(["", "\n"]), newline="")
        monkeypatch.setattr(separators, "_CHUNK", chance.choice([7, 50, 10_000]))
        found: list[bool] = []

        def note(self: separators._Shortening, block: bytes, *, is_last: bool, found: list[bool] = found) -> tuple[bytes, bytes] | None:
            result = simple(self, block, is_last=is_last)
            found.append(result is not None)
            return result

        monkeypatch.setattr(separators._Shortening, "_convert_simple_block", note)
        quickly = convert(file, separator, quote, escape)
        monkeypatch.setattr(separators._Shortening, "_convert_simple_block", lambda self, block, is_last: None)
        assert quickly == convert(file, separator, quote, escape), file.read_bytes()
        quick += all(found)
    assert quick > 10


def test_quoted_fields_keep_the_separator(tmp_path: Path) -> None:
    rows = [["id", "text"], ["1", "a <~~~> b"], ["2", 'say ""<~~~>'], ["", "two\nlines <~~~>"], ["3", ""]] * 100
    text = io.StringIO()
    csv.writer(text, delimiter="\x01", lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    file = tmp_path / "f.csv"
    file.write_text(text.getvalue().replace("\x01", "<~~~>"))
    content = convert(file, "<~~~>", '"', '"').decode()
    assert list(csv.reader(io.StringIO(content), delimiter="\x1f")) == rows
