"""Measure the time from an edit to the changed graph in the web server of ``sl-dagster dev``, compared with Dagster's reload.

    python bench/reload.py [--tables 200] [--edits 5] [--no-tasks]

Dagster's time is that of ``reloadRepositoryLocation`` for a code location with as many assets and jobs, but without metadata, served as
``dg dev`` does. Ours begins when a SQL file is written, and ends when GraphQL lists its asset. It includes detecting the change, reloading,
reading, planning, building, and the web server. Measurements alternate, so that other load affects both of a pair.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Goal, Section, Table, form_ratios, spread
from bench.synthetic import write_project
from starlake_dagster_components.cli import dev, warm_start

LIMIT = 1.0
SECONDS = 2.0
ASSETS = "{ assetNodes { assetKey { path } } }"
DOMAIN = 25
"""Number of assets in a job, as in :func:`bench.synthetic.write_project`."""

_PLAIN = """import dagster as dg


def make(number):
    @dg.asset(name=f"a{{number}}", deps=[f"a{{number - 1}}"] if number else [], group_name=f"g{{number // {domain}}}")
    def asset(): ...

    return asset


jobs = [dg.define_asset_job(f"j{{number}}", dg.AssetSelection.groups(f"g{{number}}")) for number in range({assets} // {domain})]
defs = dg.Definitions(assets=[make(number) for number in range({assets})], jobs=jobs)
"""


class Plain(dev.Services):
    """Services for a code location that the file ``plain.py`` defines. Each reload starts a new process."""

    def _start(self, name: str, arguments, environment) -> None:  # type: ignore[no-untyped-def]
        [location] = self.locations
        plain = location.root / "plain.py"
        module = f"{dev.__package__.rpartition('.')[0]}.code_location"
        at = arguments.index(module) if module in arguments else None
        super()._start(name, arguments if at is None else [*arguments[: at - 1], "-f", str(plain), *arguments[at + 1 :]], environment)


@contextmanager
def run_services(kind: type[dev.Services], root: Path) -> Iterator[tuple[dev.Services, dev.Location]]:
    """Run services for a project within a ``with`` block."""
    [location] = dev.name_locations([root])
    environment = {**os.environ, "SL_DAGSTER_EXECUTOR": "duckdb", "SL_DAGSTER_CACHE": str(root.parent / "cache"), "PYTHONPATH": os.getcwd()}
    environment.pop("DAGSTER_HOME", None)
    with kind([location], environment, host="127.0.0.1", port=dev.choose_port("127.0.0.1", None), log_level="critical") as services:
        services.start_web_server(threading.Event())
        yield services, location


def measure_edit(services: dev.Services, location: dev.Location, watcher: dev.Watcher, number: int) -> float:
    """Add a task to the project. Return the seconds until the web server lists its asset."""
    began = time.monotonic()
    folder = location.root / "metadata" / "transform" / "edited"
    folder.mkdir(exist_ok=True)
    (folder / f"task_{number}.sql").write_text(f"select {number} as number\n")
    while f"edited_task_{number}" not in str(services.query(ASSETS, {})["data"]):
        for changed in watcher.take_changes(5):
            services.reload(changed)
    return time.monotonic() - began


def measure_bare(services: dev.Services, location: dev.Location) -> float:
    """Return the seconds that a reload takes."""
    began = time.monotonic()
    failure = services.reload(location)
    if failure:
        raise RuntimeError(failure)
    return time.monotonic() - began


def measure_reloads(tables: int, edits: int, *, tasks: bool = True) -> Section:
    """Measure edits of a project.

    Args:
        tables: number of tables, and of tasks.
        edits: number of edits.
        tasks: whether there are tasks.
    """
    assets = 2 * tables if tasks else tables
    name = f"{tables} tables and {tables} tasks" if tasks else f"{tables} tables"
    ours: list[float] = []
    theirs: list[float] = []
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        project = write_project(Path(folder, "ours", "project"), 2 * tables)
        if not tasks:
            shutil.rmtree(project / "metadata" / "transform")
            (project / "metadata" / "transform").mkdir()
        bare = Path(folder, "theirs", "project")
        (bare / "metadata").mkdir(parents=True)
        (bare / "plain.py").write_text(_PLAIN.format(assets=assets, domain=DOMAIN))
        with run_services(dev.Services, project) as (services, location), _disable_forks(), run_services(Plain, bare) as (others, other):
            watcher = dev.Watcher([location], stop)
            time.sleep(1)
            measure_edit(services, location, watcher, 0)
            for number in range(1, edits + 1):
                ours.append(measure_edit(services, location, watcher, number))
                theirs.append(measure_bare(others, other))
            stop.set()
            watcher.join()
    rows = [
        (f"an edit of a project of {name}, until the web server has it", spread(ours).text()),
        (f"Dagster's reload of a location of {assets} plain assets", spread(theirs).text()),
    ]
    goals = [
        Goal(f"an edit of {name} over Dagster's reload of as many plain assets", LIMIT, form_ratios(ours, theirs)),
        Goal(f"s from an edit of a project of {tables} tables to the changed graph", SECONDS, spread(ours)),
    ]
    return Section("Live editing", (Table(("", "s"), rows),), goals)


@contextmanager
def _disable_forks() -> Iterator[None]:
    before = warm_start.can_serve
    warm_start.can_serve = lambda: False
    try:
        yield
    finally:
        warm_start.can_serve = before


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--edits", type=int, default=5)
    parser.add_argument("--no-tasks", action="store_true", help="a project of tables alone")
    options = parser.parse_args()
    print("\n".join(measure_reloads(options.tables, options.edits, tasks=not options.no_tasks).lines()))


if __name__ == "__main__":
    main()
