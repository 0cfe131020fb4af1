"""Measure the load time of a code location: this package, Dagster alone with as many assets, dagster-dbt on the equivalent dbt project.

    python bench/load.py [--sizes 100,1000,5000] [--growth 5000,10000] [--dbt-sizes 100,1000] [--dbt PYTHON] [--repeat 3]

The figures are CPU seconds of a fresh process, with all processes that it started, until it can answer. The CPU seconds to the end of
Python, whose exit takes a quarter of them, are in a separate table. The ways alternate, each round in the opposite order of the previous
one, and ratios are formed within a round. The number of assets, and whether the plan came from the cache, are checked for each process.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Goal, Section, Spread, Table, form_ratios, spread
from bench.fresh import Fresh, run_fresh
from bench.synthetic import write_file, write_project
from bench.synthetic_dbt import LOCATION, write_dbt_project
from bench.ways import FROM_CACHE

WAYS: Mapping[str, str] = {
    "floor": "Dagster's floor",
    "alike": "Dagster with the same metadata, schedules, and sensors",
    "cold": "this package, cache off",
    "first": "this package, filling an empty cache",
    "warm": "this package, cache filled",
    "columns": "this package, cache filled by `sl-dagster cache`, with the columns of tasks",
    "component": "this package as a component, cache off",
    "dbt_cold": "dagster-dbt, cold (`dbt parse` + assets)",
    "dbt_prepared": "dagster-dbt, prepared state",
}
DBT = ("dbt_cold", "dbt_prepared")
JUDGED = "until_answer"
"""The figure to which the goals apply. It does not include Python's exit, which is the same for all and would hide differences."""
DBT_PYTHON = ".venv-bench/bin/python"

NOTE = (
    "CPU seconds of a fresh process and what it starts, until the code location can answer: import, definitions, all jobs resolved, "
    "repository "
    "described. The second table also includes Python's exit."
)

SMALL = 200

Measured = dict[tuple[str, int], list[Fresh]]
"""(way, size) -> the process of each round."""


@dataclass(slots=True)
class Projects:
    """Projects of all sizes in one folder, written on first use.

    Attributes:
        folder: the folder.
        dbt_python: the Python in which dagster-dbt is installed.
    """

    folder: Path
    dbt_python: Path = Path(DBT_PYTHON)
    _prepared: set[tuple[str, int]] = field(default_factory=set)

    def measure(self, way: str, size: int) -> Fresh:
        """Load a project of a size in one way, in a fresh process.

        Raises:
            RuntimeError: the process failed, or did not do what was to be measured.
        """
        if (way, size) not in self._prepared:
            self._prepare(way, size)
        found = self._load(way, size)
        expected = size // 2 if way in DBT else size
        if found.answer["assets"] != expected:
            raise RuntimeError(f"{way}: {found.answer['assets']} assets, expected {expected}")
        notes = found.answer.get("from_cache", [""])
        cached = way in ("warm", "columns")
        if len(notes) != 1 or (notes[0] == FROM_CACHE) != cached:
            raise RuntimeError(f"{way}: plans: {notes}, expected one, {FROM_CACHE if cached else 'read again'}")
        return found

    def _prepare(self, way: str, size: int) -> None:
        if way in ("warm", "dbt_prepared"):
            self._load("first" if way == "warm" else "dbt_cold", size)
        elif way == "columns":
            arguments = ["-m", "starlake_dagster_components.cli", "cache", str(self._find_project(size))]
            run_fresh(*arguments, environment={"SL_DAGSTER_CACHE": str(self.folder / f"cache_columns_{size}")})
            self._prepared.add((way, size))

    def explain_missing_dbt(self) -> str:
        """Return the reason why dagster-dbt cannot be measured; empty if it can be."""
        if not self.dbt_python.exists():
            return f"there is no {self.dbt_python}"
        done = subprocess.run(
            [self.dbt_python.absolute(), "-c", "import dagster_dbt, dbt.adapters.duckdb"], capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else f"{self.dbt_python}: {done.stderr.strip().splitlines()[-1]}"

    def read(self, size: int) -> float:
        """Return the CPU seconds of reading a project of a size, in a fresh process, without imports."""
        return float(run_fresh("bench/ways.py", "reading", str(self._find_project(size))).answer["seconds"])

    def _load(self, way: str, size: int) -> Fresh:
        if way in ("floor", "alike"):
            return run_fresh("bench/ways.py", way, str(size))
        if way in DBT:
            return self._load_dbt(way, size)
        if way == "component":
            return run_fresh("bench/ways.py", "component", str(self._find_component(size)), environment={"SL_DAGSTER_CACHE": "off"})
        cache = self.folder / f"cache_{way}_{size}" if way in ("first", "columns") else self.folder / f"cache_{size}"
        if way == "first":
            shutil.rmtree(cache, ignore_errors=True)
        found = run_fresh(
            "bench/ways.py",
            "starlake",
            str(self._find_project(size)),
            environment={"SL_DAGSTER_CACHE": "off" if way == "cold" else str(cache)},
        )
        if way == "first" and ("warm", size) not in self._prepared:
            shutil.copytree(cache, self.folder / f"cache_{size}", symlinks=True)
            self._prepared.add(("warm", size))
        return found

    def _load_dbt(self, way: str, size: int) -> Fresh:
        root = self.folder / f"dbt_{size}"
        if not root.exists():
            write_dbt_project(root, size)
        environment = {"PATH": os.pathsep.join([str(self.dbt_python.absolute().parent), os.environ.get("PATH", "")])}
        if way == "dbt_cold":
            for made in (root / "dbt" / "target", root / LOCATION / "defs" / ".local_defs_state"):
                shutil.rmtree(made, ignore_errors=True)
            # As with `dg dev`, the component prepares its state when it is loaded.
            environment["DAGSTER_IS_DEV_CLI"] = "1"
            self._prepared.add(("dbt_prepared", size))
        return run_fresh("bench/ways.py", "component", str(root), environment=environment, python=self.dbt_python.absolute())

    def _find_project(self, size: int) -> Path:
        root = self.folder / f"starlake_{size}"
        return root if root.exists() else write_project(root, size)

    def _find_component(self, size: int) -> Path:
        root = self.folder / f"component_{size}"
        if not root.exists():
            write_file(root / "pyproject.toml", f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{LOCATION}"\n')
            write_file(root / LOCATION / "__init__.py", "")
            write_file(root / LOCATION / "defs" / "__init__.py", "")
            text = f"type: starlake_dagster_components.StarlakeProjectComponent\nattributes:\n  project: {self._find_project(size)}\n"
            write_file(root / LOCATION / "defs" / "shop" / "defs.yaml", text)
        return root


def measure(ways: Iterable[tuple[str, int]], projects: Projects, repeat: int) -> Measured:
    """Measure ways and sizes several times, each round in the opposite order of the previous one."""
    order = list(ways)
    measured: Measured = {both: [] for both in order}
    for round_ in range(repeat):
        for way, size in order if round_ % 2 == 0 else reversed(order):
            found = projects.measure(way, size)
            measured[way, size].append(found)
            print(
                f"load {size} {way}: {found.until_answer:.2f} CPU s, {found.cpu:.2f} to its end, {found.memory:.0f} MiB",
                file=sys.stderr,
                flush=True,
            )
    return measured


def _form_ratio(measured: Measured, way: tuple[str, int], other: tuple[str, int], what: str = JUDGED) -> Spread | None:
    if way not in measured or other not in measured:
        return None
    return form_ratios([getattr(m, what) for m in measured[way]], [getattr(m, what) for m in measured[other]])


def _make_table(measured: Measured, sizes: Sequence[int], what: str, digits: int) -> Table:
    ways = [way for way in WAYS if any((way, size) in measured for size in sizes)]
    rows = []
    for way in ways:
        row = [WAYS[way]]
        for size in sizes:
            if (way, size) not in measured:
                row += ["", ""]
                continue
            ratio = _form_ratio(measured, (way, size), ("floor", size), what)
            found = spread(getattr(m, what) for m in measured[way, size])
            row += [found.text(digits), ratio.text() if ratio and way != "floor" else ""]
        rows.append(row)
    header = ["", *(text for size in sizes for text in (f"{size:,} objects", "relative to the floor"))]
    return Table(header, rows)


def _make_growth_table(measured: Measured, growth: Sequence[int]) -> Table:
    less, more = growth
    rows = []
    for way in dict.fromkeys(way for way, _ in measured):
        ratio = _form_ratio(measured, (way, more), (way, less))
        figures = (spread(getattr(m, JUDGED) for m in measured[way, size]).text() for size in growth)
        rows.append([WAYS[way], *figures, ratio.text() if ratio else ""])
    return Table(["", f"{less:,} objects", f"{more:,} objects", f"relative to {less:,}"], rows)


def _measure_reading(sizes: Sequence[int], projects: Projects, repeat: int) -> Table:
    cells = [spread(projects.read(size) for _ in range(repeat)).text() for size in sizes]
    return Table(
        ["part of loading cold", *(f"{size:,} objects" for size in sizes)], [["reading: YAML, Jinja, tables that SQL reads", *cells]]
    )


def _list_goals(measured: Measured, sizes: Sequence[int]) -> Iterator[Goal]:
    for way, limit in (("cold", 1.5), ("warm", 1.1), ("columns", 1.1)):
        for size in sizes:
            yield Goal(f"{way} load of {size:,} objects, relative to the floor", limit, _form_ratio(measured, (way, size), ("floor", size)))
    for size in sizes:
        found = _form_ratio(measured, ("component", size), ("dbt_prepared", size))
        if found is not None:
            yield Goal(f"cold load of {size:,} objects, relative to dagster-dbt's with prepared state, both as components", 0.5, found)
    if not any(way in DBT for way, _ in measured):
        yield Goal("cold load, relative to dagster-dbt's with prepared state, both as components", 0.5, None)


def _list_growth_goals(measured: Measured, growth: Sequence[int]) -> Iterator[Goal]:
    less, more = growth
    for way in ("cold", "warm"):
        # The goal is defined for twice as many objects.
        limit = 2.1 * more / less / 2
        yield Goal(f"{way} load of {more:,} objects, relative to {less:,}", limit, _form_ratio(measured, (way, more), (way, less)))


def measure_sections(
    sizes: Sequence[int], growth: Sequence[int], dbt_sizes: Sequence[int], projects: Projects, repeat: int
) -> Iterator[Section]:
    """Measure loading, and yield the results about time, growth, and memory.

    Args:
        sizes: numbers of objects.
        growth: two sizes to compare; empty for no comparison.
        dbt_sizes: the sizes that dagster-dbt loads, too.
        projects: the projects.
        repeat: number of rounds. Small sizes have three times as many.
    """
    notes = []
    missing = projects.explain_missing_dbt() if dbt_sizes else ""
    if missing:
        notes.append(f"dagster-dbt was **not measured**: {missing} (`make bench` installs it, for which it needs a package registry).")
        dbt_sizes = ()
    for way in ("floor", "first", "component"):
        projects.measure(way, 2)  # compiles modules
    measured: Measured = {}
    for size in sizes:
        ways = [way for way in WAYS if way not in DBT or size in dbt_sizes]
        # Small sizes take little time, so that other load affects them more.
        measured |= measure([(way, size) for way in ways], projects, repeat * (3 if size <= SMALL and repeat > 1 else 1))
    notes += [text for text in (NOTE, _describe_versions(measured)) if text]
    tables = [_make_table(measured, sizes, JUDGED, 2), _make_table(measured, sizes, "cpu", 2), _measure_reading(sizes, projects, repeat)]
    yield Section("Loading", tables, list(_list_goals(measured, sizes)), notes)
    if growth:
        more = measure([(way, size) for way in ("floor", "cold", "warm") for size in growth], projects, repeat)
        yield Section("Growth", [_make_growth_table(more, growth)], list(_list_growth_goals(more, growth)))
    goals = [
        Goal(
            f"peak memory of a {way} load of {size:,} objects, relative to the floor",
            1.2,
            _form_ratio(measured, (way, size), floor, "memory"),
            digits=3,
        )
        for way in ("cold", "first", "warm")
        for size in sizes
        for floor in [("floor", size)]
    ]
    yield Section(
        "Memory",
        [_make_table(measured, sizes, "memory", 0)],
        goals,
        ["MiB, `VmHWM` of the process that loads, without the processes that it starts."],
    )


def _describe_versions(measured: Measured) -> str:
    found = next((m[-1].answer.get("versions") for (way, _), m in measured.items() if way in DBT and m), None)
    return f"dagster-dbt's processes have {', '.join(f'{name} {version}' for name, version in found.items())}." if found else ""


def parse_sizes(text: str) -> list[int]:
    """Read sizes separated by commas."""
    return [int(part) for part in text.split(",") if part]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this measurement."""
    parser.add_argument("--sizes", type=parse_sizes, default=[100, 1000, 5000])
    parser.add_argument("--growth", type=parse_sizes, default=[5000, 10000], help="two sizes to compare, or nothing")
    parser.add_argument(
        "--dbt-sizes", type=parse_sizes, default=[100, 1000], help="sizes that dagster-dbt loads, too; 5000 takes two minutes a round"
    )
    parser.add_argument("--dbt", type=Path, default=Path(DBT_PYTHON), help="Python in which dagster-dbt is installed")
    parser.add_argument("--repeat", type=int, default=3)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        projects = Projects(Path(folder), options.dbt)
        for found in measure_sections(options.sizes, options.growth, options.dbt_sizes, projects, options.repeat):
            print("\n".join(found.lines()) + "\n", flush=True)


if __name__ == "__main__":
    main()
