"""Locks between threads and processes."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from starlake_dagster_components import locks
from starlake_dagster_components.errors import CommandCanceled, CommandError, CommandTimeout
from starlake_dagster_components.lock_folders import choose_lock_folder
from starlake_dagster_components.locks import lock_database, lock_databases

HOLD = """
import sys
from starlake_dagster_components.locks import lock_database
with lock_database(sys.argv[1], holder="a load"):
    print("held", flush=True)
    sys.stdin.read()
"""
"""Holds a lock until its standard input is closed."""


@contextlib.contextmanager
def start_holder(path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process that holds a lock, and end it."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    inside, most, done = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, done
        for _ in range(20):
            with lock_database(tmp_path / "a.db"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1
                done += 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, done) == (1, 120)


def test_a_released_lock_is_passed_to_a_waiting_thread(tmp_path: Path) -> None:
    """Four threads take turns 400 times. With pauses between polls, this would take minutes."""

    def work() -> None:
        for _ in range(400):
            with lock_database(tmp_path / "a.db"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not any(thread.is_alive() for thread in threads)


def test_a_forked_process_does_not_wait_for_threads_that_it_does_not_have(tmp_path: Path) -> None:
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock_database(tmp_path / "a.db"):
            inside.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        with lock_database(tmp_path / "a.db"):
            os._exit(0)
    done.set()
    thread.join()
    wait_until(lambda: os.waitpid(child, os.WNOHANG) != (0, 0))


def test_processes_exclude_each_other_and_the_waiting_one_names_the_holder(tmp_path: Path) -> None:
    lines: list[str] = []
    with start_holder(tmp_path / "a.db") as other:

        def log(_: object, line: str) -> None:
            lines.append(line)
            assert other.stdin is not None
            other.stdin.close()

        with lock_database(tmp_path / "a.db", log=log):
            assert other.wait() == 0
    assert lines == [f"waiting for database {tmp_path / 'a.db'} (in use by process {other.pid}: a load)"]


def test_a_lock_is_released_when_its_process_dies(tmp_path: Path) -> None:
    with start_holder(tmp_path / "a.db") as other:
        other.kill()
        with lock_database(tmp_path / "a.db"):
            assert other.wait() == -signal.SIGKILL


def test_waiting_ends_when_the_run_is_canceled(tmp_path: Path) -> None:
    canceled = threading.Event()
    with start_holder(tmp_path / "a.db"):
        threading.Timer(0.2, canceled.set).start()
        with pytest.raises(CommandCanceled, match="waiting for database"), lock_database(tmp_path / "a.db", canceled=canceled):
            pytest.fail("another process holds it")


def test_a_wait_with_a_time_limit_takes_a_free_lock_or_times_out(tmp_path: Path) -> None:
    with lock_database(tmp_path / "a.db", seconds=0):
        pass
    with (
        start_holder(tmp_path / "a.db") as other,
        pytest.raises(CommandTimeout, match=rf"waited too long for database .*a\.db \(in use by process {other.pid}: a load\)"),
        lock_database(tmp_path / "a.db", seconds=0.2),
    ):
        pytest.fail("another process holds it")


def test_taking_a_lock_again_in_the_same_thread_does_not_wait(tmp_path: Path) -> None:
    with lock_database(tmp_path / "a.db"):
        with lock_database(tmp_path / "a.db"):
            pass
        assert _is_locked(tmp_path / "a.db"), "the inner one does not give it away"
    assert not _is_locked(tmp_path / "a.db")


def test_several_names_of_one_file_are_one_lock(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with lock_database(tmp_path / "data" / "a.db"):
        assert _is_locked(tmp_path / "link" / ".." / "link" / "a.db")
        assert not _is_locked(tmp_path / "data" / "b.db")


def test_locks_taken_in_opposite_orders_do_not_deadlock(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.db", "b.db")]

    def work(order: list[str]) -> None:
        for _ in range(50):
            with lock_databases(order):
                pass

    threads = [threading.Thread(target=work, args=(order,)) for order in (paths, paths[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not any(thread.is_alive() for thread in threads)


def test_a_process_that_was_started_under_a_lock_may_take_it(tmp_path: Path) -> None:
    with lock_database(tmp_path / "a.db"):
        environment = {**os.environ, **locks.build_inherited_environment()}
        subprocess.run([sys.executable, "-c", HOLD, str(tmp_path / "a.db")], env=environment, input=b"", timeout=300, check=True)
        assert _is_locked(tmp_path / "a.db"), "its end does not give the lock away"
    assert not _is_locked(tmp_path / "a.db")


def test_a_command_keeps_the_locks_of_a_worker_that_was_killed(tmp_path: Path) -> None:
    worker_code = """
import subprocess, sys, time
from starlake_dagster_components import locks
with locks.lock_database(sys.argv[1]):
    command = subprocess.Popen(["sleep", "600"], pass_fds=locks.list_inherited_descriptors(), start_new_session=True)
    print(command.pid, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", worker_code, str(tmp_path / "a.db")], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        command = int(worker.stdout.readline())
        worker.kill()
    try:
        assert _is_locked(tmp_path / "a.db"), "the command still writes"
    finally:
        os.kill(command, signal.SIGKILL)
    wait_until(lambda: not _is_locked(tmp_path / "a.db"))


def test_processes_that_a_command_leaves_behind_do_not_keep_a_lock(tmp_path: Path) -> None:
    with lock_database(tmp_path / "a.db"):
        daemon = subprocess.Popen(["sleep", "600"], pass_fds=locks.list_inherited_descriptors(), start_new_session=True)
    try:
        assert not _is_locked(tmp_path / "a.db")
    finally:
        daemon.kill()
        daemon.wait()


def _is_locked(path: Path) -> bool:
    """Return whether another process finds the lock taken."""
    code = (
        "import sys; from starlake_dagster_components.locks import is_locked_elsewhere; from os.path import dirname; "
        "print(is_locked_elsewhere('database ' + sys.argv[1], beside=dirname(sys.argv[1])))"
    )
    environment = {k: v for k, v in os.environ.items() if k != locks.INHERITED_LOCKS}
    real = os.path.realpath(path)
    done = subprocess.run([sys.executable, "-c", code, real], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip() == "True"


COUNT = """
import sys
from pathlib import Path
from starlake_dagster_components.locks import hold_lock
path = Path(sys.argv[1])
for _ in range(300):
    with hold_lock(sys.argv[2], single_use=True):
        path.write_text(str(int(path.read_text()) + 1))
"""


def test_a_lock_whose_file_is_removed_still_excludes(tmp_path: Path) -> None:
    """A process that opened the file before it was removed must not take it for the lock."""
    counter, name = tmp_path / "counter", f"step of run {tmp_path}"
    counter.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, str(counter), name]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert counter.read_text() == "900"
    assert not locks.is_locked_elsewhere(name)
    assert not (choose_lock_folder(None) / locks._build_file_name(name)).exists()


def test_a_file_that_others_create_and_remove_meanwhile_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = tmp_path / "x.lock", os.open
    # The file is missing, exists when it is created, and is missing twice: another process takes the lock between the calls.
    play = [FileNotFoundError, FileExistsError, FileNotFoundError, FileNotFoundError] * 3

    def race(*arguments: Any, **options: Any) -> int:
        if play and str(arguments[0]) == str(path):
            error = play.pop(0)
            raise error(0, "raced")
        return opened(*arguments, **options)

    monkeypatch.setattr(os, "open", race)
    descriptor = locks._open_file(path)
    monkeypatch.undo()
    os.close(descriptor)
    assert path.exists()
    assert play == []


def test_a_lock_in_a_folder_that_is_gone_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot open the lock file .*No such file"):
        locks._open_file(tmp_path / "gone" / "x.lock")


TAKE = """
import os, sys
from starlake_dagster_components.errors import CommandError
from starlake_dagster_components.locks import is_locked_elsewhere, lock_database
try:
    print(is_locked_elsewhere("database " + sys.argv[1], beside=os.path.dirname(sys.argv[1])))
    with lock_database(sys.argv[1]):
        print("held")
except CommandError as error:
    print(error)
"""

OTHER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="becoming another user takes root")


def run_as(user: int, path: Path, temporary: Path) -> list[str]:
    """Take the lock of a database as a user."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    code = f"import os; os.setgroups([]); os.setgid({user}); os.setuid({user})\n" if user else ""
    # Modules are imported as root, because another user may not have access to the repository.
    imports = "import fcntl, starlake_dagster_components.locks\n"
    done = subprocess.run(
        [sys.executable, "-c", imports + code + TAKE, str(path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder like /tmp, with a folder for temporary files that all users may write."""
    folder = Path(tempfile.mkdtemp(prefix="locks-", dir="/tmp"))
    try:
        folder.chmod(0o1777)
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        yield folder
    finally:
        shutil.rmtree(folder)


@as_root
@pytest.mark.parametrize("users", [(0, OTHER), (OTHER, 0)])
def test_users_that_share_a_folder_share_its_locks(public: Path, users: tuple[int, int]) -> None:
    old = os.umask(0o077)
    try:
        for user in (*users, *users):
            assert run_as(user, public / "shop.db", public / "tmp") == ["False", "held"]
    finally:
        os.umask(old)


@as_root
def test_users_that_share_a_folder_wait_for_each_other(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(public / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with lock_database(public / "shop.db"):
        process = subprocess.run(
            [sys.executable, "-c", "import fcntl, starlake_dagster_components.locks as l, os, sys\nos.setuid(65534)\n"
             "print(l.is_locked_elsewhere('database ' + sys.argv[1], beside=os.path.dirname(sys.argv[1])))", str(public / "shop.db")],
            capture_output=True, text=True, check=True, env={k: v for k, v in os.environ.items() if k != locks.INHERITED_LOCKS},
        )  # fmt: skip
    assert process.stdout == "True\n"


@as_root
def test_no_other_user_can_hold_the_lock_of_a_private_folder(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(public / "tmp"))
    (public / "own").mkdir(mode=0o755)
    folder = choose_lock_folder(public / "own")
    assert folder.stat().st_mode & 0o077 == 0
    assert run_as(OTHER, public / "own" / "shop.db", public / "tmp") == ["False", "held"], "it holds another one"
    assert folder != public / "tmp" / "starlake-dagster-locks"


@as_root
def test_root_shares_the_locks_of_the_user_whose_folder_it_writes(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(public / "tmp"))
    (public / "own").mkdir(mode=0o755)
    os.chown(public / "own", OTHER, OTHER)
    for user in (0, OTHER, 0):
        assert run_as(user, public / "own" / "shop.db", public / "tmp") == ["False", "held"]
    assert choose_lock_folder(public / "own").stat().st_uid == OTHER
    assert len(list((public / "tmp").iterdir())) == 1


@as_root
def test_a_name_that_another_user_has_taken_is_left_to_them(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(public / "tmp"))
    taken = public / "tmp" / "starlake-dagster-locks-0"
    taken.mkdir(mode=0o700)
    os.chown(taken, OTHER, OTHER)
    assert choose_lock_folder(None).name == "starlake-dagster-locks-0-1"
    assert choose_lock_folder(None).name == "starlake-dagster-locks-0-1"


def test_a_named_pipe_in_place_of_a_lock_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(choose_lock_folder(tmp_path) / locks._build_file_name(f"database {tmp_path / 'a.db'}"))
    with pytest.raises(CommandError, match="is not a regular file"), lock_database(tmp_path / "a.db"):
        pytest.fail("there is no lock")


def test_files_of_steps_whose_processes_were_killed_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = choose_lock_folder(None)
    for name in ("step-old.lock", "step-new.lock", "database-old.lock"):
        (folder / name).touch()
        if "old" in name:
            os.utime(folder / name, (1, 1))
    with locks.hold_lock("step x of run y", single_use=True):
        assert not (folder / "step-old.lock").exists()
    assert {path.name for path in folder.iterdir()} == {"step-new.lock", "database-old.lock"}


def test_try_lock_takes_a_free_lock_without_waiting(tmp_path: Path) -> None:
    with locks.try_lock(f"archive {tmp_path}") as first:
        assert first
        with locks.try_lock(f"archive {tmp_path}") as second:
            assert not second
    with locks.try_lock(f"archive {tmp_path}") as third:
        assert third
