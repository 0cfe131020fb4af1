"""Measure the embedded engine: many small commands in one process, and one large file compared with DuckDB's COPY.

python bench/engine.py [--commands 1000] [--megabytes 1000] [--memory 2GB] [--keep FOLDER]
"""

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.engine import run_command
from starlake_dagster_components.project.reader import read_project

APPLICATION = """version: 1
application:
  connectionRef: duckdb
  connections:
    duckdb:
      type: jdbc
      options: { url: "jdbc:duckdb:{{SL_ROOT}}/datasets/duckdb.db" }
"""
DOMAIN = 'version: 1\nload:\n  name: sales\n  metadata:\n    directory: "{{SL_ROOT}}/datasets/incoming/sales"\n'
ORDERS = """version: 1
table:
  name: orders
  pattern: "orders-.*.csv"
  metadata: { format: DSV, withHeader: true, separator: ";", writeStrategy: { type: %s, key: [id], timestamp: ts } }
  attributes:
    - { name: id, type: long }
    - { name: name, type: string }
    - { name: amount, type: double }
    - { name: ts, type: timestamp }
    - { name: day, type: date }
"""
LARGE = """version: 1
table:
  name: large
  pattern: "large.*.csv"
  metadata: { format: DSV, withHeader: true, separator: "," }
  attributes:
    - { name: id, type: long }
    - { name: name, type: string }
    - { name: amount, type: double }
    - { name: moment, type: timestamp }
    - { name: day, type: date }
    - { name: flag, type: boolean }
    - { name: comment, type: string }
"""
TASK = "select day, count(*) as orders, sum(amount) as amount\nfrom sales.orders\ngroup by day\n"


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@contextmanager
def open_folder(keep: str | None) -> Iterator[Path]:
    path = Path(keep or tempfile.mkdtemp(prefix="engine-bench-"))
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


def run_engine(root: Path, project: object, *argv: str) -> None:
    problems: list[str] = []
    result = run_command(
        argv,
        environ={**os.environ, "SL_ROOT": str(root)},
        out=lambda line: None,
        log=lambda level, line: problems.append(line) if level in ("warning", "error") else None,
        canceled=Canceled(),
        project=project,  # type: ignore[arg-type]
    )
    if result.exit_code or problems:
        sys.exit("\n".join([f"{' '.join(argv)}: exit {result.exit_code}", *problems]))


def measure_small_commands(root: Path, number: int) -> None:
    """Measure alternating loads and transforms, and check the final tables."""
    write(
        root,
        {
            "metadata/application.sl.yml": APPLICATION,
            "metadata/load/sales/_config.sl.yml": DOMAIN,
            "metadata/load/sales/orders.sl.yml": ORDERS % "UPSERT_BY_KEY_AND_TIMESTAMP",
            "metadata/transform/kpi/by_day.sql": TASK,
            "metadata/transform/kpi/by_day.sl.yml": "version: 1\ntask:\n  writeStrategy: { type: OVERWRITE }\n",
        },
    )
    project = read_project(root)
    stage = root / "datasets/stage/sales"
    stage.mkdir(parents=True)
    spent = {"load": 0.0, "transform": 0.0}
    began = time.time()
    for index in range(number):
        rows = "".join(f"{(index * 7 + i) % 1000};name {i};{i}.5;2024-01-01 10:00:00;2024-01-{i % 28 + 1:02}\n" for i in range(10))
        (stage / f"orders-{index}.csv").write_text("id;name;amount;ts;day\n" + rows)
        cpu = time.process_time()
        run_engine(root, project, "load", "--domains", "sales", "--tables", "orders")
        spent["load"] += time.process_time() - cpu
        cpu = time.process_time()
        run_engine(root, project, "transform", "--name", "kpi.by_day")
        spent["transform"] += time.process_time() - cpu
    wall = time.time() - began
    connection = duckdb.connect(str(root / "datasets/duckdb.db"), read_only=True)
    distinct, loads = connection.execute(
        "select (select count(*) from sales.orders), (select count(*) from audit.audit where step = 'LOAD' and success)"
    ).fetchone() or (0, 0)
    assert loads == number, loads
    total = sum(spent.values())
    print(f"{number} small loads:      {spent['load']:6.1f} CPU s ({spent['load'] / number * 1000:.1f} ms each)")
    print(f"{number} small transforms: {spent['transform']:6.1f} CPU s ({spent['transform'] / number * 1000:.1f} ms each)")
    print(f"total: {total:.1f} CPU s, {wall:.1f} s; {distinct} rows in the table")


def measure_large_file(root: Path, megabytes: int, memory: str) -> None:
    """Measure the load of a large CSV file, compared with a COPY of the same file into the same table of another database."""
    write(
        root,
        {
            "metadata/application.sl.yml": APPLICATION,
            "metadata/load/sales/_config.sl.yml": DOMAIN,
            "metadata/load/sales/large.sl.yml": LARGE,
        },
    )
    stage = root / "datasets/stage/sales"
    stage.mkdir(parents=True)
    file = stage / "large-1.csv"
    rows = megabytes * 1_000_000 // 118
    duckdb.execute(
        f"copy (select i as id, 'customer number ' || i as name, i * 1.25 as amount, "
        f"strftime(timestamp '2024-01-01' + to_seconds(i % 31536000), '%Y-%m-%d %H:%M:%S') as moment, "
        f"date '2024-01-01' + (i % 366)::int as day, i % 2 = 0 as flag, md5(i::varchar) || ' some words' as comment "
        f"from range({rows}) t(i)) to '{file}' (header, delimiter ',')"
    )
    size = file.stat().st_size / 1e6
    types = "id BIGINT, name VARCHAR, amount DOUBLE, moment TIMESTAMPTZ, day DATE, flag BOOLEAN, comment VARCHAR"
    floor = root / "floor.db"
    connection = duckdb.connect(str(floor))
    connection.execute(f"set memory_limit = '{memory}'")
    connection.execute(f"create table large ({types})")
    with file.open("rb") as content:
        while content.read(1 << 24):
            pass
    began, cpu = time.time(), time.process_time()
    connection.execute(f"copy large from '{file}' (header, delimiter ',')")
    connection.close()
    copy, copy_cpu = time.time() - began, time.process_time() - cpu
    floor.unlink()
    project = read_project(root)
    began, cpu = time.time(), time.process_time()
    run_engine(root, project, "load", "--domains", "sales")
    load, load_cpu = time.time() - began, time.process_time() - cpu
    count = duckdb.connect(str(root / "datasets/duckdb.db"), read_only=True).execute("select count(*) from sales.large").fetchone()
    assert count == (rows,), count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{size:.0f} MB CSV, {rows} rows: COPY {copy:.1f} s ({copy_cpu:.1f} CPU s), load {load:.1f} s ({load_cpu:.1f} CPU s)")
    print(f"load / COPY: {load / copy:.2f} (CPU {load_cpu / copy_cpu:.2f}); peak memory of the process {peak:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=1000)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--memory", default="2GB", help="memory that COPY may use")
    parser.add_argument("--keep", help="folder to work in, which is kept")
    options = parser.parse_args()
    with open_folder(options.keep) as root:
        if options.commands:
            measure_small_commands(root / "small", options.commands)
        if options.megabytes:
            measure_large_file(root / "large", options.megabytes, options.memory)


if __name__ == "__main__":
    main()
