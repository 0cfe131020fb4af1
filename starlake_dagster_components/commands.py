"""A Starlake command as data: what is run for a table, a domain or a task, wherever it is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Verb = Literal["stage", "preload", "load", "transform"]


@dataclass(frozen=True, slots=True)
class LoadFiles:
    """Where the files of the tables of a command wait, so that a failed load cannot lose them.

    Attributes:
        stage: absolute folder of the domain in the stage area.
        ingesting: absolute folder of the domain in the ingesting area, where a failed load leaves its file.
        patterns: Java regular expressions of the tables' file names.
    """

    stage: str
    ingesting: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """One Starlake command.

    Attributes:
        verb: ``stage``, ``preload``, ``load`` or ``transform``.
        arguments: everything behind the verb, one item per argument, never quoted.
        environment: what Starlake's process sees on top of the executor's own environment; holds secrets, not shown.
        project: absolute path of the project: SL_ROOT and working directory.
        program: ``SL_STARLAKE_PATH``: the executable, for executors that start one.
        files: for ``load``: the files at stake.
        databases: absolute paths of the DuckDB files that the command writes; commands on one file wait for each other.
    """

    verb: Verb
    arguments: tuple[str, ...]
    project: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    program: str = "starlake"
    files: LoadFiles | None = None
    databases: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the pipeline's DAG config (rendered): executors take their own (``cloud_run_job_name``) from here."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The verb and its arguments, without the program."""
        return (self.verb, *self.arguments)

    def with_environment(self, extra: Mapping[str, str]) -> "Command":
        """Return the same command with more environment variables; the given ones win."""
        return replace(self, environment={**self.environment, **extra})
