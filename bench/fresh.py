"""Run code in a fresh process, and measure it with all processes that it starts."""

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
"""Prefix of the line in which the process reports its results."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A process that has ended.

    Attributes:
        cpu: CPU seconds of the process and of those that it started, until the end.
        until_answer: the part of ``cpu`` until it reported its results; the rest is Python's exit. 0 if it did not report.
        wall: elapsed seconds.
        memory: peak memory of the process in MiB; 0 if it did not report.
        answer: the reported results.
    """

    cpu: float
    until_answer: float
    wall: float
    memory: float
    answer: Mapping[str, Any]


def answer(**found: object) -> None:
    """Report results, the CPU seconds so far (including ended children), and the peak memory of this process.

    The memory is ``VmHWM``, because ``ru_maxrss`` depends on the process that started this one.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    until = time.process_time() + children.ru_utime + children.ru_stime
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    print(f"\n{ANSWER}{json.dumps({**found, 'memory': peak / 1024, 'until_answer': until})}", flush=True)


def run_fresh(*argv: str, environment: Mapping[str, str] | None = None, python: str | Path = sys.executable) -> Fresh:
    """Run Python in a new process.

    Args:
        *argv: arguments of Python.
        environment: variables to set. The others are those of this process, without those for Starlake, Dagster, dbt, and Python. (With
            ``PYTHONDONTWRITEBYTECODE``, this package would be compiled in every process, but the installed ones would not.)
        python: the Python to run.

    Raises:
        RuntimeError: the process failed; the message has the end of its output.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SL_", "DAGSTER_", "DBT_", "PYTHON"))}
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH", ""))))
    tree = run_tree([str(python), "-W", "ignore", *argv], environment={**own, "PYTHONPATH": path, **(environment or {})}, folder=REPOSITORY)
    if tree.code != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {tree.code}\n{tree.output[-3000:]}")
    answers = [line[len(ANSWER) :] for line in tree.output.splitlines() if line.startswith(ANSWER)]
    found = json.loads(answers[-1]) if answers else {}
    return Fresh(tree.cpu + sum(tree.orphans), found.get("until_answer", 0.0), tree.wall, found.get("memory", 0.0), found)
