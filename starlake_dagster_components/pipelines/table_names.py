"""Resolve names in SQL to tasks, load tables, or external tables."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ..errors import Problem
from ..project.model import Project, Table, TableReference, Task
from ..project.sql.found_tables import SYSTEM_SCHEMAS
from .pipeline import Dependency


class ReferenceIndex:
    """The names that a project's SQL can refer to. Starlake: TaskViewDependency.

    Tasks are found by the table that they write or by their name, and load tables by their final names, ignoring case. Tasks take
    precedence over load tables. Any other name is external, and spelled as in the first reference to it.
    """

    def __init__(self, project: Project) -> None:
        self._tasks_by_name: defaultdict[str, list[Task]] = defaultdict(list)
        self._tasks_by_sink: defaultdict[str, list[Task]] = defaultdict(list)
        self._tasks_by_table: defaultdict[str, list[Task]] = defaultdict(list)
        self._tasks_by_short_name: defaultdict[str, list[Task]] = defaultdict(list)
        self._tables: defaultdict[str, list[Table]] = defaultdict(list)
        self._tables_by_short_name: defaultdict[str, list[Table]] = defaultdict(list)
        self._streams: dict[str, tuple[str, ...]] = {}
        self._external: dict[str, str] = {}
        for task in sorted(project.tasks, key=lambda t: t.full_name):
            self._tasks_by_name[task.full_name.lower()].append(task)
            self._tasks_by_sink[task.sink_name.lower()].append(task)
            self._tasks_by_table[task.table.lower()].append(task)
            self._tasks_by_short_name[task.name].append(task)
            for stream, source in task.streams.items():
                self._streams[stream.lower()] = tuple((str(source) if source else task.sink_name).split("."))
        for table in project.tables:
            self._tables[table.final_full_name.lower()].append(table)
            self._tables_by_short_name[table.final_name.lower()].append(table)
            for stream in table.streams:
                self._streams.setdefault(stream.lower(), (table.final_domain, table.final_name))
        for domain in project.external_domains:
            for table in domain.tables:
                self._external.setdefault(table.final_full_name.lower(), table.final_full_name)

    def find_task(self, name: str) -> Task | None:
        """Return the task whose full name is ``name``, ignoring case if none matches exactly; None if there is no such task."""
        found = self._tasks_by_name.get(name.lower())
        return next((t for t in found if t.full_name == name), found[0]) if found else None

    def find_table(self, name: str) -> Table | None:
        """Return the load table whose final name is ``name``, ignoring case; None if there is no such table."""
        found = self._tables.get(name.lower())
        return found[0] if found else None

    def find_writers(self, name: str) -> Sequence[Task]:
        """Return the tasks that write a table."""
        return self._tasks_by_sink.get(name.lower(), ())

    def resolve_all(self, task: Task, problems: list[Problem]) -> tuple[Dependency, ...]:
        """Return the dependencies in a task's SQL, each once, in order of appearance, without the task itself.

        A problem is added for each ambiguous name.
        """
        found: dict[tuple[str, str], Dependency] = {}
        for reference in task.references:
            for dependency in self.resolve(task, reference, problems):
                found.setdefault((dependency.kind, dependency.name), dependency)
        return tuple(found.values())

    def resolve(self, task: Task, reference: TableReference, problems: list[Problem]) -> Sequence[Dependency]:
        """Return the dependencies of one reference: several if several tasks write the table, none if it is the task itself.

        A name with three parts refers to a table of the project, unless that table is in another database.
        """
        parts = self._streams.get(reference.text.lower(), reference.parts)
        if len(parts) == 1:
            return self._resolve_short_name(task, parts[0], reference, problems)
        if len(parts) > 3:
            if reference.kind == "parsed":
                message = f"{task.full_name} reads '{reference.text}', which has {len(parts)} parts; it is treated as an external table"
                problems.append(Problem(reference.location, "warning", message))
            return self._build_external(parts, reference)
        if not parts or parts[-2].lower() in SYSTEM_SCHEMAS:
            return ()
        key = f"{parts[-2]}.{parts[-1]}".lower()
        database = parts[0].lower() if len(parts) == 3 else None
        writers = [t for t in self._tasks_by_sink.get(key, ()) if _is_in_database(t, database)]
        writers = writers or [t for t in self._tasks_by_name.get(key, ()) if _is_in_database(t, database)]
        if writers:
            return () if task.full_name in (w.full_name for w in writers) else _depend_on(writers, reference)
        tables = [t for t in self._tables.get(key, ()) if _is_in_database(t, database)]
        if tables:
            return (Dependency("table", tables[0].full_name, reference.location, written=".".join(parts[-2:])),)
        return self._build_external(parts, reference)

    def _resolve_short_name(self, task: Task, name: str, reference: TableReference, problems: list[Problem]) -> Sequence[Dependency]:
        """Resolve a name without a domain. It may be the name of a task (in the same case), its table, or a load table."""
        found = {t.full_name: t for t in (*self._tasks_by_short_name.get(name, ()), *self._tasks_by_table.get(name.lower(), ()))}
        tasks = [found[full_name] for full_name in sorted(found)]
        sure = reference.kind == "parsed"
        if len(tasks) > 1:
            names = ", ".join(t.full_name for t in tasks)
            message = f"{task.full_name} reads '{name}', which could be any of the tasks {names}; write domain.table"
            problems.append(Problem(reference.location, "error" if sure else "warning", message))
            return ()
        if tasks:
            return () if tasks[0].full_name == task.full_name else _depend_on(tasks, reference)
        tables = self._tables_by_short_name.get(name.lower(), [])
        if len(tables) > 1:
            names = ", ".join(t.final_full_name for t in tables)
            message = f"{task.full_name} reads '{name}', which could be any of the tables {names}; the first is used; write domain.table"
            problems.append(Problem(reference.location, "warning", message))
        if tables:
            written = f"{tables[0].final_domain}.{name}"
            return (Dependency("table", tables[0].full_name, reference.location, written=written),)
        return self._build_external((name,), reference) if sure else ()

    def _build_external(self, parts: Sequence[str], reference: TableReference) -> Sequence[Dependency]:
        text = ".".join(parts)
        return (Dependency("external", self.normalize_external_name(text), reference.location),)

    def normalize_external_name(self, name: str) -> str:
        """Return the name of an external table as spelled in the first reference to it."""
        return self._external.setdefault(name.lower(), name)


def _depend_on(tasks: Iterable[Task], reference: TableReference) -> tuple[Dependency, ...]:
    return tuple(Dependency("task", t.full_name, reference.location) for t in tasks)


def _is_in_database(node: Table | Task, database: str | None) -> bool:
    return database is None or not node.database or node.database.lower() == database
