"""Run all load and transform jobs of the example through Dagster, for both batches of files. ``make demo`` runs this.

It works on a copy in .demo/. The exit code is 1 if a job failed or ran nothing, an asset was skipped, or a table is empty.
"""

import os
import sys
import time

from rich.console import Console

from examples.workspace import Workspace
from starlake_dagster_components import DuckDBExecutor, Settings
from starlake_dagster_components.cli.progress import choose_progress
from starlake_dagster_components.cli.report import print_results
from starlake_dagster_components.cli.results import RunResult
from starlake_dagster_components.cli.run import run_headless


def main() -> int:
    """Run the demo; return the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    workspace = Workspace()
    workspace.create()
    os.environ["DAGSTER_HOME"] = str(workspace.dagster_home)
    settings = Settings(executor=DuckDBExecutor())
    began = time.monotonic()
    complaints: list[str] = []
    for number, batch in enumerate(workspace.batches, 1):
        files = workspace.deliver(batch)
        console.print(f"\nBatch {number}: {files} files delivered. Running all load jobs, then all transform jobs.\n")
        results = run_headless(workspace.project, settings, progress=choose_progress(quiet=False, json=False))
        print_results(results)
        complaints += [f"batch {number}: {c}" for c in _list_problems(results)]
    console.print(f"\n{time.monotonic() - began:.0f} s. To see the example in Dagster, run make dev.")
    for complaint in complaints:
        console.print(complaint, style="red")
    return 1 if complaints else 0


def _list_problems(results: list[RunResult]) -> list[str]:
    found = [f"{r.job} failed: {r.error or ''}" for r in results if not r.success]
    found += [f"{r.job} ran nothing" for r in results if not r.assets]
    found += [f"{a.key} was skipped" for r in results for a in r.assets if a.status == "skipped"]
    found += [f"{a.key} is empty" for r in results for a in r.assets if a.rows == 0]
    if not any(a.rows for r in results for a in r.assets):
        found.append("no table has rows")
    return found


if __name__ == "__main__":
    sys.exit(main())
