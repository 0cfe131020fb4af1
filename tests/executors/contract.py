"""The contract of executors, as tests. The test module of each executor derives a class that says how to run a command.

::

    class TestShellContract(ExecutorContract):
        @pytest.fixture
        def harness(self, tmp_path):
            return ShellHarness(tmp_path)

``tests/executors/program.py`` has a program for executors that start processes: it behaves as a :class:`Behavior` says.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pytest
from waiting import wait_until

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import CommandCanceled, CommandTimeout
from starlake_dagster_components.executors.base import CommandResult, Counters, Invocation, Level, StarlakeExecutor

Limit = Literal[
    "cancel",  # cannot end a command
    "timeout",  # has no setting for it
    "output",  # the command's output does not come back
    "errors",  # standard error and standard output are not distinguished
    "bytes",  # only UTF-8 comes back
    "environment",  # the executor does not set an environment
]


@dataclass(frozen=True)
class Behavior:
    """The behavior of the command, in this order.

    Attributes:
        output: (stream, text) to write, unchanged (including line breaks), in UTF-8 with surrogateescape.
        lines: number of lines ``line 1`` ... that follow on standard output.
        not_ready: a ``preload`` that finds nothing.
        hang: records that it was started, and runs until it is ended.
        exit_code: its exit code.
    """

    output: tuple[tuple[Literal["out", "err"], str], ...] = ()
    lines: int = 0
    not_ready: bool = False
    hang: bool = False
    exit_code: int = 0


@dataclass(frozen=True)
class Seen:
    """The arguments of the command, without the program's name, and its environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


class Harness(Protocol):
    """The interface between the suite and an executor."""

    limits: frozenset[Limit]
    """Documented limitations of the executor."""

    def behave(self, behavior: Behavior) -> None:
        """Set the behavior of all further commands."""

    def make_executor(self, *, env: Mapping[str, str] | None = None, timeout: float | None = None) -> StarlakeExecutor:
        """Make an executor with this behavior, with an environment and a time limit in seconds."""

    def make_command(self, **changes: Any) -> Command:
        """Make a command: :func:`build_command` with what the executor needs."""

    def read_seen(self) -> list[Seen]:
        """Return the arguments and environments of the commands that were started so far, oldest first."""

    def is_running(self) -> bool:
        """Return whether a process of any command still runs."""


def build_command(**changes: Any) -> Command:
    """Return a ``transform`` command with default values."""
    values: dict[str, Any] = {"verb": "transform", "arguments": ("--name", "kpi.top"), "project": "/", "environment": {"SL_ROOT": "/"}}
    return Command(**{**values, **changes})


@dataclass
class Watched:
    """An invocation that records its calls."""

    lines: list[tuple[Level, str]] = field(default_factory=list)
    reported: dict[str, Any] = field(default_factory=dict)
    canceled: Canceled = field(default_factory=Canceled)
    on_line: Callable[[str], None] = lambda line: None

    def log(self, level: Level, line: str) -> None:
        self.lines.append((level, line))
        self.on_line(line)

    @property
    def texts(self) -> list[str]:
        return [line for _, line in self.lines]

    def invocation(self, **changes: Any) -> Invocation:
        values: dict[str, Any] = {"run_id": f"run-{os.getpid()}", "step_key": "kpi_top", "report": self.reported.update}
        return Invocation(log=self.log, canceled=self.canceled, **{**values, **changes})


def collect_text(watched: Watched, result: CommandResult | None = None, *more: object) -> str:
    """Return all text about a command that Dagster could show."""
    return "\n".join(map(str, (watched.lines, watched.reported, result, *more)))


AWKWARD = (
    "two words",
    "  leading and trailing  ",
    "it's",
    'say "hi"',
    "back\\slash",
    "$HOME `id` $(id) ${HOME}",
    "a;b|c&d>e<f",
    "*.csv ?[a-z]{1,2}",
    "line 1\nline 2",
    "tab\there",
    "",
    "Žluťoučký kůň 日本語 🦆",
    "--name",
    "100%",
    "!history",
)


class ExecutorContract:
    """The suite."""

    @pytest.fixture
    def watched(self) -> Watched:
        return Watched()

    @staticmethod
    def needs(harness: Harness, *limits: Limit) -> None:
        missing = harness.limits.intersection(limits)
        if missing:
            pytest.skip(f"documented limit of this executor: {', '.join(sorted(missing))}")

    def test_a_command_that_succeeds_is_done(self, harness: Harness, watched: Watched) -> None:
        harness.behave(Behavior(output=(("out", "hello\n"),)))
        result = harness.make_executor().run(harness.make_command(), watched.invocation())
        assert result.exit_code == 0
        assert not result.not_ready
        assert len(harness.read_seen()) == 1
        if "output" not in harness.limits:
            assert "hello" in watched.texts
            assert "hello" in result.tail

    def test_a_command_that_fails_is_a_result_with_code_and_last_lines(self, harness: Harness, watched: Watched) -> None:
        harness.behave(Behavior(output=(("out", "going\n"), ("err", "ERROR it broke\n")), exit_code=3))
        result = harness.make_executor().run(harness.make_command(), watched.invocation())
        assert result.exit_code == 3
        assert not result.not_ready
        if "output" not in harness.limits:
            assert {"going", "ERROR it broke"} <= set(result.tail)

    def test_a_preload_that_finds_nothing_is_not_ready(self, harness: Harness, watched: Watched) -> None:
        harness.behave(Behavior(not_ready=True))
        command = harness.make_command(verb="preload", arguments=("--domain", "sales", "--tables", "orders", "--strategy", "imported"))
        result = harness.make_executor().run(command, watched.invocation())
        assert result.not_ready

    def test_a_preload_that_finds_something_is_done(self, harness: Harness, watched: Watched) -> None:
        harness.behave(Behavior())
        command = harness.make_command(verb="preload", arguments=("--domain", "sales", "--tables", "orders", "--strategy", "imported"))
        result = harness.make_executor().run(command, watched.invocation())
        assert (result.exit_code, result.not_ready) == (0, False)

    def test_a_preload_that_breaks_is_a_failure(self, harness: Harness, watched: Watched) -> None:
        harness.behave(Behavior(output=(("err", 'Exception in thread "main" java.lang.Exception: no such folder\n'),), exit_code=1))
        command = harness.make_command(verb="preload", arguments=("--domain", "sales", "--tables", "orders", "--strategy", "imported"))
        result = harness.make_executor().run(command, watched.invocation())
        assert (result.exit_code, result.not_ready) == (1, False)

    def test_arguments_arrive_as_they_are(self, harness: Harness, watched: Watched) -> None:
        harness.behave(Behavior())
        result = harness.make_executor().run(harness.make_command(arguments=AWKWARD), watched.invocation())
        assert result.exit_code == 0
        assert harness.read_seen()[0].arguments == ("transform", *AWKWARD)

    def test_the_command_s_environment_arrives_and_takes_precedence(self, harness: Harness, watched: Watched) -> None:
        harness.behave(Behavior())
        before = dict(os.environ)
        awkward = {f"AWKWARD_{i}": value for i, value in enumerate(AWKWARD) if value}
        executor = (
            harness.make_executor() if "environment" in harness.limits else harness.make_executor(env={"MINE": "1", "BOTH": "executor"})
        )
        executor.run(harness.make_command().with_environment({"BOTH": "command", "ITS": "2", **awkward}), watched.invocation())
        seen = harness.read_seen()[0].environment
        assert {k: seen.get(k) for k in awkward} == awkward
        assert (seen["BOTH"], seen["ITS"]) == ("command", "2")
        if "environment" not in harness.limits:
            assert seen["MINE"] == "1"
        assert dict(os.environ) == before

    def test_each_attempt_has_its_own_job_id(self, harness: Harness, watched: Watched) -> None:
        command = harness.make_command(job_id="run-1.kpi_top").with_environment({"SL_JOB_ID": "run-1.kpi_top"})
        for attempt in (0, 2):
            harness.make_executor().run(command, watched.invocation(attempt=attempt))
        assert [seen.environment["SL_JOB_ID"] for seen in harness.read_seen()] == ["run-1.kpi_top", "run-1.kpi_top.2"]

    def test_lines_keep_their_order(self, harness: Harness, watched: Watched) -> None:
        self.needs(harness, "output")
        harness.behave(Behavior(lines=2000))
        result = harness.make_executor().run(harness.make_command(), watched.invocation())
        lines = [t for t in watched.texts if t.startswith("line ")]
        assert lines == [f"line {i}" for i in range(1, 2001)]
        assert result.tail[-1] == "line 2000"

    def test_lines_arrive_while_the_command_runs(self, harness: Harness, watched: Watched) -> None:
        self.needs(harness, "output", "cancel")
        harness.behave(Behavior(output=(("out", "started\n"),), hang=True))
        watched.on_line = lambda line: watched.canceled.set() if line == "started" else None
        with pytest.raises(CommandCanceled):
            harness.make_executor().run(harness.make_command(), watched.invocation())
        assert not harness.is_running()

    def test_much_output_keeps_only_its_end(self, harness: Harness, watched: Watched) -> None:
        self.needs(harness, "output")
        count = 200_000
        harness.behave(Behavior(lines=count))
        seen = 0

        def count_line(level: Level, line: str) -> None:
            nonlocal seen
            seen += line.startswith("line ")

        result = harness.make_executor().run(harness.make_command(), Invocation(log=count_line, canceled=watched.canceled))
        assert seen == count
        assert result.tail[-1] == f"line {count}"
        assert len(result.tail) <= 200

    def test_bytes_that_are_not_text_are_shown_escaped(self, harness: Harness, watched: Watched) -> None:
        self.needs(harness, "output", "bytes")
        harness.behave(Behavior(output=(("out", "caf\udce9 ok\n"),)))
        harness.make_executor().run(harness.make_command(), watched.invocation())
        assert "caf\\xe9 ok" in watched.texts

    def test_the_row_counts_of_a_load_are_read(self, harness: Harness, watched: Watched) -> None:
        self.needs(harness, "output")
        line = (
            'IngestionCounters:{"inputCount":120,"acceptedCount":118,"rejectedCount":-1,"paths":["file:/data/orders '
            '1.csv"],"jobid":",run-1,run-1"}'
        )
        harness.behave(Behavior(output=(("out", line + "\n"),)))
        command = harness.make_command(verb="load", arguments=("--domains", "sales", "--tables", "orders"))
        result = harness.make_executor().run(command, watched.invocation())
        assert result.counters == Counters(input=120, accepted=118, rejected=None, files=("file:/data/orders 1.csv",))

    def test_secrets_are_not_shown(self, harness: Harness, watched: Watched) -> None:
        secret = "correct-horse-battery"
        harness.behave(Behavior(output=(("out", f"login with {secret}!\n"), ("err", f"ERROR denied: {secret}\n")), exit_code=1))
        command = harness.make_command(arguments=("--name", "kpi.top", "--options", f"DB_PASSWORD={secret}"))
        result = harness.make_executor().run(command.with_environment({"DB_PASSWORD": secret}), watched.invocation())
        assert secret not in collect_text(watched, result)
        assert harness.read_seen()[0].environment["DB_PASSWORD"] == secret
        if "output" not in harness.limits:
            assert "login with ***!" in watched.texts

    def test_canceling_ends_the_command(self, harness: Harness, watched: Watched) -> None:
        self.needs(harness, "cancel")
        harness.behave(Behavior(hang=True))

        def cancel() -> None:
            wait_until(harness.read_seen)
            watched.canceled.set()

        canceler = threading.Thread(target=cancel)
        canceler.start()
        with pytest.raises(CommandCanceled):
            harness.make_executor().run(harness.make_command(), watched.invocation())
        canceler.join()
        assert not harness.is_running()

    def test_a_canceled_run_starts_nothing(self, harness: Harness, watched: Watched) -> None:
        harness.behave(Behavior())
        watched.canceled.set()
        with pytest.raises(CommandCanceled):
            harness.make_executor().run(harness.make_command(), watched.invocation())
        assert harness.read_seen() == []

    def test_a_command_that_takes_too_long_is_ended(self, harness: Harness, watched: Watched) -> None:
        self.needs(harness, "timeout", "cancel")
        harness.behave(Behavior(hang=True))
        with pytest.raises(CommandTimeout):
            harness.make_executor(timeout=0.7).run(harness.make_command(), watched.invocation())
        assert not harness.is_running()

    def test_commands_at_the_same_time_do_not_mix(self, harness: Harness) -> None:
        harness.behave(Behavior(lines=50))
        executor = harness.make_executor()
        results: dict[int, CommandResult] = {}
        watched = [Watched() for _ in range(4)]

        def run(number: int) -> None:
            command = harness.make_command(arguments=("--name", f"kpi.task{number}")).with_environment({"NUMBER": str(number)})
            results[number] = executor.run(command, watched[number].invocation(step_key=f"task{number}"))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [results[n].exit_code for n in range(4)] == [0] * 4
        got = {(s.arguments[2], s.environment["NUMBER"]) for s in harness.read_seen()}
        assert got == {(f"kpi.task{n}", str(n)) for n in range(4)}
        if "output" not in harness.limits:
            for each in watched:
                assert [t for t in each.texts if t.startswith("line ")] == [f"line {i}" for i in range(1, 51)]
