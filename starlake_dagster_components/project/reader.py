"""Read the project in a folder into a :class:`~starlake_dagster_components.project.model.Project`.

Reading writes no files, starts no processes, and does not use the network.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from ..errors import Location, ProjectNotFound
from ..masking import register_secrets
from . import disk
from .application import Folders, build_application, read_application_section
from .documents import Reading
from .jinja.budget import ProjectBudget
from .model import Domain, FrozenDict, Project, Task
from .project_files import ProjectFiles
from .templating import Renderer
from .variables import Variables, read_env_files, resolve_variables
from .yaml_mappings import Section
from .yaml_source import Positions


@dataclass(frozen=True, slots=True)
class StartedProject:
    """A project whose variables and application have been read, but nothing else, and the state needed to read the rest.

    ``section`` is the content of ``application.sl.yml``; None if it is missing or broken.
    """

    project: Project
    reading: Reading
    folders: Folders
    section: Section | None


def read_project(
    root: str | os.PathLike[str],
    *,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    dependencies: str = "auto",
) -> Project:
    """Read the Starlake project in a folder. Problems do not raise; they are in the result's ``problems``.

    Args:
        root: folder that contains ``metadata`` (``SL_ROOT``).
        profile: name of the active environment; by default the one that ``SL_ENV`` or the project selects.
        environ: environment variables; by default those of the process.
        options: additional variables, like ``--options`` of Starlake's commands.
        dependencies: ``auto``, ``sql``, or a path or glob of dependency JSON files, relative to the project.

    Raises:
        ProjectNotFound: the folder does not exist or does not contain a Starlake project.
    """
    return read_remaining_files(start_reading(root, profile=profile, environ=environ, options=options), dependencies)


def start_reading(
    root: str | os.PathLike[str],
    *,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> StartedProject:
    """Read the variables and the application of a project: the few files that everything else depends on.

    The arguments and exceptions are those of :func:`read_project`.
    """
    environment = os.environ if environ is None else environ
    folder = Path(os.path.abspath(os.path.expanduser(root)))
    folders = Folders(folder, environment, None)
    _check_presence(folder, folders.metadata, environment)
    files = ProjectFiles(folder)
    metadata = Path(folders.metadata)
    files.allow_folders([metadata])
    env_files = read_env_files(files, metadata)
    resolve = partial(
        resolve_variables, env_files, root=str(folder), environ=environment, profile=profile, options=options or {}, now=datetime.now()
    )
    reading = _build_reading(files, metadata, resolve(application_env=None), folders)
    reading.problems.extend(env_files.problems)
    application_path, old_path = (os.path.join(folders.metadata, f"application.{suffix}") for suffix in ("sl.yml", "conf"))
    section = read_application_section(reading, application_path)
    if section is None and not disk.find_kind(application_path) and disk.find_kind(old_path):
        message = "is not read: move the settings to application.sl.yml, which Starlake prefers"
        reading.add_problem(Location(files.name(old_path)), "warning", message)
    application = build_application(section, environment, files.name(metadata))
    if section is not None:
        folders = Folders(folder, environment, section)
        metadata = Path(folders.metadata)
        again = _build_reading(files, metadata, resolve(application_env=section.get_name("env")), folders)
        reading = replace(again, problems=reading.problems, reported_unset=reading.reported_unset, sections=reading.sections)
    variables = reading.variables
    owner = f"{folder} {variables.profile or ''}"
    register_secrets(owner, "project", variables.values, env_files.common, env_files.profiles, section.data if section else None)
    files.allow_folders([metadata, folders.dags, folders.types, folders.macros, folders.write_strategies])
    reading.problems.extend(variables.problems)
    values = FrozenDict({**variables.values, **folders.variables})
    project = Project(folder, variables.profile, application, folders.areas, values, frozenset(variables.derived))
    return StartedProject(project, reading, folders, section)


def read_remaining_files(started: StartedProject, dependencies: str = "auto") -> Project:
    """Read the rest of a project, and return the complete project. ``dependencies`` is that of :func:`read_project`."""
    # Imported here because a cached plan does not need these modules.
    from .attribute_types import read_types
    from .dag_configs import read_dag_configs, read_macros
    from .dependency_files import read_dependency_files
    from .file_patterns import compile_pattern
    from .load_domains import LoadContext, read_domains
    from .name_checks import check_names, warn_about_equal_tables
    from .own_strategies import read_own_strategies
    from .pattern_overlaps import warn_about_shared_patterns
    from .refs import read_refs
    from .schema_check import add_schema_violations
    from .sql.references import add_references
    from .transform_tasks import read_tasks

    reading, folders, project, metadata = started.reading, started.folders, started.project, started.folders.metadata
    types = read_types(reading, folders.types)
    strategies = read_own_strategies(reading.files, folders.write_strategies, project.application)
    context = LoadContext(project.application, types, strategies, read_refs(reading, metadata, started.section))
    domains = read_domains(reading, os.path.join(metadata, "load"), context)
    external = read_domains(reading, os.path.join(metadata, "external"), context, external=True)
    tasks = read_tasks(reading, os.path.join(metadata, "transform"), context)
    check_names(reading, domains, tasks)
    warn_about_equal_tables(reading, domains, tasks)
    warn_about_shared_patterns(reading, domains)
    # Later, only the patterns of single tables are needed, and not for thousands of them at once.
    compile_pattern.cache_clear()
    tasks = tuple([add_references(reading, project, task) for task in tasks])
    dag_configs = read_dag_configs(reading, folders.dags)
    for origin in (*(t.origin for t in tasks), *(t.origin for d in (*domains, *external) for t in d.tables)):
        if isinstance(origin.keys, Positions):
            origin.keys.pack()
    if started.section is None:
        _report_missing_application(started, domains, tasks)
    macros = read_macros(reading, os.path.join(metadata, "expectations"), folders.macros)
    dependency_files = read_dependency_files(project.root, Path(metadata), dependencies, reading.problems)
    reading.problems.extend(reading.files.problems)
    add_schema_violations(reading)
    return replace(
        project,
        domains=domains,
        external_domains=external,
        tasks=tasks,
        dag_configs=dag_configs,
        types=types,
        macros=macros,
        dependency_files=dependency_files,
        files=tuple(reading.files.read_files),
        problems=tuple(sorted(dict.fromkeys(reading.problems), key=lambda p: (p.location or Location(""), p.severity, p.message))),
    )


def _build_reading(files: ProjectFiles, metadata: Path, variables: Variables, folders: Folders) -> Reading:
    def record_include(path: str) -> None:
        files.read_files[files.name(path)] = None

    renderer = Renderer(metadata, files.root, record_include, ProjectBudget())
    return Reading(files, metadata, renderer, variables, {**variables.mark_unset(), **folders.variables})


def _report_missing_application(started: StartedProject, domains: Iterable[Domain], tasks: Iterable[Task]) -> None:
    """Report that the application file is missing if the project uses connections, which only that file can define."""
    path = os.path.join(started.folders.metadata, "application.sl.yml")
    sinks = [table.metadata.sink for domain in domains for table in domain.tables] + [task.sink for task in tasks]
    names = {sink.connection_ref for sink in sinks if sink} | {task.connection_ref for task in tasks}
    shown = sorted(name for name in names if name)
    if shown and not disk.find_kind(path):
        connections = ", ".join(f"'{name}'" for name in shown[:5])
        message = f"does not exist, but the project uses connections that only this file can define: {connections}"
        started.reading.add_problem(Location(started.reading.files.name(path)), "error", message)


def _check_presence(root: Path, metadata: str, environ: Mapping[str, str]) -> None:
    if not root.is_dir():
        problem = "it is a file, not a folder" if root.exists() else "the folder does not exist"
        raise ProjectNotFound(f"no Starlake project at {root}: {problem}. Give the folder that contains 'metadata'.")
    if os.path.isdir(metadata):
        return
    if environ.get("SL_METADATA"):
        raise ProjectNotFound(f"no Starlake project at {root}: SL_METADATA names {metadata}, which does not exist.")
    if (root / "application.sl.yml").exists():
        raise ProjectNotFound(f"no Starlake project at {root}: this is a metadata folder; give its parent folder, {root.parent}.")
    below = next((folder.parent for folder in sorted(root.glob("*/metadata")) if folder.is_dir()), None)
    hint = f" There is one at {below}." if below else " 'starlake bootstrap' creates one."
    raise ProjectNotFound(f"no Starlake project at {root}: it has no 'metadata' folder.{hint}")
