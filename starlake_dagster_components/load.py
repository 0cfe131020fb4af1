"""``load_definitions_from_starlake_project``: build the definitions of a project with a function call."""

from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import dagster as dg

from .definitions.build import build_definitions, choose_job_executor
from .settings import Settings, get_setting

Arguments = ParamSpec("Arguments")


def _accept_settings(
    settings: Callable[Arguments, Settings],
) -> Callable[[Callable[..., dg.Definitions]], Callable[Concatenate[str | Path, Arguments], dg.Definitions]]:
    """Return a decorator that gives a function the settings as keyword arguments, with types, defaults, and documentation."""

    def decorate(function: Callable[..., dg.Definitions]) -> Callable[Concatenate[str | Path, Arguments], dg.Definitions]:
        fields = Settings.model_fields
        root = Parameter("root", Parameter.POSITIONAL_OR_KEYWORD, annotation=str | Path)
        arguments = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=field.get_default(call_default_factory=True), annotation=field.annotation)
            for name, field in fields.items()
        ]
        function.__signature__ = Signature([root, *arguments], return_annotation=dg.Definitions)  # type: ignore[attr-defined]
        documented = "\n".join(f"        {name}: {get_setting(field).help}" for name, field in fields.items())
        function.__doc__ = (function.__doc__ or "").replace("        **settings: the settings, see docs/settings.md.", documented)
        return function

    return decorate


@_accept_settings(Settings)
def load_definitions_from_starlake_project(root: str | Path, **settings: Any) -> dg.Definitions:
    """Build the definitions of a Starlake project.

    Args:
        root: the project's folder, which contains ``metadata/``.
        **settings: the settings, see docs/settings.md.

    Returns:
        Assets, checks, jobs, schedules, and sensors. Resources and the default executor are not included, so that you can merge the
        definitions with others.

    Raises:
        InvalidProject: the project has errors; the message lists all of them with their files and lines.
        InvalidSetting: a setting is unknown, or a value is invalid.
        ProjectNotFound: the folder does not exist, or does not contain a Starlake project.

    Example:
        ```python
        defs = load_definitions_from_starlake_project("/projects/shop", executor=DuckDBExecutor(), env="DEV")
        ```
    """
    return build_definitions(root, Settings(**settings)).definitions


def load_code_location(root: str | Path, settings: Settings) -> dg.Definitions:
    """Build the definitions of a code location that consists of one project.

    They are those of ``load_definitions_from_starlake_project`` and the default executor, which Materialize buttons use.
    """
    definitions = build_definitions(root, settings).definitions
    return dg.Definitions.merge(definitions, dg.Definitions(executor=choose_job_executor(None, settings)))
