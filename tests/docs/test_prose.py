"""The check of spelling and vocabulary finds what it forbids, and nothing in code."""

import subprocess
import sys
from pathlib import Path

import pytest
from markdown_blocks import REPOSITORY

pytest.importorskip("codespell_lib", reason="needs codespell, see requirements/dev.in")


def check(path: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, REPOSITORY / ".ci/prose.py", str(path)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "This is no table.",
        "The materialisation has counts.",
        "Nobody reads it.",
        "It says how to mend it.",
        "The value is a text here.",
        "What wins, from weak to strong:",
        "The colour of the button.",
        "It says what became of the file.",
        "Recieve the file.",
        "Names are separated by blanks.",
        "An option wins over its variable.",
    ],
)
def test_wording_that_is_not_natural_is_found(line: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{line}\n", encoding="utf-8")
    code, printed = check(page)
    assert code == 1
    assert ":3: " in printed


def test_long_lines_are_found_outside_of_tables_code_and_links(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    long = "word " * 33
    link = f"[page](https://example.com/{'a' * 200})"
    page.write_text(f"{long}\n\n| {long} |\n\n```text\n{long}\n```\n\n{link}\n", encoding="utf-8")
    code, printed = check(page)
    assert code == 1
    assert [line.split(":")[1] for line in printed.splitlines() if "characters: " in line] == ["1"]


def test_docstrings_begin_with_a_noun_or_a_verb(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('''"""What is here."""\n\nX = 1\n"""The number."""\n\n\ndef f():\n    """Which one."""\n''', encoding="utf-8")
    code, printed = check(module)
    assert code == 1
    assert [line.split(":")[1] for line in printed.splitlines()] == ["1", "8"]


def test_long_sentences_are_found_outside_of_tables_that_are_generated(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    long = ("word " * 15 + "\n") * 2 + "word."
    short = "It has `a b c` and [a link](https://example.com). " * 10
    page.write_text(f"{short}\n\n{long}\n\n<!-- table: x -->\n| {'word ' * 40} |\n<!-- end of table -->\n", encoding="utf-8")
    code, printed = check(page)
    assert code == 1
    assert [line.split(": ")[1] for line in printed.splitlines() if " words: " in line] == ["31 words"]


def test_code_and_natural_prose_pass(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("There is no error. Write `is no` or:\n\n```text\nThis is no error.\n```\n", encoding="utf-8")
    assert check(page) == (0, "")


def test_the_repository_passes() -> None:
    done = subprocess.run([sys.executable, REPOSITORY / ".ci/prose.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
