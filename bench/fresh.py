"""Something done in a process of its own, and what that cost with everything that it started."""

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process_tree import run_tree

REPOSITORY = Path(__file__).resolve().parent.parent
ANSWER = "bench answer: "
"""Begins the line in which the process tells what it found."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """One process, ended.

    Attributes:
        cpu: CPU seconds from the start to the end of Python, with the processes that it started.
        until_answer: of that, until it told what it found: what comes after is Python taking its heap apart. 0 if it did not tell.
        wall: seconds.
        memory: its own peak memory in MiB; 0 if it did not tell.
        answer: what it told.
    """

    cpu: float
    until_answer: float
    wall: float
    memory: float
    answer: Mapping[str, Any]


def answer(**found: object) -> None:
    """Tell what was found, the CPU seconds until now with those of ended children, and the peak memory of this process.

    The last is ``VmHWM``: unlike ``ru_maxrss`` it knows nothing of who started the process.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    until = time.process_time() + children.ru_utime + children.ru_stime
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    print(f"\n{ANSWER}{json.dumps({**found, 'memory': peak / 1024, 'until_answer': until})}", flush=True)


def run_fresh(*argv: str, environment: Mapping[str, str] | None = None, python: str | Path = sys.executable) -> Fresh:
    """Run Python with some arguments in a new process.

    Args:
        *argv: arguments of Python.
        environment: on top of this process's; no Starlake variable of this process gets there.
        python: which Python.

    Raises:
        RuntimeError: it failed; the message has the end of its output.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SL_", "DAGSTER_", "DBT_"))}
    path = os.pathsep.join(filter(None, (str(REPOSITORY), own.get("PYTHONPATH", ""))))
    tree = run_tree([str(python), "-W", "ignore", *argv], environment={**own, "PYTHONPATH": path, **(environment or {})}, folder=REPOSITORY)
    if tree.code != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {tree.code}\n{tree.output[-3000:]}")
    told = [line[len(ANSWER) :] for line in tree.output.splitlines() if line.startswith(ANSWER)]
    found = json.loads(told[-1]) if told else {}
    return Fresh(tree.cpu + sum(tree.orphans), found.get("until_answer", 0.0), tree.wall, found.get("memory", 0.0), found)
