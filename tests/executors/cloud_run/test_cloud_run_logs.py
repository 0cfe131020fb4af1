"""The output of an execution, read from Cloud Logging."""

import time
from collections.abc import Iterator

import pytest
from cloud_run_harness import SHELL, connect_executor
from cloud_run_server import CloudRunServer, shorten_log_waits
from contract import Watched, build_command
from google.cloud.logging_v2.types import LogEntry
from google.protobuf.struct_pb2 import Struct
from grpc import StatusCode
from injected_faults import Fault

from starlake_dagster_components import CommandResult
from starlake_dagster_components.commands import LoadTable
from starlake_dagster_components.executors.base import Counters
from starlake_dagster_components.executors.cloud_run import log_follower, log_queries

SUMMARY = 'IngestionCounters:{"inputCount":3,"acceptedCount":2,"rejectedCount":1,"paths":["gs://b/a.csv"],"jobid":",r"}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudRunServer]:
    shorten_log_waits(monkeypatch)
    with CloudRunServer() as server:
        yield server


def run(server: CloudRunServer, script: str, verb: str = "transform", **fields: object) -> tuple[Watched, CommandResult]:
    server.add_job(command=[*SHELL, script, "sh"])
    watched = Watched()
    result = connect_executor(server, **{"logs": "tail", **fields}).run(build_command(verb=verb), watched.invocation(run_id=server.address))
    return watched, result


def test_by_default_only_a_failure_s_last_lines_are_read(server: CloudRunServer) -> None:
    run(server, "echo fine")
    assert server.calls["ListLogEntries"] == 0
    _, result = run(server, "seq 1 100; exit 1", tail_lines=10)
    assert result.tail == tuple(str(n) for n in range(91, 101))


def test_the_row_counts_of_a_successful_load_are_read(server: CloudRunServer) -> None:
    watched, result = run(server, f"echo '{SUMMARY}'", verb="load")
    assert result.counters == Counters(3, 2, 1, ("gs://b/a.csv",))
    assert SUMMARY not in watched.texts


def test_logs_none_reads_nothing(server: CloudRunServer) -> None:
    _, result = run(server, "echo bad; exit 1", logs="none")
    assert result.tail == ()
    assert server.calls["ListLogEntries"] == 0


def test_logs_that_may_not_be_read_do_not_hide_the_failure(server: CloudRunServer) -> None:
    server.faults = lambda method, request: Fault(code=StatusCode.PERMISSION_DENIED) if method == "ListLogEntries" else None
    watched, result = run(server, "echo bad; exit 9")
    assert (result.exit_code, result.tail) == (9, ())
    assert any("roles/logging.viewer" in text for text in watched.texts)


def test_followed_lines_are_complete_when_some_queries_fail(server: CloudRunServer) -> None:
    fail = iter([False, True, False, True, True])
    server.faults = lambda method, request: (
        Fault(code=StatusCode.RESOURCE_EXHAUSTED) if method == "ListLogEntries" and next(fail, False) else None
    )
    watched, result = run(server, "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.1; done", logs="follow")
    assert [t for t in watched.texts if t.startswith("line")] == [f"line {n}" for n in range(1, 7)]
    assert result.tail[-1] == "line 6"


def test_an_execution_whose_lines_are_complete_is_not_queried_again(server: CloudRunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its step's thread may take some time to remove it. Until then, the server may be gone."""
    drain, more = log_follower.Follower._drain, []

    def drain_and_pause(*arguments: object) -> bool:
        answered = drain(*arguments)  # type: ignore[arg-type]
        before = server.calls["ListLogEntries"]
        time.sleep(0.5)
        more.append(server.calls["ListLogEntries"] - before)
        return answered

    monkeypatch.setattr(log_follower.Follower, "_drain", drain_and_pause)
    _, result = run(server, "echo fine", logs="follow")
    assert (result.tail, more) == (("fine",), [0])


def split_entry(**fields: object) -> list[log_queries.Line]:
    return list(log_queries._split_entry(LogEntry.pb(LogEntry(insert_id="i", **fields))))


def test_structured_entries_have_a_level_and_a_message() -> None:
    payload = Struct()
    payload.update({"message": "disk full", "code": 3})
    (line,) = split_entry(json_payload=payload, severity=500)
    assert (line.level, line.text) == ("error", "disk full")
    other = Struct()
    other.update({"code": 3})
    assert split_entry(json_payload=other)[0].text == '{"code": 3.0}'
    assert [(x.level, x.text) for x in split_entry(text_payload="a\nb")] == [(None, "a"), (None, "b")]
    assert [split_entry(text_payload="x", severity=s)[0].level for s in (0, 100, 200, 300, 400, 600)] == [
        None,
        "debug",
        "info",
        "info",
        "warning",
        "error",
    ]


LOAD = """
say() { echo Loading; echo "Format: DSV"; echo "File(s): gs://b/$1.csv"; echo "Table: SALES.$1"; }
say orders; echo "Archive duration takes 3 ms"; seq 1 200
say clients; seq 1 200
"""
TABLES = tuple(LoadTable(name, "sales", "SALES", name, f"{name}.*") for name in ("orders", "clients", "items"))


@pytest.mark.parametrize("how", ["tail", "follow"])
def test_results_of_the_tables_of_a_load_are_found_in_its_whole_output(server: CloudRunServer, how: str) -> None:
    server.add_job(command=[*SHELL, f"{LOAD}\necho 'ERROR Some tables failed to be loaded' >&2; exit 1", "sh"])
    command = build_command(verb="load", tables=TABLES)
    result = connect_executor(server, logs=how, tail_lines=5).run(command, Watched().invocation(run_id=server.address))
    assert {name: found.outcome for name, found in result.tables.items()} == {"orders": "loaded", "clients": "failed", "items": "loaded"}


def test_results_of_the_tables_of_a_killed_load_are_not_guessed(server: CloudRunServer) -> None:
    server.add_job(command=[*SHELL, f"{LOAD}\nkill -9 $$", "sh"])
    command = build_command(verb="load", tables=TABLES)
    result = connect_executor(server, logs="tail").run(command, Watched().invocation(run_id=server.address))
    assert {name: found.outcome for name, found in result.tables.items()} == {"orders": "loaded", "clients": "unknown", "items": "unknown"}


def test_without_logs_nothing_is_known_of_the_tables(server: CloudRunServer) -> None:
    server.add_job(command=[*SHELL, f"{LOAD}\nexit 1", "sh"])
    command = build_command(verb="load", tables=TABLES)
    for fields in ({"logs": "none"}, {"logs": "tail", "tail_lines": 0}):
        result = connect_executor(server, **fields).run(command, Watched().invocation(run_id=f"{server.address}-{fields}"))
        assert result.tables == {}


def test_outcomes_of_tables_are_unknown_after_a_task_retry(server: CloudRunServer) -> None:
    server.add_job(command=[*SHELL, f"{LOAD}\necho 'Some tables failed to be loaded'; exit 1", "sh"], max_retries=1)
    command = build_command(verb="load", tables=TABLES)
    result = connect_executor(server, logs="tail").run(command, Watched().invocation(run_id=server.address))
    assert result.tables == {}
