"""Make an archive of classes by running the launcher on the sample project, in a separate process or in this one."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ....cancellation_event import Canceled
from ....errors import CommandError
from ....locks import INHERITED_LOCKS, hold_lock, is_locked_elsewhere, try_lock
from ..process import run_process
from .archives import Archive, Loader, find_archive, remove_unused_archives
from .environment import VARIABLE, drop_files_and_ports, join_options
from .probe import Java, Probe, Probes
from .sample_project import ARGUMENTS, build_sample_environment, write_sample_project

LONGEST = 900.0
"""Maximum number of seconds for making an archive."""

_TAIL = 2_000
_START = 30.0
"""Maximum number of seconds until a new process begins its work."""


class NotMade(Exception):
    """An archive could not be made. The message has the reason."""


def make_archive(program: str, environment: Mapping[str, str], folder: Path, java: Java, loader: Loader) -> Archive | None:
    """Make the archive for a Java and a loader unless it exists. Wait if another process is making it.

    ``environment`` is that of the commands, without the variables that this package adds.

    Returns:
        The archive; None if this Java has no archives.

    Raises:
        NotMade: it could not be made.
    """
    archive = find_archive(folder, java, loader)
    if archive is None:
        return None
    with hold_lock(build_lock_name(archive), beside=folder):
        if not archive.is_usable():
            _make_or_record_failure(archive, program, environment, loader)
    return archive


def probe_sample(program: str, environment: Mapping[str, str], folder: Path, loader: Loader) -> Java:
    """Return the Java that a launcher starts. If it is not known yet, run the launcher on the sample project.

    Raises:
        NotMade: the launcher cannot be started.
    """
    probes = Probes(folder)
    java = probes.find(program, environment)
    if java is None or not java.home:
        probe = Probe()
        try:
            output = _run_sample(program, environment, loader, probe.options)
        except CommandError as error:
            raise NotMade(str(error)) from error
        finally:
            java = probe.close()
        if not java.home:
            raise NotMade(f"{program} started no Java that reports its home: {output or 'no output'}")
        probes.keep(program, environment, java)
    return java


def start_making(program: str, environment: Mapping[str, str], folder: Path, archive: Archive, loader: Loader) -> None:
    """Make an archive in a separate process, which continues after this one ends. Do nothing if such a process is already running."""
    if not _is_writable(folder) or archive.has_failed() or is_locked_elsewhere(build_lock_name(archive), beside=folder):
        return
    if not _reserve_start(archive):
        return
    work = {"program": program, "folder": str(folder), "loader": loader}
    own = {name: value for name, value in environment.items() if name != INHERITED_LOCKS}
    # The process runs with the environment of the commands, which may not have this package on its path.
    package = str(Path(__file__).resolve().parents[4])
    code = f"import sys; sys.path.insert(0, {package!r}); from {__name__} import make_in_background; make_in_background(sys.argv[1])"
    with contextlib.suppress(OSError):
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", code, json.dumps(work)],
            env=own,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # A thread waits for the process, so that it does not remain a zombie.
        threading.Thread(target=process.wait, name="starlake-jvm-archive", daemon=True).start()


def make_in_background(text: str) -> None:
    """Make an archive in this process, at the lowest priority, unless another process is making it. ``text``: see :func:`start_making`."""
    work = json.loads(text)
    program, folder, loader = work["program"], Path(work["folder"]), work["loader"]
    environment = dict(os.environ)
    os.nice(19)
    java = Probes(folder).find(program, environment)
    archive = find_archive(folder, java, loader) if java is not None else None
    if archive is None:
        return
    with try_lock(build_lock_name(archive), beside=folder) as free:
        if free and not archive.is_usable():
            with contextlib.suppress(NotMade):
                _make_or_record_failure(archive, program, environment, loader)


def _is_writable(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return os.access(folder, os.W_OK | os.X_OK)


_started: dict[Path, float] = {}
_started_lock = threading.Lock()


def _reserve_start(archive: Archive) -> bool:
    """Return True for the caller that starts making an archive, and False for all others until its process has begun to work."""
    now = time.monotonic()
    with _started_lock:
        if now - _started.get(archive.path, -_START) < _START:
            return False
        _started[archive.path] = now
        return True


def build_lock_name(archive: Archive) -> str:
    """Return the name of the lock that is held while an archive is made."""
    return f"archive {archive.path}"


def _make_or_record_failure(archive: Archive, program: str, environment: Mapping[str, str], loader: Loader) -> None:
    try:
        _make_archive(archive, program, environment, loader)
    except (OSError, CommandError, NotMade) as error:
        archive.record_failure(str(error))
        raise NotMade(str(error)) from error
    remove_unused_archives(archive.path.parent, archive)


def _make_archive(archive: Archive, program: str, environment: Mapping[str, str], loader: Loader) -> None:
    archive.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    target = archive.path.with_name(f".{os.getpid()}-{archive.path.name}")
    try:
        output = _run_sample(program, environment, loader, archive.build_making_options(target))
        if not target.is_file() or not target.stat().st_size:
            raise NotMade(f"the JVM did not create an archive (output: {output or 'none'})")
        archive.adopt(target)
    finally:
        for left in (target, target.with_name(f"{target.name}.config")):
            left.unlink(missing_ok=True)


def _run_sample(program: str, environment: Mapping[str, str], loader: Loader, options: Sequence[str]) -> str:
    """Run the launcher on the sample project, regardless of its exit code. Return its last output."""
    output = b""

    def feed(stream: str, data: bytes) -> None:
        nonlocal output
        output = (output + data)[-_TAIL:]

    with tempfile.TemporaryDirectory(prefix="starlake-warm-up-") as name:
        root = Path(name)
        write_sample_project(root, loader)
        sample = drop_files_and_ports(build_sample_environment(environment, root, loader))
        sample[VARIABLE] = join_options(sample.get(VARIABLE, ""), options)
        run_process([program, *ARGUMENTS], folder=name, environment=sample, feed=feed, canceled=Canceled(), timeout=LONGEST)
    return output.decode("utf-8", "replace").strip()
