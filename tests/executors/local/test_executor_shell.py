"""The shell executor: the contract, and faults of real processes."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from contract import Behavior, ExecutorContract, Limit, Seen, Watched, build_command, collect_text
from program import Program, is_alive
from waiting import wait_until

from starlake_dagster_components.commands import Command, LoadTable
from starlake_dagster_components.errors import CommandCanceled, CommandError, CommandTimeout
from starlake_dagster_components.executors.base import StarlakeExecutor
from starlake_dagster_components.executors.local.shell import ShellExecutor


class ShellHarness:
    limits: frozenset[Limit] = frozenset()

    def __init__(self, folder: Path) -> None:
        self.program = Program(folder / "bin")
        self.project = folder / "my project"
        self.project.mkdir()

    def behave(self, behavior: Behavior) -> None:
        self.program.behave(behavior)

    def make_executor(self, *, env: Mapping[str, str] | None = None, timeout: float | None = None) -> StarlakeExecutor:
        return ShellExecutor(env=dict(env or {}), timeout=timeout, grace_period=5)

    def make_command(self, **changes: Any) -> Command:
        return build_command(**{"project": str(self.project), "program": str(self.program.path), **changes})

    def read_seen(self) -> list[Seen]:
        return self.program.read_seen()

    def is_running(self) -> bool:
        return self.program.is_running()


class TestShellContract(ExecutorContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> ShellHarness:
        return ShellHarness(tmp_path)


def write_script(folder: Path, text: str, name: str = "starlake", interpreter: str = f"{sys.executable} -IS") -> str:
    """Write an executable script; returns its path."""
    path = folder / name
    path.write_text(f"#!{interpreter}\n{text}", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def run(program: str, watched: Watched, project: Path, *, executor: ShellExecutor | None = None, **changes: Any) -> Any:
    command = build_command(project=str(project), program=program, **changes)
    return (executor or ShellExecutor(grace_period=5)).run(command, watched.invocation())


@pytest.fixture
def watched() -> Watched:
    return Watched()


# ------------------------------------------------------------------------------------------------------------- the program


def test_the_project_is_working_directory_and_sl_root(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, "import os\nprint(os.getcwd())\nprint(os.environ['SL_ROOT'])")
    project = tmp_path / "projet été"
    project.mkdir()
    run(program, watched, project, environment={"SL_ROOT": "/in/an/image"})
    assert watched.texts[1:] == [str(project)] * 2


def test_a_relative_path_is_relative_to_the_project(tmp_path: Path, watched: Watched) -> None:
    (tmp_path / "bin").mkdir()
    write_script(tmp_path / "bin", "print('here')")
    assert "here" in run("bin/starlake", watched, tmp_path).tail


def test_the_program_is_looked_up_on_the_path_of_the_command(tmp_path: Path, watched: Watched) -> None:
    write_script(tmp_path, "print('found')", name="starlake-test-name")
    executor = ShellExecutor(env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert "found" in run("starlake-test-name", watched, tmp_path, executor=executor).tail


def test_the_executor_s_path_overrides_the_dag_option(tmp_path: Path, watched: Watched) -> None:
    executor = ShellExecutor(starlake_path=write_script(tmp_path, "print('the executor says so')"))
    assert "the executor says so" in run("/no/such/program", watched, tmp_path, executor=executor).tail


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("no-such-starlake", "the Starlake command 'no-such-starlake' is not on the PATH"),
        ("/no/such/starlake", "/no/such/starlake does not exist"),
        ("./plain", "plain is not executable"),
    ],
)
def test_a_missing_program_is_an_error_that_names_the_setting(tmp_path: Path, watched: Watched, program: str, says: str) -> None:
    (tmp_path / "plain").write_text("no program")
    with pytest.raises(CommandError) as raised:
        run(program, watched, tmp_path)
    assert says in str(raised.value)
    assert "SL_STARLAKE_PATH" in str(raised.value)
    assert "starlake_path" in str(raised.value)
    assert raised.value.retry is False


def test_a_program_without_its_interpreter_is_an_error(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, "", interpreter="/no/such/interpreter")
    with pytest.raises(CommandError, match="interpreter"):
        run(program, watched, tmp_path)


def test_a_project_that_vanished_is_an_error(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, "")
    with pytest.raises(CommandError, match="gone does not exist"):
        run(program, watched, tmp_path / "gone")


# ------------------------------------------------------------------------------------------------------------- the output


def test_log_levels_are_read_from_the_lines(tmp_path: Path, watched: Watched) -> None:
    text = """import sys
for line in (
    "26/11/22 10:00:00 INFO Main: started",
    "2026-11-22 10:00:00,123 [main] WARN  a.b.C - careful",
    "26/11/22 10:00:00 ERROR Main: broken",
    "26/11/22 10:00:00 DEBUG Main: detail",
    "ERROR: Unknown command",
    "plain text on standard error",
    "INFORMATION is no level",
    'Exception in thread "main" java.lang.RuntimeException: java.sql.SQLException: Conversion Error',
    "Original Line: bad;Bob",
    "\\tat a.b.C.d(C.scala:1)",
):
    print(line, file=sys.stderr)
sys.exit(1)
"""
    result = run(write_script(tmp_path, text), watched, tmp_path)
    levels = [level for level, line in watched.lines[1:]]
    assert levels == ["info", "warning", "error", "debug", "error", "info", "info", "error", "info", "info"]
    assert result.reason == "Conversion Error Original Line: bad;Bob"


@pytest.mark.parametrize("layout", ["26/11/22 10:00:00 ERROR Main: {}", "10:00:00.123 [main] ERROR ai.starlake.job.Main$ - {}"])
def test_an_error_that_a_program_logged_is_the_reason(tmp_path: Path, watched: Watched, layout: str) -> None:
    text = f"import sys\nprint({layout.format('s.t - first')!r})\nprint({layout.format('second')!r})\nsys.exit(1)"
    assert run(write_script(tmp_path, text), watched, tmp_path).reason == "s.t - first"


def test_carriage_returns_end_lines_and_a_missing_line_end_does_not_matter(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, r"import os; os.write(1, b'10%\r50%\r100%\r\n\r\n   \nend')")
    assert run(program, watched, tmp_path).tail == ("10%", "50%", "100%", "end")


def test_characters_cut_between_two_writes_are_whole(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, "import os, time\nfor b in 'größe €\\n'.encode():\n    os.write(1, bytes([b])); time.sleep(0.01)")
    assert run(program, watched, tmp_path).tail == ("größe €",)


def test_a_very_long_line_is_shortened(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, "import sys\nsys.stdout.write('x' * 20_000_000)\nprint()\nprint('end')")
    result = run(program, watched, tmp_path)
    assert result.tail[-1] == "end"
    assert result.tail[-2].endswith("... (20000000 bytes)")
    assert len(result.tail[-2]) < 10_000


@pytest.mark.slow
def test_a_hundred_megabytes_of_output_need_little_memory(tmp_path: Path) -> None:
    program = write_script(tmp_path, "import os\nline = b'y' * 99 + b'\\n'\nfor i in range(1000):\n    os.write(1, line * 1000)")
    measure = f"""
import resource
from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import Command
from starlake_dagster_components.executors.base import Invocation
from starlake_dagster_components.executors.local.shell import ShellExecutor
count = 0
def log(level, line):
    global count
    count += 1
command = Command("transform", (), {str(tmp_path)!r}, program={program!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ShellExecutor().run(command, Invocation(log=log, canceled=Canceled()))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True)
    lines, megabytes = map(int, done.stdout.split())
    assert lines == 1_000_001
    assert megabytes < 20


def test_counts_are_read_from_the_summary_of_older_versions(tmp_path: Path, watched: Watched) -> None:
    text = (
        "Load summary:\nInput records: 120\nAccepted: 118\nRejected: -3\nData successfully loaded from file:/a/x-1.csv\n\tfile:/a/x-2.csv\n"
        "\n"
    )
    result = run(write_script(tmp_path, f"print({text!r})"), watched, tmp_path)
    assert result.counters is not None
    assert (result.counters.input, result.counters.accepted, result.counters.rejected) == (120, 118, None)
    assert result.counters.files == ("file:/a/x-1.csv", "file:/a/x-2.csv")


@pytest.mark.parametrize(("appends", "count"), [(True, 6), (False, None)])
def test_growth_of_a_replaced_table_is_not_its_row_count(tmp_path: Path, watched: Watched, appends: bool, count: int | None) -> None:
    text = 'IngestionCounters:{"inputCount":6,"acceptedCount":6,"rejectedCount":-1,"paths":["file:/a/x-1.csv"],"jobid":",j"}'
    table = LoadTable("x", "sales", "sales", "x", "x.*", appends=appends)
    result = run(write_script(tmp_path, f"print({text!r})"), watched, tmp_path, verb="load", tables=(table,))
    assert (result.counters.input, result.counters.accepted) == (count, count)


def test_secrets_are_hidden_wherever_they_came_from(tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "from-the-process")
    program = write_script(
        tmp_path,
        "import os, sys\nfor k in ('API_TOKEN', 'MY_SECRET', 'PRIVATE_KEY'): print(os.environ[k])\nprint(sys.argv)\n"
        "print('jdbc:postgresql://bob:hunter2@db/x')\nsys.exit(1)",
    )
    executor = ShellExecutor(env={"MY_SECRET": "from-the-executor", "PRIVATE_KEY": "-----BEGIN\nline-two-of-it\nEND-----"})
    result = run(program, watched, tmp_path, executor=executor, arguments=("--options", "x=1,DB_PASSWORD=from-the-options"))
    shown = collect_text(watched, result)
    for secret in ("from-the-process", "from-the-executor", "line-two-of-it", "from-the-options", "hunter2"):
        assert secret not in shown
    assert "jdbc:postgresql://bob:***@db/x" in shown


def test_caveats_are_logged_as_warnings(tmp_path: Path, watched: Watched) -> None:
    run(write_script(tmp_path, ""), watched, tmp_path, caveats=("mail is stored in clear text",))
    assert watched.lines[0] == ("warning", "mail is stored in clear text")


# ------------------------------------------------------------------------------------------------------------- ending


CHILD = f"subprocess.Popen([{sys.executable!r}, '-IS', '-c', {{code!r}}]{{more}})"


def list_pids(folder: Path) -> list[int]:
    return [int(p.name.removeprefix("pid-")) for p in folder.glob("pid-*")]


def starts_children(code: str, more: str = "") -> str:
    """Return a program that starts a child with some code. Both write their process ids to files in the working directory."""
    note = "import os, time, signal\nopen('pid-%d' % os.getpid(), 'w').close()\n"
    start = CHILD.format(code=note + code, more=more)
    return f"import subprocess, sys\n{note}{start}\nwhile len([n for n in os.listdir('.') if n.startswith('pid-')]) < 2: time.sleep(0.01)\n"


IGNORES = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
"""At the start of a program. Its children inherit this."""


def cancel_when(watched: Watched, condition: Any) -> threading.Thread:
    def wait() -> None:
        wait_until(condition)
        watched.canceled.set()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_canceling_ends_the_children_too(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, starts_children("time.sleep(600)") + "time.sleep(600)")
    canceler = cancel_when(watched, lambda: len(list_pids(tmp_path)) == 2)
    with pytest.raises(CommandCanceled):
        run(program, watched, tmp_path)
    canceler.join()
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]


def test_processes_that_ignore_sigterm_are_killed_after_the_grace_period(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, IGNORES + starts_children("time.sleep(600)") + "time.sleep(600)")
    canceler = cancel_when(watched, lambda: len(list_pids(tmp_path)) == 2)
    with pytest.raises(CommandCanceled):
        run(program, watched, tmp_path, executor=ShellExecutor(grace_period=0.5))
    canceler.join()
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]
    assert any("SIGKILL" in line for line in watched.texts)


def test_output_after_sigterm_is_read(tmp_path: Path, watched: Watched) -> None:
    text = (
        "import os, signal, time\n"
        "def stop(*_):\n    os.write(1, b'goodbye\\n')\n    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    watched.on_line = lambda line: watched.canceled.set() if line == "ready" else None
    with pytest.raises(CommandCanceled):
        run(write_script(tmp_path, text), watched, tmp_path)
    assert "goodbye" in watched.texts


def test_children_that_outlive_the_program_are_ended(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, starts_children("time.sleep(600)") + "print('done')")
    result = run(program, watched, tmp_path)
    assert result.exit_code == 0
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]
    assert any("left processes behind" in line for line in watched.texts)


def test_children_without_standard_output_are_ended_as_well(tmp_path: Path, watched: Watched) -> None:
    more = ", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    program = write_script(tmp_path, starts_children("time.sleep(600)", more) + "print('done')")
    assert run(program, watched, tmp_path).exit_code == 0
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]


def test_a_daemon_that_keeps_standard_output_open_is_not_waited_for(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, starts_children("time.sleep(600)", ", start_new_session=True") + "print('done')")
    try:
        result = run(program, watched, tmp_path)
        assert (result.exit_code, result.tail[-1]) == (0, "done")
    finally:
        for pid in list_pids(tmp_path):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_daemon_that_floods_standard_output_is_not_waited_for(tmp_path: Path, watched: Watched) -> None:
    flood = "while True:\n    try: os.write(1, b'z\\n')\n    except OSError: break"
    program = write_script(tmp_path, starts_children(flood, ", start_new_session=True") + "print('done')")
    try:
        assert run(program, watched, tmp_path).exit_code == 0
    finally:
        for pid in list_pids(tmp_path):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_program_that_closes_its_output_is_waited_for(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, "import os, time, sys\nos.close(1); os.close(2)\ntime.sleep(0.5)\nos._exit(7)")
    assert run(program, watched, tmp_path).exit_code == 7


def test_the_result_of_a_killed_program_names_the_signal(tmp_path: Path, watched: Watched) -> None:
    result = run(write_script(tmp_path, "import os\nos.kill(os.getpid(), 9)"), watched, tmp_path)
    assert result.exit_code == 137
    assert result.reason is not None
    assert "SIGKILL" in result.reason


def test_a_time_limit_names_its_setting(tmp_path: Path, watched: Watched) -> None:
    with pytest.raises(CommandTimeout, match=r"longer than 0.3 seconds .* 'timeout'"):
        run(write_script(tmp_path, "import time\ntime.sleep(600)"), watched, tmp_path, executor=ShellExecutor(timeout=0.3))


class Interrupt(BaseException):
    """An interrupt that, like Dagster's, is not an Exception."""


@pytest.mark.parametrize("interrupt", [Interrupt, KeyboardInterrupt, SystemExit])
def test_an_interruption_from_within_ends_the_processes(tmp_path: Path, watched: Watched, interrupt: type[BaseException]) -> None:
    program = write_script(tmp_path, starts_children("time.sleep(600)") + "print('started', flush=True)\ntime.sleep(600)")

    def raise_it(line: str) -> None:
        if line == "started":
            raise interrupt

    watched.on_line = raise_it
    with pytest.raises(interrupt):
        run(program, watched, tmp_path)
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]


def test_processes_are_ended_if_the_log_fails(tmp_path: Path, watched: Watched) -> None:
    program = write_script(tmp_path, starts_children("time.sleep(600)") + "print('started', flush=True)\ntime.sleep(600)")

    def fail(line: str) -> None:
        if not line.startswith("running "):
            raise RuntimeError("the event log is full")

    watched.on_line = fail
    with pytest.raises(RuntimeError, match="full"):
        run(program, watched, tmp_path)
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]


def test_ctrl_c_in_the_terminal_of_a_run_ends_the_command(tmp_path: Path) -> None:
    """A real SIGINT to a real process that runs the executor in its main thread, as ``dagster job execute`` does."""
    program = write_script(tmp_path, starts_children("time.sleep(600)") + "time.sleep(600)")
    code = f"""
import signal
from starlake_dagster_components.cancellation_event import Canceled
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that started the tests in the background has it ignored
from starlake_dagster_components.commands import Command
from starlake_dagster_components.executors.base import Invocation
from starlake_dagster_components.executors.local.shell import ShellExecutor
command = Command("transform", (), {str(tmp_path)!r}, program={program!r})
ShellExecutor().run(command, Invocation(log=lambda level, line: None, canceled=Canceled()))
"""
    runner = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    wait_until(lambda: len(list_pids(tmp_path)) == 2)
    runner.send_signal(signal.SIGINT)
    _, errors = runner.communicate(timeout=300)
    assert b"KeyboardInterrupt" in errors
    assert [is_alive(pid) for pid in list_pids(tmp_path)] == [False, False]


# ------------------------------------------------------------------------------------------------------------- preload


OLD_STARLAKE = """import os, sys
open('starts', 'a').write('x')
if '--notReadySentinel' in sys.argv:
    print('Error: Unknown option --notReadySentinel', file=sys.stderr)
    sys.exit(1)
print('no file' if {code} else 'a file')
sys.exit({code})
"""


@pytest.mark.parametrize(("code", "not_ready"), [(0, False), (1, True)])
def test_exit_code_1_of_an_older_starlake_preload_means_not_ready(tmp_path: Path, watched: Watched, code: int, not_ready: bool) -> None:
    executor = ShellExecutor()
    program = write_script(tmp_path, OLD_STARLAKE.format(code=code))
    for _ in range(2):
        result = run(program, watched, tmp_path, executor=executor, verb="preload", arguments=("--domain", "sales", "--tables", "orders"))
        assert result.not_ready is not_ready
    assert (tmp_path / "starts").read_text() == "xxx", "the option is tried once per program"


def test_an_older_starlake_that_breaks_is_a_failure(tmp_path: Path, watched: Watched) -> None:
    text = OLD_STARLAKE.format(code=1) + ""
    text = text.replace(
        "print('no file'", "print('Exception in thread \"main\" java.lang.Exception: no directory', file=sys.stderr); print('no file'"
    )
    result = run(write_script(tmp_path, text), watched, tmp_path, verb="preload", arguments=("--domain", "sales"))
    assert (result.exit_code, result.not_ready) == (1, False)
    assert str(result.reason).startswith("no directory")


# ------------------------------------------------------------------------------------------------------------- settings


def test_numbers_in_env_are_strings() -> None:
    executor = ShellExecutor.model_validate({"type": "shell", "env": {"PORT": 8080, "ON": True, "NOTHING": None}})
    assert executor.env == {"PORT": "8080", "ON": "true"}


@pytest.mark.parametrize("fields", [{"timeout": 0}, {"timeout": -1}, {"grace_period": 0}, {"job": "x"}, {"timeout": float("inf")}])
def test_settings_that_cannot_work_are_rejected(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"greater than 0|not permitted|finite"):
        ShellExecutor.model_validate(fields)


def test_every_field_is_described_with_an_example() -> None:
    for name, field in ShellExecutor.model_fields.items():
        assert field.description, name
        assert name == "type" or field.examples, name
