"""The executor for users' tests."""

import pytest

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import CommandCanceled, CommandTimeout
from starlake_dagster_components.executors.base import CommandResult, Invocation
from starlake_dagster_components.testing import RecordingExecutor


def load(table: str = "orders") -> Command:
    arguments = ("--domains", "sales", "--tables", table, "--scheduledDate", "2026-01-01T00:00:00", "--options", "a=b")
    return Command("load", arguments, "/p")


def build_invocation(canceled: bool = False) -> Invocation:
    event = Canceled()
    if canceled:
        event.set()
    return Invocation(log=lambda level, line: None, canceled=event, run_id="run-1")


def test_commands_are_recorded_and_succeed() -> None:
    executor = RecordingExecutor()
    assert executor.run(load(), build_invocation()) == CommandResult(0)
    assert executor.commands == (load(),)
    assert executor.lines == ("load --domains sales --tables orders",)
    assert executor.invocations[0].run_id == "run-1"


def test_answers_arrive_one_after_another() -> None:
    executor = RecordingExecutor().on("load", "orders", CommandResult(1), CommandTimeout("late"), CommandResult(0))
    assert executor.run(load(), build_invocation()).exit_code == 1
    with pytest.raises(CommandTimeout):
        executor.run(load(), build_invocation())
    assert [executor.run(load(), build_invocation()).exit_code for _ in range(2)] == [0, 0]
    assert executor.ran("load", "orders") == 4


def test_rules_match_a_verb_and_a_name_and_the_last_one_applies() -> None:
    executor = (
        RecordingExecutor()
        .on("load", "sales", CommandResult(1))
        .on("load", "clients", CommandResult(2))
        .on("transform", "orders", CommandResult(3))
    )
    assert executor.run(load("orders"), build_invocation()).exit_code == 1
    assert executor.run(load("a,clients"), build_invocation()).exit_code == 2
    assert executor.run(Command("transform", ("--name", "kpi.orders"), "/p"), build_invocation()).exit_code == 0


def test_a_function_may_do_what_a_command_does() -> None:
    lines: list[str] = []

    def work(command: Command, invocation: Invocation) -> CommandResult:
        invocation.log("info", f"loading {command.arguments[3]}")
        return CommandResult(0, row_count=3)

    executor = RecordingExecutor().on("load", "orders", work)
    canceled = Canceled()
    result = executor.run(load(), Invocation(log=lambda level, line: lines.append(line), canceled=canceled))
    assert (result.row_count, lines) == (3, ["loading orders"])


def test_a_canceled_run_starts_nothing() -> None:
    executor = RecordingExecutor()
    with pytest.raises(CommandCanceled):
        executor.run(load(), build_invocation(canceled=True))
    assert executor.commands == ()


def test_a_rule_without_an_answer_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        RecordingExecutor().on("load", "orders")


def test_a_load_of_several_tables_is_answered_table_by_table() -> None:
    executor = (
        RecordingExecutor()
        .on("load", "orders", CommandResult(1, reason="a bad row"), CommandResult(0, row_count=2))
        .on("load", "items", CommandResult(0, row_count=5))
    )
    result = executor.run(load("orders,items,clients"), build_invocation())
    assert (result.exit_code, result.reason) == (1, "a bad row")
    assert {name: (t.outcome, t.row_count, t.reason) for name, t in result.tables.items()} == {
        "orders": ("failed", None, "a bad row"),
        "items": ("loaded", 5, None),
        "clients": ("loaded", None, None),
    }
    assert executor.run(load("orders,items"), build_invocation()).exit_code == 0


def test_a_rule_for_the_domain_answers_for_all_its_tables_at_once() -> None:
    executor = RecordingExecutor().on("load", "sales", CommandResult(137), CommandResult(0))
    assert executor.run(load("orders,items"), build_invocation()) == CommandResult(137)
    assert executor.run(load("orders,items"), build_invocation()) == CommandResult(0)


def test_an_exception_ends_the_whole_command() -> None:
    executor = RecordingExecutor().on("load", "items", CommandTimeout("late"))
    with pytest.raises(CommandTimeout):
        executor.run(load("orders,items"), build_invocation())
