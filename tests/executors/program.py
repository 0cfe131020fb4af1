"""A program in place of ``starlake`` that behaves as a Behavior says, for executors that start processes."""

import json
import os
import stat
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contract import Behavior, Seen

SCRIPT = r"""
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
environment = {k: v for k, v in os.environ.items()}
seen = os.path.join(here, "seen", "%020d-%d.json" % (time.monotonic_ns(), os.getpid()))
with open(seen + ".part", "w", encoding="utf-8", errors="surrogateescape") as f:
    json.dump({"pid": os.getpid(), "arguments": sys.argv[1:], "environment": environment}, f)
os.rename(seen + ".part", seen)
with open(os.path.join(here, "behavior.json"), encoding="utf-8") as f:
    behavior = json.load(f)
for stream, text in behavior["output"]:
    os.write({"out": 1, "err": 2}[stream], text.encode("utf-8", "surrogateescape"))
out = os.fdopen(os.dup(1), "wb")
for i in range(1, behavior["lines"] + 1):
    out.write(b"line %d\n" % i)
out.flush()
if behavior["not_ready"]:
    if "--notReadySentinel" in sys.argv:
        open(sys.argv[sys.argv.index("--notReadySentinel") + 1], "x").close()
    else:
        sys.exit(1)
if behavior["hang"]:
    time.sleep(600)
sys.exit(behavior["exit_code"])
"""


class Program:
    """A folder with the program, its behavior, and its recorded calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "seen").mkdir(parents=True)
        self.path = folder / "starlake"
        self.path.write_text(f"#!{sys.executable} -IS\n{SCRIPT}", encoding="utf-8")
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)
        self.behave(Behavior())

    def behave(self, behavior: Behavior) -> None:
        (self.folder / "behavior.json").write_text(json.dumps(asdict(behavior)), encoding="utf-8")

    def _starts(self) -> list[dict[str, Any]]:
        files = sorted((self.folder / "seen").glob("*.json"))
        return [json.loads(f.read_text(encoding="utf-8", errors="surrogateescape")) for f in files]

    def read_seen(self) -> list[Seen]:
        """Return the arguments of each start, without those of a sentinel, which are internal to the executor."""
        return [Seen(tuple(_drop_sentinel(s["arguments"])), s["environment"]) for s in self._starts()]

    def is_running(self) -> bool:
        return any(is_alive(s["pid"]) for s in self._starts())


def _drop_sentinel(arguments: list[str]) -> list[str]:
    if "--notReadySentinel" not in arguments:
        return arguments
    at = arguments.index("--notReadySentinel")
    return arguments[:at] + arguments[at + 2 :]


def is_alive(pid: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (ProcessLookupError, FileNotFoundError):
        return False
    except OSError:
        return True
