"""The engine as a command line: ``python -m starlake_dagster_components.engine load --domains sales``."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor, wait

from ..errors import CommandCanceled
from ..masking import mask_text

_LEVELS = {"trace": 0, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "fatal": 50, "off": 60}
_HELP = (
    "usage: python -m starlake_dagster_components.engine stage|preload|load|transform [options], with Starlake's options; "
    "SL_ROOT is the project"
)


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or 1 for every failure; 130 or 143 if it was interrupted or terminated."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("help", "--help", "-h"):
        sys.stdout.write(f"{_HELP}\n")
        return 0
    from ..cancellation_event import Canceled
    from .run import run_command

    threshold = _LEVELS.get(os.environ.get("SL_LOG_LEVEL", "error").lower(), 40)
    canceled = Canceled()
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        canceled.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)

    def print_line(line: str) -> None:
        sys.stdout.write(f"{mask_text(line)}\n")
        sys.stdout.flush()

    def log(level: str, line: str) -> None:
        if _LEVELS.get(level, 20) >= threshold:
            sys.stderr.write(f"{level.upper()} {mask_text(line)}\n")
            sys.stderr.flush()

    def run() -> int:
        try:
            return run_command(arguments, environ=os.environ, out=print_line, log=log, canceled=canceled).exit_code
        except CommandCanceled:
            log("error", "canceled")
            return 128 + (received[0] if received else signal.SIGTERM)

    # Python handles signals only in the main thread, and not while that thread waits for DuckDB.
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run)
        while not ended.done():
            wait([ended], 0.2)
    return ended.result()


if __name__ == "__main__":
    sys.exit(main())
