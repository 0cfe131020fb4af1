"""Mutation testing: changes one spot of a file at a time, and shows which changes no test notices. ``make mutation``.

Existing tools rewrite functions or files, which does not go together with dataclasses that are stored by name, and start Python for
every mutant. Here each mutant is a fork of one process that has imported the libraries. The changed module is compiled in memory.

    python bench/mutation.py                        every file of TARGETS
    python bench/mutation.py cache masking          those whose names contain a word
    python bench/mutation.py --sample 40 rule       at most 40 mutants of each file, evenly spread
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "starlake_dagster_components"
SENSORS = "tests/definitions/sensors"
LOADS = "tests/executors/local/test_executor_load_files.py"

TARGETS: Mapping[str, Sequence[str]] = {
    "definitions/sensors/rule.py": (f"{SENSORS}/test_sensor_rule.py", f"{SENSORS}/test_sensors.py"),
    "definitions/sensors/cursor.py": (f"{SENSORS}/test_cursor.py", f"{SENSORS}/test_sensors.py"),
    "definitions/sensors/file_rule.py": (f"{SENSORS}/test_file_rule.py",),
    "definitions/sensors/cron_ticks.py": ("tests/definitions/test_schedules.py", f"{SENSORS}/test_sensor_rule.py"),
    "executors/local/load_files.py": (LOADS,),
    "executors/starlake_output/table_outcomes.py": ("tests/executors/starlake_output/test_executor_load_log.py", LOADS),
    "executors/starlake_output/file_fates.py": ("tests/executors/starlake_output/test_executor_load_log.py", LOADS),
    "executors/cloud_run/state.py": ("tests/executors/cloud_run/test_cloud_run_state.py",),
    "engine/journal.py": ("tests/engine/test_engine_files.py",),
    "engine/strategies.py": ("tests/engine/test_engine_strategies.py",),
    "engine/values.py": ("tests/engine/test_engine_values.py",),
    "pipelines/crons.py": ("tests/pipelines/test_plan_crons.py", "tests/pipelines/test_plan_schedules.py"),
    "cache.py": ("tests/test_cache.py",),
    "masking/names.py": ("tests/masking",),
    "masking/values.py": ("tests/masking",),
    "masking/forms.py": ("tests/masking",),
    "masking/patterns.py": ("tests/masking",),
    "masking/mask.py": ("tests/masking",),
    "masking/known.py": ("tests/masking",),
    "masking/exceptions.py": ("tests/masking",),
}
"""File of the package -> the tests that must notice a change."""

_COMPARISONS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        line: where.
        change: what, for people.
        tree: the module with the change.
    """

    line: int
    change: str
    tree: ast.Module


def make_mutants(source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module: comparisons, operators, conditions, constants, returned values and calls, each changed alone."""
    tree = ast.parse(source)
    ignored = _find_ignored(tree)
    places = [node for node in ast.walk(tree) if id(node) not in ignored]
    order = {id(node): number for number, node in enumerate(ast.walk(tree))}
    for node in places:
        for variant in range(8):
            changed = copy.deepcopy(tree)
            target = next(other for number, other in enumerate(ast.walk(changed)) if number == order[id(node)])
            before = _show(target)
            done = _change(target, variant)
            if done is None:
                break
            if done:
                ast.fix_missing_locations(changed)
                yield Mutant(getattr(node, "lineno", 0), f"{before}  ->  {_show(target)}", changed)


def _show(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 110 else f"{text[:107]}..."


def _find_ignored(tree: ast.Module) -> set[int]:
    """Return the nodes that say nothing about behavior: annotations, docstrings, messages, imports, what only type checkers see."""
    ignored: set[int] = set()

    def ignore(node: ast.AST | None) -> None:
        if node is not None:
            ignored.update(id(child) for child in ast.walk(node))

    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            ignore(node.returns)
            for argument in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs):
                ignore(argument.annotation)
            for decorator in node.decorator_list:
                ignore(decorator)
        elif isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                ignore(decorator)
        elif isinstance(node, ast.AnnAssign):
            ignore(node.annotation)
        elif _says_nothing(node):
            ignore(node)
    return ignored


def _says_nothing(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in _SAY_NOTHING
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


_SAY_NOTHING = frozenset(("debug", "info", "cast", "TypeVar", "getLogger"))


def _change(node: ast.AST, variant: int) -> bool | None:
    """Change a node in one of its ways; return whether it was changed, None when there are no more ways."""
    if isinstance(node, ast.Compare) and variant < len(node.ops):
        node.ops[variant] = _COMPARISONS[type(node.ops[variant])]()
        return True
    if isinstance(node, ast.BoolOp):
        if variant == 0:
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            return True
        if variant <= len(node.values) and len(node.values) > 1:
            del node.values[variant - 1]
            if len(node.values) == 1:
                node.values.append(copy.deepcopy(node.values[0]))
            return True
    if variant:
        return None
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _OPERATORS:
        node.op = _OPERATORS[type(node.op)]()
        return True
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        node.op = ast.Not() if isinstance(node.op, ast.USub) else ast.UAdd()
        if isinstance(node.op, ast.UAdd):
            node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        return True
    if isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(node.test, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    if isinstance(node, ast.comprehension) and node.ifs:
        del node.ifs[0]
        return True
    if isinstance(node, ast.Constant):
        return _change_constant(node)
    if isinstance(node, ast.Return) and node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        node.value = ast.Constant(None)
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        node.value = ast.Constant(None)
        return True
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call) and variant == 0:
        return False
    return None


def _change_constant(node: ast.Constant) -> bool | None:
    if isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node.value, (int, float)):
        node.value = node.value + 1
    elif isinstance(node.value, str) and node.value:
        node.value = f"{node.value}~"
    else:
        return None
    return True


class _Finder(importlib.abc.MetaPathFinder):
    """Gives the one module that is changed."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        """Return the module's spec."""
        if fullname != self._name:
            return None
        loader = importlib.machinery.SourceFileLoader(fullname, str(self._path))
        loader.get_code = lambda _: self._code  # type: ignore[method-assign, assignment]
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def _run_tests(name: str, path: Path, tree: ast.Module, tests: Sequence[str], covered: Path | None = None) -> int:
    """Run tests against a module in this process; return pytest's exit code."""
    import pytest

    sys.meta_path.insert(0, _Finder(name, path, compile(tree, str(path), "exec")))
    if covered is not None:
        lines: set[int] = set()

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if frame.f_code.co_filename != str(path):
                return None
            lines.add(frame.f_lineno)
            return trace

        threading.settrace(trace)
        sys.settrace(trace)
    code = int(pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not measurement", *tests]))
    if covered is not None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        covered.write_text(" ".join(map(str, sorted(lines))), encoding="utf-8")
    return code


def fork_tests(name: str, path: Path, tree: ast.Module, tests: Sequence[str], seconds: float, covered: Path | None = None) -> int | None:
    """Run tests in a fork; return pytest's exit code, None when they took too long."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nothing, descriptor)
            code = _run_tests(name, path, tree, tests, covered)
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@dataclass(frozen=True)
class Score:
    """The result of one file."""

    file: str
    mutants: int
    survivors: int
    broken: str = ""


def test_file(file: str, tests: Sequence[str], sample: int | None) -> Score:
    """Run the tests of a file against its mutants, and print those that survive."""
    path = REPOSITORY / PACKAGE / file
    name = ".".join((PACKAGE, *Path(file).with_suffix("").parts))
    source = path.read_text(encoding="utf-8")
    lines = Path(os.environ.get("TMPDIR", "/tmp")) / f"mutation-{os.getpid()}.lines"
    began = time.monotonic()
    code = fork_tests(name, path, ast.parse(source), tests, 1800, lines)
    if code != 0:
        return Score(file, 0, 0, f"its tests fail without a change (exit code {code}): {' '.join(tests)}")
    limit = 30 + 5 * (time.monotonic() - began)
    covered = set(map(int, lines.read_text(encoding="utf-8").split()))
    lines.unlink()
    mutants = list(make_mutants(source))
    if sample is not None and len(mutants) > sample:
        mutants = [mutants[len(mutants) * number // sample] for number in range(sample)]
    survivors = 0
    print(f"{file}: {len(mutants)} mutants, {' '.join(tests)}", flush=True)
    for mutant in mutants:
        ends = {mutant.line} if mutant.line else set()
        if ends and not ends & covered and not _is_in_covered_statement(mutant, covered):
            outcome: int | None = 0
        else:
            outcome = fork_tests(name, path, mutant.tree, tests, limit)
        if outcome == 0:
            survivors += 1
            print(f"  {file}:{mutant.line}: {mutant.change}", flush=True)
    print(f"{file}: {survivors} of {len(mutants)} survive", flush=True)
    return Score(file, len(mutants), survivors)


def _is_in_covered_statement(mutant: Mutant, covered: set[int]) -> bool:
    """Return whether the statement runs in which the change is: a part of it may stand on a line of its own."""
    for node in ast.walk(mutant.tree):
        if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= (node.end_lineno or node.lineno) and node.lineno in covered:
            return not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or _is_in_covered_part(node, mutant.line, covered)
    return False


def _is_in_covered_part(node: ast.FunctionDef | ast.ClassDef, line: int, covered: set[int]) -> bool:
    return any(
        child.lineno <= line <= (child.end_lineno or child.lineno) and child.lineno in covered
        for child in ast.walk(node)
        if isinstance(child, ast.stmt) and child is not node
    )


def main() -> int:
    """Test the files that the command line selects; return 1 where a file has too many survivors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])  # type: ignore[union-attr]
    parser.add_argument("words", nargs="*", help="parts of names of files; default: all")
    parser.add_argument("--sample", type=int, default=None, help="at most so many mutants of a file")
    parser.add_argument("--allowed", type=float, default=0.1, help="share of mutants that may survive in a file")
    given = parser.parse_args()
    os.chdir(REPOSITORY)
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]
    # What all forks need is imported once; nothing of the package itself, and nothing that pytest must import first.
    import dagster  # noqa: F401
    import duckdb  # noqa: F401
    import sqlglot  # noqa: F401

    scores = [
        test_file(file, tests, given.sample)
        for file, tests in TARGETS.items()
        if not given.words or any(word in file for word in given.words)
    ]
    print("\n| file | mutants | survivors |\n|---|---|---|")
    for score in scores:
        share = f"{score.survivors / score.mutants:.0%}" if score.mutants else score.broken
        print(f"| {score.file} | {score.mutants} | {score.survivors} ({share}) |")
    return int(any(score.broken or score.survivors > given.allowed * score.mutants for score in scores))


if __name__ == "__main__":
    sys.exit(main())
