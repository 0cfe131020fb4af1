"""``sl-dagster``: look at a project, check it and run it from a terminal or in CI."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..errors import Problem, StarlakeError
from ..settings import variable_of
from .options import in_terms_of_options, project_options, remember, settings_of, texts_of


class _Group(click.Group):
    """Shows this package's errors as one message, without a stack."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a StarlakeError ends it with exit code 1."""
        try:
            return super().invoke(ctx)
        except StarlakeError as error:
            click.secho(in_terms_of_options(ctx, str(error)), fg="red", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sl-dagster")
def main() -> None:
    """Starlake projects in Dagster: check, list, explain, dependencies, run, cache, dev."""


@main.command()
@project_options()
@click.option("--strict", is_flag=True, help="Warnings give exit code 1, too.")
def check(project: Path, strict: bool, **given: str | bool | None) -> None:
    """Read PROJECT and say what is wrong with it; exit code 1 when there are errors."""
    from ..definitions.build import prepare_graph
    from ..definitions.warnings import describe_assets_without_job
    from .report import counted

    plan, graph, problems = prepare_graph(project, settings_of(given))
    _show(problems)
    errors = _errors(problems)
    counts = {"table": len(plan.project.tables), "task": len(plan.project.tasks), "job": len(plan.pipelines), "asset": len(graph.by_key)}
    found = f"{counted(len(errors), 'error')}, {counted(len(problems) - len(errors), 'warning')}"
    click.echo(f"{', '.join(counted(number, name) for name, number in counts.items())}: {found}")
    note = describe_assets_without_job(graph)
    if note:
        click.echo(note)
    sys.exit(1 if errors or (strict and problems) else 0)


def _errors(problems: Sequence[Problem]) -> list[Problem]:
    return [p for p in problems if p.severity == "error"]


def _show(problems: Sequence[Problem], *, err: bool = False) -> None:
    """Print a line for each problem: ``file:line: severity: message``."""
    for problem in problems:
        where = f"{problem.location}: " if problem.location else ""
        message = problem.message if where else in_terms_of_options(click.get_current_context(), problem.message)
        click.secho(f"{where}{problem.severity}: {message}", fg="red" if problem.severity == "error" else "yellow", err=err)


@main.command("list")
@project_options()
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", help="A readable table, or data.")
def list_(project: Path, output: str, **given: str | bool | None) -> None:
    """List the jobs and assets that PROJECT becomes."""
    from ..definitions.build import prepare_graph
    from ..definitions.inspect.summary import summarize_project
    from ..definitions.warnings import describe_assets_without_job

    settings = settings_of(given)
    _, graph, problems = prepare_graph(project, settings)
    summary = summarize_project(graph, settings, problems)
    if output == "json":
        click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _print_tables(summary)
        _show(problems)
        note = describe_assets_without_job(graph)
        if note:
            click.echo(note)
    sys.exit(1 if _errors(problems) else 0)


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


@main.command()
@project_options("run")
@click.option("--job", default=None, help="Name of the job to run. Default: all load jobs, then all transform jobs.")
@click.option("--select", "selection", default=None, help="Assets to materialise instead, in Dagster's selection syntax: '+kpi_revenue'.")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
    default="CRITICAL",
    help="What of the log to print.",
)
@click.option("--scheduled-date", default=None, help="Logical date of the run, ISO 8601.")
def run(
    project: Path, job: str | None, selection: str | None, scheduled_date: str | None, log_level: str, **given: str | bool | None
) -> None:
    """Run jobs of PROJECT here and now, and print what became of every asset.

    Runs are recorded in the Dagster instance of DAGSTER_HOME, or in a temporary one.
    """
    if job is not None and selection is not None:
        raise click.UsageError("--job and --select exclude each other: a job runs all its assets, a selection those that it names")
    from .report import print_results
    from .run import run_headless

    settings = settings_of(given)
    remember("scheduled_date")
    results = run_headless(
        project,
        settings,
        job=job,
        selection=selection,
        scheduled_date=scheduled_date,
        log_level=log_level,
        say=lambda text: click.secho(text, fg="yellow", err=True),
    )
    print_results(results)
    sys.exit(0 if all(r.success for r in results) else 1)


@main.command()
@project_options()
@click.option("--task", "tasks", multiple=True, help="Full name of a task (domain.task); may be repeated. Default: all tasks.")
@click.option(
    "--format", "output", type=click.Choice(["tree", "json", "diagram"]), default="tree", help="Indented names, or Starlake's JSON."
)
def dependencies(project: Path, tasks: tuple[str, ...], output: str, **given: str | bool | None) -> None:
    """Print what the tasks of PROJECT read: as dag-generate writes it (json), or as `starlake lineage --json` (diagram)."""
    from ..definitions.build import prepare_graph
    from ..pipelines import build_dependency_diagram, build_dependency_tree, format_starlake_json

    plan, _, problems = prepare_graph(project, settings_of(given))
    if output == "diagram":
        click.echo(format_starlake_json(build_dependency_diagram(plan)))
    else:
        tree = build_dependency_tree(plan, tasks or None)
        click.echo(format_starlake_json(tree) if output == "json" else "\n".join(_indented(tree)))
    errors = _errors(problems)
    _show(errors, err=True)
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
@project_options()
@click.argument("name")
def explain(project: Path, name: str, **given: str | bool | None) -> None:
    """Say why the job, asset, schedule or sensor NAME of PROJECT exists: the file and line behind each fact."""
    from ..definitions.build import prepare_graph
    from ..definitions.inspect.explain import explain_name

    settings = settings_of(given)
    _, graph, _ = prepare_graph(project, settings)
    click.echo("\n".join(explain_name(graph, settings, name)))


@main.command("cache")
@project_options()
@click.option("--folder", default=None, metavar="FOLDER", help="Where to keep it. Default: SL_DAGSTER_CACHE, else a folder of the user's.")
def cache_(project: Path, folder: str | None, **given: str | bool | None) -> None:
    """Fill the cache of plans with PROJECT, readable for everybody, as when an image is built; exit code 1 when nothing was kept."""
    from ..definitions.build import examine_plan
    from .fill_cache import fill_cache

    settings = settings_of(given)
    if folder is not None:
        settings = settings.override(cache=folder)
    filled = fill_cache(project, settings)
    _, problems = examine_plan(filled.plan, settings)
    errors = _errors(problems)
    _show(errors)
    if filled.entry is None:
        click.secho(f"not kept: {filled.reason}", fg="red")
    else:
        click.echo(f"{'already there' if filled.found else 'kept'}: {filled.entry} ({_size(filled.size)})")
    sys.exit(1 if errors or filled.entry is None else 0)


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"


@main.command(context_settings={"ignore_unknown_options": True})
@project_options("run", "serve")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev(project: Path, arguments: tuple[str, ...], **given: str | bool | None) -> None:
    """Open Dagster's web interface on PROJECT (`dagster dev`); further ARGUMENTS go to dagster."""
    texts = texts_of(given)
    if texts:
        # Said here, where it was typed, not in the log of a code server.
        settings_of(given)
    environment = {**os.environ, "SL_ROOT": str(project.resolve()), **{variable_of(name): text for name, text in texts.items()}}
    # This command is Dagster's for projects without a pyproject.toml of its own; that there is another is of no use here.
    program = [sys.executable, "-W", "ignore:Function `dev_command` is superseded", "-m", "dagster", "dev"]
    os.execve(sys.executable, [*program, "-m", "starlake_dagster_components.code_location", *arguments], environment)


if __name__ == "__main__":
    main()
