"""The recorded behavior of the real Starlake: every case is the same, or differs for the reasons that the documentation gives."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from starlake_dagster_components.engine import run_command

REPOSITORY = Path(__file__).resolve().parents[2]
CASES = json.loads((Path(__file__).parent / "conformance.json").read_text())


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def run_in_process(argv: Sequence[str], *, env: Mapping[str, str], **_: Any) -> SimpleNamespace:
    """Stand in for subprocess.run: the engine's command line, without a process."""
    out: list[str] = []
    log: list[str] = []
    result = run_command(
        argv, environ=env, out=out.append, log=lambda level, line: log.append(f"ERROR {line}") if level == "error" else None
    )
    return SimpleNamespace(
        returncode=result.exit_code, stdout="".join(f"{line}\n" for line in out), stderr="".join(f"{line}\n" for line in log)
    )


@pytest.mark.parametrize("case", CASES)
def test_case_is_as_recorded_or_differs_as_documented(case: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conformance = load(REPOSITORY / "bench/conformance.py")
    observe = conformance.load_observe(shared)
    kept = {name: getattr(subprocess, name) for name in ("DEVNULL", "PIPE", "TimeoutExpired")}
    monkeypatch.setattr(observe, "subprocess", SimpleNamespace(run=run_in_process, **kept))
    verdict = conformance.observe_case(observe, shared, case, [], tmp_path)
    assert verdict.unexplained == []
    assert sorted(verdict.reasons) == CASES[case]


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
    ],
)
def test_rows_are_explained_only_by_what_their_rule_says(
    reason: str, gone: list[list[Any]], come: list[list[Any]], table: list[list[Any]], holds: bool
) -> None:
    conformance = load(REPOSITORY / "bench/conformance.py")
    assert conformance.ROW_RULES[reason](gone, come, table) == holds
    case, name = {"one row per key": ("load_upsert_by_key", "sales.orders"), "privacy": ("privacy", "t.hide")}.get(reason, ("", ""))
    if case:
        lines = [f"step 1 (load): {name}: row {sign} {json.dumps(row)}" for sign, rows in (("-", gone), ("+", come)) for row in rows]
        observe = SimpleNamespace(differences=lambda expected, actual: lines)
        verdict = conformance.judge_case(observe, {"case": case}, {"steps": [{"tables": {name: {"rows": table}}}]})
        assert verdict.unexplained == ([] if holds else lines)


def test_the_documentation_has_every_case_and_every_reason() -> None:
    conformance = load(REPOSITORY / "bench/conformance.py")
    text = (REPOSITORY / "docs/engine.md").read_text()
    rules = (REPOSITORY / "docs/differences.md").read_text()
    verdicts = [conformance.Verdict(case, reasons=set(reasons)) for case, reasons in CASES.items()]
    for line in conformance.format_table(verdicts).split("\n\n")[0].splitlines():
        assert line in text
    for reason in conformance.REASONS:
        assert f"| {reason} |" in rules, reason


def test_every_recorded_case_is_known(shared: Path) -> None:
    assert load(REPOSITORY / "bench/conformance.py").list_cases(shared) == sorted(CASES)
