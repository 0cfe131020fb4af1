"""Build the request that starts the execution of a command: its container, and the id by which it is found again."""

import hashlib
import re
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...commands import Command
from ..base import Invocation
from . import sentinel

if TYPE_CHECKING:
    from google.cloud.run_v2 import RunJobRequest

    from .executor import CloudRunExecutor

COMMAND_ID = "STARLAKE_DAGSTER_COMMAND_ID"
"""Environment variable of every execution, with the id of the command and the step attempt."""


@dataclass(frozen=True, slots=True)
class CommandId:
    """Identifies the command, attempt, and step that an execution runs.

    Attributes:
        run_id, step_key: Dagster's run and step.
        command: verb and a digest of the arguments.
        number: how many times the attempt has run the same command before (a ``preload`` is repeated until files arrive).
        attempt: number of earlier attempts of the step.
    """

    run_id: str
    step_key: str
    command: str
    number: int
    attempt: int

    @property
    def text(self) -> str:
        """The value of ``STARLAKE_DAGSTER_COMMAND_ID``."""
        return f"{self.get_family(self.run_id)}/{self.attempt}"

    def get_family(self, run_id: str) -> str:
        """Return the part of the id that all attempts of this command in a run share."""
        return f"{run_id}/{self.step_key}/{self.command}.{self.number}"


class CommandIds:
    """Builds command ids, and counts how often an attempt has run the same command in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[tuple[str, str, int], dict[str, int]] = {}

    def build_id(self, command: Command, invocation: Invocation) -> CommandId:
        """Return the id of the next execution. Without a run (outside Dagster) it is random, because nothing can be taken over."""
        digest = hashlib.sha256("\0".join((command.project, *command.argv)).encode()).hexdigest()[:12]
        name = f"{command.verb}-{digest}"
        run_id = invocation.run_id or f"no-run-{uuid.uuid4()}"
        key = (run_id, invocation.step_key, invocation.attempt)
        with self._lock:
            numbers = self._numbers.pop(key, {})
            self._numbers[key] = numbers
            number = numbers.get(name, 0)
            numbers[name] = number + 1
            while len(self._numbers) > 10_000:
                del self._numbers[next(iter(self._numbers))]
        return CommandId(run_id, invocation.step_key, name, number, invocation.attempt)

    def has_attempt(self, invocation: Invocation, attempt: int) -> bool:
        """Return whether another attempt of a step was made in this process."""
        with self._lock:
            return (invocation.run_id, invocation.step_key, attempt) in self._numbers


def split_id(text: str) -> tuple[str, int] | None:
    """Return the family and the attempt of a ``STARLAKE_DAGSTER_COMMAND_ID``; None if it is not from this package."""
    family, _, attempt = text.rpartition("/")
    return (family, int(attempt)) if family and attempt.isdecimal() else None


def build_run_request(
    job: str, arguments: Sequence[str], environment: Mapping[str, str], *, container: str | None = None, task_timeout: float | None = None
) -> "RunJobRequest":
    """Return the request that starts one execution.

    Args:
        job: ``projects/P/locations/R/jobs/J``.
        arguments: the arguments of the image's entry point, which replace those of the job.
        environment: variables to merge into those of the job.
        container: the container to override; None = the only one.
        task_timeout: in seconds; None = the timeout of the job.
    """
    from google.cloud import run_v2

    override = run_v2.RunJobRequest.Overrides.ContainerOverride(
        args=list(arguments), env=[run_v2.EnvVar(name=name, value=value) for name, value in environment.items()]
    )
    if container:
        override.name = container
    overrides = run_v2.RunJobRequest.Overrides(container_overrides=[override], task_count=1)
    if task_timeout is not None:
        from google.protobuf.duration_pb2 import Duration

        duration = Duration()
        duration.FromNanoseconds(int(task_timeout * 1_000_000_000))
        overrides.timeout = duration
    return run_v2.RunJobRequest(name=job, overrides=overrides)


def relocate_paths(text: str, project: str, root: str | None) -> str:
    """Replace the project's folder on this machine with the folder in the container, wherever it is a complete path.

    Args:
        text: an argument or a value of the environment.
        project: absolute path on this machine.
        root: ``SL_ROOT`` in the container; None = no replacement.
    """
    if root is None or project not in text:
        return text
    return re.sub(rf"(?<![\w./-]){re.escape(project.rstrip('/'))}(?=$|[/,;:\s\"'])", lambda _: root.rstrip("/"), text)


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
