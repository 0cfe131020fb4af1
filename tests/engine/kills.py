"""Kill commands of the engine at random moments, and check that no row and no file is lost or loaded twice.

Used by the tests with few kills and by ``bench/engine_kills.py`` with many.
"""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

PROJECT = {
    "metadata/application.sl.yml": """version: 1
application:
  connectionRef: duckdb
  connections:
    duckdb: { type: jdbc, options: { url: "jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db" } }
""",
    "metadata/load/sales/_config.sl.yml": 'version: 1\nload:\n  name: sales\n  metadata: { directory: "{{SL_ROOT}}/incoming" }\n',
    "metadata/load/sales/orders.sl.yml": """version: 1
table:
  name: orders
  pattern: "orders-.*.csv"
  attributes: [{ name: file, type: long }, { name: n, type: int }, { name: text, type: string }]
""",
    "metadata/load/sales/clients.sl.yml": """version: 1
table:
  name: clients
  pattern: "clients-.*.csv"
  metadata: { writeStrategy: { type: UPSERT_BY_KEY, key: [id] } }
  postsql: ["insert into sales.changes select {{SL_KILL_MARK}}"]
  attributes: [{ name: id, type: long }, { name: file, type: int }]
""",
    "metadata/transform/kpi/history.sql": "select {{ step }} as step, count(*) as orders from sales.orders",
    "metadata/transform/kpi/total.sql": "select file, count(*) as rows from sales.orders group by file",
    "metadata/transform/kpi/total.sl.yml": "version: 1\ntask:\n  writeStrategy: { type: OVERWRITE }\n",
}
ROWS = 200


def make_project(root: Path) -> None:
    for name, text in PROJECT.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{{SL_KILL_MARK}}", "1"))
    (root / "incoming").mkdir()
    (root / "datasets").mkdir()
    with duckdb.connect(str(root / "datasets/duckdb.db")) as connection:
        connection.execute("create schema sales; create table sales.changes (one int)")
        connection.execute("create table sales.orders (file bigint, n integer, text varchar)")


def deliver(root: Path, kind: str, number: int) -> None:
    """Put a file into the incoming folder atomically."""
    if kind == "orders":
        text = "file;n;text\n" + "".join(f"{number};{n};some text\n" for n in range(ROWS))
    else:
        text = "id;file\n" + "".join(f"{n % 5};{number}\n" for n in range(10))
    partial = root / f"incoming/.{kind}-{number}.part"
    partial.write_text(text)
    partial.rename(root / f"incoming/{kind}-{number}.csv")


def work(root: str, begin: int, steps: list[tuple[str, int]]) -> None:
    """Run steps, and record in a file which have begun and ended. This runs in the process that is killed."""
    from starlake_dagster_components.engine import run_command
    from starlake_dagster_components.project.reader import read_project

    folder = Path(root)
    project = read_project(folder)
    with (folder / "progress").open("a") as progress:

        def print_text(text: str) -> None:
            progress.write(f"{text}\n")
            progress.flush()

        for number, (what, detail) in enumerate(steps[begin:], begin):
            print_text(f"begin {number}")
            if what in ("orders", "clients"):
                if not _has_file(folder, what, detail):
                    deliver(folder, what, detail)
            else:
                argv = {
                    "stage": ["stage"],
                    "load": ["load", "--domains", "sales"],
                    "history": ["transform", "--name", "kpi.history", "--options", f"step={number}"],
                    "total": ["transform", "--name", "kpi.total"],
                }[what]
                errors: list[str] = []
                result = run_command(
                    argv,
                    environ={"SL_ROOT": root},
                    out=lambda line: None,
                    log=lambda level, line: errors.append(line) if level == "error" else None,  # noqa: B023
                    project=project,
                )
                if result.exit_code:
                    print_text(f"failed {number} {errors}")
            print_text(f"end {number}")


def _has_file(root: Path, kind: str, number: int) -> bool:
    return any(root.rglob(f"{kind}-{number}.csv"))


@dataclass
class Findings:
    """The results of the kills."""

    kills: int = 0
    inside: Counter[str] = field(default_factory=Counter)
    """Kind of step that was killed -> how often."""
    problems: list[str] = field(default_factory=list)
    files: int = 0
    commands: int = 0


def draw_steps(chance: random.Random, count: int) -> list[tuple[str, int]]:
    kinds = ["orders", "clients", "stage", "load", "load", "history", "total", "stage"]
    return [(chance.choice(kinds), number) for number in range(count)]


def kill_often(root: Path, kills: int, seed: int) -> Findings:
    """Run random steps, and kill the process repeatedly. Then run the remaining steps, and check the result.

    The moment of a kill does not depend on the machine's speed: it comes after a random number of steps has begun or ended, and a random
    part of a step's time later.
    """
    chance = random.Random(seed)
    make_project(root)
    steps = draw_steps(chance, 40 * kills)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["starlake_dagster_components.engine.run", "duckdb", "kills"])
    found = Findings()
    begin = 0
    while found.kills < kills and begin < len(steps):
        process = context.Process(target=work, args=(str(root), begin, steps))
        before = _count_lines(root)
        process.start()
        lines, part = chance.randint(1, 11), chance.random()
        first: float | None = None
        while (passed := _count_lines(root) - before) < lines and process.is_alive():
            if passed and first is None:
                first = time.monotonic()
            time.sleep(0.001)
        if first is None:
            time.sleep(0.05 * part)
        else:
            time.sleep((time.monotonic() - first) / max(passed - 1, 1) * 2 * part)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        found.kills += 1
        ended, begun = _read_progress(root, found)
        if begun is not None:
            found.inside[steps[begun][0]] += 1
            # The interrupted step is repeated, unless it must show whether it was done.
            begin = begun + (steps[begun][0] == "history")
        else:
            begin = ended + 1
        _look(root, found)
        process.close()
    rest = [*steps[:begin], ("stage", 0), ("load", 0), ("total", 0)]
    process = context.Process(target=work, args=(str(root), begin, rest))
    process.start()
    process.join()
    _read_progress(root, found)
    found.commands = begin + 3
    _look_at_the_end(root, rest, found)
    return found


def _count_lines(root: Path) -> int:
    path = root / "progress"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _read_progress(root: Path, found: Findings) -> tuple[int, int | None]:
    """Return the last step that ended, and the one that has begun but not ended."""
    ended, begun = -1, None
    text = (root / "progress").read_text() if (root / "progress").exists() else ""
    for line in text.splitlines():
        word, number = [*line.split(), "", ""][:2]
        if word == "failed":
            problem = f"step failed: {line}"
            if problem not in found.problems:
                found.problems.append(problem)
        elif word == "begin" and number.isdigit():
            begun = int(number)
        elif word == "end" and number.isdigit():
            ended, begun = int(number), None
    return ended, begun


def _look(root: Path, found: Findings) -> None:
    """Check, after a kill, that every file is in one place, and that all or none of its rows are loaded."""
    places = _find_places(root)
    with duckdb.connect(str(root / "datasets/duckdb.db")) as connection:
        rows = dict(connection.execute("select file, count(*) from sales.orders group by file").fetchall())
        noted = set()
        if connection.execute("select 1 from duckdb_tables() where schema_name = 'starlake_dagster_engine'").fetchall():
            noted = {Path(path).name for (path,) in connection.execute("select path from starlake_dagster_engine.loaded_files").fetchall()}
    for name, folders in places.items():
        if len(folders) != 1:
            found.problems.append(f"{name} is in {folders}")
        if name.startswith("orders"):
            count = rows.get(int(name[7:-4]), 0)
            archived = folders == ["archive"] or name in noted
            if count not in (0, ROWS) or archived != (count == ROWS):
                found.problems.append(f"{name}: {count} rows, file in {folders}, noted: {name in noted}")


def _find_places(root: Path) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*-*.csv")):
        places.setdefault(path.name, []).append(path.parent.parent.name if path.parent.name == "sales" else path.parent.name)
    return places


def _look_at_the_end(root: Path, steps: list[tuple[str, int]], found: Findings) -> None:
    """Check, at the end, that all files are archived, and that each row and each finished transform is there once."""
    files = {(kind, number) for kind, number in steps if kind in ("orders", "clients")}
    found.files = len(files)
    places = _find_places(root)
    for kind, number in sorted(files):
        folders = places.get(f"{kind}-{number}.csv")
        if folders != ["archive"]:
            found.problems.append(f"in the end {kind}-{number}.csv is in {folders}")
    with duckdb.connect(str(root / "datasets/duckdb.db"), read_only=True) as connection:
        rows = dict(connection.execute("select file, count(*) from sales.orders group by file").fetchall())
        changes = connection.execute("select count(*) from sales.changes").fetchone()
        total = dict(connection.execute("select file, rows from kpi.total").fetchall())
        keys = connection.execute("select count(*), count(distinct id) from sales.clients").fetchone() if changes and changes[0] else (0, 0)
        has_history = connection.execute("select 1 from duckdb_tables() where table_name = 'history'").fetchall()
        history = dict(connection.execute("select step, count(*) from kpi.history group by step").fetchall()) if has_history else {}
        leftover = connection.execute("select schema_name from duckdb_schemas() where schema_name = 'starlake_dagster_engine'").fetchall()
    wanted = {number: ROWS for kind, number in files if kind == "orders"}
    if rows != wanted:
        found.problems.append(f"rows lost or twice: {sorted(set(rows.items()) ^ set(wanted.items()))}")
    if total != wanted:
        found.problems.append("kpi.total is not that of sales.orders")
    clients = sum(kind == "clients" for kind, _ in files)
    if changes != (clients,):
        found.problems.append(f"{clients} files of clients, but {changes} runs of their postsql")
    if keys and keys[0] != keys[1]:
        found.problems.append("a key of clients is there twice")
    if leftover:
        found.problems.append("the journal is still there")
    ended = {int(line.split()[1]) for line in (root / "progress").read_text().splitlines() if line.startswith("end ")}
    for number, (kind, _) in enumerate(steps):
        times = history.get(number, 0)
        if kind == "history" and (times > 1 or (number in ended and times != 1)):
            found.problems.append(f"transform of step {number} is there {times} times")
