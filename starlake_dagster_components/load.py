"""``load_definitions_from_starlake_project``: the project as a function call."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import dagster as dg

from .definitions.build import build, job_executor
from .definitions.names import AssetKeyStyle
from .definitions.settings import Settings
from .definitions.translator import StarlakeTranslator
from .errors import InvalidSetting, did_you_mean
from .project.model import EMPTY

if TYPE_CHECKING:
    from .executors.base import StarlakeExecutor


def load_definitions_from_starlake_project(
    root: str | Path,
    *,
    executor: "StarlakeExecutor | str | Mapping[str, Any] | None" = None,
    env: str | None = None,
    variables: Mapping[str, str] = EMPTY,
    asset_keys: AssetKeyStyle = "flat",
    orchestrators: Sequence[str] = ("dagster",),
    dependencies: str = "auto",
    timezone: str | None = None,
    default_status: Literal["RUNNING", "STOPPED"] = "RUNNING",
    watch: Literal["transitive", "direct"] = "transitive",
    translator: StarlakeTranslator | None = None,
    name_prefix: str = "",
    step_executor: dg.ExecutorDefinition | str | Mapping[str, Any] | None = None,
    max_concurrent: int | None = None,
    op_tags: Mapping[str, str] = EMPTY,
    pool: str | None = None,
    expectation_checks: bool = True,
    batch: bool = False,
    cache: str | os.PathLike[str] | None = None,
    **unknown: NoReturn,
) -> dg.Definitions:
    """Build the definitions of a Starlake project.

    Args:
        root: folder of the project, the one that holds ``metadata/``.
        executor: where commands run: an executor, its type (``duckdb``) or a mapping with its type and fields.
        env: Starlake's environment (``SL_ENV``).
        variables: Starlake variables on top of all others.
        asset_keys: ``flat``, ``flat_lower`` or ``path``.
        orchestrators: whose templates make jobs.
        dependencies: ``auto``, ``sql``, or a path or glob of dependency JSON.
        timezone: IANA name for schedules whose DAG config gives none.
        default_status: whether schedules and sensors start ``RUNNING`` or ``STOPPED``.
        watch: whether sensors watch ``transitive`` dependencies or ``direct`` ones.
        translator: makes asset specs.
        name_prefix: text before the names of all jobs.
        step_executor: how jobs run their steps: a definition or a name.
        max_concurrent: commands at a time in one run.
        op_tags: tags for every step.
        pool: concurrency pool of every step.
        expectation_checks: whether expectations become asset checks.
        batch: whether the tables of a domain are loaded in one command.
        cache: folder in which plans are kept, or ``off``.
        **unknown: nothing; a name that is no setting is refused with the one that was meant.

    Returns:
        Assets, checks, jobs, schedules and sensors. They carry no resources and no executor of the code location, so they can be
        merged with others.

    Raises:
        InvalidProject: the project has errors; the message lists all of them with file and line.
        InvalidSetting: a setting cannot be used.
        ProjectNotFound: there is no project in the folder.

    Example:
        .. code-block:: python

            defs = load_definitions_from_starlake_project("/projects/shop", executor=DuckDBExecutor(), env="DEV")
    """
    for name in unknown:
        raise InvalidSetting(f"unknown setting '{name}'{did_you_mean(name, [f.name for f in fields(Settings)])}")
    settings = Settings(
        executor=executor,
        env=env,
        variables=variables,
        asset_keys=asset_keys,
        orchestrators=orchestrators,
        dependencies=dependencies,
        timezone=timezone,
        default_status=default_status,
        watch=watch,
        translator=StarlakeTranslator() if translator is None else translator,
        name_prefix=name_prefix,
        step_executor=step_executor,
        max_concurrent=max_concurrent,
        op_tags=op_tags,
        pool=pool,
        expectation_checks=expectation_checks,
        batch=batch,
        cache=cast("str | None", cache),
    )
    return build(root, settings).definitions


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
