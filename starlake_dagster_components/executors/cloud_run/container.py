"""Make the arguments, the environment, and the sentinel of the container of an execution."""

from ...commands import Command
from . import sentinel
from .execution_settings import ExecutionSettings
from .request import COMMAND_ID, relocate_paths


def build_arguments(settings: ExecutionSettings, command: Command, command_id: str) -> list[str]:
    """Return the arguments of the image's entry point, one item per argument."""
    arguments = [relocate_paths(a, command.project, settings.root) for a in command.argv]
    place = choose_sentinel(settings, command, command_id)
    if place and not sentinel.find_given(command.arguments):
        arguments += [sentinel.OPTION, place]
    return [*settings.arguments_prefix, *arguments]


def build_environment(settings: ExecutionSettings, command: Command, command_id: str) -> dict[str, str]:
    """Return the environment to merge into that of the job. Variables of the command take precedence over those of the executor."""
    root, project = settings.root, command.project
    own = {name: relocate_paths(value, project, root) for name, value in command.environment.items()}
    if root is not None:
        own["SL_ROOT"] = root
    elif own.get("SL_ROOT") == project:
        # This is a path on this machine. The image has its own.
        del own["SL_ROOT"]
    return {**settings.env, **own, COMMAND_ID: command_id}


def choose_sentinel(settings: ExecutionSettings, command: Command, command_id: str) -> str | None:
    """Return where a ``preload`` reports "not ready"; None for other commands, and if only the exit code is used."""
    if command.verb != "preload":
        return None
    named = sentinel.find_given(command.arguments)
    if named:
        return named
    return sentinel.choose_place(settings.not_ready_folder, command_id) if settings.not_ready_folder else None
