"""Compare an upsert of the embedded engine with DuckDB's MERGE: by default, 1,000,000 rows into 5,000,000.

    python bench/engine_upsert.py [--rows 1000000] [--into 5000000] [--runs 5] [--keep FOLDER]

Each run is a separate process with a fresh copy of the database, and runs of both programs alternate. ``load`` upserts a CSV file,
``transform`` a table of the database. The output has the medians of CPU seconds, wall seconds and peak memory, and the median of the
ratios of each pair of runs. Both programs use all processors, and other work on the machine changes their CPU time by up to a half: the
lowest figures show what the work itself costs.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

APPLICATION = """version: 1
application:
  connectionRef: duckdb
  connections:
    duckdb:
      type: jdbc
      options: { url: "jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db" }
"""
ORDERS = """version: 1
table:
  name: orders
  pattern: "orders.*.csv"
  metadata: { format: DSV, withHeader: true, separator: ",", writeStrategy: { type: UPSERT_BY_KEY, key: [id] } }
  attributes:
    - { name: id, type: long }
    - { name: name, type: string }
    - { name: amount, type: double }
    - { name: day, type: date }
"""
DOMAIN = 'version: 1\nload:\n  name: sales\n  metadata: { directory: "{{SL_ROOT}}/datasets/incoming/sales" }\n'
TASK = "version: 1\ntask:\n  domain: sales\n  table: orders\n  writeStrategy: { type: UPSERT_BY_KEY, key: [id] }\n"
SELECT = """SELECT {id} AS id, 'customer ' || i AS name, (i * 1.25)::DOUBLE AS amount, DATE '2024-01-01' + (i % 366)::INT AS day
FROM range({rows}) t(i)"""
MERGE = """MERGE INTO sales.orders AS t USING ({source}) AS s ON t.id = s.id
WHEN MATCHED THEN UPDATE SET name = s.name, amount = s.amount, day = s.day
WHEN NOT MATCHED THEN INSERT (id, name, amount, day) VALUES (s.id, s.name, s.amount, s.day)"""
TYPES = "{'id': 'BIGINT', 'name': 'VARCHAR', 'amount': 'DOUBLE', 'day': 'DATE'}"


def prepare(folder: Path, rows: int, into: int) -> None:
    """Create the project, its file, and the database with which each run begins."""
    files = {
        "metadata/application.sl.yml": APPLICATION,
        "metadata/load/sales/_config.sl.yml": DOMAIN,
        "metadata/load/sales/orders.sl.yml": ORDERS,
        "metadata/transform/sales/upsert.sql": "select * from staging.orders",
        "metadata/transform/sales/upsert.sl.yml": TASK,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    # Half of the rows replace existing ones, and half are new. They are not in the order of the table.
    shuffled = f"((i * 7919) % {rows}) + {into - rows // 2}"
    with duckdb.connect(str(folder / "start.db")) as connection:
        connection.execute("CREATE SCHEMA sales; CREATE SCHEMA staging")
        connection.execute(f"CREATE TABLE sales.orders AS {SELECT.format(id='i', rows=into)}")
        connection.execute(f"CREATE TABLE staging.orders AS {SELECT.format(id=shuffled, rows=rows)}")
        connection.execute(f"COPY staging.orders TO '{folder}/orders-1.csv' (HEADER)")


def run_once(folder: Path, kind: str, program: str) -> None:
    """Do one upsert into the database ``datasets/duckdb.db``."""
    if program == "merge":
        file = folder / "datasets/stage/sales/orders-1.csv"
        source = f"SELECT * FROM read_csv('{file}', header = true, auto_detect = false, delim = ',', columns = {TYPES})"
        with duckdb.connect(str(folder / "datasets/duckdb.db")) as connection:
            connection.execute(MERGE.format(source=source if kind == "load" else "SELECT * FROM staging.orders"))
        return
    from starlake_dagster_components.engine import run_command

    argv = ["load", "--domains", "sales"] if kind == "load" else ["transform", "--name", "sales.upsert"]
    result = run_command(argv, environ={**os.environ, "SL_ROOT": str(folder)}, out=lambda line: None, log=lambda level, line: None)
    if result.exit_code:
        sys.exit(result.reason)


def measure(folder: Path, kind: str, program: str) -> tuple[float, float, float]:
    """Return the CPU seconds, wall seconds and peak memory in MB of a run in a separate process."""
    shutil.rmtree(folder / "datasets", ignore_errors=True)
    stage = folder / "datasets/stage/sales"
    stage.mkdir(parents=True)
    shutil.copy(folder / "start.db", folder / "datasets/duckdb.db")
    shutil.copy(folder / "orders-1.csv", stage)
    os.sync()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        # Installed packages have their bytecode, too: without it each run would compile the engine.
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        os.execve(sys.executable, [sys.executable, __file__, "--keep", str(folder), "--once", kind, program], environ)
    _, status, used = os.wait4(child, 0)
    wall = time.monotonic() - began
    if status:
        sys.exit(f"{kind} by {program} failed")
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024


def check(folder: Path, rows: int, into: int) -> None:
    """Exit with a message if the table is not as it must be after the upsert."""
    with duckdb.connect(str(folder / "datasets/duckdb.db"), read_only=True) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT id) FROM sales.orders").fetchone()
        expected = into + rows - rows // 2
        missing = connection.execute("SELECT count(*) FROM (FROM staging.orders EXCEPT FROM sales.orders)").fetchone()
    if found != (expected, expected) or missing != (0,):
        sys.exit(f"the table has {found}, and lacks {missing}")


def compare(folder: Path, rows: int, into: int, runs: int, kinds: Sequence[str]) -> None:
    """Measure both programs alternately, and print the medians."""
    for kind in kinds:
        found: dict[str, list[tuple[float, float, float]]] = {"engine": [], "merge": []}
        for run in range(runs + 1):
            for program, figures in found.items():
                used = measure(folder, kind, program)
                check(folder, rows, into)
                if run:  # the first run fills caches
                    figures.append(used)
        medians = {program: [statistics.median(one) for one in zip(*figures, strict=True)] for program, figures in found.items()}
        best = {program: [min(one) for one in zip(*figures, strict=True)] for program, figures in found.items()}
        for program, (cpu, wall, memory) in medians.items():
            least = f"(least {best[program][0]:5.2f} CPU s {best[program][1]:5.2f} s)"
            print(f"{kind:9} {program:6} {cpu:6.2f} CPU s {wall:6.2f} s {memory:6.0f} MB {least}")
        ratios = [statistics.median(a[i] / b[i] for a, b in zip(found["engine"], found["merge"], strict=True)) for i in range(3)]
        print(f"{kind:9} ratio  {ratios[0]:6.2f} CPU   {ratios[1]:6.2f}   {ratios[2]:6.2f} memory", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--into", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kinds", nargs="*", default=["load", "transform"], choices=["load", "transform"])
    parser.add_argument("--keep", type=Path, help="folder to work in, which is kept")
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        run_once(options.keep, *options.once)
        return
    folder = options.keep or Path(tempfile.mkdtemp(prefix="engine-upsert-"))
    try:
        if not (folder / "start.db").exists():
            folder.mkdir(parents=True, exist_ok=True)
            prepare(folder, options.rows, options.into)
        compare(folder, options.rows, options.into, options.runs, options.kinds)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
