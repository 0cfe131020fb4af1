"""Measure a process and everything that it starts, to the end of the last of them.

    python bench/process_tree.py RESULT PROGRAM [ARGUMENT...]

Started as a process of its own by :func:`run_tree`. It becomes the parent of everything below that loses its parent, waits for all of it
and takes each one's CPU from the kernel's answer to that very wait. Nothing is estimated and nothing of another process can get in. Needs
Linux.
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
"""Time that processes left behind may take to end."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and what it started, all ended.

    Attributes:
        code: exit code of the process.
        cpu: its CPU seconds, with those of everything that it waited for.
        orphans: CPU seconds of each process that lost its parent before it ended (a fork server), with what that one waited for.
        wall: seconds from the start to the end of the last.
        output: standard output and error of the process.
    """

    code: int
    cpu: float
    orphans: tuple[float, ...]
    wall: float
    output: str


def run_tree(argv: Sequence[str], *, environment: Mapping[str, str], folder: str | Path) -> Tree:
    """Run a program, wait for it and for everything that it left behind.

    Raises:
        RuntimeError: something that it left behind does not end; it was killed.
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
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by whoever started this, the kernel would forget what children cost
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
