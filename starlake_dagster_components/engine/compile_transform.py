"""``transform --compile``: print the SQL of a task as it would be run."""

from ..project.sql.sections import render_task
from ..project.templating import TemplateError
from .arguments import Arguments
from .engine_errors import BadSetting
from .session import Session
from .table_resolution import find_task


def compile_task(session: Session, arguments: Arguments) -> None:
    """Print the SQL of a task with all variables replaced, without running it."""
    task = find_task(session.project, arguments.name)
    try:
        sections = render_task(session.project, task, session.variables)
    except TemplateError as error:
        raise BadSetting(task.origin.locate(), str(error)) from error
    parts = [*sections.presql, *([sections.sql] if sections.sql else []), *sections.postsql]
    for part in parts:
        for line in f"{part.text.rstrip()};".split("\n"):
            session.out(line)
