"""Plan a project without the tables, tasks, and DAG configs of broken files, and without the tasks that depend on them."""

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from ..errors import Problem, join_names
from ..project.model import Project, Table, Task
from .pipeline import Dependency, Pipeline, Plan
from .plan import plan_project

_FOLDERS = ("load", "transform", "external", "dags")
"""Folders under ``metadata`` in which each file defines a table, task, or job. Everything depends on the other folders."""


def affects_everything(project: Project, file: str) -> bool:
    """Return whether everything in a project depends on a file or folder, as on the application file."""
    return (_split_path(project, file) or ("",))[0] not in _FOLDERS


def can_leave_out(project: Project, file: str) -> bool:
    """Return whether a project can be planned without a file."""
    return not affects_everything(project, file) and len(_split_path(project, file) or ()) >= 2


def leave_out_files(plan: Plan, files: Set[str]) -> Plan:
    """Return a plan without the objects that broken files define, and without the tasks downstream of them.

    Errors in these files become warnings. The tables and tasks of a broken DAG config have no job. :func:`can_leave_out` must be true for
    each file.
    """
    left_out = _find_left_out(plan, files)
    project = plan.project
    domains = (replace(domain, tables=tuple(t for t in domain.tables if t.full_name not in left_out.tables)) for domain in project.domains)
    slim = replace(
        project,
        domains=tuple(domain for domain in domains if domain.tables),
        tasks=tuple(t for t in project.tasks if t.full_name not in left_out.tasks),
        problems=(),
    )
    planned = plan_project(slim, environments=plan.environments, **plan.settings)
    kept = tuple(p for p in planned.pipelines if p.dag_config.origin.file not in files)
    # The problems of the original plan come first, because the new plan has none of the objects that were left out.
    problems = dict.fromkeys(_lower_severity(p, files) for p in (*plan.problems, *planned.problems))
    return replace(planned, pipelines=kept, problems=(*problems, *left_out.describe(planned.pipelines, kept)))


@dataclass(slots=True)
class _LeftOut:
    """The objects that are left out.

    Attributes:
        tables, tasks: logical names.
        names: lowercase names by which SQL may refer to them.
        domains: lowercase names of domains that are left out as a whole.
    """

    tables: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)

    def add_table(self, table: Table) -> None:
        self.tables.add(table.full_name)
        self.names |= {table.full_name.lower(), table.final_full_name.lower()}

    def add_task(self, task: Task) -> None:
        self.tasks.add(task.full_name)
        self.names |= {task.full_name.lower(), task.sink_name.lower()}

    def covers(self, dependency: Dependency) -> bool:
        if dependency.kind == "table":
            return dependency.name in self.tables
        if dependency.kind == "task":
            return dependency.name in self.tasks
        # SQL that reads a table or task whose file cannot be read seems to read an external table.
        name = ".".join(dependency.name.lower().split(".")[-2:])
        return name in self.names or name.split(".")[0] in self.domains

    def describe(self, planned: Collection[Pipeline], kept: Collection[Pipeline]) -> Iterable[Problem]:
        names = sorted(self.tables | self.tasks)
        if names:
            yield Problem(None, "warning", f"left out because of errors: {join_names(names, 20)}")
        jobs = sorted({p.name for p in planned} - {p.name for p in kept})
        if jobs:
            yield Problem(None, "warning", f"jobs left out because of errors in their DAG config: {', '.join(jobs)}")


def _find_left_out(plan: Plan, files: Set[str]) -> _LeftOut:
    left_out = _LeftOut()
    folders = set()
    for file in files:
        parts = _split_path(plan.project, file) or ()
        if len(parts) < 3 or parts[0] not in ("load", "transform"):
            continue
        if parts[-1].startswith("_config."):
            folders.add(file.rpartition("/")[0])
            left_out.domains.add(parts[1].lower())
        else:
            left_out.names.add(f"{parts[1]}.{parts[-1].split('.')[0]}".lower())
    for table in plan.project.tables:
        if table.origin.file in files or table.origin.file.rpartition("/")[0] in folders:
            left_out.add_table(table)
    for task in plan.project.tasks:
        own = {task.origin.file, task.sql_file, task.python_file}
        if own & files or task.origin.file.rpartition("/")[0] in folders:
            left_out.add_task(task)
    while True:
        waiting = [t for t in plan.project.tasks if t.full_name not in left_out.tasks]
        hit = [t for t in waiting if any(map(left_out.covers, plan.dependencies.get_direct(t.full_name)))]
        if not hit:
            return left_out
        for task in hit:
            left_out.add_task(task)


def _lower_severity(problem: Problem, files: Set[str]) -> Problem:
    broken = problem.severity == "error" and problem.location is not None and problem.location.file in files
    return replace(problem, severity="warning") if broken else problem


def _split_path(project: Project, file: str) -> tuple[str, ...] | None:
    """Return the parts of a path below ``metadata``; None if the file is outside it."""
    path, metadata = PurePosixPath(project.root.as_posix()) / file, PurePosixPath(project.metadata_folder.as_posix())
    return path.relative_to(metadata).parts if path.is_relative_to(metadata) else None
