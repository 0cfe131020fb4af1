"""Soak test: run a real instance while files arrive and faults happen. ``make soak SOAK_MINUTES=30``.

The project has a load job that runs every minute, a load job with a file sensor, and a transform job with a sensor on both. A code
server, the daemon and the web server run as separate processes. Faults happen at random: the worker of a run, the daemon, the code server
or the web server is killed, the database is locked, its disk is full, or a file of the project is edited and reloaded.

At the end, every file must have been loaded exactly once, the last transform must have run after the last load, and no processes, locks,
concurrency slots or unfinished runs may be left. The memory of the services at the beginning and at the end is printed.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

REPOSITORY = Path(__file__).resolve().parent.parent
ROWS = 5
"""Rows in each file."""

FILES: Mapping[str, str] = {
    "application.sl.yml": """
version: 1
application:
  connectionRef: duckdb
  loader: native
  connections:
    duckdb: {type: jdbc, options: {url: "jdbc:duckdb:{{SL_ROOT}}/datasets/soak.db", driver: org.duckdb.DuckDBDriver}}
""",
    "dags/minutes.sl.yml": """
version: 1
dag:
  template: load/dagster__scheduled_table__shell.py.j2
  filename: "{{domain}}_minutes.py"
  options: {pre_load_strategy: imported, pre_load_sensor: "false", retries: "1", retry_delay: "1"}
""",
    "dags/arrivals.sl.yml": """
version: 1
dag:
  template: load/dagster__scheduled_table__shell.py.j2
  filename: "{{domain}}_arrivals.py"
  options: {pre_load_strategy: imported, pre_load_sensor: "true", pre_load_poke_interval: "5"}
""",
    "dags/tasks.sl.yml": """
version: 1
dag:
  template: transform/dagster__scheduled_task__shell.py.j2
  filename: "{{domain}}_tasks.py"
  options: {dataset_triggering_strategy: any}
""",
    "transform/kpi/totals.sl.yml": "version: 1\ntask: {dagRef: tasks, writeStrategy: {type: OVERWRITE}}\n",
    "transform/kpi/totals.sql": "select (select count(*) from clock.ticks) as ticks, (select count(*) from mail.letters) as letters\n",
}
TABLES = (("clock", "ticks", "minutes"), ("mail", "letters", "arrivals"))


@dataclass
class Soak:
    """A soak test.

    Attributes:
        root: folder of the project and the instance.
        chance: the random number generator.
        dropped: domain -> numbers of the files that arrived.
        faults: number of faults by name.
        services: processes by name.
        memory: name of a service -> its resident memory in bytes over time.
        mounted: whether the datasets are on a disk of limited size.
    """

    root: Path
    chance: random.Random
    dropped: dict[str, list[int]] = field(default_factory=lambda: {"clock": [], "mail": []})
    faults: Counter[str] = field(default_factory=Counter)
    services: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    memory: dict[str, list[int]] = field(default_factory=dict)
    mounted: bool = False

    def prepare(self) -> None:
        """Write the project and the instance."""
        project = self.project
        for name, text in FILES.items():
            self.write(name, text)
        for domain, table, dag in TABLES:
            schedule = "    schedule: '* * * * *'\n" if domain == "clock" else ""
            self.write(
                f"load/{domain}/_config.sl.yml",
                f"version: 1\nload:\n  name: {domain}\n  metadata:\n    directory: '{self.get_incoming(domain)}'\n"
                f"    dagRef: {dag}\n{schedule}"
                "    format: DSV\n    withHeader: true\n    separator: ';'\n",
            )
            self.write(
                f"load/{domain}/{table}.sl.yml",
                f"version: 1\ntable:\n  name: {table}\n  pattern: '{table}-.*\\.csv'\n  metadata: {{writeStrategy: {{type: APPEND}}}}\n"
                "  attributes: [{name: file, type: long}, {name: line, type: long}]\n",
            )
        datasets = project / "datasets"
        datasets.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(datasets)]
        self.mounted = bool(shutil.which("mount")) and subprocess.run(command, capture_output=True, check=False).returncode == 0
        for domain, _, _ in TABLES:
            self.get_incoming(domain).mkdir(parents=True)
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(
            "telemetry: {enabled: false}\n"
            "run_monitoring: {enabled: true, poll_interval_seconds: 10, start_timeout_seconds: 120}\n"
            "run_retries: {enabled: true, max_retries: 3}\n"
            "run_coordinator: {module: dagster.core.run_coordinator, class: QueuedRunCoordinator, config: {max_concurrent_runs: 4}}\n",
            encoding="utf-8",
        )
        server = {"grpc_server": {"host": "127.0.0.1", "port": self.port, "location_name": "soak"}}
        (self.root / "workspace.yaml").write_text(json.dumps({"load_from": [server]}), encoding="utf-8")

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.root / "project"

    @property
    def home(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "home"

    @property
    def port(self) -> int:
        """Port of the code server."""
        return self._read_port("code")

    def _read_port(self, name: str) -> int:
        path = self.root / f"{name}.port"
        if not path.exists():
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                path.write_text(str(probe.getsockname()[1]), encoding="utf-8")
        return int(path.read_text(encoding="utf-8"))

    def get_incoming(self, domain: str) -> Path:
        """Return the folder in which the files of a domain arrive."""
        return self.project / "datasets" / "incoming" / domain

    def write(self, name: str, text: str) -> None:
        """Write a file of the project atomically."""
        path = self.project / "metadata" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text.lstrip("\n"), encoding="utf-8")
        part.replace(path)

    # services

    def start(self, name: str) -> None:
        """Start a service."""
        commands = {
            "code server": [
                *("dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(self.port), "--location-name", "soak"),
                *("--module-name", "starlake_dagster_components.code_location"),
            ],
            "daemon": ["dagster._daemon", "run", "-w", str(self.root / "workspace.yaml")],
            "web server": [
                *(
                    "dagster_webserver",
                    "-w",
                    str(self.root / "workspace.yaml"),
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(self._read_port("web")),
                ),
            ],
        }
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "PYTHONPATH": str(REPOSITORY),
            "SL_ROOT": str(self.project),
            "SL_DAGSTER_EXECUTOR": "duckdb",
            "SL_DAGSTER_CACHE": str(self.root / "cache"),
        }
        with (self.root / f"{name.replace(' ', '_')}.log").open("ab") as log:
            self.services[name] = subprocess.Popen(
                [sys.executable, "-m", *commands[name]], env=environment, stdout=log, stderr=log, cwd=self.root, start_new_session=True
            )

    def keep_alive(self) -> None:
        """Restart services that have ended, and record the memory of the others."""
        for name, process in list(self.services.items()):
            if process.poll() is not None:
                self.start(name)
                continue
            with contextlib.suppress(OSError, StopIteration, ValueError):
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
                self.memory.setdefault(name, []).append(int(line.split()[1]) * 1024)

    def stop(self) -> None:
        """End the services."""
        for process in self.services.values():
            process.terminate()
        for process in self.services.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)

    def list_processes(self) -> dict[int, str]:
        """Return pid -> command line of all processes of this instance."""
        mark = f"DAGSTER_HOME={self.home}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return found

    # files

    def drop_file(self) -> None:
        """Drop a complete file."""
        domain, table, _ = self.chance.choice(TABLES)
        number = len(self.dropped[domain])
        folder = self.get_incoming(domain)
        hidden = folder / f".{number}.part"
        lines = ["file;line", *(f"{number};{line}" for line in range(ROWS))]
        try:
            hidden.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError:
            # The disk is full. The sender tries again.
            hidden.unlink(missing_ok=True)
            return
        hidden.rename(folder / f"{table}-{number:06}.csv")
        self.dropped[domain].append(number)

    # faults

    def kill_worker(self) -> None:
        """Kill the process of a run."""
        server = self.services["code server"].pid
        workers = [pid for pid, command in self.list_processes().items() if "spawn_main" in command and _find_parent(pid) == server]
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(workers), signal.SIGKILL)
            self.faults["worker killed"] += 1

    def kill_service(self) -> None:
        """Kill the daemon, the code server or the web server."""
        name = self.chance.choice(sorted(self.services))
        self.services[name].kill()
        self.services[name].wait()
        self.faults[f"{name} killed"] += 1
        self.start(name)

    def lock_database(self) -> None:
        """Lock the database file as another program would."""
        code = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); time.sleep(8)"
        subprocess.run([sys.executable, "-c", code, str(self.project / "datasets/soak.db")], capture_output=True, check=False)
        self.faults["database locked"] += 1

    def fill_disk(self) -> None:
        """Fill the disk of the database for some seconds."""
        if not self.mounted:
            return
        ballast = self.project / "datasets" / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65_536)
        time.sleep(8)
        ballast.unlink()
        self.faults["disk full"] += 1

    def edit_project(self) -> None:
        """Change a file of the project, sometimes for the worse, and reload the code location."""
        name = "transform/kpi/totals.sl.yml"
        if self.chance.random() < 0.3:
            self.write(name, "version: 1\ntask: {dagRef: nothing_like_this, writeStrategy: [\n")
            self.reload()
            time.sleep(3)
        self.write(
            name, f"version: 1\ntask: {{dagRef: tasks, comment: 'edit {self.chance.random()}', writeStrategy: {{type: OVERWRITE}}}}\n"
        )
        self.reload()
        self.faults["project edited"] += 1

    def reload(self) -> None:
        """Reload the code location through the web server."""
        query = 'mutation { reloadRepositoryLocation(repositoryLocationName: "soak") { __typename } }'
        with contextlib.suppress(OSError):
            request = urllib.request.Request(
                f"http://127.0.0.1:{self._read_port('web')}/graphql",
                json.dumps({"query": query}).encode(),
                {"Content-Type": "application/json"},
            )
            urllib.request.urlopen(request, timeout=60).read()

    # result

    def count_files(self) -> dict[str, Counter[int]]:
        """Return domain -> number of rows of each file in its table."""
        found = {}
        with duckdb.connect(str(self.project / "datasets/soak.db"), read_only=True) as connection:
            for domain, table, _ in TABLES:
                rows = []
                with contextlib.suppress(duckdb.CatalogException):
                    rows = connection.execute(f"select file, count(*) from {domain}.{table} group by 1").fetchall()
                found[domain] = Counter(dict(rows))
        return found

    def list_waiting(self) -> list[str]:
        """Return the files that are not loaded yet."""
        datasets = self.project / "datasets"
        return [p.name for area in ("incoming", "stage", "ingesting") for p in (datasets / area).rglob("*.csv")]

    def read_totals(self) -> tuple[int, ...]:
        """Return the counts of the last transform."""
        path = str(self.project / "datasets/soak.db")
        with contextlib.suppress(duckdb.CatalogException), duckdb.connect(path, read_only=True) as connection:
            return tuple(connection.execute("select ticks, letters from kpi.totals").fetchone() or ())
        return ()


def _find_parent(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        # The name in parentheses may contain anything. The parent is the second field after it.
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    return None


def run_soak(root: Path, minutes: float, seed: int) -> int:
    """Run a soak test, and print its figures. Return 1 if something is wrong."""
    soak = Soak(root, random.Random(seed))
    soak.prepare()
    # The database of an instance breaks if several services create it at the same time.
    with _open_instance(soak):
        pass
    for name in ("code server", "daemon", "web server"):
        soak.start(name)
    try:
        wrong = _run(soak, minutes)
    finally:
        soak.stop()
        if soak.mounted:
            subprocess.run(["umount", "-l", str(soak.project / "datasets")], check=False)
    for problem in wrong:
        print(f"WRONG: {problem}")
    return int(bool(wrong))


def _run(soak: Soak, minutes: float) -> list[str]:
    began = time.monotonic()
    faults: tuple[Callable[[], None], ...] = (
        soak.kill_worker, soak.kill_worker, soak.kill_service, soak.lock_database, soak.fill_disk, soak.edit_project,
    )  # fmt: skip
    time.sleep(30)
    next_fault = time.monotonic() + 15
    while time.monotonic() < began + minutes * 60:
        time.sleep(soak.chance.uniform(0.2, 2))
        soak.drop_file()
        soak.keep_alive()
        if time.monotonic() > next_fault:
            soak.chance.choice(faults)()
            next_fault = time.monotonic() + soak.chance.uniform(5, 25)
    print(f"{time.monotonic() - began:.0f} s: no more files and no more faults; {dict(soak.faults)}", flush=True)
    totals = {domain: len(numbers) * ROWS for domain, numbers in soak.dropped.items()}
    expected = (totals["clock"], totals["mail"])
    end = time.monotonic() + 600
    while time.monotonic() < end:
        time.sleep(5)
        soak.keep_alive()
        with contextlib.suppress(duckdb.Error):
            if not soak.list_waiting() and soak.read_totals() == expected and not _list_running(soak):
                break
    print(f"{time.monotonic() - began:.0f} s: quiet", flush=True)
    soak.stop()
    # A fault that never happened must not look like one that did no harm.
    kinds = ["worker killed", "database locked", "project edited", *(f"{name} killed" for name in soak.services)]
    kinds += ["disk full"] if soak.mounted else []
    never = [kind for kind in kinds if minutes >= 20 and not soak.faults[kind]]
    return [*(f"never happened: {kind}" for kind in never), *_judge(soak, expected)]


def _open_instance(soak: Soak) -> Any:
    return dg.DagsterInstance.from_config(str(soak.home))


def _list_running(soak: Soak) -> list[str]:
    states = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    with _open_instance(soak) as instance:
        return [f"{run.job_name} {run.status.value}" for run in instance.get_runs(dg.RunsFilter(statuses=states))]


def _judge(soak: Soak, expected: tuple[int, int]) -> list[str]:
    wrong = []
    counts = soak.count_files()
    for domain, numbers in soak.dropped.items():
        lost = [number for number in numbers if not counts[domain][number]]
        other = {number: counts[domain][number] for number in counts[domain] if counts[domain][number] != ROWS}
        once = len(numbers) - len(lost) - len(other)
        print(f"{domain}: {len(numbers)} files, {once} loaded exactly once, {len(lost)} lost, {len(other)} partly or twice")
        wrong += [f"{domain}: lost {lost[:10]}"] if lost else []
        wrong += [f"{domain}: rows of files {dict(list(other.items())[:10])}"] if other else []
    if soak.read_totals() != expected:
        wrong.append(f"the last transform counted {soak.read_totals()}, but there are {expected} rows")
    waiting, running, processes = soak.list_waiting(), _list_running(soak), soak.list_processes()
    wrong += [f"files that wait: {waiting[:10]}"] if waiting else []
    wrong += [f"runs that have not ended: {running}"] if running else []
    wrong += [f"processes left: {processes}"] if processes else []
    with _open_instance(soak) as instance:
        runs = Counter(f"{run.job_name} {run.status.value}" for run in instance.get_runs())
        slots = [key for key in instance.event_log_storage.get_concurrency_keys() if _has_taken_slots(instance, key)]
    wrong += [f"slots left: {slots}"] if slots else []
    from starlake_dagster_components.locks import find_locks_elsewhere

    locks = [name for name in find_locks_elsewhere("database") if str(soak.root) in name]
    wrong += [f"locks left: {locks}"] if locks else []
    print(f"runs: {', '.join(f'{number} {name}' for name, number in sorted(runs.items()))}")
    for name, sizes in soak.memory.items():
        head, tail = sizes[: max(1, len(sizes) // 5)], sizes[-max(1, len(sizes) // 5) :]
        print(
            f"memory of the {name}: {sum(head) / len(head) / 1e6:.0f} MB at the beginning, {sum(tail) / len(tail) / 1e6:.0f} MB at the end"
        )
    return wrong


def _has_taken_slots(instance: Any, key: str) -> bool:
    return bool(instance.event_log_storage.get_concurrency_info(key).active_slot_count)


def main() -> int:
    """Run a soak test for the time that the command line gives."""
    parser = argparse.ArgumentParser(description="Run a real instance while files arrive and faults happen.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", help="folder to work in, which is kept")
    given = parser.parse_args()
    # Shells start background jobs with SIGINT ignored. Dagster's code servers would then ignore SIGTERM, too, and never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, str(REPOSITORY))
    root = Path(given.keep or tempfile.mkdtemp(prefix="soak-"))
    root.mkdir(parents=True, exist_ok=True)
    print(f"seed {given.seed}, {root}", flush=True)
    code = run_soak(root, given.minutes, given.seed)
    if not given.keep and not code:
        shutil.rmtree(root, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
