"""Check how deeply SQL is nested before a recursive parser reads it.

A compiled parser uses the process's stack for each level. Python's recursion limit does not protect the stack once it has
been raised, which this package does for Dagster in projects with long chains of tasks. The process would crash.
"""

import re

MAX_NESTING = 200
"""Number of brackets that may be open at a time, and of consecutive signs or NOTs.

With Python's own recursion limit, parsers give up at about a third of it.
"""

_STEP = re.compile(r"[(\[{]|[)\]}]")
_SIGNS = re.compile(rf"(?:\bnot\s+){{{MAX_NESTING}}}|(?:[-+~]\s+){{{MAX_NESTING}}}", re.IGNORECASE)


def is_nested_too_deeply(sql: str) -> bool:
    """Return whether SQL has more than :data:`MAX_NESTING` brackets open at a time, or as many consecutive signs.

    Brackets in strings and comments count as well. The caller then does without a parser, which is never wrong.
    """
    if sql.count("(") + sql.count("[") + sql.count("{") > MAX_NESTING:
        depth = 0
        for step in _STEP.finditer(sql):
            depth = depth + 1 if step[0] in "([{" else max(0, depth - 1)
            if depth > MAX_NESTING:
                return True
    return _SIGNS.search(sql) is not None
