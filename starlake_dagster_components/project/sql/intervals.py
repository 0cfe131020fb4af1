"""Pass the data interval to SQL and Python as variables. Values for SQL are quoted unless the SQL has quotes around them."""

import re
from collections.abc import Iterable, Mapping

from ..model import Task

INTERVAL_VARIABLES: Mapping[str, str] = {
    "sl_data_interval_start": "start",
    "sl_data_interval_end": "end",
    "sl_start_date": "start",
    "sl_end_date": "end",
}
"""Variable -> the end of the interval that it holds.

starlake-orchestration passes the first two. Starlake's documentation of incremental SQL names the other two.
"""

_ALWAYS = ("sl_data_interval_start", "sl_data_interval_end")
_TOKEN = re.compile(
    r"""(?P<skipped>--[^\n]*|/\*.*?\*/)|(?P<string>'(?:[^']|'')*'|"[^"]*")|\{\{-?\s*(?P<jinja>\w+)|\$\{\s*(?P<shell>\w+)\s*\}""", re.DOTALL
)
_VARIABLE = re.compile(rf"\b({'|'.join(INTERVAL_VARIABLES)})\b")
_NAME = re.compile(r"\{\{-?\s*(\w+)|\$\{\s*(\w+)\s*\}")


def write_interval(task: Task, start: str | None, end: str | None) -> dict[str, str]:
    """Return the variables of a data interval for the SQL or the Python file of a task.

    SQL can be written as for starlake-orchestration, whose values have quotes (``ts >= {{sl_data_interval_start}}``), or with its own
    quotes (``ts >= '{{sl_data_interval_start}}'``). A value is quoted if its variable is never used inside a string literal.
    Values for Python are not quoted. The start and the end are in ISO 8601, or None if they are unknown.
    """
    bare, quoted = _find_uses(task.sql_texts)
    quoted.update(task.python_variables)
    found = {}
    for name, which in INTERVAL_VARIABLES.items():
        value = start if which == "start" else end
        if value is not None and (name in _ALWAYS or name in bare or name in quoted):
            found[name] = f"'{value}'" if name in bare and name not in quoted else value
    return found


def find_interval_variables(texts: Iterable[str]) -> frozenset[str]:
    """Return the variables of the data interval that SQL or Python uses, including those in Jinja statements."""
    # Most SQL uses none of them, and a plain search is faster than the regular expression.
    return frozenset(name for text in texts if "sl_" in text for name in _VARIABLE.findall(text))


def find_task_interval_variables(task: Task) -> frozenset[str]:
    """Return the variables of the data interval that a task's SQL or Python file uses."""
    return find_interval_variables(task.sql_texts).union(task.python_variables)


def _find_uses(texts: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the variables that SQL uses outside string literals, and those that it uses inside them."""
    bare: set[str] = set()
    quoted: set[str] = set()
    for text in texts:
        for match in _TOKEN.finditer(text):
            if match["string"]:
                quoted.update(first or second for first, second in _NAME.findall(match["string"]))
            elif not match["skipped"]:
                bare.add(match["jinja"] or match["shell"])
    return bare, quoted
