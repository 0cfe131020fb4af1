"""Check how deeply SQL is nested before a recursive parser reads it.

A compiled parser uses the process's stack for each level. This package raises Python's recursion limit for projects with long
chains of tasks, because Dagster needs it. The limit then no longer protects the stack, and the process would crash.
"""

import re

MAX_NESTING = 200
"""Maximum number of brackets that are open at the same time, and of consecutive signs or NOTs.

With Python's default recursion limit, parsers fail at about a third of this number.
"""

_STEP = re.compile(r"[(\[{]|[)\]}]")
_SIGNS = re.compile(rf"(?:\bnot\s+){{{MAX_NESTING}}}|(?:[-+~]\s+){{{MAX_NESTING}}}", re.IGNORECASE)


def is_nested_too_deeply(sql: str) -> bool:
    """Return whether SQL has more than :data:`MAX_NESTING` brackets open at the same time, or as many consecutive signs or NOTs.

    Brackets in strings and comments count, too. At worst, the caller does without a parser where it could use one.
    """
    if sql.count("(") + sql.count("[") + sql.count("{") > MAX_NESTING:
        depth = 0
        for step in _STEP.finditer(sql):
            depth = depth + 1 if step[0] in "([{" else max(0, depth - 1)
            if depth > MAX_NESTING:
                return True
    return _SIGNS.search(sql) is not None
