"""Mutation testing: make one change to a file at a time, and show the changes that no test detects. ``make mutation``.

Existing tools rewrite functions or files, which does not work with dataclasses that are pickled by name, and start Python for every mutant.
Here, each mutant is a fork of a process in which pytest has collected the tests. The code of the changed function is replaced, and the
tests that execute the changed line are run. If a survivor does not change the behavior, the reason is in ``mutation_explained.txt``.

    python bench/mutation.py                        all files of TARGETS
    python bench/mutation.py cache masking          files whose names contain one of the words
    python bench/mutation.py --sample 40 rule       at most 40 mutants of each file, evenly spread
"""

import argparse
import ast
import builtins
import contextlib
import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from mutants import Mutant, make_mutants

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "starlake_dagster_components"
SENSORS = "tests/definitions/sensors"
LOADS = "tests/executors/local/test_executor_load_files.py"
OUTCOMES = ("tests/executors/starlake_output", LOADS)
ENGINE = (
    "tests/engine/test_engine_strategies.py",
    "tests/engine/test_engine_strategy_templates.py",
    "tests/engine/test_engine_rejected.py",
)

_FOLDER = tempfile.mkdtemp(prefix="mutation-")

TARGETS: Mapping[str, Sequence[str]] = {
    "definitions/sensors/rule.py": (f"{SENSORS}/test_sensor_rule.py", f"{SENSORS}/test_sensors.py"),
    "definitions/sensors/cursor.py": (f"{SENSORS}/test_cursor.py", f"{SENSORS}/test_sensors.py"),
    "definitions/sensors/file_rule.py": (f"{SENSORS}/test_file_rule.py",),
    "definitions/sensors/cron_ticks.py": ("tests/definitions/test_schedules.py", f"{SENSORS}/test_sensor_rule.py"),
    "executors/local/load_files.py": ("tests/executors/local/test_load_files.py", LOADS),
    "executors/starlake_output/table_outcomes.py": OUTCOMES,
    "executors/starlake_output/file_fates.py": OUTCOMES,
    "executors/cloud_run/state.py": ("tests/executors/cloud_run/test_cloud_run_state.py", "tests/executors/cloud_run/test_cloud_run.py"),
    "engine/journal.py": ("tests/engine/test_engine_files.py", "tests/engine/test_engine_load.py"),
    "engine/strategies.py": ENGINE,
    "engine/values.py": ("tests/engine/test_engine_value_settings.py", "tests/engine/test_engine_values.py"),
    "pipelines/crons.py": ("tests/pipelines/test_plan_crons.py", "tests/pipelines/test_plan_schedules.py"),
    "cache.py": ("tests/test_cache.py",),
    "trusted_files.py": ("tests/test_trusted_files.py", "tests/test_cache.py"),
    "masking/names.py": ("tests/masking",),
    "masking/values.py": ("tests/masking",),
    "masking/forms.py": ("tests/masking",),
    "masking/patterns.py": ("tests/masking",),
    "masking/mask.py": ("tests/masking",),
    "masking/known.py": ("tests/masking",),
    "masking/exceptions.py": ("tests/masking",),
}
"""File of the package -> the tests that must detect a change."""


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the changed module."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of the changed module; None for other modules."""
        if fullname != self._name:
            return None
        loader = importlib.machinery.SourceFileLoader(fullname, str(self._path))
        loader.get_code = lambda _: self._code  # type: ignore[method-assign, assignment]
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def _fork(work: Callable[[], int], seconds: float) -> int | None:
    """Run a function in a fork without output. Return its result; None if it took too long (by the clock, ten times the CPU limit)."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setsid()
            used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
            resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 1, resource.RLIM_INFINITY))
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nothing, descriptor)
            code = work()
        finally:
            os._exit(code)
    end = time.monotonic() + 10 * seconds
    code_of_child = None
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code_of_child = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):  # processes that a failed test left behind
        os.killpg(child, signal.SIGKILL)
    return code_of_child


def _start_pytest(tests: Sequence[str], *plugins: object) -> int:
    import pytest

    options = [
        "-x",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-m",
        "not measurement",
        f"--basetemp={_FOLDER}/tests",
    ]
    return int(pytest.main([*options, *tests], plugins=list(plugins)))


_HIT = "__statement_runs__"


def _count_statements(source: str) -> ast.Module:
    """Return a module that calls a built-in function with the line before each statement."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                setattr(node, field, [part for statement in body for part in _count_statement(statement)])
    return ast.fix_missing_locations(tree)


def _count_statement(statement: ast.stmt) -> Sequence[ast.stmt]:
    if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
        return (statement,)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return (statement,)
    call = ast.Call(ast.Name(_HIT, ast.Load()), [ast.Constant(statement.lineno)], [])
    return (ast.copy_location(ast.Expr(call), statement), statement)


class _Stage:
    """A pytest plugin that runs the collected tests in a fork for each mutant.

    If the change is in a function, the function's code is replaced, and only the tests that execute the changed line are run, the fastest
    first. Other changes require that the module is imported again, which is left to the caller.
    """

    def __init__(self, name: str, path: Path, mutants: Sequence[Mutant], report: Callable[[Mapping[str, Any]], None]) -> None:
        self._name, self._path, self._mutants, self._report = name, path, mutants, report
        self._lines: set[int] = set()
        setattr(builtins, _HIT, self._lines.add)

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the mutants."""
        importlib.import_module(self._name)  # Tests may import it when they run, which is too late to replace its functions.
        at_import = set(self._lines)
        if session.testsfailed or not session.items:
            self._report({"broken": True})
            return True
        gc.collect()
        gc.freeze()
        found = Path(_FOLDER) / "lines.json"
        if _fork(lambda: self._find_lines(session, found), 1800) != 0:
            self._report({"broken": True})
            return True
        runs = json.loads(found.read_text(encoding="utf-8"))
        self._report({"seconds": sum(run["seconds"] for run in runs)})
        functions = _find_functions(self._path)
        for number, mutant in enumerate(self._mutants):
            codes = _find_codes(mutant.tree, self._path)
            line = _find_statement(mutant)
            if not mutant.in_function or line in at_import or codes is None:
                self._report({"number": number, "import": True})
                continue
            tests = sorted((run["seconds"], item) for item, run in enumerate(runs) if line in run["lines"])
            if not tests:
                self._report({"number": number, "outcome": 0, "unseen": True})
                continue
            items = [session.items[item] for _, item in tests]
            limit = 10 + 5 * sum(seconds for seconds, _ in tests)
            outcome = _fork(functools.partial(self._run_mutant, functions, codes, items), limit)
            self._report({"number": number, "outcome": outcome})
        return True

    def _find_lines(self, session: Any, to: Path) -> int:
        failures = _Failures()
        session.config.pluginmanager.register(failures)
        runs = []
        for number, item in enumerate(session.items):
            following = session.items[number + 1] if number + 1 < len(session.items) else None
            began = time.process_time()
            self._lines.clear()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            runs.append({"lines": sorted(self._lines), "seconds": time.process_time() - began})
        to.write_text(json.dumps(runs), encoding="utf-8")
        return 0

    def _run_mutant(self, functions: "_Functions", codes: "_Codes", items: Sequence[Any]) -> int:
        for key, found in functions.items():
            for function in found:
                function.__code__ = codes[key]
        items[0].config.pluginmanager.register(_Failures())
        for number, item in enumerate(items):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=items[number + 1] if number + 1 < len(items) else None)
        return 0


class _Failures:
    """A pytest plugin that ends the process when a test fails."""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """End the process if a test failed."""
        if report.failed:
            os._exit(1)


_Codes = Mapping[tuple[str, int], CodeType]
_Functions = Mapping[tuple[str, int], Sequence[FunctionType]]


def _find_functions(path: Path) -> _Functions:
    """Return the functions of a file that exist in this process, by name and line, including wrapped ones."""
    found: dict[tuple[str, int], list[FunctionType]] = {}
    for thing in _list_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename == str(path):
            found.setdefault((thing.__code__.co_name, thing.__code__.co_firstlineno), []).append(thing)
    return found


def _list_objects() -> list[object]:
    gc.unfreeze()
    try:
        return gc.get_objects()
    finally:
        gc.freeze()


def _find_codes(tree: ast.Module, path: Path) -> _Codes | None:
    """Return the code of all functions of a module, by name and line; None if two functions have the same name and line."""
    found: dict[tuple[str, int], CodeType] = {}
    waiting = [compile(tree, str(path), "exec")]
    while waiting:
        for code in waiting.pop().co_consts:
            if isinstance(code, CodeType):
                key = (code.co_name, code.co_firstlineno)
                if key in found and (code.co_name == "<lambda>" or not code.co_name.startswith("<")):
                    return None
                found[key] = code
                waiting.append(code)
    return found


def _find_statement(mutant: Mutant) -> int:
    """Return the line of the innermost statement that contains the change."""
    return max(
        (
            node.lineno
            for node in ast.walk(mutant.tree)
            if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
        ),
        default=0,
    )


@dataclass(frozen=True)
class Score:
    """The result for a file."""

    file: str
    mutants: int
    survivors: int
    explained: int
    broken: str = ""


def test_file(file: str, tests: Sequence[str], sample: int | None, explained: Mapping[tuple[str, str], str]) -> Score:
    """Run the tests of a file against its mutants, and print those that survive."""
    path = REPOSITORY / PACKAGE / file
    name = ".".join((PACKAGE, *Path(file).with_suffix("").parts))
    mutants = list(make_mutants(path.read_text(encoding="utf-8")))
    if sample is not None and len(mutants) > sample:
        mutants = [mutants[len(mutants) * number // sample] for number in range(sample)]
    print(f"{file}: {len(mutants)} mutants, {' '.join(tests)}", flush=True)
    out, to = os.pipe()
    seconds = 0.0
    survivors = equivalent = 0
    stage = os.fork()
    if stage == 0:
        os.close(out)
        _run_stage(name, path, mutants, tests, to)
    os.close(to)
    with os.fdopen(out, encoding="utf-8") as reports:
        for line in reports:
            report = json.loads(line)
            if report.get("broken"):
                return Score(file, 0, 0, 0, f"the tests fail without a change: {' '.join(tests)}")
            if "number" not in report:
                seconds = report["seconds"]
                continue
            mutant = mutants[report["number"]]
            outcome = _run_from_import(name, path, mutant, tests, 10 + 5 * seconds) if report.get("import") else report["outcome"]
            if outcome == 0:
                survivors += 1
                reason = explained.get((file, mutant.change), "")
                equivalent += bool(reason)
                unseen = " (no test runs it)" if report.get("unseen") else ""
                print(f"  {file}:{mutant.line}: {mutant.change}{unseen}{reason and f'  # {reason}'}", flush=True)
    os.waitpid(stage, 0)
    print(f"{file}: {survivors} of {len(mutants)} survive, {equivalent} of them do not change the behavior", flush=True)
    return Score(file, len(mutants), survivors, equivalent)


def _run_stage(name: str, path: Path, mutants: Sequence[Mutant], tests: Sequence[str], to: int) -> None:
    """Run the mutants of a file in this process, and end the process."""

    def report(what: Mapping[str, Any]) -> None:
        os.write(to, (json.dumps(what) + "\n").encode())

    try:
        os.set_inheritable(to, False)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        counted = _count_statements(path.read_text(encoding="utf-8"))
        sys.meta_path.insert(0, _Finder(name, path, compile(counted, str(path), "exec")))
        if _start_pytest(tests, _Stage(name, path, mutants, report)) not in (0, 5):
            report({"broken": True})
    finally:
        os._exit(0)


def _run_from_import(name: str, path: Path, mutant: Mutant, tests: Sequence[str], seconds: float) -> int | None:
    """Run all tests in a fork that imports the changed module. Return the exit code; None if they took too long."""

    def run() -> int:
        sys.meta_path.insert(0, _Finder(name, path, compile(mutant.tree, str(path), "exec")))
        return _start_pytest(tests)

    return _fork(run, seconds)


def read_explained() -> Mapping[tuple[str, str], str]:
    """Return (file, change) -> the reason why the mutant may survive."""
    rows = (REPOSITORY / "bench/mutation_explained.txt").read_text(encoding="utf-8").splitlines()
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        if row.strip() and not row.startswith("#"):
            file, change, reason = (part.strip() for part in row.split(" | ", 2))
            found[file, change] = reason
    return found


def main() -> int:
    """Test the files that the command line selects; return 1 if a file has too many survivors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])  # type: ignore[union-attr]
    parser.add_argument("words", nargs="*", help="parts of names of files; default: all")
    parser.add_argument("--sample", type=int, default=None, help="maximum number of mutants of a file")
    parser.add_argument("--allowed", type=float, default=0.1, help="share of mutants that may survive in a file")
    given = parser.parse_args()
    os.chdir(REPOSITORY)
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]
    # Packages that all forks need are imported once, except this package, and those that pytest must import first.
    import dagster  # noqa: F401
    import duckdb  # noqa: F401
    import sqlglot  # noqa: F401

    explained = read_explained()
    scores = [
        test_file(file, tests, given.sample, explained)
        for file, tests in TARGETS.items()
        if not given.words or any(word in file for word in given.words)
    ]
    shutil.rmtree(_FOLDER, ignore_errors=True)
    print("\n| file | mutants | survivors | of them explained |\n|---|---|---|---|")
    for score in scores:
        share = f"{score.survivors / score.mutants:.0%}" if score.mutants else score.broken
        print(f"| {score.file} | {score.mutants} | {score.survivors} ({share}) | {score.explained} |")
    return int(any(score.broken or score.survivors - score.explained > given.allowed * score.mutants for score in scores))


if __name__ == "__main__":
    sys.exit(main())
