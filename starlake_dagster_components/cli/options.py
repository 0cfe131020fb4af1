"""The settings as options of ``sl-dagster``."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem
from pydantic.fields import FieldInfo

from ..settings import OptionGroup, Settings, choices_of, option_of, read_settings, setting_of

F = TypeVar("F", bound=Callable[..., Any])
Given = Mapping[str, str | bool | None]

_GIVEN = "starlake_dagster_components.given"
"""Where click's context keeps the names of the settings that options gave."""


class Choice(click.ParamType):  # type: ignore[type-arg]
    """A setting with fixed values: help and completion name them. What is wrong is found, with what was meant, when the settings are read."""

    name = "choice"

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the values as the help shows them."""
        return f"[{'|'.join(self.choices)}]"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the values that begin with what was typed."""
        return [CompletionItem(choice) for choice in self.choices if choice.lower().startswith(incomplete.lower())]


def project_options(*groups: OptionGroup) -> Callable[[F], F]:
    """Give a command the argument PROJECT and, as options, the settings of reading and of further groups."""

    def decorate(function: F) -> F:
        for name, field in reversed(fields_of("read", *groups)):
            function = _option(name, field)(function)
        return click.argument("project", type=click.Path(path_type=Path, exists=True, file_okay=False))(function)

    return decorate


def fields_of(*groups: OptionGroup) -> list[tuple[str, FieldInfo]]:
    """Return the settings of groups of options."""
    return [(name, field) for name, field in Settings.model_fields.items() if setting_of(field).options in groups]


def _option(name: str, field: FieldInfo) -> Callable[[F], F]:
    option, help_ = option_of(name), setting_of(field).help
    if field.annotation is bool:
        return click.option(f"{option}/--no-{option[2:]}", default=None, help=help_)
    choices = choices_of(field)
    type_ = Choice(choices) if choices else click.STRING
    return click.option(option, default=None, type=type_, metavar=None if choices else "TEXT", help=help_)


def texts_of(given: Given) -> dict[str, str]:
    """Return the options that were given as texts, the form in which the environment has settings."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items() if value is not None}


def settings_of(given: Given) -> Settings:
    """Return the settings of the environment, with the options that were given instead.

    Raises:
        InvalidSetting: a value that cannot be used; the message begins with its option, or its variable.
    """
    texts = texts_of(given)
    remember(*texts)
    return read_settings(os.environ, texts)


def remember(*settings: str) -> None:
    """Note that options gave these, so that a later error about one of them names the option."""
    click.get_current_context().meta.setdefault(_GIVEN, set()).update(settings)


def in_terms_of_options(context: click.Context, message: str) -> str:
    """Return an error that begins with the name of a setting, beginning with its option where that gave it."""
    name, colon, rest = message.partition(": ")
    return f"{option_of(name)}: {rest}" if colon and name in context.meta.get(_GIVEN, ()) else message
