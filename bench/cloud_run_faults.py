"""Test the cloud_run executor with faults, against a Cloud Run API on loopback that really runs the commands.

    python bench/cloud_run_faults.py [kills] [calls] [cancels] [many] [waiting] [dagster] [quota]

Every command appends its id to a file, so that the runs of each command are counted by their effect, not by what is reported.
"""

import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/executors"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/executors/cloud_run"))

import grpc
from cloud_run_server import CloudRunServer
from injected_faults import Fault, draw_faults

from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import CommandCanceled, CommandError
from starlake_dagster_components.executors.base import CommandResult, Invocation
from starlake_dagster_components.executors.cloud_run import CloudRunExecutor

COMMAND = ["/bin/sh", "-c", 'echo "$STEP" >> "$EFFECTS"; sleep "$LASTS"; exit "$CODE"', "sh"]


def make_executor(address: str, **fields: object) -> CloudRunExecutor:
    settings = {
        "job_name": "starlake",
        "project_id": "shop",
        "poll_interval": 0.2,
        "logs": "none",
        "start_settle": 2.0,
        "cancel_timeout": 60,
    }
    return CloudRunExecutor(api_endpoint=address, insecure=True, **{**settings, **fields})  # type: ignore[arg-type]


def make_command(effects: Path, step: str, *, lasts: float = 0.3, code: int = 0) -> Command:
    environment = {"STEP": step, "EFFECTS": str(effects), "LASTS": str(lasts), "CODE": str(code)}
    return Command("transform", ("--name", step), "/project", environment=environment)


def make_invocation(step: str, attempt: int = 0, canceled: Canceled | None = None) -> Invocation:
    return Invocation(log=lambda level, line: None, canceled=canceled or Canceled(), run_id="run", step_key=step, attempt=attempt)


def count_effects(effects: Path) -> Counter[str]:
    return Counter(effects.read_text().split()) if effects.exists() else Counter()


def serve_workers() -> None:
    """Start a process for each line of the input, as Dagster starts one for each step. Only the imports are done beforehand.

    Print its process id, and write the result of its command to a file.
    """
    from google.api_core import exceptions  # noqa: F401
    from google.cloud import run_v2  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        work = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        task = make_command(Path(work["effects"]), work["step"], lasts=0.8, code=work["code"])
        try:
            ended = str(make_executor(work["address"]).run(task, make_invocation(work["step"], work["attempt"])).exit_code)
        except CommandError as error:
            ended = str(error)
        # Renaming is atomic.
        Path(f"{work['ended']}.part").write_text(ended)
        os.rename(f"{work['ended']}.part", work["ended"])
        os._exit(0)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_workers(times: int = 100, seed: int = 1) -> dict[str, object]:
    """Kill the worker at a random moment, and retry as the next attempt, which is sometimes killed, too."""
    chance = random.Random(seed)
    slow_start = lambda method, request: Fault(before=0.15, after=0.25) if method == "RunJob" else None  # noqa: E731
    phases: Counter[str] = Counter()
    wrong: list[str] = []
    number = -1
    zygote = subprocess.Popen([sys.executable, __file__, "--workers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with zygote, tempfile.TemporaryDirectory() as folder, CloudRunServer(faults=slow_start) as server:
        server.add_job(command=COMMAND)
        effects, ended = Path(folder, "effects"), Path(folder, "ended")
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        while phases.total() < times:
            number += 1
            step, code, attempt = f"step{number}", 3 if number % 5 == 4 else 0, 0
            ended.unlink(missing_ok=True)
            while not ended.exists():
                work = {"address": server.address, "effects": str(effects), "step": step, "attempt": attempt, "code": code}
                print(json.dumps({**work, "ended": str(ended)}), file=zygote.stdin, flush=True)
                pid = int(zygote.stdout.readline())
                if attempt == 0 or (attempt < 3 and chance.random() < 0.4):
                    time.sleep(chance.uniform(0, 2.0))
                    asked, mine = server.calls["RunJob"] - len(server.list_all()), server.find_executions("STEP", step)
                    moment = (
                        "during the start"
                        if asked
                        else "before the start"
                        if not mine
                        else "while it ran"
                        if mine[-1].running
                        else "after its end"
                    )
                    if runs(pid):
                        os.kill(pid, signal.SIGKILL)
                        if not ended.exists():
                            phases[moment] += 1
                            attempt += 1
                while runs(pid):
                    time.sleep(0.01)
            # A command that failed is run again by the next attempt, as it should be.
            result, count = ended.read_text(), count_effects(effects)[step]
            if result != str(code) or (code == 0 and count != 1) or (code and not 1 <= count <= attempt + 1):
                wrong.append(f"{step}: ended with {result} (expected {code}), ran {count} times in {attempt + 1} attempts")
        executions = len(server.list_all())
        zygote.stdin.close()
    return {"commands": number + 1, "kills": phases.total(), "moments": dict(phases), "executions": executions, "wrong": wrong}


def fail_calls(commands: int = 60, share: float = 0.3, seed: int = 2) -> dict[str, object]:
    """Make a share of all calls fail. Half of those that are not quota errors have their effect all the same."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, CloudRunServer(faults=draw_faults(share, seed)) as server:
        server.add_job(command=COMMAND)
        effects = Path(folder, "effects")
        runner = make_executor(server.address)
        begun = time.monotonic()

        def run_one(number: int) -> None:
            step, code = f"step{number}", 3 if number % 10 == 9 else 0
            try:
                result: CommandResult | CommandError = runner.run(make_command(effects, step, lasts=0.2, code=code), make_invocation(step))
            except CommandError as error:
                result = error
            if not isinstance(result, CommandResult) or result.exit_code != code:
                wrong.append(f"{step}: {result}")

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(run_one, range(commands)))
        ran = count_effects(effects)
        wrong += [f"step{n}: ran {ran[f'step{n}']} times" for n in range(commands) if ran[f"step{n}"] != 1]
        made = dict(server.calls)
    return {"commands": commands, "failing": share, "seconds": round(time.monotonic() - begun, 1), "calls": made, "wrong": wrong}


def cancel_commands(each: int = 10, seed: int = 3) -> dict[str, object]:
    """Cancel during the start (slow, with or without an answer), while the command runs, and during a poll."""
    import grpc

    chance = random.Random(seed)
    unavailable = grpc.StatusCode.UNAVAILABLE
    cases = {
        "start": (lambda m, r: Fault(before=0.3, after=0.3) if m == "RunJob" else None, (0.0, 0.6)),
        "start without answer": (lambda m, r: Fault(code=unavailable, lost=True, before=0.2) if m == "RunJob" else None, (0.0, 1.0)),
        "run": (None, (0.4, 1.5)),
        "poll": (lambda m, r: Fault(after=0.4) if m in ("GetExecution", "ListExecutions") else None, (0.9, 1.6)),
        "cancel rejected at first": (
            lambda m, r: Fault(code=unavailable) if m == "CancelExecution" and chance.random() < 0.6 else None,
            (0.4, 1.0),
        ),
    }
    outcome: dict[str, object] = {}
    wrong: list[str] = []
    for name, (faults, moment) in cases.items():
        with tempfile.TemporaryDirectory() as folder, CloudRunServer(faults=faults) as server:
            server.add_job(command=COMMAND)
            runner = make_executor(server.address)
            canceled_in_time = 0
            waits = []
            for number in range(each):
                step, canceled = f"step{number}", Canceled()
                timer = threading.Timer(chance.uniform(*moment), canceled.set)
                timer.start()
                begun = time.monotonic()
                try:
                    result = runner.run(make_command(Path(folder, "effects"), step, lasts=30), make_invocation(step, canceled=canceled))
                    wrong.append(f"{name}: {result}")
                except CommandCanceled:
                    canceled_in_time += 1
                waits.append(time.monotonic() - begun)
                timer.cancel()
                left = [e.short for e in server.running]
                if left:
                    wrong.append(f"{name}: {left} still run")
            outcome[name] = {"canceled": canceled_in_time, "executions": len(server.list_all()), "longest": round(max(waits), 1)}
    return {"each": each, **outcome, "wrong": wrong}


def run_many(commands: int = 200, at_a_time: int = 25) -> dict[str, object]:
    """Run many commands in one process, some of them at a time."""
    with tempfile.TemporaryDirectory() as folder, CloudRunServer() as server:
        server.add_job(command=COMMAND)
        effects = Path(folder, "effects")
        runner = make_executor(server.address, poll_interval=0.5)

        def run_one(number: int) -> int:
            return runner.run(make_command(effects, f"step{number}", lasts=1.0), make_invocation(f"step{number}")).exit_code

        begun = time.monotonic()
        with ThreadPoolExecutor(at_a_time) as pool:
            codes = Counter(pool.map(run_one, range(commands)))
        ran = count_effects(effects)
        once = sum(1 for n in range(commands) if ran[f"step{n}"] == 1)
        most, made = server.most_running, dict(server.calls)
        seconds = time.monotonic() - begun
    return {
        "commands": commands,
        "at a time": at_a_time,
        "most running": most,
        "exit codes": dict(codes),
        "ran once": once,
        "seconds": round(seconds, 1),
        "calls": made,
    }


def limit_queries(loads: int = 100, a_minute: int = 60) -> dict[str, object]:
    """Run loads that end at the same time, while Cloud Logging limits the queries per minute."""
    times: list[float] = []
    lock = threading.Lock()
    rejected = 0

    def reject(method: str, _: object) -> Fault | None:
        nonlocal rejected
        if method != "ListLogEntries":
            return None
        with lock:
            now = time.monotonic()
            times[:] = [moment for moment in times if now - moment < 60]
            if len(times) < a_minute:
                times.append(now)
                return None
            rejected += 1
            return Fault(code=grpc.StatusCode.RESOURCE_EXHAUSTED)

    counts = 'IngestionCounters:{"inputCount":3,"acceptedCount":3,"rejectedCount":0,"paths":["x"]}'
    with CloudRunServer(faults=reject) as server:
        server.add_job(command=["/bin/sh", "-c", f"echo '{counts}'", "sh"])
        runner = make_executor(server.address, poll_interval=0.5, logs="tail")

        def run_one(number: int) -> tuple[bool, bool]:
            lines: list[str] = []
            ran = Invocation(lambda level, line: lines.append(line), canceled=Canceled(), run_id="run", step_key=f"load{number}")
            result = runner.run(Command("load", ("--tables", f"t{number}"), "/project"), ran)
            return result.counters is not None and result.counters.input == 3, any("row counts" in line for line in lines)

        begun = time.monotonic()
        with ThreadPoolExecutor(loads) as pool:
            found = list(pool.map(run_one, range(loads)))
        calls = server.calls["ListLogEntries"]
    return {
        "loads": loads,
        "queries a minute": a_minute,
        "with their row counts": sum(counted for counted, _ in found),
        "reported as missing": sum(said for counted, said in found if not counted),
        "queries": calls,
        "rejected": rejected,
        "seconds": round(time.monotonic() - begun, 1),
        "wrong": [
            f"load{n}: no row counts, and no message about it" for n, (counted, said) in enumerate(found) if not counted and not said
        ],
    }


def run_dagster_job(commands: int = 200, at_a_time: int = 25) -> dict[str, object]:
    """Run a Dagster job with many tasks."""
    from starlake_dagster_components.cli.run import run_headless
    from starlake_dagster_components.settings import Settings

    os.environ.pop("DAGSTER_HOME", None)
    names = [f"t{number:03d}" for number in range(commands)]
    files = {
        "application.sl.yml": "version: 1\napplication:\n  connectionRef: duckdb\n  connections:\n"
        "    duckdb: {type: jdbc, options: {url: 'jdbc:duckdb:{{SL_ROOT}}/x.db', driver: org.duckdb.DuckDBDriver}}\n",
        "dags/tasks.sl.yml": "version: 1\ndag:\n  template: transform/dagster__scheduled_task__cloud_run.py.j2\n"
        "  filename: '{{domain}}_tasks.py'\n  options: {cloud_run_job_name: starlake}\n",
        **{f"transform/kpi/{name}.sl.yml": "version: 1\ntask: {dagRef: tasks}\n" for name in names},
        **{f"transform/kpi/{name}.sql": "SELECT 1 AS one" for name in names},
    }
    with tempfile.TemporaryDirectory() as folder, CloudRunServer() as server:
        for name, text in files.items():
            path = Path(folder, "project", "metadata", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        effects = Path(folder, "effects")
        server.add_job(command=["/bin/sh", "-c", 'echo "$3" >> "$EFFECTS"; sleep 1', "sh"], environment={"EFFECTS": str(effects)})
        settings = Settings(executor=make_executor(server.address, job_name=None, poll_interval=1.0), max_concurrent=at_a_time)
        begun = time.monotonic()
        (run,) = run_headless(Path(folder, "project"), settings)
        seconds = time.monotonic() - begun
        ran = count_effects(effects)
        wrong = [name for name in names if ran[f"kpi.{name}"] != 1] + ([] if run.success else [str(run.error)])
        return {
            "steps": commands,
            "at a time": at_a_time,
            "most running": server.most_running,
            "success": run.success,
            "seconds": round(seconds, 1),
            "calls": dict(server.calls),
            "wrong": wrong,
        }


def measure_waiting(commands: int = 200, seconds: float = 20.0) -> dict[str, object]:
    """Measure the CPU of a process that waits for many executions at once."""
    script = [sys.executable, __file__, "--waiter"]
    with tempfile.TemporaryDirectory() as folder, CloudRunServer() as server:
        server.add_job(command=["/bin/sleep", str(seconds + 15)], args=[])
        server.jobs[next(iter(server.jobs))].command = ("/bin/sh", "-c", f"sleep {seconds + 15}", "sh")
        process = subprocess.Popen([*script, server.address, str(commands), str(seconds), folder], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        answer = json.loads(process.stdout.read())
        process.wait()
        answer["calls"] = {k: v for k, v in server.calls.items() if k != "RunJob"}
    return answer


def wait_for_many(address: str, commands: str, seconds: str, folder: str) -> None:
    """Wait for many executions, print the CPU seconds that it takes, and exit."""
    runner = make_executor(address, poll_interval=10.0)
    for number in range(int(commands)):
        step = f"step{number}"
        work = make_command(Path(folder, "effects"), step)
        threading.Thread(target=runner.run, args=(work, make_invocation(step)), daemon=True).start()

    from starlake_dagster_components.executors.cloud_run.poller import Group

    while sum(len(found._watches) for found in gc.get_objects() if isinstance(found, Group)) < int(commands):
        time.sleep(0.1)
    before, begun = time.process_time(), time.monotonic()
    time.sleep(float(seconds))
    cost, lasted = time.process_time() - before, time.monotonic() - begun
    print(json.dumps({"waiting for": int(commands), "seconds": round(lasted, 1), "cpu seconds": round(cost, 3)}), flush=True)
    os._exit(0)


def main() -> int:
    if sys.argv[1:2] == ["--workers"]:
        serve_workers()
        return 0
    if sys.argv[1:2] == ["--waiter"]:
        wait_for_many(*sys.argv[2:])
        return 0
    scenarios = {
        "kills": kill_workers,
        "calls": fail_calls,
        "cancels": cancel_commands,
        "many": run_many,
        "waiting": measure_waiting,
        "dagster": run_dagster_job,
        "quota": limit_queries,
    }
    if not set(sys.argv[1:]) <= set(scenarios):
        print(__doc__)
        return 0 if sys.argv[1:] == ["--help"] else 2
    failed = False
    for name in sys.argv[1:] or list(scenarios):
        figures = scenarios[name]()
        failed = failed or bool(figures.get("wrong"))
        print(f"{name}: {json.dumps(figures, indent=2, ensure_ascii=False)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
