"""The SQL of a task as rendered in a run."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ...commands import Command
from ...project.model import Project, Task
from ...project.sql.sections import SqlPart, render_task
from ...project.templating import TemplateError
from ..markdown import format_sql_block

LONGEST = 20_000
"""Maximum length of the SQL in the metadata of a materialization."""


def build_rendered_sql(log: dg.DagsterLogManager, project: Project, task: Task, command: Command) -> dict[str, Any]:
    """Return ``starlake/sql``: a task's statements with the variables and dates of its command, comments removed, and secrets masked.

    Starlake's variables for the current time (``sl_date``, ``sl_hour``, ...) have their values at the end of the command. If the SQL cannot
    be rendered, or the task has none, there is no metadata.
    """
    if task.python_file:
        return {}
    try:
        sections = render_task(project, task, command.given_options)
    except TemplateError as error:
        log.debug(f"the SQL of {task.full_name} is not shown: {error}")
        return {}
    parts = [*sections.presql, *([sections.sql] if sections.sql else ()), *sections.postsql]
    source = [*[""] * (task.sql_line - 1), *(task.sql_text or "").split("\n")]
    text = command.mask()(";\n\n".join(_indent(part, source) for part in parts))
    if not text:
        return {}
    rest = len(text) - LONGEST
    shown = f"{text[:LONGEST]}\n-- ({rest:,} more characters)" if rest > 0 else text
    return {"starlake/sql": dg.MetadataValue.md(format_sql_block(shown))}


def _indent(part: SqlPart, source: Sequence[str]) -> str:
    """Return a part of the SQL with the indentation that its lines have in the file."""
    lines = enumerate(part.text.split("\n"), 1)
    return "\n".join(part.find_indentation(number, source) + line.lstrip() if part.lines else line for number, line in lines)
