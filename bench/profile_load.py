"""Show how the time of loading a project is distributed over stages, modules, and functions.

    python bench/profile_load.py [SIZE] [--cache off|filled] [--project FOLDER] [--top 25]

Stages are timed without a profiler, and do not include the stages inside them. The tables of modules and functions come from cProfile in a
second process. It makes small functions look slower than they are, so its seconds can only be compared with each other.
"""

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Table
from bench.fresh import Fresh, answer, run_fresh
from bench.synthetic import write_project

_PACKAGE = "starlake_dagster_components"
_STAGES = {
    "read: files of the project as a whole": ("pipelines.plan_loading", "start_reading"),
    "read: tables, tasks, SQL": ("pipelines.plan_loading", "read_remaining_files"),
    "plan: pipelines and dependencies": ("pipelines.plan", "plan_project"),
    "cache: find or keep the plan": ("definitions.build", "load_plan"),
    "graph: nodes and asset specs": ("definitions.build", "build_graph"),
    "problems of sensors": ("definitions.build", "find_sensor_problems"),
    "assets": ("definitions.build", "build_assets"),
    "jobs": ("definitions.build", "build_job"),
    "schedules": ("definitions.build", "build_schedule"),
    "sensors": ("definitions.build", "build_sensor"),
    "the rest of the definitions": ("load", "load_code_location"),
}
"""Stage -> (module, function). The module is the one that calls the function."""


class Stages:
    """CPU seconds by stage. Time in an inner stage does not count for the outer one."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = time.process_time()

    def begin(self, stage: str) -> None:
        self._account()
        self._open.append(stage)

    def end(self) -> None:
        self._account()
        self._open.pop()

    def _account(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def watch(self, stage: str, module: str, name: str) -> None:
        """Count the time of a function for a stage."""
        home: Any = import_module(f"{_PACKAGE}.{module}")
        function: Callable[..., Any] = getattr(home, name)

        def watch_call(*arguments: Any, **named: Any) -> Any:
            self.begin(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.end()

        setattr(home, name, watch_call)


def time_stages(root: str) -> None:
    """Load a project in this process, and report the CPU seconds of each stage."""
    stages = Stages()
    stages.seconds["start of Python"] = time.process_time()
    stages.begin("import of dagster")
    import_module("dagster")
    stages.end()
    stages.begin("import of this package")
    load: Any = import_module(f"{_PACKAGE}.load")
    settings = import_module(f"{_PACKAGE}.settings").Settings()
    stages.end()
    for stage, (module, name) in _STAGES.items():
        stages.watch(stage, module, name)
    definitions = load.load_code_location(root, settings)
    describe(definitions, stages)
    answer(seconds=stages.seconds)


def describe(definitions: Any, stages: Stages) -> None:
    """Do what a code server does before it can answer, as ways.py does."""
    stages.begin("Dagster: import of what describes")
    from dagster._core.remote_representation.external_data import RepositorySnap

    stages.end()
    stages.begin("Dagster: repository")
    repository = definitions.get_repository_def()
    stages.end()
    stages.begin("Dagster: all jobs resolved")
    repository.load_all_definitions()
    stages.end()
    stages.begin("Dagster: repository described")
    RepositorySnap.from_def(repository)
    stages.end()


def profile_functions(root: str, file: str) -> None:
    """Load a project in this process with the profiler, without imports, and write the profile to a file."""
    load: Any = import_module(f"{_PACKAGE}.load")
    settings = import_module(f"{_PACKAGE}.settings").Settings()
    import_module("dagster._core.remote_representation.external_data")
    profiler = cProfile.Profile()
    profiler.enable()
    describe(load.load_code_location(root, settings), Stages())
    profiler.disable()
    profiler.dump_stats(file)


def stage_table(found: Fresh) -> Table:
    """Return the table of stages, in the order in which they first ran."""
    seconds: dict[str, float] = dict(found.answer["seconds"])
    seconds["outside of the stages"] = found.until_answer - sum(seconds.values())
    seconds["end of Python"] = found.cpu - found.until_answer
    rows = [(stage, f"{s:.3f}", f"{s / found.cpu:.1%}") for stage, s in seconds.items()]
    return Table(("stage", "CPU s", "of all"), [*rows, ("all", f"{found.cpu:.3f}", "")])


def make_module_table(stats: pstats.Stats, top: int) -> Table:
    """Return the table of time by module, highest first. Built-in functions count for the module that calls them."""
    own: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    for (file, _, _), (_, called, seconds, _, callers) in _list_functions(stats):
        if file == "~":
            for (caller, _, _), (_, by, spent, _) in callers.items():
                own[_shorten_path(caller)] += spent
                calls[_shorten_path(caller)] += by
        else:
            own[_shorten_path(file)] += seconds
            calls[_shorten_path(file)] += called
    whole = sum(own.values())
    most = sorted(own.items(), key=lambda item: -item[1])[:top]
    rows = [(module, f"{seconds:.3f}", f"{seconds / whole:.1%}", f"{calls[module]:,}") for module, seconds in most]
    return Table(("module", "s", "of all", "calls"), rows)


def make_function_table(stats: pstats.Stats, top: int) -> Table:
    """Return the table of time by function, sorted by the time without called functions, highest first."""
    rows = [
        (f"{_shorten_path(file)}:{line} {name}" if line else name, f"{own:.3f}", f"{cumulative:.3f}", f"{calls:,}")
        for (file, line, name), (_, calls, own, cumulative, _) in sorted(_list_functions(stats), key=lambda item: -item[1][2])[:top]
    ]
    return Table(("function", "s of its own", "s with what it calls", "calls"), rows)


def _list_functions(stats: pstats.Stats) -> Iterator[tuple[tuple[str, int, str], tuple[int, int, float, float, Any]]]:
    found: Any = stats
    yield from found.stats.items()


def _shorten_path(file: str) -> str:
    """Return the path of a file from its package on."""
    if file.startswith(("<frozen", "~")):
        return file
    parts = Path(file).parts
    start = next(
        (i + 1 for i in reversed(range(len(parts))) if parts[i] in ("site-packages", "dist-packages") or parts[i].startswith("python3")),
        None,
    )
    if start is None:
        start = next((i for i, part in enumerate(parts) if part in (_PACKAGE, "bench")), max(len(parts) - 2, 0))
    return "/".join(parts[start:])


def profile_load(root: Path, *, filled: bool, top: int) -> Iterator[str]:
    """Measure a load, and yield the lines of the tables.

    Args:
        root: the Starlake project.
        filled: whether the cache has the plan of the project; otherwise, there is no cache.
        top: number of rows in the tables by module and function.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {"SL_DAGSTER_CACHE": str(Path(folder, "cache")) if filled else "off"}
        file = Path(folder, "profile")
        if filled:
            run_fresh("bench/ways.py", "starlake", str(root), environment=environment)
        stages = run_fresh("bench/profile_load.py", "--time-stages", str(root), environment=environment)
        run_fresh("bench/profile_load.py", "--profile-functions", str(root), str(file), environment=environment)
        stats = pstats.Stats(str(file))
    for title, table in (
        ("By stage", stage_table(stages)),
        ("By module, under the profiler, without imports", make_module_table(stats, top)),
        ("By function, under the profiler, without imports", make_function_table(stats, top)),
    ):
        yield f"\n{title}\n"
        yield from table.list_aligned_lines()


def main() -> None:
    if sys.argv[1:2] == ["--time-stages"]:
        return time_stages(sys.argv[2])
    if sys.argv[1:2] == ["--profile-functions"]:
        return profile_functions(sys.argv[2], sys.argv[3])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="?", type=int, default=1000, help="objects of the synthetic project")
    parser.add_argument("--cache", choices=["off", "filled"], default="off")
    parser.add_argument("--project", type=Path, help="a Starlake project, instead of the synthetic one")
    parser.add_argument("--top", type=int, default=25, help="rows by module and by function")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.project.resolve() if options.project else write_project(Path(folder, "project"), options.size)
        print(f"Loading {options.project or f'{options.size:,} objects'}, cache {options.cache}")
        for line in profile_load(root, filled=options.cache == "filled", top=options.top):
            print(line, flush=True)
    return None


if __name__ == "__main__":
    main()
