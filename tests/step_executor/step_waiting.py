"""Run code of tests in separate processes, and wait for its effects."""

import time
from collections.abc import Callable

EXECUTE = "import dagster, step_jobs; dagster.execute_job(dagster.reconstructable(step_jobs.{job}), dagster.DagsterInstance.get())"


def wait_until(condition: Callable[[], object], what: str, seconds: float = 600) -> None:
    """Wait for a condition; the limit only keeps a broken test from hanging."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
