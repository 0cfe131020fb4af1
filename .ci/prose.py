"""Check the spelling, vocabulary, and length of prose: documentation, comments, docstrings, and messages. Part of ``make lint``.

codespell checks the spelling (American English), and the tables below the wording. Code is not checked: fenced blocks and `code` in
Markdown, names in Python. Lines of Markdown have a limit, because a diff shows whole lines.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TESTS = "tests/**/*.py"
PAGES = ("*.md", "docs/**/*.md", "deploy/**/*.md", "examples/**/*.md", ".github/**/*.md")
SOURCES = ("starlake_dagster_components/**/*.py", "examples/*.py", "bench/**/*.py", ".ci/*.py", "docs/hooks/*.py")

WORDING = {
    r"(?<!there )\bis no (?!longer\b|more\b|such\b|exception\b|\w+er than\b)": "is not a",
    r"(?<!there )\bare no (?!longer\b|more\b|\w+er than\b)": "are not",
    r"\bbec(?:ame|omes) of\b": "happens to",
    r"\b(?:nobody|somebody)\b": "no one, someone, or the passive",
    r"\b(?:is|are|was|were) told\b": "says, reports, or documents",
    r"\btold (?:from|apart)\b": "distinguished",
    r"\bwhat wins\b": "precedence",
    r"\bmateriali[sz]e?s?ation\b(?<!materialization)|\bmaterialis": "materialize, materialization",
    r"\bmend(?:s|ed|ing)?\b": "fix, correct, or repair",
    r"\ba text\b(?! (?:file|column|editor))": "a string, or text",
    r"\b(?:the|this) seed\b|\bsurprises? \d": "the name of Starlake's page or class",
    r"\b(?:behaviour|colour|honour|favour|analyse|recognis|organis|initialis|normalis|serialis)": "American spelling",
    r"\bwhat (?:stands|is told)\b": "a noun",
    r"\bpassed over\b": "ignored, skipped",
    r"\bgo(?:es|ne)? for good\b": "is permanent",
    r"\bcancell(?:ed|ing)\b": "canceled, canceling",
    r"(?<!not )\bsay whether\b": "return whether",
    r"\bhand(?:s|ed)? over\b": "pass on",
    r"\b(?:cannot|can|to) be had\b": "cannot be read, is not known",
    r"\bof ours\b": "of this package",
    r"\boverrul": "override, take precedence",
    r"\bfor ever\b": "forever",
    r"\bin vain\b": "to no effect, or name the reason",
    r"\b(?:was|Starlake) noted\b": "recorded, in the audit",
}
"""Pattern of unnatural wording -> the wording to use instead."""

PAGE_WORDING = {
    r"\bblanks?\b(?! (?:lines?|cells?|rows?))": "space",
    r"\banew\b": "again, or a verb such as rebuild",
    r"\b(?:two|last|next|one|single) looks?\b": "poll, check, or tick",
    r"(?<!must not )\bwins?\b": "overrides, takes precedence, or applies",
    r"\bgone through\b": "processed",
    r"\bcosts? nothing\b": "the resource that is not used",
    r"\bloud(?:ly)?\b": "prominent",
    r"\bhear of\b": "be notified of",
    r"\bthere (?:is|are) not an?\b": "a sentence about the thing that exists, or without 'there'",
    r"\b(?:circles)\b": "cycles",
    r"\btexts\b": "strings",
    r"\bswitch(?:ed|es|ing)? (?:on|off)\b": "turn on, turn off",
    r"\bwith file and line\b": "with the file and line",
    r"\bwhatever\b": "regardless of",
}
"""The same, for pages only. In code, some of these words are names."""

LONGEST_SENTENCE = 30
"""Maximum number of words in a sentence of a page, except in generated tables."""

LONGEST_LINE = 160
"""Maximum number of characters in a line of Markdown, except in tables, code blocks and links."""

HEADLESS = re.compile(r"(?:What|Which|Who|Whose|Where|Whether|When|Why|How)\b(?! to\b)(?!.*\?)")
"""Beginning of a docstring without a main clause. It must begin with a noun ("The result of ...") or a verb ("Return the ...")."""

_FENCED = re.compile(r"^```.*?^```|<!--.*?-->", re.DOTALL | re.MULTILINE)
_GENERATED = re.compile(r"<!-- table: .*?<!-- end of table -->", re.DOTALL)
_LINK = re.compile(r"\]\([^)]*\)|https?://\S+")
_CODE = re.compile(r"^```.*?^```|``[^`]+``|`[^`\n]+`|<!--.*?-->|\]\([^)]*\)|https?://\S+", re.DOTALL | re.MULTILINE)


def list_files(given: Sequence[str]) -> list[Path]:
    """Return the files to check: the given ones, or all."""
    if given:
        return [Path(name).resolve() for name in given]
    return sorted({path for pattern in (*PAGES, *SOURCES) for path in REPOSITORY.glob(pattern)})


def read_prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of the prose in a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _read_python(text)
        return
    yield from enumerate(_blank(text).splitlines(), 1)


def _blank(text: str, code: re.Pattern[str] = _CODE) -> str:
    """Return text with its code replaced by spaces, so that lines keep their numbers."""
    return code.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def _read_python(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield from enumerate(_blank(token.string).splitlines(), token.start[0])


def find_wording(path: Path) -> Iterator[str]:
    """Yield a message for each unnatural wording in a file."""
    wording = {**WORDING, **PAGE_WORDING} if path.suffix == ".md" else WORDING
    for number, line in read_prose(path):
        for pattern, better in wording.items():
            found = re.search(pattern, line, re.IGNORECASE)
            if found:
                yield f"{_name(path)}:{number}: '{found[0].strip()}': write {better}"


def find_headless_docstrings(path: Path) -> Iterator[str]:
    """Yield the docstrings of a Python file, those of attributes included, that begin with a question word."""
    if path.suffix != ".py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for statement in getattr(node, "body", []) if not isinstance(node, (ast.Lambda, ast.IfExp)) else []:
            text = statement.value.value if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) else None
            found = HEADLESS.match(text.strip()) if isinstance(text, str) else None
            if found:
                yield f"{_name(path)}:{statement.lineno}: a docstring begins with '{found[0]}': begin with a noun or a verb"


def find_headless_tests(path: Path) -> Iterator[str]:
    """Yield the tests in a Python file whose names begin with a question word."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = re.match(r"\s*def test_(what|which|who|whose|where)_\w+", line)
        if found:
            yield f"{_name(path)}:{number}: a test's name begins with '{found[1]}': write what is so"


def find_long_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a Markdown file that are too long. Tables cannot be wrapped, and links do not count."""
    if path.suffix != ".md":
        return
    for number, line in enumerate(_blank(path.read_text(encoding="utf-8"), _FENCED).splitlines(), 1):
        length = len(_LINK.sub("", line.rstrip()))
        if length > LONGEST_LINE and not line.lstrip().startswith("|"):
            yield f"{_name(path)}:{number}: {length} characters: break the line, at most {LONGEST_LINE}"


def find_long_sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of a Markdown file that are too long to be read at once. A code span counts as one word."""
    if path.suffix != ".md":
        return
    text = _blank(_GENERATED.sub("", path.read_text(encoding="utf-8")), _FENCED)
    text = re.sub(r"`[^`\n]+`", "`code`", _LINK.sub("", text))
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\.))| \| ", text):
        for sentence in re.split(r"(?<=[.!?:])(?:\*\*)?\s+", " ".join(paragraph.split())):
            words = len(sentence.split())
            if words > LONGEST_SENTENCE:
                yield f"{_name(path)}: {words} words: write shorter sentences, of at most {LONGEST_SENTENCE} words: '{sentence[:60]}...'"


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path)


def check_spelling(files: Iterable[Path]) -> int:
    """Run codespell on files; return its exit code."""
    command = [
        sys.executable,
        "-m",
        "codespell_lib",
        "--toml",
        str(REPOSITORY / "pyproject.toml"),
        *(str(path) for path in files if path.name != "prose.py"),
    ]
    return subprocess.run(command, check=False, cwd=REPOSITORY).returncode


def main(given: Sequence[str]) -> int:
    """Check files; return the exit code."""
    files = list_files(given)
    # This file and its test contain the wording that is not allowed.
    found = [line for path in files if path.name not in ("prose.py", "test_prose.py") for line in find_wording(path)]
    found += [line for path in files for line in (*find_headless_docstrings(path), *find_long_lines(path), *find_long_sentences(path))]
    tests = () if given else sorted(REPOSITORY.glob(TESTS))
    found += [line for path in tests for line in (*find_headless_docstrings(path), *find_headless_tests(path))]
    for line in found:
        print(line)
    return 1 if check_spelling(files) or found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
