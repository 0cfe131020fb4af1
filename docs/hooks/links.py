"""Links of the pages to files outside of ``docs/`` lead to the repository in the site; bars in the code of tables are shown as such."""

import posixpath
import re
from typing import Any

_CELL = re.compile(r"<td[^>]*>.*?</td>", re.DOTALL)
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Return a page whose links to files beside ``docs/`` are addresses of the repository.

    Args:
        markdown: the page's text.
        page: the page.
        config: the configuration of MkDocs, for ``extra.repository``.
    """
    folder = posixpath.dirname("docs/" + page.file.src_uri)

    def rewrite(found: re.Match[str]) -> str:
        target = found[2]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            return found[0]
        return f"{found[1]}{config['extra']['repository']}/blob/main/{path}{found[3]}"

    return _LINK.sub(rewrite, markdown)


def on_page_content(html: str, **_: Any) -> str:
    r"""Return a page without the backslash before a bar in code: GitHub needs ``\|`` in tables, MkDocs would show the backslash."""
    return _CELL.sub(lambda cell: cell[0].replace("\\|", "|"), html)
