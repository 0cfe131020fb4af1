"""Build the arguments, the environment, and the sentinel of the container of an execution."""

from typing import TYPE_CHECKING

from ...commands import Command
from . import sentinel
from .request import COMMAND_ID, relocate_paths

if TYPE_CHECKING:
    from .executor import CloudRunExecutor


def build_arguments(executor: "CloudRunExecutor", command: Command, command_id: str) -> list[str]:
    """Return the arguments of the image's entry point, one item per argument."""
    arguments = [relocate_paths(a, command.project, executor.root) for a in command.argv]
    place = choose_sentinel(executor, command, command_id)
    if place and not sentinel.find_sentinel(command.arguments):
        arguments += [sentinel.OPTION, place]
    return [*executor.arguments_prefix, *arguments]


def build_environment(executor: "CloudRunExecutor", command: Command, command_id: str) -> dict[str, str]:
    """Return the environment to merge into that of the job. Variables of the command take precedence over those of the executor."""
    root, project = executor.root, command.project
    own = {name: relocate_paths(value, project, root) for name, value in command.environment.items()}
    if root is not None:
        own["SL_ROOT"] = root
    elif own.get("SL_ROOT") == project:
        # This is a path on this machine. The image has its own.
        del own["SL_ROOT"]
    return {**executor.env, **own, COMMAND_ID: command_id}


def choose_sentinel(executor: "CloudRunExecutor", command: Command, command_id: str) -> str | None:
    """Return where a ``preload`` reports "not ready"; None for other commands, and if only the exit code is used."""
    if command.verb != "preload":
        return None
    named = sentinel.find_sentinel(command.arguments)
    if named:
        return named
    return sentinel.choose_place(executor.not_ready_folder, command_id) if executor.not_ready_folder else None
