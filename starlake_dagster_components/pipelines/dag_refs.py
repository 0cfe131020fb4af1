"""Find the DAG config that each table or task refers to, and check whether it becomes a job."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import Location, Problem, Severity, join_names, join_with, suggest_name
from ..project.model import DagConfig, Project, Table, Task
from .dag_options import check_names, check_validity
from .dag_templates import DAGSTER_TEMPLATES, EXECUTORS, ORCHESTRATORS, Template, find_dagster_template, read_template
from .pipeline import Kind

N = TypeVar("N", Table, Task)

_INCLUDES = {
    "orchestrator": "__starlake_dagster_orchestrator.py.j2",
    "kind": "load/__scheduled_table_tpl.py.j2",
    "executor": "__starlake_shell_execution.py.j2",
}
"""Part that a custom template may lack -> a template of Starlake that defines it, as an example of an include."""
_VARIABLE = re.compile(r"\{\{\s*([\w.]+)[^}]*\}\}|\$\{\s*([\w.]+)\s*\}")


@dataclass(frozen=True, slots=True)
class Member(Generic[N]):
    """A table or task with its DAG config, and the location of the reference to the config."""

    node: N
    config: DagConfig
    dag_ref: Location


class DagConfigs:
    """The DAG configs that a project's tables and tasks refer to. Each is checked once, and its problems are added to a list.

    Only those for one of the orchestrators become jobs.
    """

    def __init__(self, project: Project, orchestrators: Sequence[str], problems: list[Problem]) -> None:
        self._project = project
        self._orchestrators = tuple(dict.fromkeys(o.lower() for o in orchestrators))
        self._problems = problems
        self._templates: dict[str, Template] = {}

    def _add_problem(self, where: Location, severity: Severity, message: str) -> None:
        self._problems.append(Problem(where, severity, message, only_jobs=True))

    def read_template(self, config: DagConfig) -> Template:
        """Return the template of a config."""
        if config.name not in self._templates:
            self._templates[config.name] = read_template(config)
        return self._templates[config.name]

    def find_members(self, nodes: Iterable[N], kind: Kind) -> list[Member[N]]:
        """Return the tables or tasks that have a job, each with its config. Problems explain why others do not.

        A table or task without a ``dagRef`` is not a problem. Starlake: DagGenerateJob.
        """
        found: dict[tuple[str, Location], list[N]] = {}
        for node in nodes:
            ref, where = find_dag_ref(self._project, node)
            if ref:
                found.setdefault((ref, where), []).append(node)
        members = []
        becomes_job: dict[str, bool] = {}
        for (ref, where), users in found.items():
            config = self._project.dag_configs.get(ref)
            if config is None:
                self._report_unknown(ref, where, users)
            elif self._check_kind(config, kind, where, users):
                if ref not in becomes_job:
                    becomes_job[ref] = self._check(config, kind)
                members += [Member(node, config, where) for node in users if becomes_job[ref]]
        return members

    def _report_unknown(self, ref: str, where: Location, users: Sequence[Table | Task]) -> None:
        if any(p.severity == "error" and p.location and p.location.file.endswith(f"dags/{ref}.sl.yml") for p in self._project.problems):
            return
        who = f"needed by {name_nodes(users)}"
        variable = _VARIABLE.search(ref)
        if variable:
            self._add_problem(where, "error", f"dagRef '{ref}': the variable {variable[1] or variable[2]} is not set; {who}")
            return
        configs = self._project.dag_configs
        if ref.endswith(".sl.yml") and ref.removesuffix(".sl.yml") in configs:
            hint = f"; write '{ref.removesuffix('.sl.yml')}', without .sl.yml"
        else:
            hint = suggest_name(ref, configs) or (f" (known: {', '.join(sorted(configs))})" if 0 < len(configs) <= 12 else "")
        self._add_problem(where, "error", f"unknown DAG config '{ref}'{hint}: there is no dags/{ref}.sl.yml; {who}")

    def _check_kind(self, config: DagConfig, kind: Kind, where: Location, users: Sequence[Table | Task]) -> bool:
        template = self.read_template(config)
        if template.kind is None or template.kind == kind:
            return True
        use = f"which cannot {'load tables' if kind == 'load' else 'run tasks'}: {name_nodes(users)}"
        self._add_problem(where, "error", f"DAG config '{config.name}' has a {template.kind} template ({config.template}), {use}")
        return False

    def _check(self, config: DagConfig, kind: Kind) -> bool:
        """Return whether a config becomes jobs, and add its problems."""
        template = self.read_template(config)
        where = config.origin.locate("template")
        by = template.orchestrator
        if by and by not in self._orchestrators and (by in ORCHESTRATORS or template.custom):
            why = f"because its template '{config.template}' is for {by.capitalize()}; {self._suggest_remedy(template, by)}"
            self._add_problem(where, "warning", f"DAG config '{config.name}' does not become a job, {why}")
            return False
        if not template.orchestrator or template.kind is None or template.executor not in EXECUTORS:
            self._report_template(config, template)
            return False
        problems = check_validity(config, str(self._project.root)) if kind == "load" else []
        if not config.filename.strip():
            problems.append(Problem(config.origin.locate("filename"), "error", "filename is empty"))
        problems = list(dict.fromkeys(problems))
        self._problems += problems
        self._problems += check_names(config, kind)
        for name, line in template.computed.items():
            message = f"'{name}' is computed, but templates are not executed, so it has no effect; write it as a literal"
            self._add_problem(self._locate_in_template(config, line), "warning", message)
        if template.cron_line:
            message = "'cron' in a template has no effect; set 'schedule' on the tables or tasks"
            self._add_problem(self._locate_in_template(config, template.cron_line), "warning", message)
        return not problems

    def _suggest_remedy(self, template: Template, orchestrator: str) -> str:
        """Return advice on how to turn a config into jobs if its template is for another orchestrator."""
        like = find_dagster_template(template.kind or "load", template.executor or "")
        if template.kind is None or like is None:
            return f"use one of Starlake's Dagster templates, such as '{like or DAGSTER_TEMPLATES[0]}'"
        return f"set orchestrators to [{', '.join((*self._orchestrators, orchestrator))}], or use the template '{like}'"

    def _locate_in_template(self, config: DagConfig, line: int) -> Location:
        file = self._project.metadata_folder / "dags" / "templates" / config.template
        root = self._project.root
        return Location(file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix(), line)

    def _report_template(self, config: DagConfig, template: Template) -> None:
        where = config.origin.locate("template")
        if template.custom:
            found = {"orchestrator": template.orchestrator, "kind": template.kind, "executor": template.executor}
            missing = [what for what, value in found.items() if not value]
            lack = f"does not name its {join_with('and', missing)}" if missing else f"has the unknown executor '{template.executor}'"
            advice = f"include {join_with('and', [f'templates/dags/{_INCLUDES[what]}' for what in missing or ['executor']])}, for example"
            why = f"because its template '{config.template}' {lack}; {advice}"
            self._add_problem(where, "warning", f"DAG config '{config.name}' does not become a job, {why}")
            return
        hint = suggest_name(config.template, DAGSTER_TEMPLATES)
        folder = self._locate_in_template(config, 0).file.removesuffix(f"/{config.template}")
        known = "" if hint else f"; {folder} has no such file, and Starlake's Dagster templates are {', '.join(DAGSTER_TEMPLATES)}"
        self._add_problem(where, "error", f"unknown template '{config.template}'{hint}{known}")


def name_nodes(nodes: Sequence[Table | Task]) -> str:
    """Return the names of the first tables and tasks for a message, and the number of the others."""
    return join_names(sorted(node.full_name for node in nodes), 3)


def find_dag_ref(project: Project, node: Table | Task) -> tuple[str | None, Location]:
    """Return the name of the DAG config of a table or task (its own, else the application's), and the location of the reference."""
    application = project.application
    if isinstance(node, Table):
        own, key, default, default_key = node.metadata.dag_ref, "metadata.dagRef", application.dag_ref_load, "dagRef.load"
    else:
        own, key, default, default_key = node.dag_ref, "dagRef", application.dag_ref_transform, "dagRef.transform"
    if own and own.strip():
        return own.strip(), node.origin.locate(key)
    return (default or "").strip() or None, application.origin.locate(default_key)


def collect_dag_refs(members: Iterable[Member[N]]) -> Mapping[str, Location]:
    """Return full name -> location of the reference to the DAG config, for each member."""
    return {member.node.full_name: member.dag_ref for member in members}
