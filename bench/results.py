"""Run all measurements, and write the results.

    python bench/results.py [--quick] [--only load,imports,reload,sensors,rounds,steps,engine] [--output bench/results.md]

``make bench`` runs this. The results name parts that failed or could not be measured; the other parts run all the same. ``--quick`` runs
every part in miniature to show that it works, so its figures have no meaning.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import imports, load, reload, sensor_rounds, sensors
from bench.figures import Goal, Section, Table, spread

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("starlake-dagster-components", "dagster", "sqlalchemy", "pydantic", "pyyaml", "jinja2", "sqlglot", "duckdb")
STEP_LIMIT = 0.15
WAITING_LIMIT = 0.05
"""Maximum share of a processor that waiting steps may use."""


def measure_loads(options: argparse.Namespace) -> Iterator[Section]:
    with tempfile.TemporaryDirectory() as folder:
        projects = load.Projects(Path(folder), options.dbt)
        yield from load.measure_sections(options.sizes, options.growth, options.dbt_sizes, projects, options.repeat)


def measure_imports(options: argparse.Namespace) -> Iterator[Section]:
    yield imports.measure_imports(2 if options.quick else 15)


def measure_reloads(options: argparse.Namespace) -> Iterator[Section]:
    yield reload.measure_reloads(5, 1) if options.quick else reload.measure_reloads(200, 5)


def measure_sensors(options: argparse.Namespace) -> Iterator[Section]:
    yield sensors.measure_ticks(options.watched, options.history, options.ticks)


def measure_rounds(options: argparse.Namespace) -> Iterator[Section]:
    yield sensor_rounds.measure_rounds(3, 2, 1, 0) if options.quick else sensor_rounds.measure_rounds(200, 20, 2, 8)


def measure_steps(options: argparse.Namespace) -> Iterator[Section]:
    from bench import steps

    ways, count, at_a_time, repeat, waiting = (
        (["threads", "in_process"], 3, 2, 1, 0) if options.quick else (list(steps.WAYS), 50, 8, 3, 500)
    )
    measured = steps.measure_all(ways, count, at_a_time, repeat)
    notes = ["\n".join(steps.format_table(measured, count, at_a_time))]
    own = next((runs for runs in measured if runs and runs[0].way == "threads"), [])
    goals = [Goal(f"CPU s per step of a job of {count} tables, without its commands", STEP_LIMIT, spread(m.own for m in own), 3)]
    if waiting:
        found = steps.measure_waiting(waiting)
        text = f"share of a processor that {waiting} waiting steps use ({found.memory:.0f} MB, measured for {found.seconds:.0f} s)"
        goals.append(Goal(text, WAITING_LIMIT, spread([found.cpu / found.seconds]), 4))
    yield Section("Steps", (), goals, notes)


def measure_engine(options: argparse.Namespace) -> Iterator[Section]:
    arguments = ["--commands", "2", "--megabytes", "1"] if options.quick else []
    done = subprocess.run(
        [sys.executable, "bench/engine.py", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    yield Section("Embedded engine", notes=["\n".join(f"- {line}" for line in done.stdout.splitlines() if line.strip())])


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Section]]] = {
    "load": measure_loads,
    "imports": measure_imports,
    "reload": measure_reloads,
    "sensors": measure_sensors,
    "rounds": measure_rounds,
    "steps": measure_steps,
    "engine": measure_engine,
}


def describe_machine() -> Table:
    """Return a table about the machine and the versions."""
    processor = _find_line("/proc/cpuinfo", "model name") or platform.processor()
    memory = int((_find_line("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 1024**2
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    rows = [
        ("processor", f"{processor}, {len(os.sched_getaffinity(0))} cores"),
        ("memory", f"{memory:.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("packages", ", ".join(versions)),
        ("commit", _describe_commit()),
    ]
    return Table(("", ""), rows)


def _find_line(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _describe_commit() -> str:
    def run_git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout.strip()

    changed = run_git("status", "--porcelain", "--untracked-files=no", "--", "starlake_dagster_components", "bench")
    return run_git("rev-parse", "--short", "HEAD") + (", with changes" if changed else "") or "unknown"


def measure(names: Sequence[str], options: argparse.Namespace) -> Iterator[Section]:
    """Run parts, and yield their sections. A part that fails yields a section with the failure."""
    for name in names:
        try:
            yield from PARTS[name](options)
        except Exception as error:  # noqa: BLE001 - the other parts run all the same
            traceback.print_exc()
            yield Section(name, failure=f"{type(error).__name__}: {error}")


def write(found: Sequence[Section], options: argparse.Namespace, began: datetime, busy: float, command: str) -> Iterator[str]:
    """Yield the lines of the results in Markdown."""
    ended = datetime.now(timezone.utc)
    goals = [goal for section in found for goal in section.goals]
    yield "# Results of `make bench`"
    yield ""
    if options.quick:
        yield "**A quick run: everything in miniature, once. The figures have no meaning.**\n"
    yield f"{began:%Y-%m-%d %H:%M} to {ended:%H:%M} UTC, `{command}`, load average {busy:.1f} at the start."
    yield ""
    yield from describe_machine().lines()
    yield ""
    yield f"{sum(g.met is True for g in goals)} of {len(goals)} goals met."
    for what, met in (("Missed", False), ("Not measured", None)):
        texts = [f"- {goal.text}" for goal in goals if goal.met is met]
        if texts:
            yield "\n".join(["", f"{what}:", "", *texts])
    failed = [f"- {section.title}" for section in found if section.failure]
    if failed:
        yield "\n".join(["", "Failed:", "", *failed])
    yield ""
    yield "[docs/performance.md](../docs/performance.md) explains the figures: median (lowest-highest), with ratios formed pair by pair."
    for section in found:
        yield ""
        yield from section.lines()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the results. Return the exit code: 1 if a part failed. A missed goal is not a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="everything in miniature")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--output", type=Path, help="file to write; by default bench/results.md, of a quick run .bench/results.md")
    load.add_arguments(parser)
    sensors.add_arguments(parser)
    options = parser.parse_args(argv)
    # With it, this package would be compiled in every measured process, but the installed ones would not.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    names = options.only.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        parser.error(f"unknown part: {', '.join(unknown)} (known: {', '.join(PARTS)})")
    if options.quick:
        options.sizes, options.growth, options.dbt_sizes, options.repeat = [20], [20, 40], [], 1
        options.watched, options.history, options.ticks = [2, 5], [0, 20, 100], 2
    output: Path = options.output or REPOSITORY / (".bench/results.md" if options.quick else "bench/results.md")
    command = shlex.join(["python", "bench/results.py", *(sys.argv[1:] if argv is None else argv)])
    began, busy = datetime.now(timezone.utc), os.getloadavg()[0]
    found: list[Section] = []
    for section in measure(names, options):
        found.append(section)
        print("\n".join(section.lines()) + "\n", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(write(found, options, began, busy, command)) + "\n", encoding="utf-8")
    print(f"written to {output}")
    return 1 if any(section.failure for section in found) else 0


if __name__ == "__main__":
    sys.exit(main())
