"""The output of a load about each of several tables, in the lines of the real Starlake."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from starlake_dagster_components.commands import Command, LoadTable
from starlake_dagster_components.executors.base import Counters, TableResult
from starlake_dagster_components.executors.starlake_output.load_log import LoadLines
from starlake_dagster_components.executors.starlake_output.table_outcomes import judge_output

TABLES = tuple(LoadTable(name, "sales", "SALES", f"{name}_v2", f"{name}.*") for name in ("orders", "clients", "items"))
COMMAND = Command("load", (), "/p", tables=TABLES)
INFO = "26/01/31 10:00:00 INFO IngestionWorkflow: "
SOME_FAILED = "26/01/31 10:00:00 ERROR IngestionWorkflow: Some tables failed to be loaded"


def build_lines(table: str, *files: str, loaded: bool = True) -> list[str]:
    lines = []
    for file in files or (f"{table}.csv",):
        lines += ["Loading", "Format: DSV", f"File(s): file:/in/{file}", f"Table: SALES.{table}_v2"]
        lines += ["Archive duration takes 3 ms"] * loaded
    return lines


def build_resolved_lines(*tables: str) -> list[str]:
    return [f"{INFO}Ingest resolved file : {t}.csv as table sales.{t}" for t in tables]


def judge_outcomes(code: int, lines: Iterable[str], counters: Counters | None = None) -> dict[str, str]:
    return {name: found.outcome for name, found in judge_results(code, lines, counters).items()}


def judge_results(code: int, lines: Iterable[str], counters: Counters | None = None) -> dict[str, TableResult]:
    seen = LoadLines()
    for line in lines:
        seen.take(line)
    return dict(judge_output(COMMAND, code, seen, counters))


def test_a_load_of_all_tables_reports_those_that_failed() -> None:
    lines = [*build_lines("clients"), *build_lines("orders", loaded=False), SOME_FAILED]
    assert judge_outcomes(1, lines) == {"orders": "failed", "clients": "loaded", "items": "loaded"}
    counters = {name: found.counters for name, found in judge_results(1, lines).items()}
    assert counters == {"orders": None, "clients": Counters(files=("file:/in/clients.csv",)), "items": Counters(0, 0, 0)}


def test_one_bad_file_of_several_fails_its_table() -> None:
    lines = [
        *build_lines("orders", "o-1.csv"),
        *build_lines("orders", "o-2.csv", loaded=False),
        *build_lines("orders", "o-3.csv"),
        *build_lines("items"),
        SOME_FAILED,
    ]
    assert judge_outcomes(1, lines) == {"orders": "failed", "clients": "loaded", "items": "loaded"}


def test_a_killed_load_reports_the_tables_that_were_done() -> None:
    """Tables are loaded one after another. Whether the last one had more files is unknown."""
    lines = [*build_resolved_lines("orders"), *build_lines("orders"), *build_resolved_lines("clients"), *build_lines("clients")]
    assert judge_outcomes(137, lines) == {"orders": "loaded", "clients": "unknown", "items": "open"}
    assert judge_outcomes(137, [*build_lines("orders"), *build_lines("clients")]) == {
        "orders": "loaded",
        "clients": "unknown",
        "items": "unknown",
    }


def test_a_table_whose_files_were_resolved_is_unknown_if_the_load_is_killed() -> None:
    lines = [f"{INFO}Watch Domain: sales", *build_resolved_lines("orders"), *build_lines("orders"), *build_resolved_lines("clients")]
    assert judge_outcomes(137, lines) == {"orders": "unknown", "clients": "unknown", "items": "open"}


def test_a_load_that_stopped_early_has_unknown_outcomes() -> None:
    lines = [*build_lines("orders"), "ERROR Error during ingestion", SOME_FAILED]
    assert judge_outcomes(1, lines) == {"orders": "unknown", "clients": "unknown", "items": "unknown"}


def test_without_an_archive_loaded_files_are_not_reported() -> None:
    lines = [*build_lines("orders", loaded=False), *build_lines("clients", loaded=False), SOME_FAILED]
    assert judge_outcomes(1, lines) == {"orders": "unknown", "clients": "unknown", "items": "loaded"}


def test_an_output_without_tables_has_unknown_outcomes() -> None:
    assert set(judge_outcomes(1, ["Error: Unknown option --tables"]).values()) == {"unknown"}


@pytest.mark.parametrize("missing", ["Table: SALES.clients_v2", "File(s): file:/in/clients.csv", "both"])
def test_logs_with_gaps_have_unknown_outcomes(missing: str) -> None:
    lines = [*build_resolved_lines("orders", "clients"), *build_lines("orders", loaded=False), *build_lines("clients"), SOME_FAILED]
    gone = [
        line
        for line in lines
        if line != missing and not ((missing == "both" and "clients_v2" in line) or (missing == "both" and "/clients.csv" in line))
    ]
    assert len(gone) < len(lines)
    found = judge_outcomes(1, gone)
    assert (found["orders"], found["clients"]) == ("unknown", "unknown")


@pytest.mark.parametrize("only", ["orders", "clients", "items"])
def test_sums_are_given_to_the_only_table_that_had_files(only: str) -> None:
    counters = Counters(7, 6, 1, (f"file:/in/{only}.csv",))
    found = judge_results(0, build_lines(only), counters)
    assert {name: (r.outcome, r.counters) for name, r in found.items()} == {
        name: ("loaded", counters if name == only else Counters(0, 0, 0)) for name in ("orders", "clients", "items")
    }


@pytest.mark.parametrize(("appends", "read"), [(True, 7), (False, None)])
def test_growth_is_the_number_of_rows_only_of_a_table_that_appends(appends: bool, read: int | None) -> None:
    tables = (TABLES[0], replace(TABLES[1], appends=appends), replace(TABLES[2], appends=not appends))
    seen = LoadLines()
    for line in build_lines("clients"):
        seen.take(line)
    growth = Counters(7, 7, None, ("file:/in/clients.csv",))
    found = judge_output(replace(COMMAND, tables=tables), 0, seen, growth)
    assert found["clients"].counters == Counters(read, read, None, growth.files)


def test_sums_over_several_tables_are_not_the_counts_of_one() -> None:
    counters = Counters(7, 6, 1, ("file:/in/orders.csv", "file:/in/items.csv"))
    found = judge_results(0, [*build_lines("orders"), *build_lines("items")], counters)
    assert found["orders"].counters == Counters(files=("file:/in/orders.csv",))
    assert found["clients"].counters == Counters(0, 0, 0)


def test_results_have_no_counters_if_the_output_has_none() -> None:
    assert judge_results(0, [*build_lines("orders"), *build_lines("items")]) == dict.fromkeys(
        ("orders", "clients", "items"), TableResult("loaded")
    )


@pytest.mark.parametrize("command", [replace(COMMAND, verb="transform"), replace(COMMAND, tables=TABLES[:1])])
@pytest.mark.parametrize("code", [0, 1])
def test_only_loads_of_several_tables_have_results_by_table(command: Command, code: int) -> None:
    assert judge_output(command, code, LoadLines(), None) == {}


@pytest.mark.parametrize("code", [0, 1])
def test_a_load_of_two_tables_has_results_by_table(code: int) -> None:
    assert set(judge_output(replace(COMMAND, tables=TABLES[:2]), code, LoadLines(), None)) == {"orders", "clients"}


def test_a_truncated_output_has_no_counters() -> None:
    found = judge_results(0, build_lines("items"), Counters(7, 6, 1, ("file:/in/orders.csv", "file:/in/items.csv")))
    assert {r.counters for r in found.values()} == {None}


def test_recorded_loads_of_starlake_have_the_expected_outcomes(shared: Path) -> None:
    """The result of a table in the output agrees with its files: those that failed stay in ingesting."""
    judged = {True: 0, False: 0}
    for path in sorted((shared / "oracle" / "runs").glob("*.json")):
        before: set[str] = set()
        for step in json.loads(path.read_text(encoding="utf-8"))["steps"]:
            ingesting = {name.rpartition("/")[2] for name, _ in step["files"] if "/ingesting/" in name and not name.endswith("/")}
            left, before = ingesting - before, ingesting
            if step["command"][0] != "load" or step["exit_code"] == 0:
                continue
            seen = LoadLines()
            for line in [*step["stdout"], *step["stderr_errors"]]:
                seen.take(line)
            for table in {line.removeprefix("Table: ") for line in step["stdout"] if line.startswith("Table: ")}:
                assert seen.progress == "complete", path.name
                files = {file.rpartition("/")[2] for file in seen.list_files(table)}
                found = seen.was_loaded(table, table)
                if found is not None:
                    assert found == (not files & left), (path.name, step["command"], table)
                    judged[found] += 1
    assert judged[True] >= 5
    assert judged[False] >= 5
