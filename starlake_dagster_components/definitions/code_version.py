"""Compute the code version of an asset. It changes if a change may affect the asset's rows, but not with comments or formatting.

If it differs from that of the last materialization, Dagster shows "code version changed", and
``AutomationCondition.code_version_changed()`` is true.
"""

import contextlib
import hashlib
import io
import os
import pickle
import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from ..project.model import Project, Task
from ..project.variables import is_own_variable
from .nodes import StarlakeNode

_ATTRIBUTE = attrgetter(
    "name", "type", "array", "required", "privacy", "rename", "position", "default", "trim", "script", "ignore", "attributes"
)
_TABLE = attrgetter("pattern", "final_domain", "final_name", "primary_key", "presql", "postsql", "filter", "database")
_METADATA = attrgetter(
    "format", "encoding", "multiline", "array", "with_header", "separator", "quote", "escape", "null_value", "empty_is_null", "loader"
)
_METADATA_PARTS = attrgetter("options", "sink", "write_strategy")
_TASK = attrgetter("sink_name", "presql", "postsql", "connection_ref", "primary_key", "database")

_TOKENS = re.compile(
    r"""
    ['"`$/{-] (?:
        (?P<kept> (?<=')(?:[^'\\]|''|\\.)*' | (?<=")(?:[^"\\]|""|\\.)*" | (?<=`)[^`]*` | (?<=\$)\$.*?\$\$ )
        | (?<=-)-[^\n]* | (?<=/)\*.*?\*/ | (?<=\{)\#.*?\#\}
        | (?P<unclosed> (?<=['"`]) | (?<=\$)\$ | (?<=/)\* | (?<=\{)\# ) .*
    )
    """,
    re.DOTALL | re.VERBOSE,
)
"""Strings and quoted names, which stay unchanged, and comments, which are removed. An unclosed string or comment extends to the end of the
SQL, because searching for the end of each one would take quadratic time. All alternatives begin with the same set of characters, which
Python finds twice as fast.
"""
_PUNCTUATION = "(),;=<>+*/|-"
_TEMPLATE = re.compile(r"[{$]\{([^{}]*)\}|\{%([^%]*)%\}")
"""An expression or a statement of Jinja, or a ``${VARIABLE}``."""
_INCLUDE = re.compile(r"""\{%-?\s*(?:include|import|from)\s+['"]([^'"]+)['"]""")


def compute_code_version(node: StarlakeNode) -> str | None:
    """Return the code version of a table or task; None for other nodes.

    For a table, it depends on the parts of its YAML that affect rows, as opposed to schedule, freshness, comments, and tags. For a task, it
    depends on its SQL (without comments and formatting), the files that the SQL includes, and the variables that they use, or on its Python
    program, and on the parts of its YAML that affect rows.
    """
    if node.table is not None:
        metadata = node.table.metadata
        written = tuple(repr(part) if part else "" for part in _METADATA_PARTS(metadata))
        attributes = _list_attribute_parts(node.table.attributes)
        parts: Any = ((_TABLE(node.table), _METADATA(metadata), written, attributes), node.settings.env)
    elif node.task is not None:
        parts = (tuple(_list_task_parts(node.task, node.project)), node.settings.env)
    else:
        return None
    return hashlib.blake2b(_serialize(parts), digest_size=8).hexdigest()


def _serialize(parts: Any) -> bytes:
    """Return nested tuples of plain values as bytes. Pickle's memo is off, so that equal values always result in equal bytes."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=4)
    pickler.fast = True
    pickler.dump(parts)
    return buffer.getvalue()


def _list_attribute_parts(attributes: tuple[Any, ...]) -> Any:
    return tuple(_ATTRIBUTE(a) if not a.attributes else (*_ATTRIBUTE(a)[:-1], _list_attribute_parts(a.attributes)) for a in attributes)


def _list_task_parts(task: Task, project: Project) -> Iterator[Any]:
    yield _TASK(task)
    yield repr((task.sink, task.write_strategy))
    yield _list_attribute_parts(task.attributes)
    if task.sql_text is not None:
        included = list(_read_includes(task.sql_text, project))
        yield normalize_sql(task.sql_text)
        yield from included
        yield from _find_variables("\n".join((task.sql_text, *included)), project)
    elif task.python_file:
        yield _read_file(os.path.join(project.root, task.python_file))


def normalize_sql(sql: str) -> str:
    """Return SQL in lower case, without comments and insignificant white space. Strings and quoted names are unchanged."""
    pieces: list[str] = []
    plain: list[str] = []
    end = 0
    for match in _TOKENS.finditer(sql):
        plain.append(sql[end : match.start()])
        end = match.end()
        if match.lastgroup:
            pieces += (_normalize_spaces("".join(plain)), match.group())
            plain = []
        else:
            plain.append(" ")
    pieces.append(_normalize_spaces("".join((*plain, sql[end:]))))
    return "".join(pieces).strip().rstrip(";").strip()


def _normalize_spaces(text: str) -> str:
    """Return SQL that contains no strings in lower case, with single spaces, and without spaces around punctuation.

    A space at the beginning or end is kept.
    """
    middle = " ".join(text.lower().split())
    if not middle:
        return " " if text else ""
    middle = f"{' ' if text[0].isspace() else ''}{middle}{' ' if text[-1].isspace() else ''}"
    for sign in _PUNCTUATION:
        if sign in middle:
            middle = middle.replace(f" {sign}", sign).replace(f"{sign} ", sign)
    return middle


def _read_includes(sql: str, project: Project) -> Iterator[str]:
    """Yield the content of each file that a template includes, directly or indirectly."""
    seen: set[str] = set()
    names = _INCLUDE.findall(sql)
    for name in names:
        if name not in seen:
            seen.add(name)
            text = _read_file(os.path.join(project.metadata_folder, name))
            yield text
            names += _INCLUDE.findall(text)


def _find_variables(sql: str, project: Project) -> Iterator[tuple[str, str]]:
    """Yield the variables that SQL uses, with their values, except those that differ by time or machine: dates, intervals, and folders."""
    names = {name for match in _TEMPLATE.finditer(sql) for name in re.findall(r"\w+", match[1] or match[2] or "")}
    names = {name for name in names & project.variables.keys() if not is_own_variable(name)} - project.derived_variables
    return ((name, project.variables[name]) for name in sorted(names))


def _read_file(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""
