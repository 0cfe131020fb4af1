"""Find the dependencies of each task: in dependency JSON if it names the task, else in its SQL."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import Location, Problem, suggest_name
from ..project.model import Project, Task
from .cycles import find_cycles
from .dependency_json import NamedTask, build_task, read_named_tasks
from .pipeline import Dependencies, Dependency
from .table_names import ReferenceIndex


def plan_dependencies(project: Project, problems: list[Problem]) -> tuple[Project, Dependencies]:
    """Return the project and the dependencies of all of its tasks.

    A project without transforms gets the tasks that JSON names. Problems are added for ambiguous and unknown names, differences between
    JSON and SQL, broken files, and cycles.
    """
    named = read_named_tasks(project, problems)
    if named and not project.tasks:
        made = (build_task(task) for task in named.values())
        tasks = sorted((task for task in made if task), key=lambda t: t.full_name)
        project = replace(project, tasks=tuple(tasks))
    index = ReferenceIndex(project)
    json = _JsonDependencies(project, index, named, problems)
    direct: dict[str, tuple[Dependency, ...]] = {}
    for task in project.tasks:
        ambiguous: list[Problem] = []
        from_sql = index.resolve_all(task, ambiguous)
        from_json = json.find(task)
        if from_json is None:
            problems += ambiguous
            direct[task.full_name] = from_sql
        else:
            problems += _compare_with_sql(task, named[task.full_name.lower()].location, from_json, from_sql)
            direct[task.full_name] = (*from_json, *(d for d in from_sql if d.kind == "external"))
    problems += find_cycles(direct)
    return project, Dependencies(direct)


class _JsonDependencies:
    """Resolves the names in dependency JSON to tasks and tables of the project."""

    def __init__(self, project: Project, index: ReferenceIndex, named: Mapping[str, NamedTask], problems: list[Problem]) -> None:
        self._project = project
        self._index = index
        self._named = named
        self._problems = problems
        self._reported: set[str] = set()
        known = [t.full_name for t in project.tasks]
        for lower, task in named.items():
            if index.find_task(lower) is None:
                self._warn_stale("task", task.name, task.location, known)

    def find(self, task: Task) -> tuple[Dependency, ...] | None:
        """Return the dependencies of a task from JSON; None if JSON does not name the task."""
        named = self._named.get(task.full_name.lower())
        if named is None:
            return None
        found: dict[tuple[str, str], Dependency] = {}
        for child in named.children.values():
            for dependency in self._resolve(task, child):
                found.setdefault((dependency.kind, dependency.name), dependency)
        return tuple(found.values())

    def _resolve(self, task: Task, child: Dependency) -> Sequence[Dependency]:
        index = self._index
        upstream = index.find_task(child.name) if child.kind == "task" else None
        table = index.find_table(child.name)
        if upstream is None and table is None:
            upstream = index.find_task(child.name) or next(iter(index.find_writers(child.name)), None)
        if upstream is not None:
            same = upstream.full_name == task.full_name
            return () if same else (replace(child, kind="task", name=upstream.full_name),)
        if table is not None:
            return (replace(child, kind="table", name=table.full_name, written=child.name),)
        if child.kind == "task":
            self._warn_stale("task", child.name, child.location, [t.full_name for t in self._project.tasks])
            return ()
        if self._project.domains:
            self._warn_stale("table", child.name, child.location, [t.final_full_name for t in self._project.tables])
        return (replace(child, kind="external", name=index.normalize_external_name(child.name)),)

    def _warn_stale(self, kind: str, name: str, where: Location | None, known: Sequence[str]) -> None:
        if name.lower() not in self._reported:
            self._reported.add(name.lower())
            message = f"the dependencies name the {kind} '{name}', which is not in the project{suggest_name(name, known)}"
            self._problems.append(Problem(where, "warning", message))


def _compare_with_sql(task: Task, where: Location, from_json: Sequence[Dependency], from_sql: Sequence[Dependency]) -> Iterator[Problem]:
    """Yield a warning for each difference between JSON and SQL. External tables are not compared, because JSON does not name them."""
    in_json, in_sql = ({(d.kind, d.name): d for d in found if d.kind != "external"} for found in (from_json, from_sql))
    for d in (d for key, d in in_sql.items() if key not in in_json):
        difference = f"reads the {d.kind} {d.name} ({d.location}), which is not in its dependencies here"
        yield Problem(where, "warning", f"{task.full_name} {difference}; JSON takes precedence")
    if task.sql_text is not None and task.parse_sql:
        sql = Location(task.sql_file or task.origin.file, task.sql_line)
        for d in (d for key, d in in_json.items() if key not in in_sql):
            difference = f"depends on the {d.kind} {d.name} here, which its SQL ({sql}) does not read"
            yield Problem(d.location, "warning", f"{task.full_name} {difference}; JSON takes precedence")
