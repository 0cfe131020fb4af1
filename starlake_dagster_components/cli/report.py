"""What became of runs, on a terminal: what ``sl-dagster run`` and the demo print."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from .run import RunResult, Status

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 1000
_STYLES: Mapping[str, str] = {"failed": "red", "not run": "yellow", "skipped": "dim"}


def print_results(results: Sequence[RunResult], width: int | None = None) -> None:
    """Print a table of what became of each job's assets, below it every failure in full, and the counts.

    Args:
        results: what :func:`run_headless` returned.
        width: columns of the table; None = those of the terminal, or as many as it takes where the output goes elsewhere.
    """
    from rich.console import Console

    console = Console(width=width or (None if sys.stdout.isatty() else _WIDE))
    console.print(_table(results))
    console.print()
    failures = list(_failures(results))
    for text in failures:
        console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    if failures:
        console.print()
    assets = [asset for result in results for asset in result.assets]
    failed = sum(not result.success for result in results)
    statuses = ", ".join(f"{sum(a.status == s for a in assets)} {s}" for s in get_args(Status) if any(a.status == s for a in assets))
    jobs = f"{counted(len(results), 'job')}{f', {failed} failed' if failed else ''}"
    console.print(f"{jobs}. {counted(len(assets), 'asset')}: {statuses or 'none'}", highlight=False, soft_wrap=True)


def _table(results: Sequence[RunResult]) -> "Table":
    """Return a table with a line per job and, below it, one per asset: narrow enough for 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("job, asset", overflow="fold")
    table.add_column("result", no_wrap=True)
    # Rows are rejected by Starlake's Spark loader only.
    rejects = any(asset.rejected for result in results for asset in result.assets)
    for name in ("loaded", *(["rejected"] if rejects else []), "rows", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        status = "done" if result.success else "failed"
        table.add_row(
            Text(result.job, "bold"), Text(status, _STYLES.get(status, "")), *[""] * (3 if rejects else 2), f"{result.seconds:.2f}"
        )
        for asset in result.assets:
            loaded, rows = ("" if n is None else str(n) for n in (asset.loaded, asset.rows))
            if asset.files == 0:
                loaded = "0 files"
            seconds = f"{asset.seconds:.2f}" if asset.seconds else ""
            rejected = [Text(str(asset.rejected or ""), "yellow")] if rejects else []
            table.add_row(Text(f"  {asset.key}"), Text(asset.status, _STYLES.get(asset.status, "")), loaded, *rejected, rows, seconds)
    return table


def _failures(results: Sequence[RunResult]) -> Iterator[str]:
    for result in results:
        errors = [(a.key, a.error) for a in result.assets if a.error]
        for key, error in errors:
            yield f"{key} (job {result.job}) failed: " + "\n  ".join(line.rstrip() for line in error.splitlines())
        if not errors and not result.success:
            yield f"job {result.job} failed: {result.error or 'no step says why'}"


def counted(number: int, name: str) -> str:
    """Return a number with the name of what it counts: ``1 job``, ``2 jobs``."""
    return f"{number} {name}{'' if number == 1 else 's'}"
