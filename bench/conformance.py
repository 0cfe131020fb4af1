"""Compare the embedded engine with the recorded behaviour of the real Starlake, case by case.

    python bench/conformance.py [--shared ../shared] [--jobs 2] [--details] [CASE...]

Runs ``oracle/runs/observe.py`` as it lies in the shared folder with the engine's command line as launcher, and prints a table: same, deliberate
difference (with its reasons, which docs/engine.md explains), not supported, or unexplained. Ends with 1 when a difference is unexplained.
"""

import argparse
import fnmatch
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent

REASONS: Mapping[str, str] = {
    "work tables": "no work table is left behind by a failed load",
    "messages": "messages name file, line, column, value and type",
    "archive": "an archived file is not replaced by another one of its name",
    "left files": "files of a failed load are tried again by the next one",
    "no silent failure": "a load that cannot write its rows fails, and keeps its file",
    "kept columns": "a column with values is not dropped",
    "by name": "columns are matched by name, not by position",
    "one row per key": "an upsert leaves one row per key, the newest where there is a timestamp",
    "versions": "SCD2: one current row per key, every version begins at a time, no row twice",
    "privacy": "privacy is applied",
    "settings": "trim, default, script, comment, encoding, quote, emptyIsNull are honoured",
    "types": "types of the project need no DuckDB mapping; their patterns are checked",
    "expectations": "evaluated once, inside the transaction; failOnError is honoured",
    "arrays": "format JSON_ARRAY reads arrays",
    "bad cells": "a bad cell of a POSITION file fails the file",
    "stage": "a file that waits in the stage area is not replaced",
    "sink connection": "sink.connectionRef of a task works",
}

INCIDENTAL = frozenset({"work tables", "messages"})
"""Reasons that leave tables, files and exit codes as they are."""

# reason -> (case, line) patterns; a line is "step N (command): what differs".
KNOWN: Mapping[str, Sequence[tuple[str, str]]] = {
    "work tables": [("*", r"(table - |: )\w+\.zztmp_")],
    "archive": [("*", r"file [+] datasets/archive/\S+~\d+")],
    "left files": [("load_life", r"step (8|9|10) .*exit_code: 0, 1"), ("load_grouped", r"step 2 .*exit_code: 0, 1")],
    "no silent failure": [
        ("load_unknown", r"exit_code|file |table - "),
        ("load_upsert_no_key", r"exit_code|file |table - "),
        ("evolution_append", r"exit_code|(tostring|widen)_2|file - datasets/ingesting/t/ "),
        ("evolution_overwrite", r"exit_code|widen_2|file - datasets/ingesting/t/ "),
    ],
    "kept columns": [("evolution_append", r"t\.drop:|drop_2")],
    "by name": [
        ("evolution_overwrite", r"t\.reorder: row"),
        ("transform_evolution", r"step 4 .*(exit_code|kpi\.over: row)|step [5-9] .*kpi\.over: row|step 10 .*kpi\.over: row"),
        ("json_nested", r"nested_(only_missing|extra|order)|file . datasets/ingesting/f/ |step [456] .*exit_code: 1, 0"),
    ],
    "one row per key": [("*upsert_by_key*", r"(sales\.orders|kpi\.out): row")],
    "versions": [("*scd2*", r"(sales\.orders|kpi\.out): row")],
    "privacy": [("privacy", r"t\.\w+: row")],
    "settings": [
        (
            "attributes",
            r"exit_code: 1, 0|(defmissing|scripts|scriptren|allofit)|t\.(trims|defaults): row|t\.comments: co|datasets/ingesting/t/ ",
        ),
        ("corpus.*", r": (comment|columns): .*comment|: comment: "),
        ("dsv_encodings", r"latin\b|step 4 .*exit_code: 1, 0|datasets/ingesting/f/ "),
        ("dsv_quotes", r"single|step 4 .*exit_code: 1, 0|f\.eisnot: row|datasets/ingesting/f/ "),
        ("position", r"f\.pos: row"),
    ],
    "types": [("types_custom", r"exit_code|file |table . t\."), ("types_custom_ddl", r"exit_code|file |table . t\.|t\.\w+: (row|columns)")],
    "expectations": [
        (
            "expectations_load",
            r"audit\.expectations: row|exit_code|sales\.unknown|table - |sales\.\w+: row|ko_soft|file . datasets/(ingesting|archive)/",
        ),
        ("expectations_transform", r"step 4 .*(exit_code|kpi\.ko: row|audit\.)"),
    ],
    "arrays": [("json_formats", r"fmt_json_array|step 13 .*exit_code|datasets/ingesting/f/ ")],
    "bad cells": [("position", r"exit_code|pos\.txt|table - f\.pos|datasets/(ingesting|archive)/f/ ")],
    "stage": [("stage_patterns", r"file [+] datasets/incoming/sales/orders-1\.csv")],
    "sink connection": [("transform_recursive", r"step 3 .*(exit_code|kpi\.sunk)|second\.db:kpi\.sunk")],
}
_AUDIT = re.compile(r"audit\.(audit|expectations): row ([-+]) (.*)$")


@dataclass
class Verdict:
    """Result of a case."""

    case: str
    reasons: set[str] = field(default_factory=set)
    unexplained: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def word(self) -> str:
        if self.unexplained:
            return "unexplained"
        return "deliberate difference" if self.reasons - INCIDENTAL else "same"


def load_observe(shared: Path) -> ModuleType:
    """Import observe.py from where it lies."""
    path = shared / "oracle/runs/observe.py"
    spec = importlib.util.spec_from_file_location("observe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge_case(observe: ModuleType, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> Verdict:
    """Say where an observation differs from the recorded one, and why."""
    verdict = Verdict(expected["case"], lines=observe.differences(dict(expected), dict(actual)))
    audit: list[str] = []
    explained: set[str] = set()
    for line in verdict.lines:
        found = {reason for reason, patterns in KNOWN.items() if _is_known(verdict.case, line, patterns)}
        if found:
            verdict.reasons |= found
            if found - INCIDENTAL:
                explained.add(_find_step(line))
        elif _AUDIT.search(line):
            audit.append(line)
        else:
            verdict.unexplained.append(line)
    rest = _drop_message_pairs(audit)
    if len(rest) < len(audit):
        verdict.reasons.add("messages")
    # Rows of the audit follow from what else differs in the step that wrote them; later steps have them still.
    seen: set[str] = set()
    for line in rest:
        row = line.partition(": ")[2]
        if row not in seen and _find_step(line) not in explained:
            verdict.unexplained.append(line)
        seen.add(row)
    return verdict


def _find_step(line: str) -> str:
    return line.partition(" (")[0]


def _is_known(case: str, line: str, patterns: Iterable[tuple[str, str]]) -> bool:
    return any(fnmatch.fnmatchcase(case, name) and re.search(pattern, line) for name, pattern in patterns)


def _drop_message_pairs(lines: Sequence[str]) -> list[str]:
    """Leave out pairs of audit rows that differ in their message only."""
    rows: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for line in lines:
        match = _AUDIT.search(line)
        assert match is not None
        values = json.loads(match.group(3))
        values[10 if match.group(1) == "audit" else 9] = ""
        key = (line[: match.start()] + match.group(1), json.dumps(values))
        rows.setdefault(key, []).append((match.group(2), line))
    left = []
    for pairs in rows.values():
        gone = [line for sign, line in pairs if sign == "-"]
        come = [line for sign, line in pairs if sign == "+"]
        left += gone[len(come) :] + come[len(gone) :]
    return left


def run_cases(shared: Path, cases: Sequence[str], jobs: int, work: Path) -> list[Verdict]:
    """Run cases with the engine's command line and judge them."""
    runs = shared / "oracle/runs"
    launcher = shlex.join([sys.executable, "-m", "starlake_dagster_components.engine"])
    command = [sys.executable, str(runs / "observe.py"), "--launcher", launcher, "--jobs", str(jobs)]
    out = work / "out"
    subprocess.run(
        [*command, "--work", str(work / "work"), "--out", str(out), *cases], check=True, stderr=subprocess.DEVNULL, cwd=REPOSITORY
    )
    observe = load_observe(shared)
    return [judge_case(observe, json.loads((runs / p.name).read_text()), json.loads(p.read_text())) for p in sorted(out.glob("*.json"))]


def format_table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as a Markdown table with totals."""
    lines = ["| case | engine | reasons |", "|---|---|---|"]
    lines += [f"| `{v.case}` | {v.word} | {', '.join(sorted(v.reasons))} |" for v in verdicts]
    totals: dict[str, int] = {"same": 0, "deliberate difference": 0, "not supported": 0, "unexplained": 0}
    for verdict in verdicts:
        totals[verdict.word] += 1
    lines += ["", ", ".join(f"{word}: {count}" for word, count in totals.items()) + f" of {len(verdicts)} cases", ""]
    used = sorted({reason for v in verdicts for reason in v.reasons})
    lines += [f"- {reason}: {REASONS[reason]}" for reason in used]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=REPOSITORY.parent / "shared", help="folder that has oracle/runs")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--details", action="store_true", help="print every difference")
    parser.add_argument("cases", nargs="*", help="none = all")
    options = parser.parse_args()
    if not (options.shared / "oracle/runs/observe.py").is_file():
        print(f"there is no recorded behaviour in {options.shared}")
        return 0
    with tempfile.TemporaryDirectory(prefix="conformance-") as work:
        verdicts = run_cases(options.shared, options.cases, options.jobs, Path(work))
    print(format_table(verdicts))
    for verdict in verdicts:
        for line in verdict.lines if options.details else verdict.unexplained:
            print(f"{verdict.case}: {line}")
    return 1 if any(v.unexplained for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
