"""What the container of an execution gets: arguments, environment, and where it says "not ready"."""

from typing import TYPE_CHECKING

from ...commands import Command
from . import sentinel
from .request import COMMAND_ID, relocated

if TYPE_CHECKING:
    from .executor import CloudRunExecutor


def arguments_of(executor: "CloudRunExecutor", command: Command, command_id: str) -> list[str]:
    """Return the arguments of the image's entry point, one item per argument."""
    arguments = [relocated(a, command.project, executor.root) for a in command.argv]
    place = sentinel_of(executor, command, command_id)
    if place and not sentinel.given(command.arguments):
        arguments += [sentinel.OPTION, place]
    return [*executor.arguments_prefix, *arguments]


def environment_of(executor: "CloudRunExecutor", command: Command, command_id: str) -> dict[str, str]:
    """Return the environment that is merged over that of the job; the command's wins over the executor's."""
    root, project = executor.root, command.project
    own = {name: relocated(value, project, root) for name, value in command.environment.items()}
    if root is not None:
        own["SL_ROOT"] = root
    elif own.get("SL_ROOT") == project:
        # A path of this machine: the image knows better.
        del own["SL_ROOT"]
    return {**executor.env, **own, COMMAND_ID: command_id}


def sentinel_of(executor: "CloudRunExecutor", command: Command, command_id: str) -> str | None:
    """Return where a ``preload`` says "not ready"; None for other commands, and where its exit code has to do."""
    if command.verb != "preload":
        return None
    named = sentinel.given(command.arguments)
    if named:
        return named
    return sentinel.place(executor.not_ready_folder, command_id) if executor.not_ready_folder else None
