"""The recorded behavior of the real Starlake: every case is the same, or differs for the reasons that the documentation gives."""

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from starlake_dagster_components.engine import EngineResult, run_command

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = "bench/conformance_rules.py"
CASES = json.loads((Path(__file__).parent / "conformance.json").read_text())
MANY_COMMANDS = (
    "corpus.StarBake",
    "corpus.starlake-bootstrap-sample-project",
    "n41_jinja",
    "n42_tasks_strategies",
    "n46_expectations_macros",
    "n47_expectations_own",
    "transform_features",
)
"""Cases that take half of the time of all."""
EACH_CASE = [pytest.param(case, marks=pytest.mark.slow) if case in MANY_COMMANDS else case for case in CASES]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def load_conformance() -> ModuleType:
    load(REPOSITORY / RULES)
    return load(REPOSITORY / "bench/conformance.py")


@dataclass
class Command:
    """A command of a case. It is run twice: strictly on a copy of the project, then as it was recorded."""

    strict: EngineResult
    normal: EngineResult
    strict_files: frozenset[str]
    normal_files: frozenset[str]


class Launcher:
    """A replacement for subprocess.run that runs the engine's command line without a process."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def run(self, argv: Sequence[str], *, env: Mapping[str, str], **_: Any) -> SimpleNamespace:
        root = Path(env["SL_ROOT"])
        kept = root.with_name(f"{root.name}.kept")
        shutil.copytree(root, kept)
        strict = run_command(argv, environ=env, out=lambda line: None, log=lambda level, line: None, strict=True)
        strict_files = list_data_files(root)
        shutil.rmtree(root)
        kept.rename(root)
        out: list[str] = []
        log: list[str] = []
        normal = run_command(
            argv, environ=env, out=out.append, log=lambda level, line: log.append(f"ERROR {line}") if level == "error" else None
        )
        self.commands.append(Command(strict, normal, strict_files, list_data_files(root)))
        return SimpleNamespace(
            returncode=normal.exit_code, stdout="".join(f"{line}\n" for line in out), stderr="".join(f"{line}\n" for line in log)
        )


def list_data_files(root: Path) -> frozenset[str]:
    return frozenset(str(path.relative_to(root)) for path in root.glob("datasets/*/*/**/*") if path.is_file())


@functools.cache
def observe_case(case: str, shared: Path) -> tuple[Any, list[Command]]:
    """Return the verdict on a case and its commands."""
    conformance = load_conformance()
    observe = conformance.load_observe(shared)
    launcher = Launcher()
    kept = {name: getattr(subprocess, name) for name in ("DEVNULL", "PIPE", "TimeoutExpired")}
    observe.subprocess = SimpleNamespace(run=launcher.run, **kept)
    with tempfile.TemporaryDirectory() as work:
        return conformance.observe_case(observe, shared, case, [], Path(work)), launcher.commands


@pytest.mark.parametrize("case", EACH_CASE)
def test_each_case_is_as_recorded_or_differs_as_documented(case: str, shared: Path) -> None:
    verdict, _ = observe_case(case, shared)
    assert verdict.unexplained == []
    assert sorted(verdict.reasons) == CASES[case]


@dataclass
class Step:
    """A recorded command: the files that the real Starlake rejected, with or without an error, and those that it loaded."""

    failed: bool
    rejected_files: frozenset[str]
    loaded_files: frozenset[str]
    rejected_tables: frozenset[str]


def list_recorded_steps(case: str, shared: Path) -> list[Step]:
    conformance = load_conformance()
    recorded = json.loads((conformance.find_case(shared, case) / f"{case}.json").read_text())
    steps = []
    files: set[str] = set()
    rows: Counter[str] = Counter()
    for step in conformance.load_observe(shared).expand(recorded)["steps"]:
        files_now = {name for name, _ in step["files"] if not name.endswith("/")}
        audit = step["tables"].get("audit.audit", {})
        rows_now = Counter(map(json.dumps, audit.get("rows", [])))
        if "command" in step:
            new = [json.loads(row) for row in (rows_now - rows).elements()]
            names = [column["name"].lower() for column in audit.get("columns", [])]
            written = [dict(zip(names, row, strict=True)) for row in new]
            failed = [row for row in written if row["success"] == "false"]
            # The job of a load has the name of its file. A load that silently loses rows archives the file.
            lost = {name for name in files_now if any(f"-{Path(name).name}-" in row["jobid"] for row in failed)}
            steps.append(
                Step(
                    bool(step["exit_code"]),
                    frozenset(name for name in files_now - files if name.startswith("datasets/ingesting/")),
                    frozenset(name for name in files_now - files - lost if name.startswith("datasets/archive/")),
                    frozenset(f"{row['domain']}.{row['schema']}".lower() for row in failed),
                )
            )
        files, rows = files_now, rows_now
    return steps


@pytest.mark.parametrize("case", EACH_CASE)
def test_strict_commands_reject_exactly_the_input_that_starlake_rejects(case: str, shared: Path) -> None:
    _, commands = observe_case(case, shared)
    for step, command in zip(list_recorded_steps(case, shared), commands, strict=True):
        strict, normal = command.strict, command.normal
        failing = {name.lower() for name in strict.failures}
        if step.failed:
            assert strict.exit_code
        elif not step.rejected_tables:
            assert (strict.exit_code, strict.failures) == (normal.exit_code, normal.failures)
        for name in step.rejected_files:
            assert {name, name.replace("/ingesting/", "/stage/")} & command.strict_files
        assert step.loaded_files & command.normal_files <= command.strict_files
        if strict.finished:
            assert step.rejected_tables <= failing
        else:
            assert not step.rejected_tables or strict.exit_code


@pytest.mark.parametrize(
    ("reason", "gone", "come", "table", "holds"),
    [
        ("one row per key", [["1", "old"]], [], [["1", "new"], ["2", "x"]], True),
        ("one row per key", [["1", "old"]], [], [["1", "new"], ["1", "x"]], False),
        ("one row per key", [["1", "old"]], [], [["2", "x"]], False),
        ("one row per key", [["1", "old"]], [["3", "y"]], [["1", "new"], ["3", "y"]], False),
        ("versions", [["1", "a", "t", None]], [["1", "a", "t", "t"]], [["1", "a", "t", "t"], ["1", "b", "t", None]], True),
        ("versions", [["1", "a", "t", None]], [["1", "c", "t", "t"]], [["1", "c", "t", "t"], ["1", "b", "t", None]], False),
        ("versions", [["1", "a", "t", "t"]], [["1", "a", "t", None]], [["1", "a", "t", None], ["1", "b", "t", None]], False),
        ("versions", [["1", "a", "t", None]], [], [["1", "a", None, None]], False),
        ("privacy", [["1", "Ann"]], [["1", "xxx"]], [["1", "xxx"]], True),
        ("privacy", [["1", "Ann"]], [], [], False),
        ("exact numbers", [["1", "1.123"]], [["1", "1.1234"]], [["1", "1.1234"]], True),
        ("exact numbers", [["1", "1.123"]], [["1", "2.123"]], [["1", "2.123"]], False),
        ("structs", [["1", "x"]], [["2", "x"]], [["2", "x"]], False),
        ("settings", [[" x "]], [["x"]], [["x"]], True),
        ("settings", [["2", None]], [["2", "default"]], [["2", "default"]], True),
        ("settings", [["2", "a"]], [["2", "b"]], [["2", "b"]], False),
        ("types", [["1", None]], [["2", "a"]], [["2", "a"]], False),
        ("no silent failure", [["1"]], [], [], True),
        ("no silent failure", [["1"]], [["2"]], [["2"]], False),
        ("accepts more", [], [["2"]], [["1"], ["2"]], True),
        ("accepts more", [["1"]], [["2"]], [["2"]], False),
        ("kept columns", [["1"], ["2"]], [["1", "x"]], [["1", "x"]], True),
        ("kept columns", [["1"]], [["1"]], [["1"]], False),
        ("by name", [["a", "1"]], [["1", "a"]], [["1", "a"]], True),
        ("by name", [["a", "1"]], [["1", "a"]], [["1", "a"], ["2", "b"]], False),
        ("local times", [["1", "2024-01-02 03:04:05+01"]], [["1", None]], [["1", None]], True),
        ("local times", [["1", "2024-01-02 03:04:05+01"]], [["2", None]], [["2", None]], False),
    ],
)
def test_rows_are_explained_only_by_what_their_rule_says(
    reason: str, gone: list[list[Any]], come: list[list[Any]], table: list[list[Any]], holds: bool
) -> None:
    conformance = load_conformance()
    assert load(REPOSITORY / RULES).RULES[reason].rows(gone, come, table) == holds
    case, name = {"one row per key": ("load_upsert_by_key", "sales.orders"), "privacy": ("privacy", "t.hide")}.get(reason, ("", ""))
    if case:
        lines = [f"step 1 (load): {name}: row {sign} {json.dumps(row)}" for sign, rows in (("-", gone), ("+", come)) for row in rows]
        observe = SimpleNamespace(differences=lambda expected, actual: lines)
        verdict = conformance.judge_case(observe, {"case": case}, {"steps": [{"tables": {name: {"rows": table}}}]})
        assert verdict.unexplained == ([] if holds else lines)


FAILED = ["job", "orders.csv", "s", "orders", "false", "0", "0", "0", "", "", "bad", "LOAD"]
LOADED = [*FAILED[:4], "true", "1", "1", "-1", *FAILED[8:]]


@pytest.mark.parametrize(
    ("differences", "reasons"),
    [
        (["exit_code: 1, 0"], ["accepts more", "arrays", "by name", "settings", "templates"]),
        (["exit_code: 0, 1"], ["left files", "bad cells", "no silent failure", "kept columns", "connections"]),
        (["file - datasets/ingesting/s/o.csv 1", "file + datasets/archive/s/o.csv 1"], ["accepts more", "arrays", "by name"]),
        (["file - datasets/archive/s/o.csv 1", "file + datasets/ingesting/s/o.csv 1"], ["bad cells", "no silent failure"]),
        (["file + datasets/archive/s/o~2.csv 1"], ["archive"]),
        (["table + s.orders"], ["accepts more", "arrays", "by name", "sink connection"]),
        (["table - s.orders"], ["bad cells", "no silent failure"]),
        ([f"audit.audit: row - {json.dumps(FAILED)}", f"audit.audit: row + {json.dumps(LOADED)}"], ["accepts more", "arrays", "by name"]),
        ([f"audit.audit: row - {json.dumps(LOADED)}", f"audit.audit: row + {json.dumps(FAILED)}"], ["bad cells", "no silent failure"]),
        # A file is lost or duplicated.
        (["file - datasets/ingesting/s/o.csv 1"], []),
        (["file + datasets/archive/s/o.csv 1"], []),
        (["s.orders: columns: [], []"], ["structs", "kept columns", "settings"]),
        (["s.orders: constraints: [], []"], []),
    ],
)
def test_a_reason_explains_only_what_its_rule_says(differences: list[str], reasons: list[str]) -> None:
    rules = load(REPOSITORY / RULES)
    some = {"accepts more", "arrays", "bad cells", "no silent failure", "by name", "structs", "privacy", "archive", *reasons}
    for reason in some:
        lines = [(f"step 1 (load): {difference}", {reason}) for difference in differences]
        broken = rules.list_lines_against_rules(lines, {"steps": [{"tables": {}}]})
        assert bool(broken) == (reason not in reasons), reason


def test_the_published_results_have_every_case_and_every_reason() -> None:
    conformance = load_conformance()
    verdicts = [conformance.Verdict(case, reasons=set(reasons)) for case, reasons in CASES.items()]
    assert conformance.format_table(verdicts) in (REPOSITORY / "bench/conformance.md").read_text(encoding="utf-8")
    assert load(REPOSITORY / RULES).RULES.keys() == conformance.REASONS.keys() == {reason for v in verdicts for reason in v.reasons}


def test_every_recorded_case_is_known(shared: Path) -> None:
    assert load_conformance().list_cases(shared) == sorted(CASES)
