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
