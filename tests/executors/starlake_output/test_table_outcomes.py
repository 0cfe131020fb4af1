"""The results of the tables and files of a load, from its audit rows, its output and the locations of its files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from starlake_dagster_components.commands import Command, LoadTable, Target
from starlake_dagster_components.executors.base import CommandResult, Counters, ExpectationResult, TableResult
from starlake_dagster_components.executors.starlake_output.audit import Findings
from starlake_dagster_components.executors.starlake_output.audit_rows import AuditRow
from starlake_dagster_components.executors.starlake_output.file_fates import FileFates, judge_files
from starlake_dagster_components.executors.starlake_output.load_log import LoadLines
from starlake_dagster_components.executors.starlake_output.table_outcomes import (
    NOTHING,
    Places,
    add_counters,
    find_reason_in_table,
    judge_tables,
)

ORDERS = LoadTable("orders", "sales", "SALES", "orders_v2", r"o.*\.csv", target=Target("/x.db", "SALES", "orders_v2"))
ITEMS = LoadTable("items", "sales", "SALES", "items_v2", r"items.*\.csv")
LOAD = Command("load", (), "/p", tables=(ORDERS, ITEMS))
ONE = replace(LOAD, tables=(ORDERS,))
COMMITTED = "java.lang.Exception: 2 Expectations failed"


def load_row(*files: str, table: str = "orders", success: bool = True, counts: tuple[int, int, int] = (3, 3, 0)) -> AuditRow:
    return AuditRow("sales", table, "LOAD", success, "", files, counts)


def build_second_step(table: str = "orders", *, success: bool = True, message: str = "") -> AuditRow:
    return AuditRow("sales", table, "TRANSFORM", success, message)


def build_places(before: str = "", staged: str = "", ingesting: str = "") -> Places:
    return Places(*({"orders": frozenset(names.split())} if names else {} for names in (before, staged, ingesting)))


def judge(
    result: Mapping[str, Any], at: Places, noted: Findings | None = None, fates: FileFates | None = None, rows: Any = ()
) -> TableResult:
    tables = {"orders": noted} if noted else {}
    ended = CommandResult(**{"exit_code": 1, "progress": "begun", **result})
    return judge_tables(LOAD, ended, Findings(rows, tables=tables), at, fates or FileFates())["orders"]


def expect(outcome: Any, counters: Counters | None = None) -> dict[str, Any]:
    return {"tables": {"orders": TableResult(outcome, counters)}}


LOADED, FAILED = expect("loaded"), expect("failed")
WHOLE = {"progress": "complete"}


@pytest.mark.parametrize(
    ("result", "at", "outcome"),
    [
        ({"exit_code": 0}, build_places("a"), "loaded"),
        ({"exit_code": 0}, build_places("a", ingesting="a"), "failed"),
        (LOADED, build_places("a"), "loaded"),
        (LOADED, build_places("a", staged="a"), "loaded"),
        (LOADED, build_places("a", ingesting="a"), "open"),
        (FAILED, build_places("a", ingesting="a"), "failed"),
        (FAILED, build_places("a"), "loaded"),
        (WHOLE, build_places("a", ingesting="a"), "failed"),
        ({}, build_places("a", ingesting="a"), "open"),
        ({}, build_places("a", staged="a"), "open"),
        (WHOLE, build_places("a", staged="a"), "loaded"),
        ({}, build_places("a"), "loaded"),
        ({}, build_places(), "loaded"),
        ({"progress": "none"}, build_places(), "open"),
        ({"progress": "none"}, build_places("a"), "loaded"),
    ],
)
def test_the_places_of_files_decide_if_the_audit_has_no_row(result: dict[str, Any], at: Places, outcome: str) -> None:
    assert judge(result, at).outcome == outcome


def test_files_that_left_the_stage_folder_were_loaded() -> None:
    assert judge({}, build_places("b a")).counters == Counters(files=("a", "b"))
    assert judge({}, build_places()).counters == NOTHING
    assert judge(expect("failed", Counters(2, 2, 0, ("a",))), build_places("a")).counters == Counters(2, 2, 0, ("a",))


def test_files_that_are_left_are_not_counted() -> None:
    found = judge(expect("loaded", Counters(5, 5, 0, ("/in/a", "/in/b"))), build_places("a b", ingesting="b"))
    assert found.counters == Counters(5, 5, 0, ("/in/a",))
    assert judge({"exit_code": 0}, build_places("a", ingesting="b a")).reason == "the load left a, b in ingesting without loading them"
    assert judge({"exit_code": 0}, build_places("a")).reason is None
    assert judge({"exit_code": 0}, build_places("a", ingesting="a"), fates=FileFates(kept=frozenset("a"))).outcome == "loaded"


def test_the_audit_comes_before_the_output() -> None:
    failed = build_second_step(success=False, message="no such column")
    noted = Findings((failed, load_row("a", success=True)), row_count=7)
    found = judge({**LOADED, "exit_code": 0}, build_places("a"), noted)
    assert (found.outcome, found.row_count) == ("failed", 7)
    assert found.reason == "no such column (according to Starlake's audit, the second step of the load of sales.orders failed)"
    counted = judge({**LOADED, "exit_code": 0}, build_places("a"), Findings((load_row("a", counts=(4, 3, 1)),)))
    assert counted.counters == Counters(4, 3, 1, ("a",))


def test_a_load_that_failed_before_its_rows_were_written() -> None:
    noted = Findings((load_row("a", success=False, counts=(0, 0, 0)),))
    found = judge({**LOADED, "exit_code": 0}, build_places("a"), noted)
    assert (found.outcome, found.reason, found.failed_in_table) == ("failed", noted.failure, False)


def test_a_complete_load_with_rows_of_other_tables_stays_complete() -> None:
    other = (load_row("items-1.csv", table="items"),)
    assert judge(WHOLE, build_places("a", ingesting="a"), rows=other).outcome == "failed"


def test_rows_of_other_tables_show_that_the_load_began() -> None:
    other = (load_row("items-1.csv", table="items"),)
    assert judge({"progress": "none"}, build_places(), rows=other).outcome == "loaded"
    assert judge({**LOADED, "exit_code": 0}, build_places(), rows=other).counters == NOTHING
    assert judge({**LOADED, "exit_code": 0}, build_places("a"), rows=other).counters is None
    assert judge({**LOADED, "exit_code": 0}, build_places()).counters is None
    arrived_later = Counters(5, 5, 0, ("/in/a",))
    assert judge({**expect("loaded", arrived_later), "exit_code": 0}, build_places(), rows=other).counters == arrived_later


def test_a_second_step_that_failed_without_a_load_row_leaves_the_counts_unknown() -> None:
    rows = (build_second_step(success=False, message="no such column"),)
    found = judge(FAILED, build_places(), Findings(rows), rows=rows)
    assert (found.outcome, found.counters) == ("failed", None)


def test_results_of_one_table_stay_unchanged() -> None:
    result = CommandResult(1, tables={"orders": TableResult("unknown")})
    assert judge_tables(ONE, result, Findings(), build_places("a"), FileFates()) == result.tables


def test_rows_that_are_in_the_table_although_the_load_failed() -> None:
    fates = FileFates(frozenset("a"), failed_in_table=frozenset("a"), reasons={"a": "2 Expectations failed", "b": "no file"})
    result = {**FAILED, "retry": True, "reason": "exit code 1"}
    found = judge(result, build_places("a", ingesting="a"), fates=fates)
    assert (found.outcome, found.failed_in_table, found.retry, found.reason) == ("failed", True, False, "2 Expectations failed")
    assert judge(result, build_places("a", ingesting="a")).retry
    assert not judge({**result, "retry": False}, build_places("a", ingesting="a")).retry
    other = judge(result, build_places("a", ingesting="a"), fates=FileFates(reasons={"a": "no space", "b": "no file"}))
    assert (other.outcome, other.failed_in_table, other.reason) == ("failed", False, "no space")
    assert judge(result, build_places("a", ingesting="a"), fates=FileFates(reasons={"b": "no file"})).reason == "exit code 1"


def test_a_failed_load_whose_rows_are_in_the_table_has_a_reason() -> None:
    unmet = (ExpectationResult("is_unique('id')", success=False), ExpectationResult("positive('n')", success=True))
    ended = CommandResult(1, reason="exit code 1")
    text = "expectations failed: is_unique('id') (the rows are in the table)"
    assert find_reason_in_table(Findings(expectations=unmet), ended, FileFates()) == text
    assert find_reason_in_table(Findings(expectations=unmet[1:]), ended, FileFates(reasons={"a": "why"})) == "why"
    assert find_reason_in_table(Findings(), ended, FileFates()) == "exit code 1"
    failed = Findings((load_row("a", success=False),), unmet)
    assert find_reason_in_table(failed, ended, FileFates(reasons={"a": "why"})) == failed.failure


def test_counters_are_added() -> None:
    first, second = Counters(1, 2, 3, ("a",)), Counters(10, 20, None, ("b",))
    assert add_counters(first, second) == Counters(11, 22, None, ("a", "b"))
    assert add_counters(second, first) == Counters(11, 22, None, ("b", "a"))
    assert (add_counters(first, None), add_counters(None, second), add_counters(None, None)) == (first, second, None)


# --------------------------------------------------------------------------------------------------------------- files


def names(*found: str) -> frozenset[str]:
    return frozenset(found)


def read_lines(*tried: tuple[str, bool], failures: tuple[str, ...] = ()) -> LoadLines:
    """Return the output of loads of ``orders``: each file, and whether it was archived."""
    seen = LoadLines()
    for file, archived in tried:
        for line in ("Loading", "Format: DSV", f"File(s): file:/in/{file}", "Table: SALES.orders_v2"):
            seen.take(line)
        if archived:
            seen.take("Archive duration takes 3 ms")
    for failure in failures:
        seen.take(failure)
    return seen


def test_files_of_the_audit() -> None:
    rows = (
        build_second_step(),
        load_row("o-1.csv"),
        build_second_step(success=False),
        load_row("o-2.csv", counts=(0, 0, 0)),
        load_row("o-3.csv", success=False),
    )
    fates = judge_files(ONE, Findings(rows), None, ["o-3.csv"], ["o-1.csv", "o-2.csv", "o-3.csv"])
    assert fates == FileFates(kept=frozenset(), lost=names("o-2.csv"))
    assert not fates.has_failed_in_table


def test_a_file_of_the_audit_that_is_still_in_ingesting_is_not_lost() -> None:
    rows = (build_second_step(success=False), load_row("o-1.csv", counts=(0, 0, 0)))
    assert judge_files(ONE, Findings(rows), None, ["o-1.csv"]) == FileFates()


def test_names_with_quotes_are_found_in_the_audit() -> None:
    fates = judge_files(ONE, Findings((load_row("o-1-s.csv"),)), None, ["o-1's.csv"], ["o-2.csv"])
    assert fates.kept == names("o-1's.csv")
    rows = (build_second_step(success=False), load_row("o-2-s.csv", counts=(0, 0, 0)))
    assert judge_files(ONE, Findings(rows), None, [], ["o-2's.csv"]).lost == names("o-2's.csv")


def test_expectations_that_fail_after_the_commit() -> None:
    rows = (build_second_step(success=False, message=COMMITTED), load_row("o-1.csv", success=False))
    fates = judge_files(ONE, Findings(rows), None, ["o-1.csv"])
    assert (fates.kept, fates.failed_in_table, fates.by_rows) == (names("o-1.csv"), names("o-1.csv"), True)
    killed = judge_files(ONE, Findings(rows), None, ["o-1.csv"], ended_by_itself=False)
    assert (killed.kept, killed.failed_in_table, killed.by_rows) == (names("o-1.csv"), names(), True)
    later = judge_files(ONE, Findings((build_second_step(), load_row("o-1.csv", success=False))), None, ["o-1.csv"])
    assert (later.kept, later.by_rows) == (names("o-1.csv"), True)
    good = judge_files(ONE, Findings((build_second_step(), load_row("o-1.csv"))), None, ["o-1.csv"])
    assert (good.kept, good.by_rows) == (names("o-1.csv"), False)


@pytest.mark.parametrize(
    ("left", "inside", "unclear"),
    [(["o-1.csv"], True, False), (["o-1.csv", "o-2.csv"], None, True), ([], None, False)],
)
def test_a_second_step_without_its_load_row(left: list[str], inside: bool | None, unclear: bool) -> None:
    fates = judge_files(ONE, Findings((build_second_step(),)), None, left, ended_by_itself=False)
    assert fates.kept == (names(*left) if inside else names())
    assert fates.unclear == (names(*left) if unclear else names())
    assert fates.has_failed_in_table is unclear


def test_a_failed_second_step_decides_nothing_unless_it_had_committed() -> None:
    assert judge_files(ONE, Findings((build_second_step(success=False),)), None, ["o-1.csv"]) == FileFates()
    committed = Findings((build_second_step(success=False, message=COMMITTED),))
    assert judge_files(ONE, committed, None, ["o-1.csv"]).kept == names("o-1.csv")


def test_the_output_names_the_file_of_a_second_step() -> None:
    lines = read_lines(("o-1.csv", True), ("o-2.csv", False))
    fates = judge_files(ONE, Findings((build_second_step(),)), lines, ["o-2.csv", "o-3.csv"], ended_by_itself=False)
    assert (fates.kept, fates.unclear) == (names("o-2.csv"), names())


def test_the_output_names_the_file_of_the_second_step_of_one_of_several_tables() -> None:
    lines = read_lines(("orders-1.csv", False), ("items-1.csv", False))
    lines.jobs[1].table = ITEMS.final_full_name
    fates = judge_files(LOAD, Findings((build_second_step("items"),)), lines, ["orders-1.csv", "items-1.csv", "items-2.csv"])
    assert (fates.kept, fates.unclear) == (names("items-1.csv"), names())


@pytest.mark.parametrize("tables", [(), (replace(ORDERS, pattern=""),)])
@pytest.mark.parametrize("lines", [None, read_lines(), read_lines(("any.csv", False))])
def test_without_a_pattern_each_file_may_be_that_of_a_second_step(tables: tuple[LoadTable, ...], lines: LoadLines | None) -> None:
    command = replace(ONE, tables=tables)
    assert judge_files(command, Findings((build_second_step(),)), lines, ["any.csv"]).kept == names("any.csv")


def test_files_of_a_second_step_that_are_no_longer_in_ingesting_are_not_kept_there() -> None:
    lines = read_lines(("o-1.csv", False))
    lines.jobs[0].paths += ("/in/o-2.csv",)
    assert judge_files(ONE, Findings((build_second_step(),)), lines, ["o-1.csv"]).kept == names("o-1.csv")


def test_files_of_other_tables_are_not_those_of_a_second_step() -> None:
    fates = judge_files(LOAD, Findings((build_second_step(),)), None, ["orders-1.csv", "items-1.csv"], ended_by_itself=False)
    assert fates.kept == names("orders-1.csv")


FAILED_THEN_KILLED = read_lines(("o-1.csv", False), ("o-2.csv", False))


@pytest.mark.parametrize(
    ("change", "kept", "unclear"),
    [
        ({}, {"o-2.csv"}, set()),
        ({"growth": {"": 3}}, set(), set()),
        ({"growth": {}}, set(), set()),
        ({"growth": {"orders": 5}}, set(), set()),
        ({"command": replace(ONE, tables=(replace(ORDERS, appends=False),))}, set(), set()),
        ({"command": replace(ONE, tables=(replace(ORDERS, target=None),))}, set(), {"o-2.csv"}),
        ({"findings": Findings((load_row("o-1.csv", counts=(-1, -1, -1)),))}, set(), set()),
        ({"findings": Findings((load_row("o-1.csv", counts=(3, 0, 3)),)), "growth": {"": 1}}, {"o-2.csv"}, set()),
        ({"findings": Findings((load_row("o-1.csv", table="items"),))}, set(), set()),
        ({"findings": Findings((load_row("o-1.csv", success=False),)), "growth": {"": 3}, "lines": FAILED_THEN_KILLED}, {"o-2.csv"}, set()),
        ({"lines": read_lines(("o-2.csv", False), ("o-1.csv", True))}, {"o-2.csv"}, set()),
        ({"lines": read_lines(("o-1.csv", True), ("o-2.csv", True))}, set(), set()),
        ({"lines": read_lines(("o-0.csv", True), ("o-1.csv", True), ("o-2.csv", False))}, set(), set()),
        ({"lines": None}, set(), set()),
        ({"ended_by_itself": True}, set(), set()),
        ({"left": []}, set(), set()),
    ],
)
def test_a_table_that_has_grown_by_more_than_its_audit_says(change: dict[str, Any], kept: set[str], unclear: set[str]) -> None:
    """The load was killed between the commit of the second file and its audit row."""
    given: dict[str, Any] = {
        "command": ONE,
        "findings": Findings((load_row("o-1.csv"),)),
        "lines": read_lines(("o-1.csv", True), ("o-2.csv", False)),
        "left": ["o-2.csv"],
        "ended_by_itself": False,
        "growth": {"": 5},
        **change,
    }
    fates = judge_files(**given)
    assert (fates.kept, fates.unclear) == (names(*kept), names(*unclear))


def build_failed_lines(*tried: tuple[str, bool], failures: tuple[str, ...]) -> LoadLines:
    lines = read_lines(*tried)
    for failure in failures:
        lines.take(f"26/01/31 10:00:00 ERROR IngestionWorkflow: {failure}")
    lines.close()
    return lines


def test_exceptions_of_the_output_belong_to_the_files_that_are_left_in_their_order() -> None:
    tried = (("o-1.csv", False), ("o-2.csv", True), ("o-3.csv", False))
    lines = build_failed_lines(*tried, failures=(COMMITTED, "java.io.IOException: no space"))
    fates = judge_files(ONE, Findings(), lines, ["o-1.csv", "o-3.csv"])
    assert (fates.kept, fates.failed_in_table) == (names("o-1.csv"), names("o-1.csv"))
    assert {file: reason.rpartition(": ")[2] for file, reason in fates.reasons.items()} == {
        "o-1.csv": "2 Expectations failed",
        "o-3.csv": "no space",
    }


@pytest.mark.parametrize(("failures", "kept"), [((COMMITTED, COMMITTED), ["o-1.csv"]), ((COMMITTED, "no space"), [])])
def test_more_exceptions_than_files_count_only_if_they_agree(failures: tuple[str, ...], kept: list[str]) -> None:
    fates = judge_files(ONE, Findings(), build_failed_lines(("o-1.csv", False), failures=failures), ["o-1.csv"])
    assert (fates.kept, list(fates.reasons)) == (names(*kept), kept)


def test_the_first_of_too_many_exceptions_is_the_reason() -> None:
    lines = build_failed_lines(("o-1.csv", False), failures=(COMMITTED, COMMITTED.replace("2", "3")))
    assert judge_files(ONE, Findings(), lines, ["o-1.csv"]).reasons == {"o-1.csv": "2 Expectations failed"}


def test_the_audit_comes_before_the_exceptions_of_the_output() -> None:
    lines = build_failed_lines(("o-1.csv", False), failures=(COMMITTED,))
    rows = (build_second_step(success=False), load_row("o-1.csv", success=False, counts=(0, 0, 0)))
    assert judge_files(ONE, Findings(rows), lines, ["o-1.csv"]).kept == names()


def test_after_a_killed_load_the_audit_comes_before_the_exceptions_of_the_output() -> None:
    lines = build_failed_lines(("o-1.csv", False), failures=(COMMITTED,))
    rows = (build_second_step(success=False), load_row("o-1.csv", success=False, counts=(0, 0, 0)))
    assert judge_files(ONE, Findings(rows), lines, ["o-1.csv"], ended_by_itself=False).failed_in_table == names()


def test_an_exception_is_about_those_files_of_a_group_that_are_left() -> None:
    lines = build_failed_lines(("o-1.csv", False), failures=(COMMITTED,))
    lines.jobs[0].paths += ("/p/o-2.csv",)
    fates = judge_files(ONE, Findings(), lines, ["o-1.csv"])
    assert (fates.kept, list(fates.reasons)) == (names("o-1.csv"), ["o-1.csv"])


def test_a_load_that_failed_in_both_steps_has_lost_nothing() -> None:
    rows = (build_second_step(success=False), load_row("o-1.csv", success=False, counts=(0, 0, 0)))
    assert judge_files(ONE, Findings(rows), None, [], ["o-1.csv"]).lost == names()


def test_growth_of_one_of_several_tables_shows_that_its_file_was_loaded() -> None:
    lines = read_lines(("orders-1.csv", False))
    growth = {"orders": 5, "items": 9}
    fates = judge_files(LOAD, Findings(), lines, ["orders-1.csv", "items-1.csv"], ended_by_itself=False, growth=growth)
    assert fates.kept == names("orders-1.csv")


def test_growth_does_not_depend_on_archived_files_of_other_tables() -> None:
    lines = read_lines(("items-1.csv", True), ("orders-1.csv", False))
    lines.jobs[0].table = ITEMS.final_full_name
    fates = judge_files(LOAD, Findings(), lines, ["orders-1.csv"], ended_by_itself=False, growth={"orders": 5, "items": 9})
    assert fates.kept == names("orders-1.csv")


def test_select_table_returns_the_fates_of_one_table() -> None:
    both = frozenset({"a", "b"})
    fates = FileFates(both, both, both, both, True, {"a": "why", "b": "because"})
    one = fates.select_table(["a", "c"], Findings())
    only = frozenset({"a"})
    assert one == FileFates(only, only, only, only, False, {"a": "why"})
    assert fates.select_table([], Findings((build_second_step(success=False, message=COMMITTED), load_row("a")))).by_rows


@pytest.mark.parametrize("why", [{"failed_in_table": frozenset("a")}, {"unclear": frozenset("a")}, {"by_rows": True}])
def test_each_reason_why_a_retry_would_load_twice_or_nothing(why: dict[str, Any]) -> None:
    assert FileFates(**why).has_failed_in_table
    assert not FileFates(frozenset("a"), frozenset("a")).has_failed_in_table
