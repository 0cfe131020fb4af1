"""Changes to the pages of the site.

- Links to files outside of ``docs/`` lead to the repository.
- Bars in the code of tables are shown without a backslash.
- Long names in code break after ``_``, ``.``, and ``/``.
"""

import posixpath
import re
from typing import Any

_CELL = re.compile(r"<td[^>]*>.*?</td>", re.DOTALL)
_CODE = re.compile(r"(?<!<tr>\n<td>)<code>([^<\n]{12,})</code>")
"""Code within a line that is longer than a short name. A name that begins a row of a table stays whole."""
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
    r"""Return a page whose code can be read in tables.

    GitHub needs ``\|`` for a bar in a table, and MkDocs would show the backslash.
    """
    return break_names(_CELL.sub(lambda cell: cell[0].replace("\\|", "|"), html))


def break_names(html: str) -> str:
    """Return a page in which browsers may break long names after ``_``, ``.``, and ``/``."""
    return _CODE.sub(lambda code: f"<code>{re.sub(r'(?<=[a-zA-Z0-9][_./])(?=[a-zA-Z0-9*<])', '<wbr>', code[1])}</code>", html)
