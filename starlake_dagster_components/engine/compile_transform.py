"""``transform --compile``: print the SQL of a task as it would be run."""

from .arguments import Arguments
from .scripts import render_sections
from .session import Session
from .table_resolution import find_task


def compile_task(session: Session, arguments: Arguments) -> None:
    """Print the SQL of a task with all variables replaced, without running it."""
    sections = render_sections(session, find_task(session.project, arguments.name))
    parts = [*sections.presql, *([sections.sql] if sections.sql else []), *sections.postsql]
    for part in parts:
        for line in f"{part.text.rstrip()};".split("\n"):
            session.out(line)
