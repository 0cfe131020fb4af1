"""Print the results of runs for people and programs: the output of ``sl-dagster run`` and the demo."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..masking import mask_data, mask_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from .results import AssetResult, RunResult, RunState

_WIDE = 1000
_MAX_NOTES = 5
_STYLES: Mapping[str, str] = {"failed": "red", "not run": "yellow", "skipped": "dim", "running": "cyan", "waiting": "dim"}
_STATUSES = ("done", "skipped", "failed", "not run")


def print_results(results: "Sequence[RunResult]", width: int | None = None, *, quiet: bool = False) -> None:
    """Print a table of each job's asset results, why loads found no file, every failure in full, and the counts.

    ``width`` is that of the table, in characters; None = that of the terminal, or as wide as needed if the output goes elsewhere.
    ``quiet``: print only failures.
    """
    from rich.console import Console

    console = Console(width=width or (None if sys.stdout.isatty() else _WIDE))
    if not quiet:
        console.print(_build_table(results))
        console.print()
        notes = [f"{a.key}: {a.no_files}" for result in results for a in result.assets if a.no_files]
        if len(notes) > _MAX_NOTES:
            notes[_MAX_NOTES:] = [f"and {count(len(notes) - _MAX_NOTES, 'more load')} without files"]
        _print_lines(console, notes, "yellow")
        if notes:
            console.print()
    failures = list(_list_failures(results))
    _print_lines(console, failures, "red")
    if quiet:
        return
    if failures:
        console.print()
    assets = [asset for result in results for asset in result.assets]
    failed = sum(not result.success for result in results)
    statuses = ", ".join(f"{sum(a.status == s for a in assets)} {s}" for s in _STATUSES if any(a.status == s for a in assets))
    jobs = f"{count(len(results), 'run' if any(r.partition for r in results) else 'job')}{f', {failed} failed' if failed else ''}"
    console.print(f"{jobs}. {count(len(assets), 'asset')}: {statuses or 'none'}", highlight=False, soft_wrap=True)


def _print_lines(console: "Console", lines: Sequence[str], style: str) -> None:
    for line in lines:
        console.print(mask_text(line), style=style, markup=False, highlight=False, soft_wrap=True)


def format_json(results: "Sequence[RunResult]") -> str:
    """Return the results as a JSON object with ``success`` and ``jobs``; unknown values are null."""
    jobs = [asdict(result) for result in results]
    for result in [*jobs, *(asset for job in jobs for asset in job["assets"])]:
        result["seconds"] = round(result["seconds"], 3)
    return json.dumps(mask_data({"success": all(r.success for r in results), "jobs": jobs}), indent=2, ensure_ascii=False)


def describe_result(result: "AssetResult") -> str:
    """Return one line: ``shop_orders done, 14 loaded, 140 rows (1.02 s)``."""
    facts = [f"{result.key} {result.status}"]
    if result.files == 0:
        facts.append("0 files")
    elif result.loaded is not None:
        facts.append(f"{result.loaded} loaded")
    if result.rejected:
        facts.append(f"{result.rejected} rejected")
    if result.rows is not None:
        facts.append(count(result.rows, "row"))
    error = f": {result.error.splitlines()[0]}" if result.error else ""
    return f"{', '.join(facts)}{f' ({result.seconds:.2f} s)' if result.seconds else ''}{error}"


class _ResultTable:
    """A table, at most 80 columns wide, with a line per job followed by a line per asset."""

    def __init__(self, *, rejects: bool) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        self._rejects = rejects
        self.table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        self.table.add_column("job, asset", overflow="fold")
        self.table.add_column("result", no_wrap=True)
        for name in ("loaded", *(["rejected"] if rejects else []), "rows", "seconds"):
            self.table.add_column(name, justify="right", no_wrap=True, style="yellow" if name == "rejected" else None)

    def add_row(self, name: str, status: str = "", *counts: str, style: str = "") -> None:
        """Add a line with a name in a style, a status, and the values of the other columns."""
        from rich.text import Text

        self.table.add_row(Text(name, style), Text(status, _STYLES.get(status, "")), *counts)

    def add_job(self, name: str, status: str, seconds: float | None) -> None:
        """Add a job's line."""
        counts = [""] * (3 if self._rejects else 2)
        self.add_row(name, status, *counts, "" if seconds is None else f"{seconds:.2f}", style="bold")

    def add_asset(self, asset: "AssetResult") -> None:
        """Add the line of a finished asset."""
        loaded, rows = ("" if n is None else str(n) for n in (asset.loaded, asset.rows))
        rejected = [str(asset.rejected or "")] if self._rejects else []
        seconds = f"{asset.seconds:.2f}" if asset.seconds else ""
        self.add_row(f"  {asset.key}", asset.status, "0 files" if asset.files == 0 else loaded, *rejected, rows, seconds)


def _build_table(results: "Sequence[RunResult]") -> "Table":
    # Only Starlake's Spark loader rejects rows, so most tables do not need the column.
    table = _ResultTable(rejects=any(asset.rejected for result in results for asset in result.assets))
    for result in results:
        table.add_job(result.label, "done" if result.success else "failed", result.seconds)
        for asset in result.assets:
            table.add_asset(asset)
    return table.table


@dataclass(frozen=True, slots=True)
class RunTable:
    """The live table: a line for each job, and as many assets of the running job as fit on the screen.

    ``running`` is the running job, its state, and the seconds since it began.
    """

    ended: "Sequence[RunResult]"
    waiting: Sequence[str]
    running: "tuple[str, RunState, float] | None" = None

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Render for the current height of the terminal."""
        table = _ResultTable(rejects=False)
        room = max(4, console.height - 6)
        ended = self.ended[-max(1, room // 3) :]
        if len(ended) < len(self.ended):
            table.add_row(f"... {count(len(self.ended) - len(ended), 'job')} finished earlier", style="dim")
        for result in ended:
            table.add_job(result.label, "done" if result.success else "failed", result.seconds)
        room -= len(ended)
        if self.running:
            room -= self._add_running(table, room - 2, *self.running)
        waiting = [name for name in self.waiting if not self.running or name != self.running[0]]
        for name in waiting[: max(1, room)]:
            table.add_job(name, "waiting", None)
        if len(waiting) > max(1, room):
            table.add_row(f"... and {len(waiting) - max(1, room)} more", style="dim")
        yield table.table

    def _add_running(self, table: _ResultTable, room: int, job: str, state: "RunState", seconds: float) -> int:
        """Add the running job: failed and running assets first, then the most recently finished ones. Return the number of lines."""
        results = [asset for assets in list(state.finished.values()) for asset in assets]
        running = [key for step in list(state.running) for key in state.planned.get(step, [step])]
        total = sum(len(keys) for keys in list(state.planned.values()))
        table.add_job(f"{job} {len(results)}/{total}", "running", seconds)
        failed = [asset for asset in results if asset.status == "failed"][-room:]
        for asset in failed:
            table.add_asset(asset)
        shown = running[: max(1, room - len(failed))]
        for key in shown:
            table.add_row(f"  {key}", "running")
        left = room - len(failed) - len(shown)
        others = [asset for asset in results if asset.status != "failed"][-left:] if left > 0 else []
        for asset in reversed(others):
            table.add_asset(asset)
        return 1 + len(failed) + len(shown) + len(others)


def _list_failures(results: "Sequence[RunResult]") -> Iterator[str]:
    for result in results:
        errors = [(a.key, a.error) for a in result.assets if a.error]
        for key, error in errors:
            yield f"{key} (job {result.label}) failed: " + "\n  ".join(line.rstrip() for line in error.splitlines())
        if not errors and not result.success:
            yield f"job {result.label} failed: {result.error or 'no step reports a reason'}"


def count(number: int, name: str) -> str:
    """Return a number with a noun: ``1 job``, ``2 jobs``."""
    return f"{number} {name}{'' if number == 1 else 's'}"
