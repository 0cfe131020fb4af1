"""Compare the embedded engine with the recorded behavior of the real Starlake, case by case.

    python bench/conformance.py [--shared ../shared] [--jobs 2] [--details] [CASE...]

Runs ``observe.py`` of the shared folder on the cases of ``oracle/runs`` and ``oracle/runs2``, with the engine's command line as launcher,
and prints a table with the verdicts: same, deliberate difference (with its reasons, see bench/conformance.md), not supported, or
unexplained.

A reason explains only lines that match its patterns and differ in the way that its rule allows (conformance_rules.py), so other differences
of the same case are still found. The exit code is 1 if a difference is unexplained.
"""

import argparse
import fnmatch
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance_rules import list_lines_against_rules

REPOSITORY = Path(__file__).resolve().parent.parent

REASONS: Mapping[str, str] = {
    "work tables": "a failed load leaves no work tables behind",
    "messages": "messages name the file, line, column, value, and type",
    "archive": "an archived file is not replaced by another file of the same name",
    "left files": "the next load tries the files of a failed load again",
    "no silent failure": "a load that cannot write its rows fails, and keeps its file",
    "kept columns": "a column with values is not dropped",
    "by name": "columns are matched by name, not by position",
    "one row per key": "an upsert leaves one row per key, the newest if there is a timestamp",
    "versions": "SCD2: one current row per key, each version has a start time, and no row appears twice",
    "privacy": "privacy is applied",
    "settings": "trim, default, script, comment, encoding, quote, and emptyIsNull are applied",
    "types": "the project's types need no DuckDB mapping, and their patterns are checked",
    "expectations": "expectations are evaluated once, inside the transaction, and failOnError is applied",
    "arrays": "the format JSON_ARRAY reads arrays",
    "bad cells": "a bad cell of a POSITION file fails the file",
    "stage": "a file that waits in the stage area is not replaced",
    "sink connection": "sink.connectionRef of a task works",
    "accepts more": "unambiguous names, queries, and files work although Starlake rejects them",
    "exact numbers": "a decimal keeps the digits of its type",
    "structs": "a struct gains new fields of its attribute, and renamed fields keep their values",
    "Parquet": "the engine itself reads Parquet files, without Spark, and a wrong type fails the file",
    "connections": "a database that is in memory or read-only is rejected before a file is moved",
    "templates": "the project's write strategy templates do not write rows of the audit",
    "local times": "times are local, as in Starlake",
    "order of macros": "if two macros have the same name, that of the last file by name applies",
    "every command in the audit": "each loaded file and each failure has a row in the audit",
}
FOLDERS = ("runs", "runs2")
"""Folders with recorded cases in ``oracle``."""
_ZONE = re.compile(r"run with env TZ=(\S+?)\)")

INCIDENTAL = frozenset({"work tables", "messages", "local times"})
"""Reasons that do not affect tables, files, and exit codes."""

# Reason -> (case, line) patterns. A line is "step N (command): difference".
KNOWN: Mapping[str, Sequence[tuple[str, str]]] = {
    "work tables": [("*", r"(table - |: )\w+\.zztmp_")],
    "archive": [("*", r"file [+] datasets/archive/\S+~\d+")],
    "left files": [("load_life", r"step (8|9|10) .*exit_code: 0, 1"), ("load_grouped", r"step 2 .*exit_code: 0, 1")],
    "no silent failure": [
        ("n12_json_shapes", r"casekey"),
        ("n14_json_evolution", r"exit_code: 0, 1|toarray_2\.json|file - datasets/ingesting/d/ |d\.toarray: row - "),
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
    "one row per key": [("n28_keys", r"d\.(rowid|rts): row - "), ("*upsert_by_key*", r"(sales\.orders|kpi\.out): row")],
    "versions": [("*scd2*", r"(sales\.orders|kpi\.out): row"), ("n28_keys", r"d\.rscd: row - ")],
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
    "types": [
        (
            "n62_custom_types",
            r"(ctz2|ed2|et2|ma2|mo2|on[123]|ep1|mm1)\.csv|table [-+] d\.(ctz2|ed2|et2|ma2|mo2|on[123]|ep1|mm1)$|d\.ez1: row",
        ),
        ("types_custom", r"exit_code|file |table . t\."),
        ("types_custom_ddl", r"exit_code|file |table . t\.|t\.\w+: (row|columns)"),
    ],
    "expectations": [
        (
            "n47_expectations_own",
            r"exit_code: 0, 1|table - kpi\.(cnt0|cnt1|many|nor|txt|err|runerr|neg|nomacro|noargs|cat)$|audit\.expectations: row",
        ),
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
    "accepts more": [
        (
            "n05_dsv_headers",
            r"datasets/(ingesting|archive)/d/(blanks|odd|quotedhead|reserved)\.csv|table \+ d\.(blanks|odd|quotedhead|reserved)$",
        ),
        ("n12_json_shapes", r"datasets/(ingesting|archive)/d/(bom|latin1)\.json|table \+ d\.(bom|latin1)$"),
        (
            "n13_json_nested",
            r"datasets/(ingesting|archive)/d/(int_arr|st_blank|st_reserved)\.json|table \+ d\.(int_arr|st_blank|st_reserved)$",
        ),
        ("n21_file_names", r"exit_code: 1, 0|/f'q\.csv|file . datasets/ingesting/d/ |d\.f: row \+ .*f'q\.csv"),
        (
            "n28_keys",
            r"exit_code: 1, 0|/(blank|resv)_[12]\.csv|file . datasets/ingesting/d/ |table \+ d\.(blank|resv)$|d\.(blank|resv): row",
        ),
        (
            "n64_scripts_filters",
            r"datasets/(ingesting|archive)/d/(casew|cast_|chain|jin|nowscr|nulls|win)\.csv|table \+ "
            r"d\.(casew|cast_|chain|jin|nowscr|nulls|win)$",
        ),
        ("n74_view_regex", r"step 3 .*exit_code: 1, 0|table \+ d\.v2$"),
    ],
    "exact numbers": [
        ("n12_json_shapes", r"d\.dec: row"),
    ],
    "structs": [
        ("n13_json_nested", r"d\.st_rename: (row|columns)"),
        ("n14_json_evolution", r"d\.(gain|newtop|over_gain|upsert_gain): (row|columns)"),
    ],
    "Parquet": [
        ("n17_parquet", r"/(badtype|cases|ts)\.parquet|file - datasets/tmp/|table - (audit\.rejected|d\.badtype)$|table \+ d\.(cases|ts)$"),
    ],
    "connections": [
        ("n52_conn_memory", r"exit_code: 0, 1|datasets/(archive|ingesting|stage)/d/"),
        ("n54_conn_readonly", r"datasets/(ingesting|stage)/d/"),
    ],
    "templates": [
        ("n68_strategy_template2", r"exit_code: 1, 0|file [-+] datasets/(ingesting|archive)/d/(x1\.csv)?( |$)"),
    ],
    "local times": [
        ("n76_scd2_paris", r"(d\.x|k\.s|audit\.audit): row"),
    ],
    "every command in the audit": [
        ("n41_jinja", r"audit\.audit: row \+ .*/(mac|mac2|bad)\.sql:1: "),
        ("n59_inherit", r"audit\.audit: row \+ .*d-inh-inh2\.csv"),
    ],
    "order of macros": [
        (
            "n46_expectations_macros",
            r"audit\.expectations: row . .*(most_common_value_to|pair_values_to|values_to_(not_)?be_in_set|like_pattern_list)",
        ),
    ],
}
_AUDIT = re.compile(r"audit\.(audit|expectations): row ([-+]) (.*)$")
_AUDIT_CHECKSUM = re.compile(r"audit\.audit: (count|md5|column_md5): ")


@dataclass
class Verdict:
    """The result of a case."""

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
    """Import observe.py of the shared folder."""
    path = shared / "oracle/runs/observe.py"
    spec = importlib.util.spec_from_file_location("observe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge_case(observe: ModuleType, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> Verdict:
    """Compare an observation with the recorded one, and return the differences with their reasons."""
    verdict = Verdict(expected["case"], lines=observe.differences(dict(expected), dict(actual)))
    audit: list[str] = []
    checksums: list[str] = []
    explained: set[str] = set()
    known: list[tuple[str, set[str]]] = []
    for line in verdict.lines:
        found = {reason for reason, patterns in KNOWN.items() if _is_known(verdict.case, line, patterns)}
        if found:
            verdict.reasons |= found
            known.append((line, found))
            if found - INCIDENTAL:
                explained.add(_find_step(line))
        elif _AUDIT.search(line):
            audit.append(line)
        elif _AUDIT_CHECKSUM.search(line):
            checksums.append(line)
        else:
            verdict.unexplained.append(line)
    rest = _drop_message_pairs(audit)
    if len(rest) < len(audit):
        verdict.reasons.add("messages")
    # Differences in audit rows follow from other differences of the step that wrote them. Later steps still have these rows.
    seen: set[str] = set()
    for line in rest:
        row = line.partition(": ")[2]
        if row not in seen and _find_step(line) not in explained:
            verdict.unexplained.append(line)
        seen.add(row)
    verdict.unexplained += [line for line in checksums if _find_step(line) not in explained]
    verdict.unexplained += list_lines_against_rules(known, actual)
    return verdict


def _find_step(line: str) -> str:
    return line.partition(" (")[0]


def _is_known(case: str, line: str, patterns: Iterable[tuple[str, str]]) -> bool:
    return any(fnmatch.fnmatchcase(case, name) and re.search(pattern, line) for name, pattern in patterns)


def _drop_message_pairs(lines: Sequence[str]) -> list[str]:
    """Leave out pairs of audit rows that differ only in their messages."""
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


def find_case(shared: Path, case: str) -> Path:
    """Return the folder of recorded cases that contains a case."""
    return next(folder for name in FOLDERS if (folder := shared / "oracle" / name).joinpath("projects", case).is_dir())


def list_cases(shared: Path) -> list[str]:
    """Return the names of all recorded cases."""
    return sorted(path.parent.name for name in FOLDERS for path in (shared / "oracle" / name / "projects").glob("*/steps.json"))


def observe_case(observe: ModuleType, shared: Path, case: str, launcher: Sequence[str], work: Path) -> Verdict:
    """Run a case and judge it."""
    folder = find_case(shared, case)
    recorded = json.loads((folder / f"{case}.json").read_text())
    zone = _ZONE.search(recorded["about"])
    observe.BASE_ENV["TZ"] = zone.group(1) if zone else "UTC"
    return judge_case(observe, recorded, observe.observe((folder / "projects" / case).resolve(), list(launcher), work))


def run_cases(shared: Path, cases: Sequence[str], jobs: int, work: Path) -> list[Verdict]:
    """Run cases with the engine's command line and judge them."""
    wanted = [case for case in list_cases(shared) if not cases or case in cases]
    os.chdir(REPOSITORY)
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    launcher = [sys.executable, "-m", "starlake_dagster_components.engine"]

    def run_case(case: str) -> Verdict:
        # Each case gets its own module, because the environment is a variable of the module.
        return observe_case(load_observe(shared), shared, case, launcher, work)

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(run_case, wanted))


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
        print(f"there is no recorded behavior in {options.shared}")
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
