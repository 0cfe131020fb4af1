"""Find the orchestrator, kind, and executor of a DAG template by its name or its includes. Templates are never executed."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..project.dag_configs import find_includes
from ..project.model import EMPTY, DagConfig
from .pipeline import Kind

ORCHESTRATORS = ("dagster", "airflow", "snowflake", "starlake", "databricks")
EXECUTORS = ("shell", "cloud_run", "dataproc", "fargate")
_DAGSTER_TEMPLATES: Mapping[tuple[str, str], str] = {
    (kind, executor): f"{kind}/dagster__scheduled_{what}__{executor}.py.j2"
    for kind, what in (("load", "table"), ("transform", "task"))
    for executor in EXECUTORS
}
DAGSTER_TEMPLATES = tuple(_DAGSTER_TEMPLATES.values())

_NAME = re.compile(
    r"(?:^|/)(?P<orchestrator>[a-z]+)_{1,2}scheduled_(?P<what>table|task)_{1,2}(?P<executor>[a-z_]+?)\.py\.j2$", re.IGNORECASE
)
_ANY_ORCHESTRATOR = re.compile(r"(?:^|/)(?P<orchestrator>[A-Za-z]+)__[^/]*$")
_EXECUTOR_NAMES = {"shell": "shell", "bash": "shell", "sql": "shell", **{name: name for name in EXECUTORS}}
_INCLUDED_ORCHESTRATOR = re.compile(r"__starlake_(?P<orchestrator>[a-z]+)(?:_orchestrator|_[a-z_]+_job)\.py")
_INCLUDED_EXECUTOR = re.compile(r"__starlake_(?:[a-z]+_)??(?P<executor>shell|bash|cloud_run|dataproc|fargate|sql)_(?:execution|job)\.py")
_INCLUDED_KIND = re.compile(r"__(?:[a-z]+_)?scheduled_(?P<what>table|task)_tpl\.py\.j2$")
_PYTHON_ORCHESTRATOR = re.compile(
    r"StarlakeOrchestrator\.(?P<orchestrator>[A-Z]+)|\bStarlake(?P<job>Dagster|Airflow|Snowflake)[A-Za-z]*Job\b"
)
_PYTHON_EXECUTOR = re.compile(
    r"StarlakeExecutionEnvironment\.(?P<executor>[A-Z_]+)|\bStarlake(?:Dagster|Airflow)(?P<job>Shell|Bash|CloudRun|Dataproc|Fargate)Job\b"
)
_LITERALS = ["jobs", "filtered_datasets", "spark_properties", "spark_executor_memory", "spark_executor_cores", "spark_executor_instances"]
_ASSIGNMENT = re.compile(rf"^(?P<name>{'|'.join(_LITERALS)})\s*(?::[^=\n]+)?=(?!=)\s*")
_CRON = re.compile(r"""^cron\s*(?::[^=\n]+)?=\s*(?P<quote>['"])(?!none['"])[^'"{}]+(?P=quote)""", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Template:
    """The content of a template.

    Attributes:
        orchestrator: the orchestrator in lowercase, such as ``dagster`` or ``airflow``; None if it is unknown.
        kind: whether the template is for loads or transforms; None if it is unknown.
        executor: ``shell`` (also for ``bash`` and ``sql``), ``cloud_run``, ``dataproc``, ``fargate``, or another name that the template
            has; None if it is unknown.
        literals: values of the module variables that starlake-orchestration reads (``jobs``, ``filtered_datasets``, ``spark_*``).
        computed: name -> line of such variables that are not literals.
        custom: whether the template is a file of the project.
        cron_line: the line on which a custom template sets ``cron``; 0 if it does not.
    """

    orchestrator: str | None = None
    kind: Kind | None = None
    executor: str | None = None
    literals: Mapping[str, Any] = field(default=EMPTY)
    computed: Mapping[str, int] = field(default=EMPTY)
    custom: bool = False
    cron_line: int = 0


def read_template(config: DagConfig) -> Template:
    """Read the template of a DAG config.

    For a built-in template, the name is enough. It may have the current spelling (``load/dagster__scheduled_table__shell.py.j2``) or that
    of 2024 (``dagster_scheduled_table_shell.py.j2``), with or without folders. A file of the project is classified by the templates that it
    includes, directly or through other files of the project, else by its name.
    """
    named = _parse_name(config.template)
    if config.template_text is None:
        return named
    texts = [config.template_text, *config.template_includes.values()]
    text, includes = "\n".join(texts), dict.fromkeys(path for source in texts for path in find_includes(source))
    # A custom template may have any name, so its last part is an executor only if it is the name of one.
    orchestrator, kind = named.orchestrator, named.kind
    executor = named.executor if named.executor in EXECUTORS else None
    for path in includes:
        included = _parse_name(path)
        what = _INCLUDED_KIND.search(path)
        by = _INCLUDED_ORCHESTRATOR.search(path)
        where = _INCLUDED_EXECUTOR.search(path)
        orchestrator = (by and by["orchestrator"]) or included.orchestrator or orchestrator
        kind = (_parse_kind(what["what"]) if what else included.kind) or kind
        executor = (where and _EXECUTOR_NAMES[where["executor"]]) or included.executor or executor
    if not orchestrator and (match := _PYTHON_ORCHESTRATOR.search(text)):
        orchestrator = (match["orchestrator"] or match["job"]).lower()
    if not executor and (match := _PYTHON_EXECUTOR.search(text)):
        spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", match["executor"] or match["job"]).lower()
        executor = _EXECUTOR_NAMES.get(spelled, spelled)
    if not kind:
        folders: dict[str, Kind] = {"load": "load", "transform": "transform"}
        kind = folders.get(config.template.replace("\\", "/").rpartition("/")[0].rpartition("/")[2])
    literals, computed = _read_literals(config.template_text)
    cron = _CRON.search(config.template_text)
    cron_line = config.template_text.count("\n", 0, cron.start()) + 1 if cron else 0
    return Template(orchestrator, kind, executor or named.executor, literals, computed, custom=True, cron_line=cron_line)


def find_dagster_template(kind: Kind, executor: str) -> str | None:
    """Return Starlake's Dagster template for a kind of job and an executor; None if Starlake has none."""
    return _DAGSTER_TEMPLATES.get((kind, executor))


def _parse_name(template: str) -> Template:
    if match := _NAME.search(template):
        executor = match["executor"].lower()
        return Template(match["orchestrator"].lower(), _parse_kind(match["what"]), _EXECUTOR_NAMES.get(executor, executor))
    match = _ANY_ORCHESTRATOR.search(template)
    return Template(match["orchestrator"].lower()) if match else Template()


def _parse_kind(what: str) -> Kind:
    return "load" if what.lower() == "table" else "transform"


def _read_literals(text: str) -> tuple[Mapping[str, Any], Mapping[str, int]]:
    """Return (name -> value of each known module variable that is a literal, name -> line of the others)."""
    literals: dict[str, Any] = {}
    computed: dict[str, int] = {}
    lines = text.splitlines()
    for index, line in enumerate(lines):
        match = _ASSIGNMENT.match(line)
        if not match:
            continue
        name = match["name"]
        try:
            literals[name] = ast.literal_eval(_parse_expression(lines, index, match.end()))
            computed.pop(name, None)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            literals.pop(name, None)
            computed[name] = index + 1
    return literals, computed


def _parse_expression(lines: list[str], first: int, column: int) -> ast.expr:
    """Return the expression that begins on a line. It may continue on the next lines. The rest of the file may be Jinja."""
    source = lines[first][column:]
    for line in [*lines[first + 1 :], ""]:
        try:
            return ast.parse(source.strip(), mode="eval").body
        except SyntaxError:
            source = f"{source}\n{line}"
    raise SyntaxError(f"missing expression on line {first + 1}")
