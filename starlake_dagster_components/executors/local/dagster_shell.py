"""``executor: {type: dagster_shell}``: the ``starlake`` command through dagster-shell, as in the DAGs that Starlake generates."""

import contextlib
import importlib.util
import re
import shlex
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from ...commands import Command
from ...errors import CommandCanceled, CommandError, CommandTimeout, MissingDependency, Problem
from ...pipelines.pipeline import Pipeline
from ..base import Invocation
from ..starlake_output.process_output import Output
from .process import end_group, has_ended, is_group_alive
from .shell import ShellExecutor, keep_trail

_POLL = 0.2
_SETTLE = 1.0
_LAST_LINE = re.compile(r"Command exited with return code -?\d+")


class DagsterShellExecutor(ShellExecutor):
    """Runs the ``starlake`` command through the ``dagster-shell`` package.

    For a project it does the same as ``shell``, with the limits of that package:

    - Standard error and standard output are one stream, and all output is kept in memory until the command ends.
    - A command whose output is not UTF-8 fails.
    - If the program leaves a process in its own session that keeps standard output open, the executor waits for that process.
    - If a worker dies while its command still runs, nothing holds the command's locks.

    Prefer ``shell``.
    """

    type: Literal["dagster_shell"] = Field(  # type: ignore[assignment]
        default="dagster_shell", description="Run the starlake command through the dagster-shell package, as generated DAGs do."
    )

    def find_problems(self, pipeline: Pipeline) -> Sequence[Problem]:
        """Return the missing package, if it is missing."""
        if importlib.util.find_spec("dagster_shell") is None:
            return (Problem(None, "error", str(_explain_missing())),)
        return ()

    def _run_program(self, program: str, command: Command, invocation: Invocation, environment: Mapping[str, str], output: Output) -> int:
        execute = _import_execute()
        with tempfile.TemporaryDirectory(prefix="starlake-shell-") as folder:
            watch = _Watch(Path(folder, "pid"), invocation.canceled, self.timeout, self.grace_period, partial(output.report, "warning"))
            watch.start()
            try:
                _, exit_code = execute(
                    # exec makes the program itself the process that dagster-shell knows.
                    shell_command=f"echo $$ > {shlex.quote(str(watch.pid_file))}\nexec {shlex.join((program, *command.argv))}\n",
                    output_logging="STREAM",
                    log=_Log(output, watch),
                    cwd=command.project,
                    env=dict(environment),
                    log_shell_command=False,
                )
            except UnicodeDecodeError as error:
                raise CommandError(
                    f"the command wrote bytes that are not UTF-8, which dagster-shell cannot read ({error.reason}); "
                    "use executor {type: shell}"
                ) from error
            finally:
                watch.stop()
        with keep_trail(output):
            if watch.error is not None:
                raise watch.error
        return 128 - exit_code if exit_code < 0 else exit_code


class _Log:
    """The logger of dagster-shell, which passes both its own messages and the output to ``info``."""

    def __init__(self, output: Output, watch: "_Watch") -> None:
        self._output = output
        self._watch = watch

    def info(self, line: str) -> None:
        """Take a line. Lines before the program has started, and the very last line, are messages of dagster-shell itself."""
        is_own = line.startswith("Command pid: ") or _LAST_LINE.fullmatch(line)
        if not is_own and self._watch.find_pid() is not None:
            self._output.feed("out", line.encode("utf-8", "surrogateescape") + b"\n")


class _Watch(threading.Thread):
    """Ends the command if it is canceled or takes too long, because dagster-shell itself only waits."""

    def __init__(
        self, pid_file: Path, canceled: threading.Event, timeout: float | None, grace: float, report: Callable[[str], None]
    ) -> None:
        super().__init__(name="starlake-dagster-shell", daemon=True)
        self.pid_file = pid_file
        self.error: CommandError | None = None
        self._pid: int | None = None
        self._canceled = canceled
        self._timeout = timeout
        self._grace = grace
        self._report = report
        self._done = threading.Event()

    def find_pid(self) -> int | None:
        """Return the program's process, once it has started. It leads a session and a group (dagster-shell calls setsid)."""
        if self._pid is None:
            with contextlib.suppress(FileNotFoundError):
                text = self.pid_file.read_text()
                self._pid = int(text) if text.endswith("\n") else None
        return self._pid

    def run(self) -> None:
        """Watch until the command has ended."""
        end = None if self._timeout is None else time.monotonic() + self._timeout
        left_behind_since: float | None = None
        while not self._done.wait(_POLL):
            pid = self.find_pid()
            if pid is None:
                continue
            if self._canceled.is_set():
                self.error = CommandCanceled("the run was canceled; the Starlake process was ended")
            elif end is not None and time.monotonic() >= end:
                text = f"the command ran longer than {self._timeout:g} seconds and was ended (setting 'timeout' of the executor)"
                self.error = CommandTimeout(text)
            elif has_ended(pid):
                left_behind_since = left_behind_since or time.monotonic()
                if time.monotonic() - left_behind_since < _SETTLE:
                    continue
            else:
                continue
            end_group(pid, self._grace, self._report)
            return

    def stop(self) -> None:
        """Stop watching, and end the processes that the program left behind."""
        self._done.set()
        self.join()
        pid = self.find_pid()
        if pid is not None and is_group_alive(pid):
            end_group(pid, self._grace, self._report)


def _explain_missing() -> MissingDependency:
    return MissingDependency(package="dagster-shell", extra=None, purpose="the dagster_shell executor")


def _import_execute() -> Callable[..., tuple[str, int]]:
    """Return ``dagster_shell.execute_shell_command``.

    Raises:
        MissingDependency: the package is not installed.
    """
    with _importing, warnings.catch_warnings():
        # Its last release was made for an older Dagster, and each import warns about it.
        warnings.filterwarnings("ignore", message="Found version mismatch")
        try:
            import dagster_shell
        except ImportError as error:
            raise _explain_missing() from error
    execute: Callable[..., tuple[str, int]] = dagster_shell.execute_shell_command
    return execute


_importing = threading.Lock()
