"""Report keys that the engine does not support, with their lines."""

from collections.abc import Sequence

from ..errors import Location
from ..project.model import Attribute, Connection, Project, Table, Task
from .connection_options import list_ignored_options
from .engine_errors import NotSupported
from .rejected_by_starlake import report_rejected_sink, report_rejected_table
from .session import Session, read_switch


def check_areas(project: Project) -> None:
    """Raise an error if an area is not a local folder."""
    areas = project.areas
    for name in ("datasets", "incoming", "stage", "unresolved", "archive", "ingesting"):
        path: str = getattr(areas, name)
        if "://" in path and not path.startswith("file://"):
            reason = f"the {name} area is {path}; the embedded engine works on local folders only"
            raise NotSupported(project.application.origin.locate("area"), reason)


def check_table(session: Session, table: Table) -> None:
    """Raise an error for settings of a load table that the engine does not support, and warn about those without effect on DuckDB."""
    _reject_database(table, table.full_name)
    for index, attribute in enumerate(table.attributes):
        _reject_scripts(table, f"attributes[{index}]", attribute.attributes)
    report_rejected_table(session, table)
    _warn_about_ineffective(session, table)


def check_task(session: Session, task: Task) -> None:
    """Raise an error for settings of a task that the engine does not support, and warn about those without effect on DuckDB."""
    project = session.project
    if task.python_file:
        reason = f"task {task.full_name} is Python ({task.python_file}): the embedded engine runs SQL tasks only"
        raise NotSupported(task.origin.locate(), reason)
    _reject_database(task, f"task {task.full_name}")
    if read_switch(project, session.environ, "syncYamlWithDb", "SL_SYNC_YAML_WITH_DB") and task.extra.get("syncStrategy"):
        reason = f"task {task.full_name}: syncStrategy is not supported by the embedded engine"
        raise NotSupported(task.origin.locate("syncStrategy"), reason)
    connection = project.find_connection(task)
    if connection is not None and (dialect := project.application.find_raw("connections", connection.name, "_transpileDialect")):
        reason = f"connection '{connection.name}': SQL is not translated from {dialect} by the embedded engine"
        raise NotSupported(connection.origin.locate("_transpileDialect"), reason)
    _check_references(project)
    report_rejected_sink(session, task)
    _warn_about_ineffective(session, task)


def _reject_database(node: Table | Task, name: str) -> None:
    if node.database:
        reason = f"{name}: database '{node.database}' is not supported by the embedded engine"
        raise NotSupported(node.origin.locate("database"), reason)


def _reject_scripts(table: Table, place: str, fields: Sequence[Attribute]) -> None:
    for index, field in enumerate(fields):
        key = f"{place}.attributes[{index}]"
        if field.script:
            reason = f"attribute '{field.name}': a script of a field of a struct is not supported; use an attribute of the table"
            raise NotSupported(table.origin.locate(f"{key}.script"), reason)
        _reject_scripts(table, key, field.attributes)


def warn_about_unused_options(session: Session, connection: Connection | None) -> None:
    """Warn about unused options of a connection."""
    unused = list_ignored_options(connection)
    if connection is not None and unused:
        names = f"{', '.join(unused)} of connection '{connection.name}'"
        session.log("warning", f"{connection.origin.locate('options')}: the embedded engine does not use {names}")


def _warn_about_ineffective(session: Session, node: Table | Task) -> None:
    for entries, key in ((node.acl, "acl"), (node.rls, "rls")):
        if entries:
            session.warn(f"{node.origin.locate(key)}: {key} of {node.full_name} has no effect: DuckDB does not have users")


def _check_references(project: Project) -> None:
    """Raise an error for ``refs``, with which Starlake replaces table names in SQL."""
    raw = project.application.raw.get("refs")
    file = next((name for name in project.files if name.endswith("refs.sl.yml")), None)
    if raw or (file is not None and "input" in project.get_path(file).read_text(encoding="utf-8")):
        place = Location(file) if file else project.application.origin.locate("refs")
        raise NotSupported(place, "refs, which replace table names in SQL, are not supported by the embedded engine")
