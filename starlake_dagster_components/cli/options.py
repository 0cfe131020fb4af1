"""The options of ``sl-dagster``, which are made from the settings."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import click
from click.shell_completion import CompletionItem
from pydantic.fields import FieldInfo

from ..errors import ProjectNotFound
from ..settings import OptionGroup, Settings, get_setting, list_choices
from ..settings.text import build_option_name, find_project, read_settings

F = TypeVar("F", bound=Callable[..., Any])
Given = Mapping[str, str | bool | None]

_GIVEN = "starlake_dagster_components.given"
"""Key in ``click.Context.meta`` for the names of the settings that were given as options."""

_SOURCE = "starlake_dagster_components.project"
"""Key in ``click.Context.meta`` for the source of the project's folder."""


class Choice(click.ParamType):  # type: ignore[type-arg]
    """A setting with fixed values, for help and completion.

    It accepts any value: reading the settings reports invalid ones, with a suggestion.
    """

    name = "choice"

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the values for the help text."""
        return f"[{'|'.join(self.choices)}]"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the values that begin with the typed text."""
        return [CompletionItem(choice) for choice in self.choices if choice.lower().startswith(incomplete.lower())]


def add_setting_options(*groups: OptionGroup) -> Callable[[F], F]:
    """Return a decorator that adds the settings for reading, and those of further groups, to a command as options."""

    def decorate(function: F) -> F:
        for name, field in reversed(list_fields("read", *groups)):
            function = _build_option(name, field)(function)
        return function

    return decorate


def add_project_options(*groups: OptionGroup) -> Callable[[F], F]:
    """Return a decorator that adds the argument PROJECT and the options of :func:`add_setting_options` to a command."""

    def decorate(function: F) -> F:
        argument = click.argument(
            "project", required=False, type=click.Path(path_type=Path), callback=lambda ctx, param, given: choose_project(given)
        )
        return argument(add_setting_options(*groups)(function))

    return decorate


def choose_project(given: Path | None) -> Path:
    """Return the project's folder: the argument, else ``SL_ROOT``, else the current folder.

    Raises:
        click.BadParameter: the path does not exist or is not a folder.
    """
    source = "PROJECT" if given is not None else "SL_ROOT" if os.environ.get("SL_ROOT") else ""
    click.get_current_context().meta[_SOURCE] = source
    path = given if given is not None else Path(find_project(os.environ))
    if not path.is_dir():
        problem = f"'{path}' is not a folder" if path.exists() else f"the folder '{path}' does not exist"
        raise click.BadParameter(problem, param_hint=source)
    return path


def list_fields(*groups: OptionGroup) -> list[tuple[str, FieldInfo]]:
    """Return the names and fields of the settings that belong to groups of options."""
    return [(name, field) for name, field in Settings.model_fields.items() if get_setting(field).options in groups]


def name_option(name: str, field: FieldInfo) -> str:
    """Return the option of a setting, such as ``--asset-keys``, or ``--batch/--no-batch`` for a switch."""
    option = build_option_name(name)
    return f"{option}/--no-{option[2:]}" if field.annotation is bool or get_setting(field).switch else option


def _build_option(name: str, field: FieldInfo) -> Callable[[F], F]:
    option, setting, choices = name_option(name, field), get_setting(field), list_choices(field)
    if choices or "/" in option:
        return click.option(option, default=None, type=Choice(choices) if choices else None, help=setting.help)
    origin = get_origin(field.annotation)
    several = {Mapping: "NAME=VALUE,...", Sequence: "NAME,..."}[origin] if origin in (Mapping, Sequence) else ""
    metavar = setting.metavar or several or ("NUMBER" if int in get_args(field.annotation) else "TEXT")
    complete = _complete_executor if name == "executor" else None
    return click.option(option, metavar=metavar, help=setting.help, shell_complete=complete)


def _complete_executor(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the executor types that begin with the typed text. They are only proposals: a mapping is valid as well."""
    from ..executors.registry import EXECUTOR_TYPES

    return Choice(list(EXECUTOR_TYPES)).shell_complete(ctx, param, incomplete)


def get_given_texts(given: Given) -> dict[str, str]:
    """Return the given options as strings, as they would be written in environment variables."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items() if value is not None}


def build_settings(given: Given) -> Settings:
    """Return the settings from the environment, overridden by the given options.

    Raises:
        InvalidSetting: a value is invalid; the message begins with its option or variable.
    """
    texts = get_given_texts(given)
    remember(*texts)
    return read_settings(os.environ, texts)


def remember(*settings: str) -> None:
    """Record that these settings were given as options, so that a later error names the option."""
    click.get_current_context().meta.setdefault(_GIVEN, set()).update(settings)


def name_source(context: click.Context, error: Exception) -> str:
    """Return an error's message in terms of the command line: settings by their options, and the project by PROJECT or SL_ROOT."""
    message = str(error)
    if isinstance(error, ProjectNotFound):
        source = context.meta.get(_SOURCE)
        if source == "PROJECT":
            return message
        return f"SL_ROOT: {message}" if source else f"{message} Give the folder as PROJECT, or set SL_ROOT."
    name, colon, rest = message.partition(": ")
    return f"{build_option_name(name)}: {rest}" if colon and name in context.meta.get(_GIVEN, ()) else message
