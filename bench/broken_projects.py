"""Measure ``sl-dagster check`` of broken projects: the message, CPU seconds and memory, each in its own process.

Each case changes a copy of the example. The check must end within limits of CPU time and memory, without a traceback, and its output must
name the problem. The processes are forks of one that has checked the example. The seconds therefore do not include the start of Python and
the imports, which are the same for every project, but the memory does.

    python bench/broken_projects.py                  all cases
    python bench/broken_projects.py jinja pipe       cases whose names contain one of the words
"""

import argparse
import contextlib
import ctypes
import gc
import io
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLE = REPOSITORY / "examples/tallow_lane"
SECONDS, MEGABYTES = 2.0, 300.0
"""CPU seconds and MB that a check may use, without the start of its process."""

ANYTHING = "tables"
"""Expected output for projects that are valid in Starlake, whose Jinja calculates with Java's numbers and ignores recursion."""
TABLE = "load/desk/members.sl.yml"
SQL = "transform/kpi/top_items.sql"


@dataclass(frozen=True)
class Case:
    """A broken project.

    Attributes:
        break_project: changes the metadata folder.
        expected: a pattern that must match the output of the check; by default the name of the changed file.
    """

    break_project: Callable[[Path], None]
    expected: str


def write(file: str, text: str, expected: str = "") -> Case:
    """Replace a file."""

    def change(metadata: Path) -> None:
        path = metadata / file
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")

    return Case(change, expected or re.escape(file))


def edit(file: str, old: str, new: str, expected: str = "") -> Case:
    """Replace a part of a file."""

    def change(metadata: Path) -> None:
        path = metadata / file
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise ValueError(f"{old!r} is not in {file}")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return Case(change, expected or re.escape(file))


def link(file: str, target: str, expected: str = "") -> Case:
    """Replace a file or folder with a link."""

    def change(metadata: Path) -> None:
        _remove(metadata / file)
        (metadata / file).symlink_to(target)

    return Case(change, expected or re.escape(file))


def make_pipe(file: str) -> Case:
    """Replace a file or folder with a named pipe."""

    def change(metadata: Path) -> None:
        _remove(metadata / file)
        os.mkfifo(metadata / file)

    return Case(change, re.escape(file))


def lock(file: str) -> Case:
    """Make a file or folder unreadable."""
    return Case(lambda metadata: (metadata / file).chmod(0), re.escape(file))


def remove(file: str, expected: str = "") -> Case:
    """Remove a file or folder."""
    return Case(lambda metadata: _remove(metadata / file), expected or re.escape(file))


def put_sql(template: str, expected: str = "") -> Case:
    """Put a template into the SQL of a task."""
    return write(SQL, f"select 1 as a, '{template}' as b\n", expected or r"top_items\.sql")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _double(references: int, number: int, form: str) -> str:
    lines = [f'  a0: "{"x" * 1000}"']
    lines += [f'  a{n}: "{form.replace("NAME", f"a{n - 1}") * references}"' for n in range(1, number + 1)]
    return "version: 1\nenv:\n" + "\n".join(lines) + "\n"


def write_doubling_variables(references: int, number: int, form: str, file: str = "env.sl.yml") -> Case:
    """Define variables that refer to each other several times, and use the last one."""

    def change(metadata: Path) -> None:
        (metadata / file).write_text(_double(references, number, form), encoding="utf-8")
        path = metadata / TABLE
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("comment: Members", f'comment: "{form.replace("NAME", f"a{number}")}"', 1), encoding="utf-8")

    return Case(change, r"a\d|members\.sl\.yml|env\.")


def name_table(name: str) -> Case:
    """Rename a table."""
    return edit(TABLE, "name: members", f"name: {name}")


CASES: Mapping[str, Case] = {
    # Files that cannot be read are not treated as empty.
    "link to itself in metadata/load": link("load/x", "x"),
    "link to itself for a domain": link("load/desk", "desk"),
    "link to itself for a table": link(TABLE, "members.sl.yml"),
    "link to itself for metadata/load": link("load", "load"),
    "link to itself for metadata/transform": link("transform", "transform"),
    "link to itself for metadata/dags": link("dags", "dags"),
    "metadata/load may not be read": lock("load"),
    "metadata/transform may not be read": lock("transform"),
    "metadata/dags may not be read": lock("dags"),
    "a domain may not be read": lock("load/desk"),
    "a table may not be read": lock(TABLE),
    "an SQL file may not be read": lock(SQL),
    "types may not be read": lock("types"),
    "env.sl.yml may not be read": lock("env.sl.yml"),
    "application.sl.yml may not be read": lock("application.sl.yml"),
    "application.sl.yml is absent": remove("application.sl.yml"),
    "application.sl.yml is empty": write("application.sl.yml", ""),
    "metadata/load is a file": Case(lambda m: (shutil.rmtree(m / "load"), (m / "load").write_text("x"), None)[-1], "load"),
    "empty SQL file": write("transform/kpi/overdue.sql", ""),
    "blank SQL file": write("transform/kpi/overdue.sql", " \n\t\n"),
    "SQL file with comments only": write("transform/kpi/overdue.sql", "-- nothing\n/* here */\n"),
    "Overdue.sql beside overdue.sql": write("transform/kpi/Overdue.sql", "select 1 as a\n"),
    "overdue.sql.j2 beside overdue.sql": write("transform/kpi/overdue.sql.j2", "select 1 as a\n", r"overdue\.sql"),
    # The check does not hang or use up the machine.
    "named pipe as a table": make_pipe("load/desk/p.sl.yml"),
    "named pipe as SQL": make_pipe("transform/kpi/p.sql"),
    "named pipe as application.sl.yml": make_pipe("application.sl.yml"),
    "named pipe as env.sl.yml": make_pipe("env.sl.yml"),
    "named pipe as a DAG": make_pipe("dags/load_each_table.sl.yml"),
    "named pipe as types": make_pipe("types/types.sl.yml"),
    "named pipe as expectations": make_pipe("expectations/tallow_lane.j2"),
    "named pipe as _config": make_pipe("load/desk/_config.sl.yml"),
    "named pipe as metadata/load": make_pipe("load"),
    "link to /dev/zero as a table": link("load/desk/z.sl.yml", "/dev/zero"),
    "link to /dev/zero as SQL": link(SQL, "/dev/zero"),
    "link to /dev/tty as SQL": link(SQL, "/dev/tty"),
    "link to /proc/kmsg as a table": link(TABLE, "/proc/kmsg"),
    "link to /proc/self/environ as SQL": link(SQL, "/proc/self/environ"),
    "link to / in metadata/load": link("load/root", "/"),
    "link to / in metadata/transform": link("transform/root", "/"),
    "link to / for metadata/expectations": link("expectations", "/"),
    "link to / for metadata/load": link("load", "/"),
    "link to / for metadata/transform": link("transform", "/"),
    "link to / for metadata/types": link("types", "/"),
    "link to / for metadata/dags": link("dags", "/"),
    "link to /proc in metadata/load": link("load/proc", "/proc"),
    "link to a system file as a table": link(TABLE, "/etc/passwd"),
    "link to a system file as SQL": link(SQL, "/etc/passwd"),
    "7 variables of 30 references, ${}": write_doubling_variables(30, 7, "${NAME}"),
    "7 variables of 30 references, {{}}": write_doubling_variables(30, 7, "{{NAME}}"),
    "40 variables of 2 references": write_doubling_variables(2, 40, "{{NAME}}"),
    "3 variables of 1,000 references": write_doubling_variables(1000, 3, "{{NAME}}"),
    "doubling variables of an environment": write_doubling_variables(30, 7, "{{NAME}}", "env.sl.yml"),
    "variables in a circle": write("env.sl.yml", 'version: 1\nenv:\n  a: "{{b}}{{b}}"\n  b: "{{a}}{{a}}"\n  grace_days: "{{a}}"\n', "a|b"),
    "jinja: loop within a loop": put_sql("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"),
    "jinja: long loop": put_sql("{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}"),
    "jinja: lipsum": put_sql("{{ lipsum(n=100000000) }}"),
    "jinja: text that doubles": put_sql("{% set ns = namespace(x=1) %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
    "jinja: list that doubles": put_sql("{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"),
    "jinja: product of a string": put_sql('{{ "x" * 3000000000 }}'),
    "jinja: power": put_sql("{{ 9 ** 9 ** 9 }}", ANYTHING),
    "jinja: shift of a number": put_sql("{{ 10 ** 9999999 }}", ANYTHING),
    "jinja: macro that calls itself": put_sql("{% macro m(a) %}{{ m(a) }}{{ m(a) }}{% endmacro %}{{ m(1) }}", ANYTHING),
    "jinja: format with a width": put_sql('{{ "%999999999d" % 1 }}'),
    "jinja: center": put_sql('{{ "x" | center(3000000000) }}'),
    "jinja: join": put_sql('{{ range(99999) | join("x" * 99999) }}'),
    "jinja: batch": put_sql('{{ [1] | batch(3000000000, "x") | list }}'),
    "jinja: indent": put_sql('{{ "a\\nb" | indent(3000000000) }}'),
    "jinja: replace": put_sql('{{ ("x" * 99999) | replace("x", "y" * 99999) }}'),
    "jinja: pretty print of nested lists": put_sql(
        "{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | pprint }}"
    ),
    "jinja: parentheses": put_sql("{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}"),
    "jinja: blocks": put_sql("{% if 1 %}" * 5_000 + "{% endif %}" * 5_000),
    "unclosed comments": write(SQL, "select 1 as a " + "/* " * 300_000),
    "unclosed quotes": write(SQL, "select 1 as a " + "' \" ` " * 100_001),
    "unclosed Jinja comments": write(SQL, "select 1 as a " + "{# " * 300_000),
    "unclosed Jinja blocks": write(SQL, "select 1 as a " + "{% " * 300_000),
    "unclosed variables": write(SQL, "select 1 as a " + "{{ " * 300_000),
    "unclosed variables after FROM": write(SQL, "select 1 as a from desk.members where a = " + "{{ " * 300_000),
    "unclosed Jinja blocks after FROM": write(SQL, "select 1 as a from desk.members where a = " + "{% " * 300_000),
    "unclosed ${": write(SQL, "select 1 as a " + "${" * 300_000),
    "dollar quotes": write(SQL, "select 1 as a " + "".join(f"$a{n}$ " for n in range(60_000))),
    "parentheses in SQL": write(SQL, "select " + "(" * 100_000 + "1" + ")" * 100_000 + " as a\n"),
    "case in case in SQL": write(SQL, "select " + "case when 1 then " * 20_000 + "1" + " end" * 20_000 + " as a\n", ANYTHING),
    "100,000 unions": write(SQL, "select 1 as a" + " union all select 1 as a" * 100_000),
    "SQL of 10 MB": write(SQL, "select 1 as a" + ", 'xxxxxxxxxxxxxxxxxxxx' as b" * 350_000),
    "YAML of 10 MB": write(TABLE, "version: 1\ntable:\n  name: members\n  attributes:\n" + "    - name: a\n      type: string\n" * 300_000),
    "a key 300,000 times": write(TABLE, "version: 1\n" + "x: 1\n" * 300_000),
    "80,000 unknown keys": write(TABLE, "version: 1\ntable:\n  name: members\n" + "".join(f"  k{n}: 1\n" for n in range(80_000))),
    "30,000 unknown types": write(
        TABLE,
        "version: 1\ntable:\n  name: members\n  attributes:\n" + "".join(f"    - {{name: a{n}, type: t{n}}}\n" for n in range(30_000)),
    ),
    "YAML of 10 MB in one value": write(TABLE, "version: 1\ntable:\n  name: members\n  comment: " + "x" * 10_000_000 + "\n"),
    "YAML aliases that multiply": write(
        TABLE, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    ),
    "YAML of 50,000 brackets": write(TABLE, "table: " + "[" * 50_000 + "]" * 50_000),
    "YAML of 5,000 levels": write(TABLE, "".join(" " * n + "a:\n" for n in range(5_000))),
    "YAML with a key of itself": write(TABLE, "table: &a\n  name: members\n  b: *a\n"),
    "pattern that backtracks": edit(TABLE, 'pattern: "members_.*\\\\.csv"', 'pattern: "(a+)+(b+)+(c+)+$["'),
    "schedule of a day that never comes": edit("load/desk/_config.sl.yml", "before_opening", '"0 0 31 4 *"', "0 0 31 4|desk"),
    # One mistake in Jinja causes one problem.
    "jinja: unknown macro in call": put_sql("{% call foo() %}a{% endcall %}"),
    "jinja: truncate(1)": put_sql('{{ "abc" | truncate(1) }}', ANYTHING),
    "jinja: break without a loop": put_sql("{% break %}"),
    "jinja: argument twice": put_sql("{% macro m(a,a) %}{% endmacro %}"),
    "jinja: cycler without items": put_sql("{{ cycler() }}"),
    "jinja: infinite number": put_sql("{{ 1e400|int }}", ANYTHING),
    "jinja: slice(0)": put_sql("{{ [1] | slice(0) | list }}"),
    "jinja: division by zero": put_sql("{{ 1 / 0 }}", ANYTHING),
    "jinja: unknown filter": put_sql("{{ 1 | nothing }}"),
    "jinja: include": put_sql('{% include "x" %}'),
    "jinja: attribute of a class": put_sql('{{ "".__class__.__mro__ }}', ANYTHING),
    "jinja: half a block": put_sql("{% if %}"),
    "jinja: mistake in a table": edit(TABLE, "comment: Members", 'comment: "{% for %}{{ 1 / 0 }}" #'),
    "jinja: mistake in an expectation": write("expectations/tallow_lane.j2", "{% macro a(b %}{% endmacro %}", ANYTHING),
    # Names become arguments of a command line.
    "name with a space": name_table('"mem bers"'),
    "name with a tab": name_table('"mem\\tbers"'),
    "name with a star": name_table('"*"'),
    "name --help": name_table('"--help"'),
    "name with a comma": name_table('"members,visits"'),
    "name with NUL": name_table('"mem\\0bers"'),
    "name with a line break": name_table('"mem\\nbers"'),
    "name of 300 letters": name_table("m" * 300),
    "name with an accent": name_table("membrés"),
    "name of a domain with a space": edit("load/desk/_config.sl.yml", "name: desk", 'name: "de sk"'),
    "two tables that are one in the warehouse": write(
        "load/desk/more.sl.yml",
        "version: 1\ntable:\n  name: Members\n  pattern: m\n  attributes:\n    - {name: a, type: string}\n",
        "Members",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The result of a check: exit code, CPU seconds, peak memory in MB, and output."""

    code: int
    seconds: float
    megabytes: float
    output: str


def check(project: Path) -> Outcome:
    """Check a project in a fork, without root's right to read all files."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                resource.setrlimit(resource.RLIMIT_CPU, (120, 121))
                resource.setrlimit(resource.RLIMIT_AS, (6_000_000_000, 6_000_000_000))
                _give_up_rights()
                code = run_check(project)
                sys.stdout.flush()
                os._exit(code)
            finally:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(99)
        _, status, usage = os.wait4(child, 0)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return Outcome(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def run_check(project: Path) -> int:
    """Run ``sl-dagster check`` in this process; return its exit code."""
    from starlake_dagster_components.cli import main

    sys.argv = ["sl-dagster", "check", str(project), "--executor", "shell"]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _give_up_rights() -> None:
    """Drop root's right to read all files (capabilities 1 and 2 of Linux)."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    library.capget(header, sets)
    for number in range(3):
        sets[number] &= ~0b110
    library.capset(header, sets)


def judge(outcome: Outcome, case: Case) -> str:
    """Return the fault of a check's outcome; an empty string if it is as expected."""
    if outcome.code < 0:
        return f"ended by {signal.Signals(-outcome.code).name}"
    if "Traceback" in outcome.output or outcome.code not in (0, 1, 2):
        return f"exit code {outcome.code}, {outcome.output.strip().splitlines()[-1][:100] if outcome.output.strip() else 'nothing printed'}"
    if not re.search(case.expected, outcome.output):
        return f"does not report {case.expected}: {outcome.output.strip().splitlines()[-1][:100]}"
    if outcome.seconds > SECONDS:
        return f"more than {SECONDS:g} CPU s"
    if outcome.megabytes > MEGABYTES:
        return f"more than {MEGABYTES:g} MB"
    longest = max(map(len, outcome.output.splitlines()), default=0)
    return f"a line of {longest} characters" if longest > 3000 else ""


def run_case(case: Case) -> Outcome:
    """Check a broken copy of the example."""
    folder = Path(tempfile.mkdtemp(prefix="broken-"))
    try:
        shutil.copytree(EXAMPLE / "metadata", folder / "metadata")
        case.break_project(folder / "metadata")
        return check(folder)
    finally:
        for path in (folder / "metadata").rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Check the projects that the command line selects; return 1 if an outcome is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])  # type: ignore[union-attr]
    parser.add_argument("words", nargs="*", help="parts of names of cases; default: all")
    parser.add_argument("--show", action="store_true", help="print the output of each check")
    given = parser.parse_args()
    os.environ.update({"SL_DAGSTER_CACHE": "off", "COLUMNS": "200"})
    os.environ.pop("SL_ROOT", None)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run_check(EXAMPLE)
    gc.collect()
    gc.freeze()
    unbroken = run_case(Case(lambda _: None, ""))
    print(f"| project | CPU s | MB | found |\n|---|---|---|---|\n| unbroken | {unbroken.seconds:.2f} | {unbroken.megabytes:.0f} | |")
    wrong = 0
    outcomes = []
    for name, case in CASES.items():
        if given.words and not any(word in name for word in given.words):
            continue
        outcome = run_case(case)
        outcomes.append(outcome)
        found = judge(outcome, case)
        wrong += bool(found)
        print(f"| {name} | {outcome.seconds:.2f} | {outcome.megabytes:.0f} | {found} |", flush=True)
        if given.show:
            print(outcome.output)
    print(
        f"\n{len(outcomes)} broken projects, {wrong} with an unexpected outcome; at most {max(o.seconds for o in outcomes):.2f} CPU s, "
        f"{max(o.megabytes for o in outcomes):.0f} MB; median {sorted(o.seconds for o in outcomes)[len(outcomes) // 2]:.2f} CPU s"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
