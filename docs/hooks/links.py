"""Links of the pages to files outside of ``docs/`` lead to the repository in the site."""

import posixpath
import re
from typing import Any

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
