"""Recognize errors that are caused by a full disk, in whichever library they occur."""

import errno
import re
import tempfile
from collections.abc import Iterator

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_TEXT = re.compile(
    r"no space left on device|disk quota exceeded|file too large|(?:database or )?disk is full|disk i/o error|failed to offload data",
    re.IGNORECASE,
)
_PATH = re.compile(r"""['"](/[^'"\\\n]+)\\?['"]""")
ADVICE = "free some space, or choose another disk, and run it again"


def explain_full_disk(error: BaseException) -> str | None:
    """Return a message with advice if a full disk caused an exception (or one of its causes), or else None."""
    for one in _walk_causes(error):
        text = str(one)
        if text.endswith(ADVICE):
            return text
        number = getattr(one, "errno", None)
        if number not in _FULL and not (_is_of_database(one) and _TEXT.search(text)):
            continue
        found = _PATH.search(text)
        # DuckDB does not name the folder that it has no room in.
        spilled = tempfile.gettempdir() if "failed to offload data" in text else None
        path = getattr(one, "filename", None) or (found.group(1) if found else spilled)
        reason = "a file exceeds the maximum size" if number == errno.EFBIG else "the disk is full"
        where = f": {path}" if path else f" ({text.splitlines()[0][:200]})" if _is_of_database(one) else ""
        return f"{reason}{where}; {ADVICE}"
    return None


def _is_of_database(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("sqlite3", "sqlalchemy", "duckdb", "_duckdb", "starlake_dagster_components")


def _walk_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    stack: list[BaseException | None] = [error]
    while stack:
        one = stack.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            stack += [one.__context__, one.__cause__]
