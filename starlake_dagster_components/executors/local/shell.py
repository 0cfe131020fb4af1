"""``executor: {type: shell}``: the ``starlake`` command as a process on this machine."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PrivateAttr

from ...errors import CommandError
from ..base import CommandResult, Environment, Invocation, Seconds, StarlakeExecutor
from .jvm.settings import Jvm, JvmSettings

# The modules that run commands are imported by the first command, because a code location only needs the fields.
if TYPE_CHECKING:
    from ...commands import Command
    from ...pipelines.pipeline import Pipeline
    from ...project.model import Project
    from ..starlake_output.process_output import Output

_UNKNOWN_SENTINEL = re.compile(r"[Uu]n(?:known|recognized) (?:option|argument).*notReadySentinel")


class ShellExecutor(StarlakeExecutor):
    """Runs the ``starlake`` command on this machine.

    The command is started from a list of arguments, without a shell, in a new session. The project is its working directory and SL_ROOT.
    Its output appears in the run's log line by line, with its levels. Canceling the run ends the whole process tree.
    """

    type: Literal["shell"] = Field(default="shell", description="Run the starlake command as a process on this machine.")
    starlake_path: str | None = Field(
        default=None,
        description="The Starlake executable: a path, relative to the project or absolute, or a name on the PATH. "
        "Default: SL_STARLAKE_PATH of the DAG config's options or of the environment, else starlake.",
        examples=["/opt/starlake/starlake", "starlake"],
    )
    env: Environment = Field(
        default_factory=dict,
        description="Environment variables of every command, in addition to those of Dagster's process. "
        "sl_env_var of a DAG config overrides them. "
        "Values whose names contain PASSWORD, SECRET, TOKEN, KEY, or the like are hidden in logs.",
        examples=[{"SPARK_DRIVER_MEMORY": "2g", "DB_PASSWORD": "{{ env.DB_PASSWORD }}"}],
    )
    timeout: Seconds | None = Field(
        default=None,
        description="Maximum duration of a command, in seconds. Then its processes are stopped and the step fails. Default: no limit.",
        examples=[3600],
    )
    grace_period: Seconds = Field(
        default=20.0,
        description="Seconds between asking processes to end (SIGTERM) and killing them (SIGKILL), when a run is canceled or a command "
        "reaches its timeout.",
        examples=[60],
    )

    jvm: Jvm = Field(
        default_factory=JvmSettings,
        description="How Java starts: auto, off, or a mapping of archive (a folder, or off), compiler (auto, full, or fast), and options. "
        "Default (auto): with an archive of Starlake's classes, created in the background during the first command. See docs/jvm.md.",
        examples=["off", {"archive": "/var/cache/starlake-jvm", "compiler": "full", "options": ["-XX:ActiveProcessorCount=2"]}],
    )

    _without_sentinel: set[tuple[str, float]] = PrivateAttr(default_factory=set)

    def find_missing_program(self, project: "Project", pipeline: "Pipeline") -> str | None:
        """Return a message if the Starlake command cannot be found."""
        from ...commands import choose_program

        program = self.starlake_path or choose_program(project, pipeline)
        try:
            find_program(program, str(project.root), self.env.get("PATH", os.environ.get("PATH")))
        except CommandError as error:
            return str(error)
        return None

    def run(self, command: "Command", invocation: Invocation) -> CommandResult:
        """Run one command as a process; see ``StarlakeExecutor.run``.

        Raises:
            CommandCanceled: the run was canceled; no process of the command is left.
            CommandTimeout: it ran longer than ``timeout``; no process of the command is left.
            CommandError: the program does not exist or cannot be started.
        """
        from .guarded import run_locally

        program = self._find_program(command)
        for caveat in command.caveats:
            invocation.log("warning", caveat)
        if command.verb == "preload":
            return run_locally(command, invocation, partial(self._run_preload, program, invocation))
        return run_locally(command, invocation, lambda numbered: self._run(program, numbered, invocation)[0])

    def _run_preload(self, program: str, invocation: Invocation, command: "Command") -> CommandResult:
        """Run a ``preload`` so that "nothing to load" can be distinguished from a failure.

        Since Starlake 1.5.15, PreLoadCmd takes ``--notReadySentinel`` and creates that file if there is nothing to load. Older versions
        reject the option. For them, exit code 1 without an exception means that there is nothing to load.
        """
        version = (program, os.stat(program).st_mtime)
        if version not in self._without_sentinel:
            with tempfile.TemporaryDirectory(prefix="starlake-preload-") as folder:
                sentinel = Path(folder, "not-ready")
                result, output = self._run(program, command.with_arguments("--notReadySentinel", str(sentinel)), invocation)
                if result.exit_code == 0:
                    return replace(result, not_ready=sentinel.exists())
            if not any(_UNKNOWN_SENTINEL.search(line) for line in result.tail):
                return result
            self._without_sentinel.add(version)
            output.report(
                "info",
                "this version of Starlake does not support --notReadySentinel; "
                "from now on, exit code 1 of preload means that nothing is ready",
            )
        result, output = self._run(program, command, invocation)
        return replace(result, not_ready=True) if result.exit_code == 1 and not output.has_exception else result

    def _run(self, program: str, command: "Command", invocation: Invocation) -> "tuple[CommandResult, Output]":
        from ..starlake_output.process_output import Output
        from .jvm.start import JvmStart

        output = Output(invocation.log_output, command.mask(self.env), invocation.log)
        output.report("info", f"running {replace(command, program=program).shown}")
        with contextlib.closing(JvmStart(self.jvm, program, command, invocation, self._build_environment(command))) as java:
            exit_code = self._run_program(program, command, invocation, java.environment, output)
            if exit_code and java.is_extended and output.has_no_java:
                output.report("warning", "Java rejected the options that jvm: auto adds; the command is started again without them")
                java.give_up()
                output = Output(invocation.log_output, command.mask(self.env), invocation.log)
                exit_code = self._run_program(program, command, invocation, java.environment, output)
            java.finish(exit_code)
        return build_result(command, exit_code, output), output

    def _run_program(
        self, program: str, command: "Command", invocation: Invocation, environment: Mapping[str, str], output: "Output"
    ) -> int:
        """Run the program to its end, pass on its output, and return its exit code."""
        from .process import run_process

        with keep_trail(output):
            return run_process(
                [program, *command.argv],
                folder=command.project,
                environment=environment,
                feed=output.feed,
                canceled=invocation.canceled,
                timeout=self.timeout,
                grace=self.grace_period,
                report=partial(output.report, "warning"),
            )

    def prepare_launch(self, command: "Command") -> tuple[str, Mapping[str, str]]:
        """Return the program and the environment of a command, without the additions of ``jvm``.

        Raises:
            CommandError: the program does not exist.
        """
        return self._find_program(command), self._build_environment(command)

    def _build_environment(self, command: "Command") -> Mapping[str, str]:
        from ... import locks

        # SL_ROOT is the project that Dagster shows, even if sl_env_var sets it to a folder in a container image.
        return {**os.environ, **self.env, **command.environment, "SL_ROOT": command.project, **locks.build_inherited_environment()}

    def _find_program(self, command: "Command") -> str:
        return find_program(self.starlake_path or command.program, command.project, self._build_environment(command).get("PATH"))


def find_program(program: str, project: str, path: str | None) -> str:
    """Return the absolute path of an executable.

    Args:
        program: a path (relative to the project), or a name to look up on ``path``.
        project: the project's folder.
        path: the ``PATH`` to search.

    Raises:
        CommandError: it does not exist or is not executable; the message names the settings.
    """
    expanded = os.path.expanduser(program)
    if os.sep in expanded or (os.altsep and os.altsep in expanded):
        where = os.path.normpath(os.path.join(project, expanded))
        found = where if os.path.isfile(where) and os.access(where, os.X_OK) else None
        problem = "is not executable" if os.path.isfile(where) else "does not exist"
        missing = f"the Starlake command {where} {problem}"
    else:
        found = shutil.which(expanded, path=path)
        missing = f"the Starlake command '{program}' is not on the PATH"
    if found is None:
        raise CommandError(
            f"{missing}: install Starlake, or set its path with SL_STARLAKE_PATH in the options of the DAG config (or in the "
            "environment), or with starlake_path of the executor; a DuckDB project runs without Starlake with executor: {type: duckdb} "
            "(--executor duckdb)",
            retry=False,
        )
    return os.path.abspath(found)


@contextlib.contextmanager
def keep_trail(output: "Output") -> Iterator[None]:
    """Close the output of a command after its end. If it was interrupted, add its output to the exception."""
    try:
        yield
    except CommandError as error:
        output.close()
        error.trail = output.trail
        raise
    output.close()


def build_result(command: "Command", exit_code: int, output: "Output") -> CommandResult:
    """Return the result of a program that has ended."""
    from ..starlake_output.process_output import drop_growth
    from ..starlake_output.table_outcomes import judge_output
    from .process import find_signal_name

    signal_name = find_signal_name(exit_code)
    reason = output.reason if exit_code else None
    if signal_name and not reason:
        hint = ", often for lack of memory" if signal_name == "SIGKILL" else ""
        reason = f"the program was ended by {signal_name}{hint}"
    return CommandResult(
        exit_code=exit_code,
        counters=drop_growth(output.counters, command.tables),
        tail=output.tail,
        reason=reason,
        statement=output.statement if exit_code else None,
        tables=judge_output(command, exit_code, output.load, output.counters),
        progress=output.load.progress,
        trail=output.trail,
    )
