"""An executor for tests of your own definitions: it records commands instead of running them, and returns the results that a test sets.

```python
from starlake_dagster_components import CommandResult, load_definitions_from_starlake_project
from starlake_dagster_components.testing import RecordingExecutor


def test_a_failed_load_stops_downstream_assets():
    executor = RecordingExecutor().on("load", "orders", CommandResult(exit_code=1, reason="a bad row"))
    defs = load_definitions_from_starlake_project("project", executor=executor)
    result = defs.resolve_job_def("sales").execute_in_process(raise_on_error=False)
    assert not result.success
    assert executor.ran("load", "orders") == 1
```
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field, PrivateAttr

from .commands import Command, Verb
from .errors import CommandCanceled
from .executors.base import CommandResult, Invocation, StarlakeExecutor, TableResult

Answer = CommandResult | BaseException | Callable[[Command, Invocation], CommandResult]
"""A result, an exception to raise, or a function that replaces the command."""


@dataclass(slots=True)
class _Rule:
    verb: Verb
    name: str
    answers: list[Answer]

    def take(self) -> Answer:
        """Return the next answer. The last one is repeated."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class RecordingExecutor(StarlakeExecutor):
    """Records commands instead of running them, and returns the results set with ``on``. Other commands succeed.

    A ``load`` of several tables gets a result for each table, as if each had its own command, and fails if one of them does. A result that
    is set for the domain applies to the whole command.

    The executor is thread-safe. It only records commands of its own process: use ``execute_in_process``, or this package's step executor.
    """

    type: Literal["recording"] = Field(default="recording", description="Records commands instead of running them.")

    _commands: list[Command] = PrivateAttr(default_factory=list)
    _invocations: list[Invocation] = PrivateAttr(default_factory=list)
    _rules: list[_Rule] = PrivateAttr(default_factory=list)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def on(self, verb: Verb, name: str, *answers: Answer) -> "RecordingExecutor":
        """Set the results of commands. If several calls match a command, the last one applies.

        Args:
            verb: ``stage``, ``preload``, ``load``, or ``transform``.
            name: a domain, a table, or ``domain.task``, as on the command line.
            answers: results, exceptions to raise, or functions, used one after the other; the last one is repeated.

        Returns:
            The executor itself.

        Raises:
            ValueError: there are no answers.
        """
        if not answers:
            raise ValueError("on() needs at least one answer")
        with self._lock:
            self._rules.append(_Rule(verb, name, list(answers)))
        return self

    def run(self, command: Command, invocation: Invocation) -> CommandResult:
        """Record a command, and return its result.

        Raises:
            CommandCanceled: the run was canceled.
        """
        if invocation.canceled.is_set():
            raise CommandCanceled("the run was canceled before the command was started")
        with self._lock:
            self._commands.append(command)
            self._invocations.append(invocation)
            answers = self._find_answers(command)
        results = [(tables, _resolve_answer(answer, command, invocation)) for tables, answer in answers]
        return results[0][1] if len(results) == 1 else _combine_results(results)

    @property
    def commands(self) -> Sequence[Command]:
        """All commands, in the order in which they were started."""
        with self._lock:
            return tuple(self._commands)

    @property
    def invocations(self) -> Sequence[Invocation]:
        """The invocations of all commands, in the same order."""
        with self._lock:
            return tuple(self._invocations)

    @property
    def lines(self) -> Sequence[str]:
        """The commands as strings, such as ``load --domains sales --tables orders``, without ``--options`` and ``--scheduledDate``."""
        return tuple(" ".join(_drop_values_of_the_run(c)) for c in self.commands)

    def ran(self, verb: Verb, name: str) -> int:
        """Return the number of commands with this verb and with this name as an argument."""
        return sum(c.verb == verb and name in _list_names(c) for c in self.commands)

    def _find_answers(self, command: Command) -> list[tuple[Sequence[str], Answer]]:
        """Return the answers to a command, each with the tables that it applies to."""
        tables = _list_values(command, "--tables") if command.verb == "load" else []
        others = tables if len(tables) > 1 else []
        found: list[tuple[list[str], _Rule | None]] = []
        for table in others or [""]:
            names = _list_names(command) - {t for t in others if t != table}
            rule = next((r for r in reversed(self._rules) if r.verb == command.verb and r.name in names), None)
            same = next((entry for entry in found if entry[1] is rule), None)
            if same is None:
                found.append(([table], rule))
            else:
                same[0].append(table)
        # The last rule comes first, because the command gets the exit code of the first failure.
        found.sort(key=lambda entry: self._rules.index(entry[1]) if entry[1] else -1, reverse=True)
        return [(named, rule.take() if rule else CommandResult(exit_code=0)) for named, rule in found]


def _resolve_answer(answer: Answer, command: Command, invocation: Invocation) -> CommandResult:
    if isinstance(answer, BaseException):
        raise answer
    return answer if isinstance(answer, CommandResult) else answer(command, invocation)


def _combine_results(results: Sequence[tuple[Sequence[str], CommandResult]]) -> CommandResult:
    """Combine the results of tables into the result of the load."""
    worst = next((result for _, result in results if result.exit_code), results[0][1])
    tables: dict[str, TableResult] = {}
    for named, result in results:
        tables.update({table: result.tables.get(table) or result.get_table_result(table, 1) for table in named})
    return replace(
        worst, counters=None, row_count=None, expectations=(), tables=tables, retry=all(r.retry for _, r in results if r.exit_code)
    )


_NAMES = ("--domain", "--domains", "--tables", "--name")
_OF_THE_RUN = ("--options", "--scheduledDate")


def _list_names(command: Command) -> set[str]:
    return {name for option in _NAMES for name in _list_values(command, option)}


def _list_values(command: Command, option: str) -> list[str]:
    pairs = zip(command.arguments, command.arguments[1:], strict=False)
    return [name for given, value in pairs if given == option for name in value.split(",")]


def _drop_values_of_the_run(command: Command) -> list[str]:
    words = list(command.argv)
    for option in _OF_THE_RUN:
        while option in words:
            at = words.index(option)
            del words[at : at + 2]
    return words
