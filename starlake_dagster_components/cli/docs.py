"""Generate the tables of the documentation: ``python -m starlake_dagster_components.cli.docs docs``, or ``make docs``."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from ..pipelines.dag_options import OPTIONS, REPLACED
from ..settings import OptionGroup, Settings, SharedSettings, get_setting, list_choices
from .dag_option_help import HELP
from .options import list_fields, name_option

_COMMANDS: Mapping[OptionGroup, str] = {"read": "all", "run": "`run`, `dev`", "serve": "`dev`"}


def list_settings(*, shared: bool) -> list[str]:
    """Return the table, in Markdown, of the settings that all sources share, or of those that YAML sets differently."""
    fields = [(name, field) for name, field in Settings.model_fields.items() if (name in SharedSettings.model_fields) is shared]
    rows = [f"| `{name}` | {_format_values(field)} | {_format_default(field)} | {_format_meaning(field)} |" for name, field in fields]
    return ["| Setting | Values | Default | Meaning |", "|---|---|---|---|", *rows]


def list_options() -> list[str]:
    """Return the table of the settings that are options of ``sl-dagster``."""
    rows = []
    for group, commands in _COMMANDS.items():
        names = [name.replace("/--no-", "` / `--no-") for name in (name_option(*item) for item in list_fields(group))]
        rows.append(f"| {', '.join(f'`{name}`' for name in names)} | {commands} |")
    return ["| Options | Commands |", "|---|---|", *rows]


def _format_values(field: FieldInfo) -> str:
    written = get_setting(field).values
    if written:
        return written
    if field.annotation is bool:
        return "`true`, `false`"
    if get_origin(field.annotation) in (Mapping, Sequence):
        return "mapping" if get_origin(field.annotation) is Mapping else "list"
    return ", ".join(f"`{c}`" for c in list_choices(field)) or ("number" if int in get_args(field.annotation) else "string")


def _format_default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if get_setting(field).shown_default or not (value or value is False):
        return get_setting(field).shown_default
    return f"`[{', '.join(value)}]`" if isinstance(value, tuple) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _format_meaning(field: FieldInfo) -> str:
    setting = get_setting(field)
    # Names, and values in parentheses or before a colon, are formatted as code.
    values = "|".join(list_choices(field)) or "(?!)"
    name = r"\{\{\w+\}\}|\$\{\w+\}|\{key_prefix: \.\.\.\}|[^\s(]*[*<][^\s(]*\w|--\w+|\b\w+_\w+\b|\b[a-z]+[A-Z]\w+"
    shown = rf"(?<=\()(?:{values})(?=[,)])|(?<=, )(?:{values})(?=\))|\b(?:{values})(?=:)"
    text = re.sub(f"{name}|{shown}", r"`\g<0>`", setting.help)
    return " ".join(filter(None, (text, f"{setting.more}." if setting.more else "")))


def list_dag_options() -> list[str]:
    """Return the table of the options of DAG configs that apply to all executors."""
    rows = [f"| `{name}` | {OPTIONS[name].kind or 'both'} | {HELP[name]} |" for name in sorted(HELP, key=str.lower)]
    return ["| Option | Jobs | Meaning |", "|---|---|---|", *rows]


def list_executor_options() -> list[str]:
    """Return the table of the options of DAG configs that belong to one executor."""
    own = [(option.executor, f"`{name}`") for name, option in OPTIONS.items() if option.executor]
    rows = [f"| `{executor}` | {', '.join(name for of, name in own if of == executor)} |" for executor in dict(own)]
    return ["| Executor | Options |", "|---|---|", *rows]


def list_dead_dag_options() -> list[str]:
    """Return the table of the options of DAG configs that have no effect, with the reasons."""
    rows = [f"| `{name}` | {option.unsupported} |" for name, option in OPTIONS.items() if option.unsupported]
    replaced = [f"| `{name}` | use `{other}` |" for name, other in REPLACED.items()]
    return ["| Option | Reason |", "|---|---|", *sorted(rows + replaced, key=str.lower)]


def list_commands() -> list[str]:
    """Return the help of every ``sl-dagster`` command, in Markdown. The options that all commands have come first, once."""
    from .main import main

    # The commands inherit -h from the group.
    group = main.make_context("sl-dagster", [], resilient_parsing=True, max_content_width=100, terminal_width=100)
    shared = {name for name, _ in list_fields("read")}
    every = click.Command("COMMAND", params=[param for param in main.commands["list"].params if param.name in shared])
    lines = ["## Options of all commands", "", *_format_help(every, group), ""]
    for name, command in sorted(main.commands.items()):
        own = copy(command)
        own.params = [param for param in command.params if param.name not in shared]
        lines += [f"## `sl-dagster {name}`", "", *_format_help(own, group), ""]
    return lines[:-1]


def _format_help(command: click.Command, group: click.Context) -> list[str]:
    return ["```text", *command.get_help(click.Context(command, info_name=command.name, parent=group)).splitlines(), "```"]


TABLES: Mapping[str, Callable[[], list[str]]] = {
    "settings": lambda: list_settings(shared=True),
    "python settings": lambda: list_settings(shared=False),
    "options": list_options,
    "dag options": list_dag_options,
    "executor options": list_executor_options,
    "dead dag options": list_dead_dag_options,
    "commands": list_commands,
}
"""Name -> function that returns the lines between ``<!-- table: NAME -->`` and ``<!-- end of table -->`` in the documentation."""


def write_tables(text: str) -> str:
    """Return the text of a page with updated tables."""
    pattern = re.compile(r"(<!-- table: ([a-z ]+) -->)\n.*?(<!-- end of table -->)", re.DOTALL)
    return pattern.sub(lambda found: "\n".join([found[1], *TABLES[found[2]](), found[3]]), text)


def main(folder: Path) -> None:
    """Update the tables of all pages in a folder."""
    for page in sorted(folder.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if write_tables(text) != text:
            page.write_text(write_tables(text), encoding="utf-8")
            print(f"wrote the tables of {page}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
