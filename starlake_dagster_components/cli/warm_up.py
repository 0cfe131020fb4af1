"""``sl-dagster warm-up``: create archives of Starlake's classes ahead of time, for example when an image is built."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..cache import VARIABLE
from .options import add_project_options, build_settings
from .output import add_rights, echo

if TYPE_CHECKING:
    from ..commands import Command
    from ..executors.local.jvm.archives import Loader
    from ..executors.local.shell import ShellExecutor
    from ..pipelines.pipeline import Plan
    from ..settings import Settings


@click.command("warm-up", epilog="Exit code: 0 if all archives exist, 1 if one could not be created, 2 if the command line is invalid.")
@add_project_options()
def warm_up(project: Path, **given: str | bool | None) -> None:
    """Create the archives with which Starlake starts faster, for all launchers and loaders of PROJECT, for example when you build an
    image.

    No job of PROJECT runs. To create an archive, Starlake loads a small sample project.
    """
    from ..definitions.build import prepare_graph

    settings = build_settings(given)
    plan, _, _ = prepare_graph(project, settings)
    failed, seen = False, set()
    for executor, command in _list_commands(plan, settings):
        program, environment = executor.prepare_launch(command)
        loader: Loader = "spark" if command.starts_spark else "native"
        key = (program, loader, executor.jvm.archive, tuple(sorted((n, v) for n, v in environment.items() if not n.startswith("SL_"))))
        if key not in seen:
            seen.add(key)
            failed |= not _warm_up(executor, program, environment, loader)
    if not seen:
        echo("nothing to do: no job of this project starts Starlake on this machine (shell or dagster_shell executor)")
    sys.exit(1 if failed else 0)


def _list_commands(plan: "Plan", settings: "Settings") -> "Iterator[tuple[ShellExecutor, Command]]":
    """Yield the command of each table and task that runs in a process on this machine, with its executor."""
    from ..commands import RunContext, build_load_command, build_transform_command
    from ..executors.local.shell import ShellExecutor

    domains = {domain.name: domain for domain in plan.project.domains}
    for pipeline in plan.pipelines:
        executor = settings.get_executor(pipeline)
        if isinstance(executor, ShellExecutor) and not executor.jvm.is_off:
            run = RunContext(plan.project, pipeline, settings.env, settings.variables)
            for table in pipeline.tables:
                yield executor, build_load_command(run, domains[table.domain], [table])
            for task in pipeline.tasks:
                yield executor, build_transform_command(run, task)


def _warm_up(executor: "ShellExecutor", program: str, environment: Mapping[str, str], loader: "Loader") -> bool:
    """Create one archive and report it. Return False if that fails; archives that are off or not supported are not failures."""
    from ..executors.local.jvm.archives import find_archive
    from ..executors.local.jvm.making import NotMade, make_archive, probe_sample
    from ..executors.local.jvm.start import choose_folder

    folder = choose_folder(executor.jvm)
    if folder is None or executor.jvm.archive == "off":
        echo(f"{program}, {loader}: archives are off")
        return True
    try:
        java = probe_sample(program, environment, folder, loader)
        archive = find_archive(folder, java, loader)
        if archive is None:
            echo(f"{program}, {loader}: Java {java.version} does not support archives (requires Java 13 or later)")
            return True
        found = archive.is_usable()
        make_archive(program, environment, folder, java, loader)
    except (NotMade, OSError) as error:
        echo(f"{program}, {loader}: not created: {error}", fg="red", err=True)
        return False
    chosen = executor.jvm.archive != "auto"
    # The user who builds an image is often not the one who runs commands in it.
    for path in [folder] if chosen else [folder, folder.parent] if os.environ.get(VARIABLE, "").strip() else []:
        add_rights(path, 0o555)
    size = archive.path.stat().st_size / 1e6
    echo(f"{program}, {loader}: {'already exists' if found else 'created'}: {archive.path} ({size:.1f} MB, Java {java.version})")
    return True
