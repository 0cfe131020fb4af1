"""The tables that tasks read, found in their SQL."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ...errors import Location
from ..documents import Reading
from ..model import Connection, Project, Task
from ..templating import TemplateError
from .references import dialect_of, sections_of_task, table_references


def add_references(
    reading: Reading, tasks: tuple[Task, ...], connection_of: Callable[[Task], Connection | None], values: Mapping[str, str]
) -> tuple[Task, ...]:
    """Return the tasks with the tables that their SQL reads. Starlake: AutoTask.dependencies."""
    return tuple([_with_references(reading, task, connection_of(task), values) for task in tasks])


def _with_references(reading: Reading, task: Task, connection: Connection | None, values: Mapping[str, str]) -> Task:
    if task.sql_text is None or not task.parse_sql:
        return task
    file = task.sql_file or task.origin.file
    dialect = dialect_of(connection)
    try:
        part = sections_of_task(reading.renderer, task, values).sql
    except TemplateError as error:
        message = f"{error}; tables are looked for in the text as it is"
        reading.problem(Location(file, error.line), "warning", message)
        found, _ = table_references(task.sql_text, dialect, file, task.sql_line)
        return replace(task, references=tuple(replace(reference, kind="scanned") for reference in found))
    if part is None:
        if task.sql_text.strip():
            reading.problem(Location(file, task.sql_line), "warning", f"the SQL of task '{task.full_name}' is empty")
        return task
    found, problems = table_references(part.text, dialect, file, lines=part.lines)
    reading.problems.extend(problems)
    return replace(task, references=found) if found else task


def connection_finder(project: Project) -> Callable[[Task], Connection | None]:
    """Return what says which connection runs a task's query: its own connectionRef, else the default one."""
    application = project.application
    default = application.connections.get(application.transform_connection_ref or application.connection_ref or "")

    def find(task: Task) -> Connection | None:
        if task.connection_ref is not None:
            return application.connections.get(task.connection_ref, default)
        return default

    return find
