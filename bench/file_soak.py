"""Drop files while a daemon runs and is killed, and report which of them were lost or loaded twice.

python bench/file_soak.py [--files 60] [--seconds 60] [--kills 1] [--seed 1] [--keep FOLDER]

Two thirds of the files belong to a domain with ack files. They arrive one after the other, half of them are written slowly, and their ack
files come last. The others arrive in bursts in a domain without ack files, and are renamed into place or written slowly. A burst comes
when the files of the previous one have been taken.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

REPOSITORY = Path(__file__).resolve().parent.parent
ROWS = 3
"""Rows in each file."""

APPLICATION = """
version: 1
application:
  connectionRef: duckdb
  loader: native
  connections:
    duckdb:
      type: jdbc
      options:
        url: "jdbc:duckdb:{root}/datasets/duckdb.db"
        driver: org.duckdb.DuckDBDriver
  dagRef:
    load: loads
"""
DAG = """
version: 1
dag:
  template: load/dagster__scheduled_table__shell.py.j2
  filename: "{{domain}}_tables.py"
  options:
    pre_load_strategy: imported
    pre_load_poke_interval: "3"
"""
DOMAIN = """
version: 1
load:
  name: %(domain)s
  metadata:
    directory: "%(incoming)s"
    format: DSV
    withHeader: true
    separator: ";"
%(ack)s
"""
TABLE = """
version: 1
table:
  name: {table}
  pattern: "{table}.*.csv"
  metadata:
    writeStrategy:
      type: APPEND
  attributes:
    - {{name: file, type: long}}
    - {{name: row, type: long}}
"""


@dataclass
class Soak:
    """A soak test: a project, a Dagster home, and the dropped files."""

    root: Path
    files: int
    seconds: float
    rng: random.Random
    dropped: Counter[str] = field(default_factory=Counter)

    def make_project(self) -> None:
        project = self.root / "project"
        texts = {"application.sl.yml": APPLICATION.format(root=project), "dags/loads.sl.yml": DAG}
        for domain, ack in (("acked", "    ack: ok"), ("plain", "")):
            incoming = self.get_incoming(domain)
            incoming.mkdir(parents=True)
            texts[f"load/{domain}/_config.sl.yml"] = DOMAIN % {"domain": domain, "incoming": incoming, "ack": ack}
            for table in ("odd", "even"):
                texts[f"load/{domain}/{table}.sl.yml"] = TABLE.format(table=table)
        for name, text in texts.items():
            path = project / "metadata" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.lstrip("\n"), encoding="utf-8")
        home = self.root / "home"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nrun_monitoring: {enabled: true}\n", encoding="utf-8")
        (self.root / "workspace.yaml").write_text(
            "load_from:\n  - python_module: starlake_dagster_components.code_location\n", encoding="utf-8"
        )

    def get_incoming(self, domain: str) -> Path:
        return self.root / "project" / "datasets" / "incoming" / domain

    def start_daemon(self) -> "subprocess.Popen[bytes]":
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.root / "home"),
            "PYTHONPATH": str(REPOSITORY),
            "SL_ROOT": str(self.root / "project"),
            "SL_DAGSTER_EXECUTOR": "duckdb",
            "SL_DAGSTER_FILE_SENSORS": "on",
            "SL_DAGSTER_CACHE": str(self.root / "cache"),
        }
        with (self.root / "daemon.log").open("ab") as log:
            command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(self.root / "workspace.yaml")]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.root)

    # ------------------------------------------------------------------------------------------------------------ files

    def write_slowly(self, path: Path, number: int) -> None:
        with path.open("w", encoding="utf-8") as file:
            for line in self.lines(number):
                file.write(line)
                file.flush()
                time.sleep(self.rng.uniform(0, 1.5))

    def lines(self, number: int) -> list[str]:
        return ["file;row\n", *(f"{number};{row}\n" for row in range(ROWS))]

    def name(self, number: int) -> str:
        return f"{'odd' if number % 2 else 'even'}-{number:05}.csv"

    def drop_acked(self, numbers: list[int]) -> None:
        """Drop files at random times, each followed by its ack file."""
        folder = self.get_incoming("acked")
        writers = []
        for number in numbers:
            time.sleep(self.rng.expovariate(len(numbers) / self.seconds))
            slow = self.rng.random() < 0.5

            def write(number: int = number, slow: bool = slow) -> None:
                path = folder / self.name(number)
                if slow:
                    self.write_slowly(path, number)
                else:
                    path.write_text("".join(self.lines(number)), encoding="utf-8")
                path.with_suffix(".ok").touch()

            self.dropped["slow, with ack" if slow else "at once, with ack"] += 1
            writers.append(threading.Thread(target=write))
            writers[-1].start()
        for writer in writers:
            writer.join()

    def drop_plain(self, numbers: list[int]) -> None:
        """Drop files in bursts. Without an ack file, a file is complete when it no longer changes."""
        folder = self.get_incoming("plain")
        waiting = list(numbers)
        while waiting:
            burst = [waiting.pop() for _ in range(min(len(waiting), self.rng.randint(3, 25)))]
            writers = [threading.Thread(target=self.drop_one, args=(folder, number)) for number in burst]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            while any(folder.glob("*.csv")):
                time.sleep(0.5)
            time.sleep(self.rng.uniform(0, 5))

    def drop_one(self, folder: Path, number: int) -> None:
        time.sleep(self.rng.uniform(0, 2))
        path = folder / self.name(number)
        if self.rng.random() < 0.5:
            self.dropped["slow, without ack"] += 1
            self.write_slowly(path, number)
            return
        self.dropped["renamed into place"] += 1
        hidden = folder / f".{path.name}.part"
        self.write_slowly(hidden, number)
        hidden.rename(path)

    # ------------------------------------------------------------------------------------------------------------ result

    def count_rows(self) -> Counter[int]:
        """Return the number of rows of each file in the tables."""
        found: Counter[int] = Counter()
        database = self.root / "project" / "datasets" / "duckdb.db"
        if not database.exists():
            return found
        with duckdb.connect(str(database), read_only=True) as connection:
            for domain in ("acked", "plain"):
                for table in ("odd", "even"):
                    try:
                        rows = connection.execute(f"select file, count(*) from {domain}.{table} group by 1").fetchall()
                    except duckdb.CatalogException:
                        continue
                    found.update({number + (1_000_000 if domain == "plain" else 0): count for number, count in rows})
        return found

    def list_left(self) -> list[str]:
        datasets = self.root / "project" / "datasets"
        areas = [datasets / "incoming", datasets / "stage", datasets / "ingesting"]
        return [str(p.relative_to(datasets)) for area in areas if area.exists() for p in area.rglob("*.csv")]


def count_runs(home: Path) -> Counter[str]:
    import dagster as dg

    with dg.DagsterInstance.from_config(str(home)) as instance:
        return Counter(f"{run.job_name} {run.status.value}" for run in instance.get_runs())


def run_soak(root: Path, files: int, seconds: float, kills: int, seed: int) -> int:
    run = Soak(root, files, seconds, random.Random(seed))
    run.make_project()
    plain = files // 3
    droppers = [
        threading.Thread(target=run.drop_acked, args=(list(range(files - plain)),)),
        threading.Thread(target=run.drop_plain, args=(list(range(plain)),)),
    ]
    daemon = run.start_daemon()
    began = time.monotonic()
    try:
        for dropper in droppers:
            dropper.start()
        for number in range(kills):
            time.sleep(max(0.0, began + seconds * (number + 1) / (kills + 1) - time.monotonic()))
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
            print(f"{time.monotonic() - began:.0f} s: daemon killed", flush=True)
            daemon = run.start_daemon()
        for dropper in droppers:
            dropper.join()
        print(f"{time.monotonic() - began:.0f} s: all files dropped", flush=True)
        quiet = time.monotonic()
        while run.list_left() and time.monotonic() - quiet < 600:
            time.sleep(2)
        time.sleep(10)
        print(f"{time.monotonic() - began:.0f} s: folders are empty", flush=True)
    finally:
        daemon.terminate()
        daemon.wait()
    expected = {*range(files - plain), *(1_000_000 + number for number in range(plain))}
    counts = run.count_rows()
    lost, wrong = sorted(expected - counts.keys()), {number: count for number, count in counts.items() if count != ROWS}
    print(f"seed {seed}: {files} files ({', '.join(f'{n} {kind}' for kind, n in sorted(run.dropped.items()))}), {kills} kills")
    print(f"runs: {', '.join(f'{n} {name}' for name, n in sorted(count_runs(root / 'home').items()))}")
    once = len(expected) - len(lost) - len(wrong)
    print(f"loaded exactly once: {once}; lost: {len(lost)} {lost[:10]}; partly or twice: {len(wrong)} {wrong}")
    print(f"left in folders: {run.list_left()[:10]}")
    return 1 if lost or wrong or run.list_left() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", help="folder to work in, which is kept")
    options = parser.parse_args()
    root = Path(options.keep or tempfile.mkdtemp(prefix="file-soak-"))
    root.mkdir(parents=True, exist_ok=True)
    code = run_soak(root, options.files, options.seconds, options.kills, options.seed)
    if not options.keep:
        shutil.rmtree(root, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
