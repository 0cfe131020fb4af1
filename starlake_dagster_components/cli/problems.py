"""Format a project's problems for a terminal and for GitHub."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import Problem
from .options import name_source
from .output import echo


def list_errors(problems: Sequence[Problem]) -> list[Problem]:
    """Return the errors, which prevent the definitions from loading."""
    return [p for p in problems if p.severity == "error"]


def print_problems(problems: Sequence[Problem], *, err: bool = False) -> None:
    """Print a line for each problem: ``file:line: severity: message``."""
    for problem in problems:
        where = f"{problem.location}: " if problem.location else ""
        message = problem.message if where else name_source(click.get_current_context(), Exception(problem.message))
        echo(f"{where}{problem.severity}: {message}", fg="red" if problem.severity == "error" else "yellow", err=err)


def format_github(problem: Problem, root: Path) -> str:
    """Return a problem as a GitHub workflow command, which annotates the line in a pull request.

    ``root`` is the project's folder. The annotation's file is relative to ``GITHUB_WORKSPACE``, or to the current folder if it is not set.
    """
    properties = []
    if problem.location:
        repository = os.environ.get("GITHUB_WORKSPACE") or os.getcwd()
        properties.append(f"file={_escape(os.path.relpath(root / problem.location.file, repository), property=True)}")
        if problem.location.line:
            properties.append(f"line={problem.location.line}")
    return f"::{problem.severity} {','.join([*properties, 'title=Starlake'])}::{_escape(problem.message)}"


def _escape(text: str, *, property: bool = False) -> str:
    """Escape a string as actions/toolkit does (``command.ts``)."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if property else text
