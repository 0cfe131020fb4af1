"""How deeply a SQL text is nested, looked at before a parser follows it by recursion.

A parser that is compiled uses the stack of the process for each level. Python's recursion limit does not protect it where the limit has
been raised, as it is for Dagster's sake where a project has long chains of tasks: the process would crash.
"""

import re

MAX_NESTING = 200
"""Brackets that may be open at a time, and signs or NOTs in a row.

Parsers give up at about a third of it with Python's own recursion limit.
"""

_STEP = re.compile(r"[(\[{]|[)\]}]")
_SIGNS = re.compile(rf"(?:\bnot\s+){{{MAX_NESTING}}}|(?:[-+~]\s+){{{MAX_NESTING}}}", re.IGNORECASE)


def is_nested_too_deeply(sql: str) -> bool:
    """Tell whether a SQL text has more than :data:`MAX_NESTING` brackets open at a time, or as many signs in a row.

    Brackets in strings and comments count as well: the caller does without a parser then, which is never wrong.
    """
    if sql.count("(") + sql.count("[") + sql.count("{") > MAX_NESTING:
        depth = 0
        for step in _STEP.finditer(sql):
            depth = depth + 1 if step[0] in "([{" else max(0, depth - 1)
            if depth > MAX_NESTING:
                return True
    return _SIGNS.search(sql) is not None
