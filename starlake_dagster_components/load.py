"""``load_definitions_from_starlake_project``: the project as a function call."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from .definitions.build import build, job_executor
from .definitions.settings import Settings


def load_definitions_from_starlake_project(root: str | Path, **settings: Any) -> dg.Definitions:
    """Build the definitions of a Starlake project.

    Args:
        root: folder of the project, the one that holds ``metadata/``.
        **settings: fields of :class:`~starlake_dagster_components.Settings`: ``executor``, ``env``, ``asset_keys``, ...

    Returns:
        Assets, checks, jobs, schedules and sensors. They carry no resources and no executor of the code location, so they can be
        merged with others.

    Raises:
        InvalidProject: the project has errors; the message lists all of them with file and line.
        ProjectNotFound: there is no project in the folder.

    Example:
        .. code-block:: python

            defs = load_definitions_from_starlake_project("/projects/shop", executor=DuckDBExecutor(), env="DEV")
    """
    return build(root, Settings(**settings)).definitions


def load_code_location(root: str | Path, settings: Settings) -> dg.Definitions:
    """Build the definitions of a project that has a code location to itself.

    The same as :func:`load_definitions_from_starlake_project`, plus the executor of the code location, which is what the
    Materialize buttons use.
    """
    definitions = build(root, settings).definitions
    return dg.Definitions.merge(definitions, dg.Definitions(executor=job_executor(None, settings)))


def project_root(environ: Mapping[str, str] | None = None) -> str:
    """Return the project's folder as Starlake finds it: ``SL_ROOT``, else the current folder (Starlake: starlake.sh)."""
    return (os.environ if environ is None else environ).get("SL_ROOT") or os.getcwd()
