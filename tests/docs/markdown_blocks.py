"""The fenced code blocks of the documentation, with what their pages say about running them.

An author marks blocks as follows. Everything else runs.

- A ``title="path"`` on a fence is a file that readers write: the test writes it, too.
- A ``title="Output"`` is what the commands before it print. ``...`` stands for anything.
- ``<!-- not run: reason -->`` above a fence is a block that a test cannot run.
- ``<!-- workspace: NAME -->`` on a page names the folder in which its blocks run, see ``workspaces.py``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUT = "Output"
_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?```(?P<language>[\w-]*)(?P<attributes>[^\n]*)\n(?P<text>.*?)^```[ ]*$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: its page, relative to the repository.
        line: the line of its fence, from 1.
        language: the word after the fence; empty without one.
        title: the file that it is, or ``Output``; empty without a title.
        text: what is between the fences.
        reason: why it cannot run; empty for a block that runs.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def replace(self, old: str, new: str) -> "Block":
        """Return the block with each occurrence of a string replaced."""
        return replace(self, text=self.text.replace(old, new))


def list_pages() -> list[Path]:
    """Return the pages that readers follow."""
    return [
        REPOSITORY / "README.md",
        REPOSITORY / "CONTRIBUTING.md",
        *sorted((REPOSITORY / "docs").rglob("*.md")),
        *sorted((REPOSITORY / "deploy").rglob("*.md")),
        *sorted((REPOSITORY / "examples").glob("*/README.md")),
    ]


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    yield from parse_blocks(page.read_text(encoding="utf-8"), str(page.relative_to(REPOSITORY)))


def parse_blocks(text: str, name: str = "") -> Iterator[Block]:
    """Yield the blocks of the text of the page ``name``, in order."""
    for found in _FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', found["attributes"])
        fence = found.start() + found[0].index("```")
        yield Block(
            name, text.count("\n", 0, fence) + 1, found["language"], title[1] if title else "", found["text"], found["reason"] or ""
        )


def read_workspace(page: Path) -> str:
    """Return the name of the workspace in which a page's blocks run."""
    found = re.search(r"^<!-- workspace: (\w+) -->$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "empty"
