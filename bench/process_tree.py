"""Measure a process and all processes that it starts, until the last of them ends.

    python bench/process_tree.py RESULT PROGRAM [ARGUMENT...]

:func:`run_tree` starts this program. It becomes the parent of all descendants that lose theirs, waits for all of them, and reads the CPU
seconds of each from the result of the wait. The figures are therefore exact, and include no other processes. Requires Linux.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
ORPHANS_SECONDS = 60.0
"""Seconds in which processes that were left behind must end."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and the processes that it started, all of which have ended.

    Attributes:
        code: exit code of the process.
        cpu: CPU seconds of the process, and of the processes for which it waited.
        orphans: CPU seconds of each process that lost its parent (such as a fork server), and of the processes for which it waited.
        wall: seconds from the start of the first to the end of the last process.
        output: standard output and error of the process.
    """

    code: int
    cpu: float
    orphans: tuple[float, ...]
    wall: float
    output: str


def run_tree(argv: Sequence[str], *, environment: Mapping[str, str], folder: str | Path) -> Tree:
    """Run a program, and wait for it and for all processes that it leaves behind.

    Raises:
        RuntimeError: a process that was left behind did not end, so it was killed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        result, output = Path(temporary, "result"), Path(temporary, "output")
        with output.open("wb") as file:
            command = [sys.executable, "-S", "-E", __file__, str(result), *argv]
            subprocess.run(command, env=dict(environment), cwd=folder, stdout=file, stderr=file, check=False)
        text = output.read_text(encoding="utf-8", errors="replace")
        if not result.exists():
            raise RuntimeError(f"{argv[0]}: {text[-3000:]}")
        found: dict[str, Any] = json.loads(result.read_text())
    if found.pop("killed"):
        raise RuntimeError(f"{argv[0]} left processes behind that did not end within {ORPHANS_SECONDS:.0f} s: {text[-3000:]}")
    return Tree(**{**found, "orphans": tuple(found["orphans"])}, output=text)


def _supervise(result: str, argv: Sequence[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if SIGCHLD were ignored, the kernel would not report the CPU of children
    began = time.monotonic()
    process = os.posix_spawnp(argv[0], list(argv), os.environ)
    code, cpu, orphans, killed = -1, 0.0, [], False
    signal.signal(signal.SIGALRM, lambda *_: _kill_children())
    while True:
        try:
            pid, status, used = os.wait4(-1, 0)
        except ChildProcessError:
            break
        seconds = used.ru_utime + used.ru_stime
        if pid == process:
            code, cpu = os.waitstatus_to_exitcode(status), seconds
            signal.setitimer(signal.ITIMER_REAL, ORPHANS_SECONDS, 1.0)
        else:
            orphans.append(seconds)
            killed = killed or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)
    found = {"code": code, "cpu": cpu, "orphans": orphans, "wall": time.monotonic() - began, "killed": killed}
    Path(result).write_text(json.dumps(found))


def _kill_children() -> None:
    for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    _supervise(sys.argv[1], sys.argv[2:])
