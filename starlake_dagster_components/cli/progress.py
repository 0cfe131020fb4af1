"""Print the progress of jobs: a live table on a terminal, a line per finished asset elsewhere."""

import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..masking import mask_text
from .report import RunTable, count, describe_result

if TYPE_CHECKING:
    from .results import AssetResult, RunResult, RunState


class Progress:
    """A context manager that receives events while jobs run. This base class prints nothing."""

    def plan_jobs(self, jobs: Sequence[str]) -> None:
        """Receive the names of all jobs, in the order in which they will run."""

    def report_job(self, job: str, state: "RunState", ended: "Sequence[AssetResult]") -> None:
        """Receive the state of a job, and the results of the assets that finished since the last report. Called from another thread."""

    def end_job(self, result: "RunResult") -> None:
        """Receive the result of a job."""

    def __enter__(self) -> None:
        """Start showing progress."""

    def __exit__(self, *_: object) -> None:
        """Stop showing progress."""


class LineProgress(Progress):
    """Prints a line for each finished asset, for logs and pipes."""

    def __init__(self, *, err: bool = False) -> None:
        self._file = sys.stderr if err else sys.stdout

    def plan_jobs(self, jobs: Sequence[str]) -> None:
        """Print the names of the jobs."""
        self._print(f"running {count(len(jobs), 'job')}: {', '.join(jobs)}")

    def report_job(self, job: str, state: "RunState", ended: "Sequence[AssetResult]") -> None:
        """Print a line for each finished asset."""
        total = sum(len(keys) for keys in state.planned.values())
        done = sum(len(results) for results in state.finished.values()) - len(ended)
        for number, result in enumerate(ended, done + 1):
            self._print(f"{job} {number}/{total}: {describe_result(result)}")

    def _print(self, line: str) -> None:
        print(mask_text(line), file=self._file, flush=True)


class LiveProgress(Progress):
    """Shows a live table on the terminal, and removes it at the end to make room for the final one."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._lock = threading.Lock()
        self._console = Console()
        self._jobs: list[str] = []
        self._results: list[RunResult] = []
        self._current: tuple[str, RunState] | None = None
        self._began = time.monotonic()
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def plan_jobs(self, jobs: Sequence[str]) -> None:
        """Show all jobs as waiting."""
        with self._lock:
            self._jobs = list(jobs)
            self._began = time.monotonic()
        self._live.refresh()

    def report_job(self, job: str, state: "RunState", ended: "Sequence[AssetResult]") -> None:
        """Show the assets of a job."""
        with self._lock:
            if self._current is None or self._current[0] != job:
                self._began = time.monotonic()
            self._current = job, state

    def end_job(self, result: "RunResult") -> None:
        """Show a finished job as one line."""
        with self._lock:
            self._results.append(result)
            self._current = None
            self._began = time.monotonic()
        self._live.refresh()

    def _render(self) -> RunTable:
        with self._lock:
            running = (*self._current, time.monotonic() - self._began) if self._current else None
            return RunTable(list(self._results), self._jobs[len(self._results) :], running)

    def __enter__(self) -> None:
        """Show the table."""
        self._live.start(refresh=True)

    def __exit__(self, *_: object) -> None:
        """Remove the table."""
        self._live.stop()


def choose_progress(*, quiet: bool, json: bool, log_level: str = "CRITICAL") -> Progress:
    """Return how to show progress: not at all, as a live table, or as lines, which go to stderr if stdout has JSON."""
    if quiet:
        return Progress()
    # Log messages in between would break a live table.
    if sys.stdout.isatty() and not json and log_level == "CRITICAL":
        return LiveProgress()
    return LineProgress(err=json)
