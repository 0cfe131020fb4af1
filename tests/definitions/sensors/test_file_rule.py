"""The rule by which waiting files start a load."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlake_dagster_components.definitions.sensors.file_cursor import read_file_cursor, write_file_cursor
from starlake_dagster_components.definitions.sensors.file_rule import (
    BACKOFF,
    FileMemory,
    KeepWaiting,
    SeenFile,
    StartLoad,
    WaitingFile,
    decide_load,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


def build_file(name: str, version: str = "1", complete: bool = False, missing: str = "") -> WaitingFile:
    return WaitingFile(f"/in/{name}", version, complete, missing, "shop.orders")


def expect_start(decision: StartLoad | KeepWaiting, *names: str) -> StartLoad:
    assert isinstance(decision, StartLoad), decision
    assert [file.name for file in decision.files] == list(names)
    return decision


def expect_reason(decision: StartLoad | KeepWaiting) -> str:
    assert isinstance(decision, KeepWaiting), decision
    return decision.reason


def test_an_empty_folder_starts_nothing() -> None:
    decision, memory = decide_load([], FileMemory(), NOW)
    assert expect_reason(decision) == "No files are waiting"
    assert memory == FileMemory()


def test_a_file_starts_a_run_when_two_ticks_see_the_same_version() -> None:
    decision, memory = decide_load([build_file("a.csv")], FileMemory(), NOW)
    assert expect_reason(decision) == "Waiting until a.csv no longer changes"
    decision, memory = decide_load([build_file("a.csv", "2")], memory, NOW + MINUTE)
    assert "a.csv" in expect_reason(decision)
    decision, memory = decide_load([build_file("a.csv", "2")], memory, NOW + 2 * MINUTE)
    expect_start(decision, "a.csv")


def test_a_file_with_its_ack_file_starts_a_run_at_once_and_one_without_waits_for_it() -> None:
    decision, _ = decide_load([build_file("a.csv", complete=True)], FileMemory(), NOW)
    expect_start(decision, "a.csv")
    decision, memory = decide_load([build_file("b.csv", missing="b.ack")], FileMemory(), NOW)
    assert expect_reason(decision) == "b.csv: waiting for b.ack"
    decision, _ = decide_load([build_file("b.csv", missing="b.ack")], memory, NOW + MINUTE)
    assert expect_reason(decision) == "b.csv: waiting for b.ack"


def test_a_burst_of_files_is_one_run() -> None:
    memory = FileMemory()
    for number in range(1, 4):
        decision, memory = decide_load([build_file(f"{n}.csv") for n in range(number)], memory, NOW + number * MINUTE)
        assert isinstance(decision, KeepWaiting)
    decision, _ = decide_load([build_file(f"{n}.csv") for n in range(3)], memory, NOW + 4 * MINUTE)
    expect_start(decision, "0.csv", "1.csv", "2.csv")


def test_nothing_starts_while_the_last_run_is_unfinished() -> None:
    decision, memory = decide_load([build_file("a.csv", complete=True)], FileMemory(), NOW)
    expect_start(decision, "a.csv")
    decision, _ = decide_load([build_file("a.csv", complete=True), build_file("b.csv", complete=True)], memory, NOW + MINUTE, "run1")
    assert expect_reason(decision) == "Run run1, which this sensor started, is loading files"


def test_a_remaining_file_waits_longer_after_each_run() -> None:
    decision, memory = decide_load([build_file("a.csv", complete=True)], FileMemory(), NOW)
    keys = {expect_start(decision, "a.csv").run_key}
    now = NOW
    for pause in (*BACKOFF, BACKOFF[-1]):
        decision, memory = decide_load([build_file("a.csv", complete=True)], memory, now + pause - MINUTE)
        assert "a.csv: still there after" in expect_reason(decision)
        now += pause
        decision, memory = decide_load([build_file("a.csv", complete=True)], memory, now)
        keys.add(expect_start(decision, "a.csv").run_key)
    assert len(keys) == len(BACKOFF) + 2


def test_waits_for_a_remaining_file_grow_from_5_minutes_to_a_day() -> None:
    assert [wait.total_seconds() / 60 for wait in BACKOFF] == [5, 15, 60, 360, 1440]


def test_defaults_of_a_waiting_file() -> None:
    assert WaitingFile("/in/a.csv", "1") == WaitingFile("/in/a.csv", "1", False, "", "", 0.0)


def test_all_reasons_to_wait_are_reported() -> None:
    files = [build_file("a.csv", complete=True), build_file("b.csv", missing="b.ack")]
    _, memory = decide_load(files, FileMemory(), NOW)
    decision, _ = decide_load(files, memory, NOW + MINUTE)
    assert expect_reason(decision) == (
        "b.csv: waiting for b.ack; a.csv: still there after 1 run; the next one starts at 2026-03-01T12:05:00+00:00, or when another file "
        "arrives"
    )


def test_file_names_may_contain_bytes_that_are_not_utf_8() -> None:
    decision, _ = decide_load([build_file("\udcff.csv", complete=True)], FileMemory(), NOW)
    expect_start(decision, "\udcff.csv")


def test_another_file_starts_a_run_for_both() -> None:
    _, memory = decide_load([build_file("a.csv", complete=True)], FileMemory(), NOW)
    decision, memory = decide_load([build_file("a.csv", complete=True), build_file("b.csv", complete=True)], memory, NOW + MINUTE)
    expect_start(decision, "a.csv", "b.csv")


def test_a_new_version_of_a_file_is_a_new_file() -> None:
    _, memory = decide_load([build_file("a.csv", "1", complete=True)], FileMemory(), NOW)
    decision, _ = decide_load([build_file("a.csv", "2", complete=True)], memory, NOW + MINUTE)
    expect_start(decision, "a.csv")


def test_a_file_that_disappeared_and_returned_is_new() -> None:
    _, memory = decide_load([build_file("a.csv", complete=True)], FileMemory(), NOW)
    _, memory = decide_load([], memory, NOW + MINUTE)
    decision, _ = decide_load([build_file("a.csv", complete=True)], memory, NOW + 2 * MINUTE)
    expect_start(decision, "a.csv")


def test_a_repeated_tick_requests_the_same_run() -> None:
    files = [build_file("a.csv", complete=True), build_file("b.csv", complete=True)]
    first, _ = decide_load(files, FileMemory(), NOW)
    again, _ = decide_load(files[::-1], FileMemory(), NOW + MINUTE)
    assert isinstance(first, StartLoad)
    assert isinstance(again, StartLoad)
    assert first.run_key == again.run_key


def test_long_lists_are_counted() -> None:
    decision, _ = decide_load([build_file(f"{n}.csv") for n in range(9)], FileMemory(), NOW)
    assert expect_reason(decision) == "Waiting until 0.csv, 1.csv, 2.csv, 3.csv, 4.csv, and 4 more no longer change"


@pytest.mark.parametrize("files", [0, 3, 2000])
def test_a_cursor_keeps_what_it_has_seen(files: int) -> None:
    seen = {f"{n:016x}": SeenFile(f"{n}-{n}", n % 3, float(n)) for n in range(files)}
    cursor = FileMemory(seen, "key", {"shop": "abc"})
    assert read_file_cursor(write_file_cursor(cursor)) == cursor


def test_a_cursor_with_the_time_of_the_last_run_is_read() -> None:
    assert read_file_cursor('{"run": ["key", 12.5], "files": {}, "observed": {}}') == FileMemory(run_key="key")


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "z:abc", '{"files": {"a": 1}}', '{"run": 3}'])
def test_a_cursor_of_another_program_is_forgotten(text: str) -> None:
    assert read_file_cursor(text) == FileMemory()


names = st.sampled_from(["a", "b", "c", "d"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), names),
        st.tuples(st.just("tick"), st.just("")),
        st.tuples(st.just("crash"), st.just("")),
        st.tuples(st.just("load"), st.just("")),
    ),
    max_size=40,
)


@given(steps)
def test_every_file_is_loaded_and_none_starts_two_runs(play: list[tuple[str, str]]) -> None:
    """Files are written, ticks happen or are lost after their run was requested, and runs take every file that is there."""
    folder: dict[str, int] = {}
    memory = FileMemory()
    version = 0
    requested: dict[str, list[tuple[str, str]]] = {}
    now = NOW
    running = ""

    def tick(crash: bool) -> None:
        nonlocal memory, running
        files = [WaitingFile(f"/in/{name}", str(number)) for name, number in sorted(folder.items())]
        decision, after = decide_load(files, memory, now, running)
        if isinstance(decision, StartLoad) and decision.run_key not in requested:
            requested[decision.run_key] = [(file.name, file.version) for file in decision.files]
            running = decision.run_key
        if not crash:
            memory = after

    for what, name in [*play, ("tick", ""), ("load", ""), ("tick", ""), ("tick", ""), ("load", "")]:
        now += MINUTE
        if what == "write":
            version += 1
            folder[name] = version
        elif what == "load":
            if running:
                folder.clear()
                running = ""
        else:
            tick(crash=what == "crash")
    assert folder == {}
    started = [file for files in requested.values() for file in files]
    assert len(started) == len(set(started))
