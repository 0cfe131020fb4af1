"""The settings as options of ``sl-dagster``."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import InvalidSetting

if TYPE_CHECKING:
    from ..definitions.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
Given = Mapping[str, str | bool | None]

_GIVEN = "starlake_dagster_components.given"
"""Where click's context keeps the names of the settings that options gave."""


@dataclass(frozen=True, slots=True)
class SettingOption:
    """A setting as an option: its name, its help, and whether it is a switch."""

    setting: str
    help: str
    switch: bool = False


READING: Sequence[SettingOption] = (
    SettingOption("executor", "Where commands run: a type (shell, cloud_run, dagster_shell, duckdb) or a JSON object."),
    SettingOption("env", "Starlake's environment (SL_ENV)."),
    SettingOption("variables", "Starlake variables: name=value,name=value."),
    SettingOption("asset_keys", "flat, flat_lower or path."),
    SettingOption("orchestrators", "Whose templates make jobs, separated by commas."),
    SettingOption("dependencies", "auto, sql, or a path or glob of dependency JSON."),
    SettingOption("timezone", "Time zone of schedules."),
    SettingOption("name_prefix", "Text before the names of all jobs."),
    SettingOption("watch", "What sensors watch: transitive or direct dependencies."),
)
"""What decides how a project is read and what becomes of it: of every command."""

RUNNING: Sequence[SettingOption] = (
    SettingOption("max_concurrent", "Commands at a time in one run."),
    SettingOption("pool", "Concurrency pool of every step."),
    SettingOption("op_tags", "Tags of every step: name=value,name=value."),
    SettingOption("expectation_checks", "Whether expectations become asset checks.", switch=True),
    SettingOption("batch", "Whether the tables of a domain are loaded in one command.", switch=True),
)
"""What decides how steps run."""

SERVING: Sequence[SettingOption] = (
    SettingOption("default_status", "RUNNING or STOPPED: whether schedules and sensors are on when Dagster first sees them."),
    SettingOption("step_executor", "How Dagster runs steps: threads, multiprocess or in_process."),
)
"""What matters where Dagster goes on running."""


def option_of(setting: str) -> str:
    """Return the option of a setting: ``--asset-keys``."""
    return f"--{setting.replace('_', '-')}"


def project_options(*more: SettingOption) -> Callable[[F], F]:
    """Give a command the argument PROJECT, the settings of reading, and further ones, as options."""

    def decorate(function: F) -> F:
        for option in reversed((*READING, *more)):
            name = option_of(option.setting)
            if option.switch:
                function = click.option(f"{name}/--no-{name[2:]}", default=None, help=option.help)(function)
            else:
                function = click.option(name, default=None, metavar="TEXT", help=option.help)(function)
        return click.argument("project", type=click.Path(path_type=Path, exists=True, file_okay=False))(function)

    return decorate


def texts_of(given: Given) -> dict[str, str]:
    """Return the options that were given as texts, the form in which the environment has settings."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items() if value is not None}


def settings_of(given: Given) -> "Settings":
    """Return the settings of the environment, with the options that were given instead.

    Raises:
        InvalidSetting: a value that cannot be used; the message begins with its option, or its variable.
    """
    from dataclasses import replace

    from ..definitions.settings_text import settings_from_environment, settings_from_texts

    texts = texts_of(given)
    remember(*texts)
    chosen = {}
    for name, text in texts.items():
        try:
            chosen[name] = getattr(settings_from_texts({name: text}), name)
        except InvalidSetting as error:
            raise InvalidSetting(f"{option_of(name)}: {str(error).removeprefix(f'{name}: ')}") from error
    return replace(settings_from_environment(os.environ), **chosen)


def remember(*settings: str) -> None:
    """Note that options gave these, so that a later error about one of them names the option."""
    click.get_current_context().meta.setdefault(_GIVEN, set()).update(settings)


def in_terms_of_options(context: click.Context, message: str) -> str:
    """Return an error that begins with the name of a setting, beginning with its option where that gave it."""
    name, colon, rest = message.partition(": ")
    return f"{option_of(name)}: {rest}" if colon and name in context.meta.get(_GIVEN, ()) else message
