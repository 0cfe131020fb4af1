"""Starting Java faster: class data archives, compilers, and options of users."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract import Watched
from java_program import JavaProgram, find_jdks
from pydantic import ValidationError
from waiting import wait_until

from starlake_dagster_components import DagsterShellExecutor, ShellExecutor
from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import CommandCanceled
from starlake_dagster_components.executors.base import CommandResult
from starlake_dagster_components.executors.local.jvm import archives
from starlake_dagster_components.executors.local.jvm.archives import Archive, find_archive, remove_unused_archives
from starlake_dagster_components.executors.local.jvm.environment import VARIABLE, choose_fast_options, drop_files_and_ports, join_options
from starlake_dagster_components.executors.local.jvm.making import make_archive
from starlake_dagster_components.executors.local.jvm.probe import Java, Probes

JDKS = find_jdks()
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the executor is for Linux and macOS")


@pytest.fixture(scope="module", params=JDKS or [Path()], ids=lambda home: home.name or "none")
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> JavaProgram:
    """The program for a JDK of this machine."""
    if not JDKS:
        pytest.skip("needs a JDK")
    program = JavaProgram(tmp_path_factory.mktemp("compiled"), request.param)
    program.build()
    return program


@pytest.fixture
def java(compiled: JavaProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JavaProgram:
    """A copy of the program, with its own folder for archives."""
    for name in (VARIABLE, "JAVA_OPTS", "SPARK_DRIVER_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("APP_LOG", str(tmp_path / "runs"))
    program = JavaProgram(tmp_path / "program", compiled.home)
    shutil.copytree(compiled.folder, program.folder)
    program.write_launcher()
    return program


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "jvm"


def run(program: JavaProgram, watched: Watched, /, executor: ShellExecutor | None = None, **environment: str) -> CommandResult:
    command = Command("transform", ("--name", "kpi.x"), str(program.folder), environment=environment, program=str(program.launcher))
    return (executor or ShellExecutor()).run(command, watched.invocation())


def find_made(folder: Path) -> list[Path]:
    """Return the archives that are complete."""
    return [path for path in folder.glob("native-*") if path.suffix in (".jsa", ".aot") and path.with_name(f"{path.name}.json").exists()]


def warm(program: JavaProgram, watched: Watched, kept: Path, **environment: str) -> Path:
    """Run once and wait for the archive."""
    assert run(program, watched, None, **environment).exit_code == 0
    wait_until(lambda: find_made(kept))
    return find_made(kept)[0]


def read_sources(program: JavaProgram, watched: Watched, tmp_path: Path, compiler: str = "auto", **environment: str) -> set[str]:
    """Return where the JVM took the classes of the program from."""
    log = tmp_path / "classes.log"
    log.unlink(missing_ok=True)
    executor = ShellExecutor.model_validate({"type": "shell", "jvm": {"compiler": compiler, "options": [f"-Xlog:class+load:file={log}"]}})
    assert run(program, watched, executor, **environment).exit_code == 0
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if " App " in line or " App$Work " in line]
    return {"archive" if "shared objects file" in line else "jar" for line in lines}


def read_output(watched: Watched) -> list[str]:
    return [text for text in watched.texts if not text.startswith("running ")]


EXPECTED = ["INFO Main: done", "ran transform --name kpi.x x0,x1,x2"]


def test_the_first_command_detects_java_and_later_ones_use_an_archive(
    java: JavaProgram, watched: Watched, kept: Path, tmp_path: Path
) -> None:
    archive = warm(java, watched, kept)
    assert sorted(read_output(watched)) == EXPECTED, "nothing of Java itself is in the log"
    assert archive.suffix == (".aot" if java.feature_version >= 25 else ".jsa")
    assert read_sources(java, watched, tmp_path) == {"archive"}
    assert read_sources(java, watched, tmp_path, compiler="fast") == {"archive"}, "another compiler and collector than when it was made"
    watched.lines.clear()
    assert run(java, watched).exit_code == 0
    assert sorted(read_output(watched)) == EXPECTED
    ran_in = (tmp_path / "runs").read_text(encoding="utf-8").splitlines()
    assert sum(folder != str(java.folder) for folder in ran_in) == 1, "one run on a project of our own, nothing twice"


def test_an_archive_is_used_by_dagster_shell(java: JavaProgram, watched: Watched, kept: Path, tmp_path: Path) -> None:
    pytest.importorskip("dagster_shell")
    warm(java, watched, kept)
    watched.lines.clear()
    log = tmp_path / "classes.log"
    executor = DagsterShellExecutor.model_validate({"type": "dagster_shell", "jvm": {"options": [f"-Xlog:class+load:file={log}"]}})
    assert run(java, watched, executor).exit_code == 0
    assert "App source: shared objects file" in log.read_text(encoding="utf-8")
    assert sorted(read_output(watched)) == EXPECTED


def _truncate(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 20_000)


def _overwrite_pages(path: Path) -> None:
    size = path.stat().st_size
    path.chmod(0o600)
    with open(path, "r+b") as file:
        for at in range(0, size, 4096):
            file.seek(at)
            file.write(b"\xff" * 64)


def _make_empty(path: Path) -> None:
    path.unlink()
    path.touch()


def _replace_by_another(path: Path) -> None:
    path.unlink()
    path.write_bytes(os.urandom(path.with_name(f"{path.name}.json").stat().st_size))


def _allow_others_to_write(path: Path) -> None:
    path.chmod(0o666)


DAMAGES = (_overwrite_pages, _make_empty, _replace_by_another, _allow_others_to_write, Path.unlink)


@pytest.mark.parametrize("damage", [_truncate, *(pytest.param(damage, marks=pytest.mark.slow) for damage in DAMAGES)])
def test_a_damaged_archive_is_not_used_and_made_again(
    damage: Callable[[Path], None], java: JavaProgram, watched: Watched, kept: Path, tmp_path: Path
) -> None:
    archive = warm(java, watched, kept)
    damage(archive)
    found = Probes(kept).find(str(java.launcher), {**os.environ})
    watched.lines.clear()
    assert read_sources(java, watched, tmp_path) == {"jar"}
    assert sorted(read_output(watched)) == EXPECTED
    assert found is not None
    usable = find_archive(kept, found, "native")
    assert usable is not None
    # One process starts it at most once in half a minute. Another process represents a later command.
    archive_again = make_archive(str(java.launcher), dict(os.environ), kept, found, "native")
    assert archive_again == usable
    assert usable.is_usable()
    assert read_sources(java, watched, tmp_path) == {"archive"}


def test_a_copied_archive_whose_time_differs_is_used(java: JavaProgram, watched: Watched, kept: Path, tmp_path: Path) -> None:
    archive = warm(java, watched, kept)
    status = archive.stat()
    os.utime(archive, (status.st_atime, int(status.st_mtime)))
    assert read_sources(java, watched, tmp_path) == {"archive"}


def test_another_starlake_has_another_archive(java: JavaProgram, watched: Watched, kept: Path, tmp_path: Path) -> None:
    warm(java, watched, kept)
    subprocess.run([java.home / "bin" / "jar", "uf", java.jar, "-C", java.folder, "App.java"], check=True)
    os.utime(java.jar, (1_700_000_000, 1_700_000_000))
    watched.lines.clear()
    assert read_sources(java, watched, tmp_path) == {"jar"}
    wait_until(lambda: len(find_made(kept)) == 2)
    assert read_sources(java, watched, tmp_path) == {"archive"}
    assert {level for level, _ in watched.lines} == {"info"}


RACE = """
import sys
from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import CommandCanceled
from starlake_dagster_components.executors.base import Invocation
from starlake_dagster_components.executors.local.shell import ShellExecutor
lines = []
command = Command("transform", ("--name", "kpi.x"), sys.argv[1], program=sys.argv[1] + "/starlake")
for _ in range(2):
    result = ShellExecutor().run(command, Invocation(log=lambda level, line: lines.append(line), canceled=Canceled()))
    print(result.exit_code, *sorted(line for line in lines if not line.startswith("running ")), sep="|")
    lines.clear()
"""


@pytest.mark.slow
def test_ten_processes_make_one_archive(java: JavaProgram, kept: Path, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", RACE, str(java.folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(10)
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert said == ["|".join(["0", *EXPECTED]) + "\n" + "|".join(["0", *EXPECTED]) + "\n"] * 10
    wait_until(lambda: find_made(kept))
    samples = [line for line in (tmp_path / "runs").read_text(encoding="utf-8").splitlines() if line != str(java.folder)]
    assert len(samples) == 1
    assert [path.name for path in kept.iterdir() if path.name.startswith(".")] == []


def test_output_of_a_helper_that_a_launcher_reads_is_not_disturbed(java: JavaProgram, watched: Watched, kept: Path, tmp_path: Path) -> None:
    java.write_launcher_with_helper()
    warm(java, watched, kept)
    assert read_sources(java, watched, tmp_path) == {"archive"}
    assert set(read_output(watched)) == set(EXPECTED)


@pytest.mark.parametrize("name", [VARIABLE, "JAVA_OPTS", "SPARK_DRIVER_OPTIONS"])
def test_options_of_users_are_kept(name: str, java: JavaProgram, watched: Watched, tmp_path: Path) -> None:
    log = tmp_path / "gc.log"
    executor = ShellExecutor.model_validate(
        {"type": "shell", "jvm": {"compiler": "fast"}, "env": {name: f"-XX:+UseParallelGC -Xlog:gc:file={log}"}}
    )
    for _ in range(2):
        log.unlink(missing_ok=True)
        assert run(java, watched, executor).exit_code == 0
        assert "Using Parallel" in log.read_text(encoding="utf-8")
    assert {level for level, _ in watched.lines} == {"info"}


def test_creating_an_archive_does_not_empty_the_log_file_of_a_user(java: JavaProgram, watched: Watched, kept: Path, tmp_path: Path) -> None:
    log = tmp_path / "gc.log"
    options = f'-XX:+UseParallelGC "-Xlog:gc:file={log}"'
    warm(java, watched, kept, JDK_JAVA_OPTIONS=options)
    assert "Using Parallel" in log.read_text(encoding="utf-8")
    assert read_sources(java, watched, tmp_path, JDK_JAVA_OPTIONS=options) == {"archive"}


@pytest.mark.parametrize(
    ("given", "kept_options"),
    [
        ("-Xmx1g -Xlog:gc:file=/tmp/x.log -XX:+UseG1GC", "-Xmx1g -XX:+UseG1GC"),
        ('"-Xlog:gc:file=/tmp/with blank.log" -Dname="a b"', '-Dname="a b"'),
        ("-Xloggc:/tmp/gc -agentlib:jdwp=transport=dt_socket,server=y,address=5005 -Xlogger", "-Xlogger"),
        ("-Dcom.sun.management.jmxremote.port=9010 -javaagent:a.jar", "-javaagent:a.jar"),
    ],
)
def test_creating_an_archive_writes_no_logs_and_takes_no_ports(given: str, kept_options: str) -> None:
    assert drop_files_and_ports({"JAVA_OPTS": given, "OTHER": given}) == {"JAVA_OPTS": kept_options, "OTHER": given}


def test_a_launcher_with_its_own_collector_starts(java: JavaProgram, watched: Watched, kept: Path) -> None:
    java.write_launcher("-XX:+UseG1GC")
    executor = ShellExecutor.model_validate({"type": "shell", "jvm": {"compiler": "fast"}})
    assert run(java, watched, executor).exit_code == 0
    assert sum("Java rejected the options" in text for text in watched.texts) == 1
    assert watched.texts.count(EXPECTED[1]) == 1


def test_options_that_users_ask_for_are_never_dropped(java: JavaProgram, watched: Watched) -> None:
    executor = ShellExecutor.model_validate({"type": "shell", "jvm": {"options": ["-XX:+NoSuchOption"]}})
    result = run(java, watched, executor)
    assert result.exit_code == 1
    assert any("NoSuchOption" in line for line in result.tail)


def test_the_users_own_archive_is_left_alone(java: JavaProgram, watched: Watched, kept: Path) -> None:
    for _ in range(2):
        assert run(java, watched, JAVA_OPTS="-Xshare:off").exit_code == 0
    assert find_made(kept) == []


def test_short_commands_use_the_c1_compiler(java: JavaProgram, watched: Watched, tmp_path: Path) -> None:
    log = tmp_path / "flags.log"
    executor = ShellExecutor.model_validate({"type": "shell", "jvm": {"archive": "off", "options": [f"-Xlog:gc:file={log}"]}})

    def read_collector(seconds: float | None) -> bool:
        log.unlink(missing_ok=True)
        command = Command(
            "transform", ("--name", "kpi.x"), str(java.folder), program=str(java.launcher), environment={"JAVA_OPTS": "-Xmx3g"}
        )
        assert executor.run(command, watched.invocation(find_usual_seconds=lambda: seconds)).exit_code == 0
        return "Using Serial" in log.read_text(encoding="utf-8")

    read_collector(None)
    assert read_collector(8.0)
    if os.cpu_count() == 1:
        pytest.skip("Java takes the serial collector by itself on one processor")
    assert read_collector(300.0) == read_collector(None)


def test_java_that_ignores_sigterm_is_killed_after_the_grace_period(java: JavaProgram, watched: Watched) -> None:
    executor = ShellExecutor(grace_period=0.5, timeout=600)
    watched.on_line = lambda line: watched.canceled.set() if line == "hanging" else None
    with pytest.raises(CommandCanceled):
        run(java, watched, executor, APP_HANGS="1")
    assert any("SIGKILL" in text for text in watched.texts)


def test_jvm_off_leaves_the_environment_unchanged(java: JavaProgram, watched: Watched, kept: Path) -> None:
    executor = ShellExecutor.model_validate({"type": "shell", "jvm": False})
    assert executor.jvm.is_off
    assert run(java, watched, executor).exit_code == 0
    assert not kept.exists()


def test_a_failing_command_fails_in_the_same_way(java: JavaProgram, watched: Watched, kept: Path) -> None:
    warm(java, watched, kept)
    assert run(java, watched, APP_EXIT="3").exit_code == 3


# ------------------------------------------------------------------------------------------------------ without a JDK


@pytest.mark.parametrize(
    ("given", "archive", "compiler"),
    [("auto", "auto", "auto"), ("off", "off", "full"), (False, "off", "full"), (True, "auto", "auto"), (None, "auto", "auto"),
     ({"archive": False}, "off", "auto"), ({"archive": "/x", "compiler": "fast"}, "/x", "fast")],
)  # fmt: skip
def test_the_jvm_setting_may_be_written_in_several_ways(given: Any, archive: str, compiler: str) -> None:
    jvm = ShellExecutor.model_validate({"type": "shell", "jvm": given}).jvm
    assert (jvm.archive, jvm.compiler) == (archive, compiler)


@pytest.mark.parametrize(
    "given", ["on and off", 3, {"archiv": "off"}, {"compiler": "quick"}, {"options": ["Xmx1g"]}, {"options": "-Xmx1g"}]
)
def test_wrong_settings_are_rejected(given: Any) -> None:
    with pytest.raises(ValidationError):
        ShellExecutor.model_validate({"type": "shell", "jvm": given})


def test_a_launcher_without_java_is_probed_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: Watched) -> None:
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "cache"))
    program = tmp_path / "starlake"
    program.write_text(f'#!/bin/sh\necho "options=${VARIABLE}"\n', encoding="utf-8")
    program.chmod(0o755)
    for _ in range(2):
        ShellExecutor().run(Command("transform", (), str(tmp_path), program=str(program)), watched.invocation())
    first, second = (text for text in watched.texts if text.startswith("options="))
    assert "PerfDataSaveFile" in first
    assert second == f"options={os.environ.get(VARIABLE, '')}"


def test_fast_options_do_not_conflict_with_the_users_options() -> None:
    assert list(choose_fast_options("")) == ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    assert list(choose_fast_options("-XX:+UseG1GC")) == ["-XX:TieredStopAtLevel=1"]
    assert list(choose_fast_options("-XX:-TieredCompilation -XX:+UseZGC")) == []


def test_options_with_spaces_are_quoted() -> None:
    assert (
        join_options("-Da=b", ["-XX:SharedArchiveFile=/a b/c.jsa", "-Xshare:auto"])
        == '-Da=b "-XX:SharedArchiveFile=/a b/c.jsa" -Xshare:auto'
    )


def test_folders_whose_names_the_variable_cannot_carry_have_no_archives() -> None:
    java = Java(home="/jdk", version="17.0.1", class_path="/a.jar")
    assert find_archive(Path("/a b"), java, "native") is not None
    assert find_archive(Path('/a"b'), java, "native") is None
    assert find_archive(Path("/a"), Java(home="/jdk", version="11.0.2", class_path="/a.jar"), "native") is None


def test_the_size_of_all_archives_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 2500)
    java = Java(home="/jdk", version="17.0.1")
    now = time.time()
    for number in range(5):
        path = tmp_path / f"native-17-{number}.jsa"
        path.write_bytes(b"x" * 1000)
        note = tmp_path / f"{path.name}.json"
        note.write_text(json.dumps({}), encoding="utf-8")
        os.utime(note, (now - 1000 * number, now - 1000 * number))
    (tmp_path / ".9-native-17-7.jsa").write_bytes(b"x")
    os.utime(tmp_path / ".9-native-17-7.jsa", (1, 1))
    remove_unused_archives(tmp_path, Archive(tmp_path / "native-17-4.jsa", java))
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".jsa") == ["native-17-0.jsa", "native-17-4.jsa"]
