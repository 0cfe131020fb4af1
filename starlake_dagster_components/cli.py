"""``sl-dagster``: look at a project, check it and run it from a terminal or in CI."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from . import __version__
from .errors import StarlakeError

F = TypeVar("F", bound=Callable[..., Any])

SETTING_OPTIONS: tuple[tuple[str, str], ...] = (
    ("executor", "Where commands run: a type (shell, cloud_run, dagster_shell, duckdb) or a JSON object."),
    ("env", "Starlake's environment (SL_ENV)."),
    ("variables", "Starlake variables: name=value,name=value."),
    ("asset-keys", "flat, flat_lower or path."),
    ("orchestrators", "Whose templates make jobs, separated by commas."),
    ("dependencies", "auto, sql, or a path or glob of dependency JSON."),
    ("timezone", "Time zone of schedules."),
)


def _settings_options(function: F) -> F:
    for name, text in reversed(SETTING_OPTIONS):
        function = click.option(f"--{name}", default=None, metavar="TEXT", help=text)(function)
    return click.argument("project", type=click.Path(path_type=Path, exists=True, file_okay=False))(function)


def _settings(given: dict[str, str | None]) -> Any:
    from dataclasses import replace

    from .definitions.settings_text import settings_from_environment, settings_from_texts

    from_environment = settings_from_environment(os.environ)
    from_options = {name: value for name, value in given.items() if value is not None}
    chosen = settings_from_texts(from_options)
    return replace(from_environment, **{name: getattr(chosen, name) for name in from_options})


class _Group(click.Group):
    """Shows this package's errors as one message, without a stack."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a StarlakeError ends it with exit code 1."""
        try:
            return super().invoke(ctx)
        except StarlakeError as error:
            click.secho(str(error), fg="red", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sl-dagster")
def main() -> None:
    """Starlake projects in Dagster: check, list, explain, dependencies, run, dev."""


@main.command()
@_settings_options
def check(project: Path, **given: str | None) -> None:
    """Read PROJECT and say what is wrong with it; exit code 1 when there are errors."""
    from .definitions.build import prepare

    plan, graph, problems = prepare(project, _settings(given))
    for problem in problems:
        click.secho(str(problem), fg="red" if problem.severity == "error" else "yellow")
    errors = sum(p.severity == "error" for p in problems)
    click.echo(
        f"{len(plan.project.tables)} tables, {len(plan.project.tasks)} tasks, {len(plan.pipelines)} jobs, {len(graph.by_key)} assets: "
        f"{errors} errors, {len(problems) - errors} warnings"
    )
    sys.exit(1 if errors else 0)


@main.command("list")
@_settings_options
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", help="A readable table, or data.")
def list_(project: Path, output: str, **given: str | None) -> None:
    """List the jobs and assets that PROJECT becomes."""
    from .definitions.build import prepare
    from .definitions.summary import summarize

    settings = _settings(given)
    _, graph, problems = prepare(project, settings)
    summary = summarize(graph, settings, problems)
    if output == "json":
        click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _print_tables(summary)
    sys.exit(1 if any(p.severity == "error" for p in problems) else 0)


def _print_tables(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    jobs = Table("job", "kind", "executor", "assets", "starts", title="Jobs", title_justify="left")
    for job in summary["jobs"]:
        schedule, sensor = job["schedule"], job["sensor"]
        starts = (
            f"{schedule['cron']} ({schedule['timezone']})"
            if schedule
            else f"when {sensor['strategy']} of {len(sensor['assets'])} assets are materialised"
            if sensor
            else "by hand"
        )
        jobs.add_row(job["name"], job["kind"], job["executor"], str(len(job["assets"])), starts)
    assets = Table("asset", "kind", "after", "source", title="Assets", title_justify="left")
    for asset in summary["assets"]:
        assets.add_row(asset["key"], asset["kind"], ", ".join(asset["deps"]), asset["source"] or "")
    console.print(jobs)
    console.print(assets)
    for problem in summary["problems"]:
        where = f"{problem['file']}:{problem['line'] or 1}: " if problem["file"] else ""
        console.print(f"{where}{problem['severity']}: {problem['message']}", markup=False, highlight=False)


@main.command()
@_settings_options
@click.option("--job", default=None, help="Name of the job to run. Default: all load jobs, then all transform jobs.")
@click.option("--select", "selection", default=None, help="Assets to materialise instead, in Dagster's selection syntax: '+kpi_revenue'.")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
    default="CRITICAL",
    help="What of the log to print.",
)
@click.option("--scheduled-date", default=None, help="Logical date of the run, ISO 8601.")
def run(project: Path, job: str | None, selection: str | None, scheduled_date: str | None, log_level: str, **given: str | None) -> None:
    """Run jobs of PROJECT here and now, and print what became of every asset.

    Runs are recorded in the Dagster instance of DAGSTER_HOME, or in a temporary one.
    """
    from .headless import run_headless
    from .run_report import print_results

    results = run_headless(project, _settings(given), job=job, selection=selection, scheduled_date=scheduled_date, log_level=log_level)
    print_results(results)
    sys.exit(0 if all(r.success for r in results) else 1)


@main.command()
@_settings_options
@click.option("--task", "tasks", multiple=True, help="Full name of a task (domain.task); may be repeated. Default: all tasks.")
@click.option(
    "--format", "output", type=click.Choice(["tree", "json", "diagram"]), default="tree", help="Indented names, or Starlake's JSON."
)
def dependencies(project: Path, tasks: tuple[str, ...], output: str, **given: str | None) -> None:
    """Print what the tasks of PROJECT read: as dag-generate writes it (json), or as `starlake lineage --json` (diagram)."""
    from .definitions.build import prepare
    from .pipelines import dependency_diagram, dependency_tree, starlake_json

    plan, _, problems = prepare(project, _settings(given))
    if output == "diagram":
        click.echo(starlake_json(dependency_diagram(plan)))
    else:
        tree = dependency_tree(plan, tasks or None)
        click.echo(starlake_json(tree) if output == "json" else "\n".join(_indented(tree)))
    errors = [p for p in problems if p.severity == "error"]
    for problem in errors:
        click.secho(str(problem), fg="red", err=True)
    sys.exit(1 if errors else 0)


def _indented(tree: list[dict[str, Any]]) -> list[str]:
    """Return one line per node of a tree, two blanks per level."""
    lines = []
    waiting = [(0, node) for node in reversed(tree)]
    while waiting:
        level, node = waiting.pop()
        lines.append("  " * level + str(node["data"]["name"]))
        waiting += [(level + 1, child) for child in reversed(node.get("children", []))]
    return lines


@main.command()
@_settings_options
@click.argument("name")
def explain(project: Path, name: str, **given: str | None) -> None:
    """Say why the job, asset, schedule or sensor NAME of PROJECT exists: the file and line behind each fact."""
    from .definitions.build import prepare
    from .definitions.explain import explain as explanation

    settings = _settings(given)
    _, graph, _ = prepare(project, settings)
    click.echo("\n".join(explanation(graph, settings, name)))


@main.command(context_settings={"ignore_unknown_options": True})
@_settings_options
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev(project: Path, arguments: tuple[str, ...], **given: str | None) -> None:
    """Open Dagster's web interface on PROJECT (`dagster dev`); further ARGUMENTS go to dagster."""
    environment = {**os.environ, "SL_ROOT": str(project.resolve())}
    for name, value in given.items():
        if value is not None:
            environment[f"SL_DAGSTER_{name.upper()}"] = value
    program = [sys.executable, "-m", "dagster", "dev", "-m", "starlake_dagster_components.code_location", *arguments]
    os.execve(sys.executable, program, environment)


if __name__ == "__main__":
    main()
