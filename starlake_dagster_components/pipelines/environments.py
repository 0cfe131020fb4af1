"""Find the environments that ``sl_env_var`` gives to the commands of pipelines, and read the project in each of them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..errors import Problem
from ..project.model import DagConfig, Project, Table, Task
from ..project.reader import StartedProject, read_remaining_files, start_reading
from .dag_options import parse_variables
from .dag_refs import N, find_dag_ref
from .dag_variables import DagRenderer
from .pipeline import NOT_VARIABLES, Environment


def start_reading_environment(environment: Environment, environ: Mapping[str, str], options: Mapping[str, str]) -> StartedProject:
    """Read the variables and the application of a project in an environment."""
    inherited = {**environ, **environment.inherited}
    variables = {**environment.variables, **options}
    return start_reading(environment.project.root, profile=environment.profile, environ=inherited, options=variables)


def read_environments(
    project: Project, *, profile: str | None, environ: Mapping[str, str], options: Mapping[str, str]
) -> Mapping[str, Environment]:
    """Return DAG config -> environment of its commands, for each DAG config whose environment differs from the project's.

    ``profile`` is the ``env`` setting, which overrides ``sl_env_var``; None if it is not set. ``options`` override all other variables.
    """
    read: dict[str, Project] = {}
    found = {}
    for name, environment in _find_environments(project, profile):
        key = repr((environment.profile, sorted(environment.variables.items()), sorted(environment.inherited.items())))
        if key not in read:
            read[key] = read_remaining_files(start_reading_environment(environment, environ, options))
        found[name] = replace(environment, project=read[key])
    return found


def _find_environments(project: Project, profile: str | None) -> Iterator[tuple[str, Environment]]:
    renderer = DagRenderer(project, [])
    nodes: list[Table | Task] = [*project.tables, *project.tasks]
    used = {find_dag_ref(project, node)[0] for node in nodes}
    for name, config in project.dag_configs.items():
        own = _read_variables(config, renderer) if name in used else {}
        wanted = profile or own.get("SL_ENV") or project.profile
        values = {key: value for key, value in own.items() if key not in NOT_VARIABLES}
        if wanted == project.profile and all(project.variables.get(key) == value for key, value in values.items()):
            continue
        # The launcher splits --options at spaces and commas.
        inherited = {key: value for key, value in values.items() if any(c.isspace() or c == "," for c in value)}
        variables = {key: value for key, value in values.items() if key not in inherited}
        yield name, Environment(wanted, config.origin.locate("options.sl_env_var"), variables, inherited, project)


def apply_environments(project: Project, environments: Mapping[str, Environment]) -> Project:
    """Return a project in which each table and task, with its problems, is that of the environment in which its commands run."""
    if not environments:
        return project
    tables = {(name, t.full_name): t for name, e in environments.items() for t in e.project.tables}
    tasks = {(name, t.full_name): t for name, e in environments.items() for t in e.project.tasks}
    nodes: list[Table | Task] = [*project.tables, *project.tasks]
    configs = {node.origin.file: find_dag_ref(project, node)[0] or "" for node in nodes}

    def choose(node: N, found: Mapping[tuple[str, str], N]) -> N:
        return found.get((find_dag_ref(project, node)[0] or "", node.full_name), node)

    return replace(
        project,
        domains=tuple(replace(domain, tables=tuple(choose(t, tables) for t in domain.tables)) for domain in project.domains),
        tasks=tuple(choose(t, tasks) for t in project.tasks),
        problems=tuple(dict.fromkeys(_choose_problems(project, environments, configs))),
    )


def _choose_problems(project: Project, environments: Mapping[str, Environment], configs: Mapping[str, str]) -> Iterator[Problem]:
    found = {name: frozenset(environment.project.problems) for name, environment in environments.items()}
    everywhere = list(found.values()) if set(configs.values()) <= environments.keys() else []
    for problem in project.problems:
        config = configs.get(problem.location.file) if problem.location else None
        # A problem that is not about a table or task matters only if a table or task uses the project's environment.
        there = everywhere if config is None else [found[config]] if config in found else []
        if not there or any(problem in problems for problems in there):
            yield problem
    known = set(project.problems)
    for name, environment in environments.items():
        for problem in environment.project.problems:
            concerned = problem.location is None or configs.get(problem.location.file, name) == name
            if problem not in known and concerned:
                setting = f"in the environment '{environment.profile or ''}' of the DAG config '{name}' ({environment.location})"
                yield replace(problem, message=f"{problem.message}; {setting}")


def _read_variables(config: DagConfig, renderer: DagRenderer) -> Mapping[str, str]:
    """Return the variables of ``sl_env_var`` that do not depend on the DAG. Planning reports errors in it."""
    text = renderer.render(config, "options.sl_env_var", config.options.get("sl_env_var") or "", {})
    try:
        return parse_variables(text)
    except ValueError:
        return {}
