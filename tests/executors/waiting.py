"""Wait for the effects of processes and threads."""

import subprocess
import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object], what: str = "a condition", *, seconds: float = 600, process: "subprocess.Popen[bytes] | None" = None
) -> None:
    """Wait for a condition while a process runs, if there is one. The limit only keeps a broken test from hanging."""
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, f"the process ended before {what}"
        assert time.monotonic() < end, f"{what} did not come within {seconds:g} seconds"
        time.sleep(0.02)
