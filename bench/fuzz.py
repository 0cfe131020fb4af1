"""Fuzz the reading of projects: change files of real projects at random, and read them. ``make fuzz N=20000``.

Each input is read in a fork of a process that has imported everything, with limits of memory and time. Allowed results are a plan,
problems, and errors of this package. Everything else is a finding: another exception, a crash, or too much time or memory.

    python bench/fuzz.py 20000                          inputs with the seeds 0 to 19999
    python bench/fuzz.py 1 --seed 1234 --keep           one input again; its project is kept
    python bench/fuzz.py 500 --projects some/folder     start from the projects in this folder
"""

import argparse
import gc
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
MEMORY = 1_000_000_000
"""Bytes of resident memory that reading a project may use."""
SECONDS = 30
"""CPU seconds that reading a project may take."""

Change = Callable[[random.Random, Path], None]

_TOKENS = (
    "{{", "}}", "{%", "%}", "${", "}", "{{ x }}", "{{ sl_date }}", "{% for i in range(100000000) %}x{% endfor %}",
    "{% macro m(a) %}{{ m(a) }}{% endmacro %}{{ m(1) }}", "{{ 'x' * 1000000000 }}", "{% call f() %}{% endcall %}",
    "{{ 'a' | truncate(1) }}", "{{ [1] | slice(0) }}", "{{ 9 ** 999999 }}", "{% include 'x' %}", "{% if %}", "/*", "*/", "--", "'",
    '"', "`", ";", "\0", "\ufeff", "\u2028", "é", "\t", "\r", "null", "true", "[]", "{}", "[", "{", "- ", ": ", "? ",
    "!!python/object:os.system", "*a", "&a", "-1", "1e400", "99999999999999999999", "0x", "2026-13-45", "0 0 31 2 *", "* * * * * *",
    "@daily", "../../etc/passwd", "select", "from", "with recursive", "union all", ")", "(", "(a+)+$", "[[:alpha:]]", "\\", "%", "$",
    "~", "None", "--help", ",", "SELECT * FROM a.b.c.d", "group by all", "identifier('a.b')",
)  # fmt: skip


def _pick_file(chance: random.Random, root: Path) -> Path | None:
    files = [path for path in sorted((root / "metadata").rglob("*")) if path.is_file() and not path.is_symlink()]
    return chance.choice(files) if files else None


def _edit(edit: Callable[[random.Random, str], str]) -> Change:
    """Return a change that edits the text of a file."""

    def change(chance: random.Random, root: Path) -> None:
        path = _pick_file(chance, root)
        if path is not None:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            path.write_text(edit(chance, text), encoding="utf-8", errors="surrogateescape")

    change.__name__ = edit.__name__
    return change


def insert_token(chance: random.Random, text: str) -> str:
    """Insert a token at a random position."""
    at = chance.randint(0, len(text))
    return text[:at] + chance.choice(_TOKENS) + text[at:]


def replace_value(chance: random.Random, text: str) -> str:
    """Replace the value after a colon."""
    lines = text.split("\n")
    places = [number for number, line in enumerate(lines) if ": " in line]
    if places:
        number = chance.choice(places)
        lines[number] = lines[number].split(": ")[0] + ": " + chance.choice(_TOKENS)
    return "\n".join(lines)


def delete_line(chance: random.Random, text: str) -> str:
    """Delete a line."""
    lines = text.split("\n")
    del lines[chance.randrange(len(lines))]
    return "\n".join(lines)


def repeat_lines(chance: random.Random, text: str) -> str:
    """Repeat a part of the text many times."""
    lines = text.split("\n")
    start = chance.randrange(len(lines))
    part = lines[start : start + chance.randint(1, 10)]
    return "\n".join([*lines[:start], *part * chance.choice((1, 2, 50)), *lines[start:]])


def indent_line(chance: random.Random, text: str) -> str:
    """Indent or unindent a line."""
    lines = text.split("\n")
    number = chance.randrange(len(lines))
    lines[number] = lines[number].lstrip() if chance.random() < 0.5 else "  " + lines[number]
    return "\n".join(lines)


def cut_text(chance: random.Random, text: str) -> str:
    """Truncate the text."""
    return text[: chance.randint(0, len(text))]


def swap_characters(chance: random.Random, text: str) -> str:
    """Replace some characters."""
    characters = list(text)
    for _ in range(min(len(characters), chance.randint(1, 5))):
        characters[chance.randrange(len(characters))] = chr(
            chance.choice((0, 9, 10, 32, 39, 123, 125, 233, 0x1F600, chance.randint(33, 126)))
        )
    return "".join(characters)


def nest_deeply(chance: random.Random, text: str) -> str:
    """Add something that is nested deeply."""
    depth = chance.choice((50, 500, 5000, 50_000))
    opening, closing = chance.choice(
        (("[", "]"), ("{a: ", "}"), ("(", ")"), ("{{ (", ") }}"), ("{% if a %}", "{% endif %}"), ("case when ", " end"))
    )
    return f"{text}\n{chance.choice(('x: ', 'select ', ''))}{opening * depth}1{closing * depth}\n"


def make_long(chance: random.Random, text: str) -> str:
    """Add something that is very long."""
    piece = chance.choice(("a", "a, ", "'", "/*", "x: 1\n", "select 1 union all ", "{{a}}", "-- \n", "a.b, ", "(", "\\", "$$"))
    return text + piece * chance.choice((1000, 30_000, 300_000))


def double_variables(chance: random.Random, root: Path) -> None:
    """Add variables that double each other."""
    number, copies = chance.choice(((7, 30), (30, 2), (3, 1000)))
    lines = ["  V0: xxxxxxxxxx"]
    for one in range(1, number):
        reference = f"{{{{V{one - 1}}}}}"
        lines.append(f'  V{one}: "{reference * copies}"')
    path = root / "metadata" / chance.choice(("env.sl.yml", "env.DEV.sl.yml"))
    path.write_text("version: 1\nenv:\n" + "\n".join(lines) + "\n", encoding="utf-8")
    target = _pick_file(chance, root)
    if target is not None and target != path:
        target.write_text(
            insert_token(chance, target.read_text(encoding="utf-8", errors="replace")) + f"\n# {{{{V{number - 1}}}}}\n", encoding="utf-8"
        )


def put_odd_entry(chance: random.Random, root: Path) -> None:
    """Replace a file or folder with something else, such as a pipe or a link."""
    path = _pick_file(chance, root)
    if path is None:
        return
    target = path if chance.random() < 0.7 else path.parent
    if target == root / "metadata":
        return
    kind = chance.choice(("pipe", "loop", "outside", "folder", "empty", "unreadable", "device"))
    if kind == "unreadable":
        target.chmod(0)
        return
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    if kind == "pipe":
        os.mkfifo(target)
    elif kind in ("loop", "outside", "device"):
        target.symlink_to({"loop": target.name, "outside": "/", "device": "/dev/zero"}[kind])
    elif kind == "folder":
        target.mkdir()
    else:
        target.write_bytes(b"")


def rename_file(chance: random.Random, root: Path) -> None:
    """Rename a file."""
    path = _pick_file(chance, root)
    if path is not None:
        odd = ("a b", "a,b", "--help", "*", "é", "A" * 200, "x.y", "_", "con", ".hidden", "a\tb", "Orders", "a'b", "$x", "{{x}}")
        ending = path.name[path.name.index(".") :] if "." in path.name[1:] else ""
        path.rename(path.with_name(chance.choice(odd) + ending))


def merge_files(chance: random.Random, root: Path) -> None:
    """Replace a file with another one, or append the other one to it."""
    one, other = _pick_file(chance, root), _pick_file(chance, root)
    if one is not None and other is not None:
        one.write_bytes(other.read_bytes() if chance.random() < 0.5 else one.read_bytes() + other.read_bytes())


CHANGES: Sequence[Change] = (
    *(
        _edit(e)
        for e in (insert_token, replace_value, delete_line, repeat_lines, indent_line, cut_text, swap_characters, nest_deeply, make_long)
    ),
    double_variables,
    put_odd_entry,
    rename_file,
    merge_files,
)


@dataclass(frozen=True)
class Outcome:
    """The result of an input.

    Attributes:
        finding: the fault; empty if there is none.
        seconds: CPU seconds.
        memory: peak of resident memory in bytes.
    """

    finding: str
    seconds: float
    memory: int


def make_input(seed: int, projects: Sequence[Path], root: Path) -> list[str]:
    """Write the project of a seed; return the names of the changes."""
    chance = random.Random(seed)
    shutil.copytree(chance.choice(projects) / "metadata", root / "metadata", symlinks=True)
    names = []
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        change = chance.choice(CHANGES)
        try:
            change(chance, root)
        except OSError as error:
            names.append(f"({change.__name__}: {error.strerror})")
        else:
            names.append(change.__name__)
    return names


def read_input(root: Path, report: int) -> None:
    """Read a project in this process, and write a finding to a file descriptor."""
    from starlake_dagster_components.definitions.build import prepare_graph
    from starlake_dagster_components.definitions.inspect.summary import summarize_project
    from starlake_dagster_components.errors import StarlakeError
    from starlake_dagster_components.settings import Settings

    settings = Settings(cache="off", executor="shell", on_error="fail")
    try:
        _, graph, problems = prepare_graph(root, settings)
        longest = max((len(problem.message) for problem in problems), default=0)
        if longest > 3000:
            os.write(report, f"a message of {longest} characters".encode())
        json.dumps(summarize_project(graph, settings, problems))
    except StarlakeError:
        pass
    except BaseException:  # noqa: BLE001 - any exception is a finding
        os.write(report, traceback.format_exc()[-4000:].encode("utf-8", "backslashreplace"))


def prepare_forks(projects: Sequence[Path]) -> None:
    """Read the unchanged projects in this process, so that modules are imported once, not in every fork."""
    import sqlglot.dialects.duckdb  # noqa: F401

    nothing = os.open(os.devnull, os.O_WRONLY)
    for project in projects:
        read_input(project, nothing)
    os.close(nothing)
    gc.collect()
    gc.freeze()


def run_input(root: Path) -> Outcome:
    """Read a project in a fork with limits."""
    out, report = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
            resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY, 4 * MEMORY))
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nothing, descriptor)
            read_input(root, report)
        finally:
            os._exit(0)
    os.close(report)
    end = time.monotonic() + 20 * SECONDS
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    with os.fdopen(out, "rb") as pipe:
        finding = pipe.read().decode()
    seconds, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    code = os.waitstatus_to_exitcode(status)
    if code:
        finding = f"ended by {signal.Signals(-code).name if code < 0 else code} after {seconds:.1f} CPU s. {finding}"
    elif memory > MEMORY:
        finding = f"{memory / 1e6:.0f} MB of memory. {finding}"
    return Outcome(finding, seconds, memory)


def main() -> int:
    """Run the inputs that the command line selects; return 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])  # type: ignore[union-attr]
    parser.add_argument("number", type=int, nargs="?", default=1000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--projects", type=Path, action="append", help="folder with projects; default: examples/")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all inputs, not only of findings")
    parser.add_argument("--workers", type=int, default=1, help="processes that read at the same time")
    given = parser.parse_args()
    projects = sorted(p.parent for folder in given.projects or [REPOSITORY / "examples"] for p in folder.rglob("metadata") if p.is_dir())
    for number in range(1, given.workers):
        if os.fork() == 0:
            given.seed += number
            break
    prepare_forks(projects)
    findings: Counter[str] = Counter()
    slowest, largest = Outcome("", 0, 0), Outcome("", 0, 0)
    began = time.monotonic()
    seeds = range(given.seed, given.seed + given.number, given.workers)
    for done, seed in enumerate(seeds, 1):
        root = Path(tempfile.mkdtemp(prefix=f"fuzz-{seed}-"))
        changes = make_input(seed, projects, root)
        outcome = run_input(root)
        slowest, largest = max(slowest, outcome, key=lambda o: o.seconds), max(largest, outcome, key=lambda o: o.memory)
        if outcome.finding:
            last = outcome.finding.strip().splitlines()[-1][:160]
            findings[last] += 1
            print(f"seed {seed}: {', '.join(changes)}: {last}\n  {root}", flush=True)
        if not outcome.finding and not given.keep:
            for path in root.rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o700)
            shutil.rmtree(root, ignore_errors=True)
        elif given.keep:
            print(f"seed {seed}: {', '.join(changes)}: {root}")
        if done % 500 == 0 or done == len(seeds):
            rate = done / (time.monotonic() - began)
            print(
                f"{done} inputs, {sum(findings.values())} findings, {rate:.1f} a second; at most {slowest.seconds:.1f} CPU s, "
                f"{largest.memory / 1e6:.0f} MB",
                flush=True,
            )
    return int(bool(findings))


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    sys.exit(main())
