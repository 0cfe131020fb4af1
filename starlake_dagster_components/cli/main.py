"""``sl-dagster``: inspect a project, check it, and run it from a terminal or in CI."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import StarlakeError
from ..full_disk import explain_full_disk
from ..masking import mask_data, mask_exception
from ..settings.text import build_variable_name
from ..version import __version__
from .options import F, add_project_options, add_setting_options, build_settings, choose_project, get_given_texts, name_source, remember
from .output import echo
from .problems import format_github, list_errors, print_problems
from .warm_up import warm_up

_EXIT_CODES = "Exit code: 0 if {0}, 1 if {1}, 2 if the command line is invalid."


def _add_format_option(*formats: str, help: str = "Output format.") -> Callable[[F], F]:
    """Return a decorator that adds the ``--format`` option to a command. The first format is the default."""
    return click.option("--format", "output", type=click.Choice(formats), default=formats[0], show_default=True, help=help)


class _Group(click.Group):
    """A group of commands that prints this package's errors as a message, without a stack trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Exit with 1 if it raises a StarlakeError, or if a disk is full."""
        try:
            return super().invoke(ctx)
        except StarlakeError as error:
            echo(name_source(ctx, error), fg="red", err=True)
            sys.exit(1)
        except Exception as error:
            full = explain_full_disk(error)
            if full is not None:
                echo(full, fg="red", err=True)
                sys.exit(1)
            mask_exception(error)
            raise


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="PROJECT is a folder that contains metadata/. Default: SL_ROOT, or else the current folder. Exit codes differ by command.",
)
@click.version_option(__version__, prog_name="sl-dagster")
def main() -> None:
    """Run and inspect Starlake projects in Dagster."""


@main.command(epilog=_EXIT_CODES.format("there are no errors", "there are errors, or warnings with --strict"))
@add_project_options()
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings as well.")
@_add_format_option("text", "json", "github", help="Output format: lines of text, JSON, or annotations for a GitHub workflow.")
def check(project: Path, strict: bool, output: str, **given: str | bool | None) -> None:
    """Check PROJECT and print every problem with its file and line."""
    from ..definitions.build import prepare_graph
    from ..definitions.warnings import describe_assets_without_job
    from .report import count

    settings = build_settings(given)
    plan, graph, problems = prepare_graph(project, settings)
    errors = list_errors(problems)
    counts = {"table": len(plan.project.tables), "task": len(plan.project.tasks), "job": len(plan.pipelines), "asset": len(graph.by_key)}
    note = describe_assets_without_job(graph)
    if output == "json":
        from ..definitions.inspect.summary import summarize_project

        found = {"errors": len(errors), "warnings": len(problems) - len(errors), **{f"{name}s": number for name, number in counts.items()}}
        echo(_format_json({**found, "note": note or None, "problems": summarize_project(graph, settings, problems)["problems"]}))
    else:
        if output == "github":
            for problem in problems:
                echo(format_github(problem, plan.project.root))
        else:
            print_problems(problems)
        severities = f"{count(len(errors), 'error')}, {count(len(problems) - len(errors), 'warning')}"
        echo(f"{', '.join(count(number, name) for name, number in counts.items())}: {severities}")
        if note:
            echo(note)
    sys.exit(1 if errors or (strict and problems) else 0)


def _format_json(data: Any) -> str:
    return json.dumps(mask_data(data), indent=2, ensure_ascii=False)


@main.command("list", epilog=_EXIT_CODES.format("there are no errors", "there are errors"))
@add_project_options()
@_add_format_option("table", "json")
def list_(project: Path, output: str, **given: str | bool | None) -> None:
    """List the jobs and assets of PROJECT."""
    from ..definitions.build import prepare_graph
    from ..definitions.inspect.summary import summarize_project
    from ..definitions.warnings import describe_assets_without_job

    settings = build_settings(given)
    _, graph, problems = prepare_graph(project, settings)
    summary = mask_data(summarize_project(graph, settings, problems))
    if output == "json":
        echo(_format_json(summary))
    else:
        _print_tables(summary)
        print_problems(problems)
        note = describe_assets_without_job(graph)
        if note:
            echo(note)
    sys.exit(1 if list_errors(problems) else 0)


def _print_tables(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    jobs = Table("job", "kind", "executor", "assets", "starts", title="Jobs", title_justify="left")
    for job in summary["jobs"]:
        schedule, sensor = job["schedule"], job["sensor"]
        starts = [f"{schedule['cron']} ({schedule['timezone']})"] if schedule else []
        if sensor:
            count = len(sensor["assets"])
            starts.append("when 1 asset is materialized" if count == 1 else f"when {sensor['strategy']} of {count} assets are materialized")
        if job["file_sensor"]:
            starts.append("when files arrive")
        jobs.add_row(job["name"], job["kind"], job["executor"], str(len(job["assets"])), ", ".join(starts) or "manually")
    assets = Table("asset", "kind", "after", "source", title="Assets", title_justify="left")
    for asset in summary["assets"]:
        assets.add_row(asset["key"], asset["kind"], ", ".join(asset["deps"]), asset["source"] or "")
    console.print(jobs)
    console.print(assets)


@main.command(epilog=_EXIT_CODES.format("all runs succeeded", "a run failed or there was nothing to run"))
@add_project_options("run")
@click.option("--job", metavar="NAME", help="The job to run. Default: all load jobs, then all transform jobs.")
@click.option(
    "--select",
    "selection",
    metavar="TEXT",
    help="The assets to materialize, in Dagster's asset selection syntax: '+key:kpi_revenue'. Use this option instead of --job.",
)
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False),
    default="CRITICAL",
    show_default=True,
    help="Minimum level of the Dagster log messages to print.",
)
@click.option("--scheduled-date", metavar="DATE", help="Logical date of the runs, in ISO 8601.")
@click.option("--interval-start", metavar="DATE", help="Start of the data interval of the runs, in ISO 8601.")
@click.option("--interval-end", metavar="DATE", help="End of the data interval of the runs, in ISO 8601.")
@click.option(
    "--from",
    "first",
    metavar="DATE",
    help="First day of a range. A job with partitions runs once for each partition that begins in the range.",
)
@click.option("--to", "last", metavar="DATE", help="Last day of the range.")
@click.option("--single-run", is_flag=True, help="Run each job once for the whole range.")
@click.option("--quiet", "-q", is_flag=True, help="Print only failures, and no warnings.")
@_add_format_option("table", "json", help="Output format of the results. With json, everything else goes to stderr.")
def run(
    project: Path,
    job: str | None,
    selection: str | None,
    scheduled_date: str | None,
    interval_start: str | None,
    interval_end: str | None,
    first: str | None,
    last: str | None,
    single_run: bool,
    log_level: str,
    quiet: bool,
    output: str,
    **given: str | bool | None,
) -> None:
    """Run jobs of PROJECT now, without Dagster's UI.

    In a terminal, a live table shows the progress. Elsewhere, a line is printed for each finished asset. A summary follows at the end.
    Runs are stored in the Dagster instance in DAGSTER_HOME, or in a temporary one if the variable is not set.
    """
    if job is not None and selection is not None:
        raise click.UsageError(
            "--job and --select cannot be combined: a job runs all of its assets, and a selection runs only the selected ones"
        )
    if not quiet:
        # Printed first, because importing Dagster takes a second.
        echo(f"reading {project}", err=True)
    from .dates import RunDates
    from .progress import choose_progress
    from .report import format_json, print_results
    from .run import hide_warnings, run_headless

    settings = build_settings(given)
    remember("scheduled_date")
    with hide_warnings() if quiet else contextlib.nullcontext():
        results = run_headless(
            project,
            settings,
            job=job,
            selection=selection,
            dates=RunDates(scheduled_date, interval_start, interval_end, first, last, single_run),
            log_level=log_level.upper(),
            report=None if quiet else lambda text: echo(text, fg="yellow", err=True),
            progress=choose_progress(quiet=quiet, json=output == "json", log_level=log_level.upper()),
        )
    if output == "json":
        echo(format_json(results))
    else:
        print_results(results, quiet=quiet)
    sys.exit(0 if all(r.success for r in results) else 1)


@main.command(epilog=_EXIT_CODES.format("there are no errors", "there are errors"))
@add_project_options()
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    help="Full name of a task (domain.task). You can repeat this option. Default: all tasks.",
)
@_add_format_option("tree", "json", "diagram", help="Output format: indented names, or one of Starlake's JSON formats.")
def dependencies(project: Path, tasks: tuple[str, ...], output: str, **given: str | bool | None) -> None:
    """Print the tables and tasks that the tasks of PROJECT read.

    --format json prints the JSON of `starlake dag-generate`, and --format diagram that of `starlake lineage --json`.
    """
    from ..definitions.build import prepare_graph
    from ..pipelines.dependency_trees import build_dependency_diagram, build_dependency_tree, format_starlake_json

    plan, _, problems = prepare_graph(project, build_settings(given))
    if output == "diagram":
        echo(format_starlake_json(build_dependency_diagram(plan)))
    else:
        tree = build_dependency_tree(plan, tasks or None)
        echo(format_starlake_json(tree) if output == "json" else "\n".join(_indent_tree(tree)))
    errors = list_errors(problems)
    print_problems(errors, err=True)
    sys.exit(1 if errors else 0)


@main.command("lineage", epilog=_EXIT_CODES.format("the name exists", "it does not"))
@add_setting_options()
@click.argument("arguments", nargs=-1, metavar="[PROJECT] [NAME]")
@_add_format_option("text", "json", "mermaid")
def lineage_(arguments: tuple[str, ...], output: str, **given: str | bool | None) -> None:
    """Print the columns of PROJECT's tables and tasks, and the source columns of each.

    NAME is a table, a task, or a column (domain.task.column). If given, only NAME and everything upstream of it are printed.
    """
    if len(arguments) > 2:
        raise click.UsageError(f"expected PROJECT and NAME, or one of them, not {len(arguments)} arguments")
    from ..definitions.build import prepare_graph
    from .lineage import format_json, format_mermaid, format_text, select_columns

    folders = [a for a in arguments[:1] if len(arguments) == 2 or Path(a).is_dir()]
    project = choose_project(Path(folders[0]) if folders else None)
    plan, _, _ = prepare_graph(project, build_settings(given))
    nodes = select_columns(plan.project, next(iter(arguments[len(folders) :]), None))
    lines = [json.dumps(format_json(nodes), indent=2)] if output == "json" else (format_text if output == "text" else format_mermaid)(nodes)
    echo("\n".join(lines))


def _indent_tree(tree: list[dict[str, Any]]) -> list[str]:
    """Return one line per node, indented by two spaces per level."""
    lines = []
    stack = [(0, node) for node in reversed(tree)]
    while stack:
        level, node = stack.pop()
        lines.append("  " * level + str(node["data"]["name"]))
        stack += [(level + 1, child) for child in reversed(node.get("children", []))]
    return lines


@main.command(epilog=_EXIT_CODES.format("the name exists", "it does not"))
@add_setting_options()
@click.argument("arguments", nargs=-1, required=True, metavar="[PROJECT] NAME")
def explain(arguments: tuple[str, ...], **given: str | bool | None) -> None:
    """Explain why a job, asset, schedule, or sensor of PROJECT exists, with the file and line that each fact comes from."""
    if len(arguments) > 2:
        raise click.UsageError(f"expected PROJECT and NAME, or NAME alone, not {len(arguments)} arguments")
    from ..definitions.build import prepare_graph
    from ..definitions.inspect.explain import explain_name

    project = choose_project(Path(arguments[0]) if len(arguments) == 2 else None)
    settings = build_settings(given)
    _, graph, _ = prepare_graph(project, settings)
    echo("\n".join(explain_name(graph, settings, arguments[-1])))


@main.command("cache", epilog=_EXIT_CODES.format("the plan is in the cache", "it could not be cached, or the project has errors"))
@add_project_options()
@click.option("--folder", metavar="FOLDER", help="Cache folder. Default: SL_DAGSTER_CACHE, or else the user's cache folder.")
def cache_(project: Path, folder: str | None, **given: str | bool | None) -> None:
    """Cache the plan of PROJECT and the columns of its tasks, for example when you build an image.

    All users can read the cached files.
    """
    from ..definitions.build import examine_plan
    from .fill_cache import fill_cache

    settings = build_settings(given)
    if folder is not None:
        settings = settings.override(cache=folder)
    loaded, files = fill_cache(project, settings)
    _, problems = examine_plan(loaded.plan, settings)
    errors = list_errors(problems)
    print_problems(errors)
    if files:
        size = sum(file.stat().st_size for file in files)
        shown = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
        echo(f"{'already cached' if loaded.from_cache else 'cached'}: {files[0]} ({shown})")
    else:
        echo(f"not cached: {loaded.reason}", fg="red")
    sys.exit(1 if errors or not files else 0)


@main.command(epilog=_EXIT_CODES.format("it was stopped with Ctrl-C", "it could not start or one of Dagster's services exited"))
@add_setting_options("run", "serve")
@click.argument("projects", nargs=-1, type=click.Path(path_type=Path), metavar="[PROJECT]...")
@click.option("--port", "-p", type=int, metavar="NUMBER", help="Port of the web server. Default: the first free port from 3000.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address on which the web server listens.")
@click.option("--reload/--no-reload", default=True, show_default=True, help="Reload a project when one of its files changes.")
@click.option(
    "--log-level",
    type=click.Choice(["critical", "error", "warning", "info", "debug"], case_sensitive=False),
    default="warning",
    show_default=True,
    help="Minimum level of the messages from Dagster's services to print.",
)
def dev(projects: tuple[Path, ...], port: int | None, host: str, reload: bool, log_level: str, **given: str | bool | None) -> None:
    """Serve one or more projects in Dagster's UI. Each project is a code location that is named after its folder.

    Runs the web server, the daemon, and a code server for each PROJECT until you press Ctrl-C. When you edit a project's metadata, the
    graph updates within seconds. If an edit breaks the project, the error is printed, and Dagster keeps the last graph that had no errors
    (see the on_error setting).
    """
    folders = [choose_project(project) for project in projects] or [choose_project(None)]
    texts = get_given_texts(given)
    echo(f"reading {', '.join(map(str, folders))}", err=True)
    # Checked here, so that errors appear in this terminal and not in the log of a code server.
    settings = build_settings(given)
    from ..project.reader import start_reading
    from .dev import serve_projects

    for folder in folders:
        start_reading(folder)

    environment = {**os.environ, **{build_variable_name(name): text for name, text in texts.items()}}

    def examine(root: Path) -> None:
        from ..definitions.build import prepare_graph

        try:
            _, _, problems = prepare_graph(root, settings.override(on_error="fail"))
        except StarlakeError as error:
            echo(str(error), fg="red", err=True)
        else:
            print_problems(problems, err=True)

    serve_projects(
        folders,
        environment,
        host=host,
        port=port,
        reload=reload,
        log_level=log_level,
        report=lambda text: echo(text, err=True),
        examine=examine,
    )


main.add_command(warm_up)


if __name__ == "__main__":
    main()
