"""Fault runs of the executor cloud_run against a Cloud Run API on loopback that really runs the commands.

    python bench/cloud_run_faults.py [kills] [calls] [cancels] [many]

Every command appends its id to a file, so that "exactly once" is counted by effect, not by what anybody reports.
"""

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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "executors"))

from cloud_run_server import CloudRunServer, Fault, some

from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import CommandCancelled, CommandError
from starlake_dagster_components.executors.base import CommandResult, Invocation
from starlake_dagster_components.executors.cloud_run import CloudRunExecutor

COMMAND = ["/bin/sh", "-c", 'echo "$STEP" >> "$EFFECTS"; sleep "$LASTS"; exit "$CODE"', "sh"]


def executor(address: str, **fields: object) -> CloudRunExecutor:
    settings = {
        "job_name": "starlake",
        "project_id": "shop",
        "poll_interval": 0.2,
        "logs": "none",
        "start_settle": 2.0,
        "cancel_timeout": 60,
    }
    return CloudRunExecutor(api_endpoint=address, insecure=True, **{**settings, **fields})  # type: ignore[arg-type]


def command(effects: Path, step: str, *, lasts: float = 0.3, code: int = 0) -> Command:
    environment = {"STEP": step, "EFFECTS": str(effects), "LASTS": str(lasts), "CODE": str(code)}
    return Command("transform", ("--name", step), "/project", environment=environment)


def invocation(step: str, attempt: int = 0, cancelled: threading.Event | None = None) -> Invocation:
    return Invocation(log=lambda level, line: None, cancelled=cancelled or threading.Event(), run_id="run", step_key=step, attempt=attempt)


def effects_of(effects: Path) -> Counter[str]:
    return Counter(effects.read_text().split()) if effects.exists() else Counter()


def worker(address: str, effects: str, step: str, attempt: str, lasts: str, code: str) -> None:
    """Run one command like a step process does; say when it begins and how it ended."""
    runner = executor(address)
    work = command(Path(effects), step, lasts=float(lasts), code=int(code))
    from google.cloud import run_v2  # noqa: F401 -- a kill is to hit the work, not the import

    print("ready", flush=True)
    try:
        print(f"ended {runner.run(work, invocation(step, int(attempt))).exit_code}", flush=True)
    except CommandError as error:
        print(f"error {error}", flush=True)


def kills(times: int = 20, seed: int = 1) -> dict[str, object]:
    """Kill the worker with SIGKILL at a random moment, retry as the next attempt, kill that too now and then."""
    chance = random.Random(seed)
    slow_start = lambda method, request: Fault(before=0.15, after=0.25) if method == "RunJob" else None  # noqa: E731
    phases: Counter[str] = Counter()
    wrong: list[str] = []
    killed = 0
    with tempfile.TemporaryDirectory() as folder, CloudRunServer(faults=slow_start) as server:
        server.add_job(command=COMMAND)
        effects = Path(folder, "effects")
        number = -1
        while killed < times:
            number += 1
            step, code, attempt, ended = f"step{number}", 3 if number % 5 == 4 else 0, 0, None
            while ended is None:
                arguments = [server.address, str(effects), step, str(attempt), "0.8", str(code)]
                process = subprocess.Popen([sys.executable, __file__, "--worker", *arguments], stdout=subprocess.PIPE, text=True)
                assert process.stdout is not None
                process.stdout.readline()
                if attempt == 0 or (attempt < 3 and chance.random() < 0.4):
                    time.sleep(chance.choice([chance.uniform(0, 0.5), chance.uniform(0.4, 1.4), chance.uniform(1.2, 1.8)]))
                    before = len(server.all())
                    running = len(server.running)
                    process.send_signal(signal.SIGKILL)
                    answer = process.stdout.read()
                    process.wait()
                    if "ended" not in answer:
                        killed += 1
                        phases[
                            "before or during the start"
                            if before == number and not running
                            else "while it ran"
                            if running
                            else "after its end"
                        ] += 1
                        attempt += 1
                        continue
                    ended = answer.split()[-1]
                else:
                    ended = process.stdout.read().split()[-1]
                    process.wait()
            # A command that fails is run again by the attempt after: that is what the attempt is for.
            count = effects_of(effects)[step]
            if ended != str(code) or (code == 0 and count != 1) or (code and not 1 <= count <= attempt + 1):
                wrong.append(f"{step}: ended {ended} (expected {code}), ran {count} times in {attempt + 1} attempts")
        executions = len(server.all())
    return {"commands": number + 1, "kills": killed, "moments": dict(phases), "executions": executions, "wrong": wrong}


def calls(commands: int = 60, share: float = 0.3, seed: int = 2) -> dict[str, object]:
    """Let a share of all calls fail; half of those that are no quota errors are carried out all the same."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, CloudRunServer(faults=some(share, seed)) as server:
        server.add_job(command=COMMAND)
        effects = Path(folder, "effects")
        runner = executor(server.address)
        begun = time.monotonic()

        def one(number: int) -> None:
            step, code = f"step{number}", 3 if number % 10 == 9 else 0
            try:
                result: CommandResult | CommandError = runner.run(command(effects, step, lasts=0.2, code=code), invocation(step))
            except CommandError as error:
                result = error
            if not isinstance(result, CommandResult) or result.exit_code != code:
                wrong.append(f"{step}: {result}")

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(one, range(commands)))
        ran = effects_of(effects)
        wrong += [f"step{n}: ran {ran[f'step{n}']} times" for n in range(commands) if ran[f"step{n}"] != 1]
        made = dict(server.calls)
    return {"commands": commands, "failing": share, "seconds": round(time.monotonic() - begun, 1), "calls": made, "wrong": wrong}


def cancels(each: int = 10, seed: int = 3) -> dict[str, object]:
    """Cancel during start (slow, answered or not), while the command runs, and while a poll is under way."""
    import grpc

    chance = random.Random(seed)
    unavailable = grpc.StatusCode.UNAVAILABLE
    cases = {
        "start": (lambda m, r: Fault(before=0.3, after=0.3) if m == "RunJob" else None, (0.0, 0.6)),
        "start without answer": (lambda m, r: Fault(code=unavailable, lost=True, before=0.2) if m == "RunJob" else None, (0.0, 1.0)),
        "run": (None, (0.4, 1.5)),
        "poll": (lambda m, r: Fault(after=0.4) if m in ("GetExecution", "ListExecutions") else None, (0.9, 1.6)),
        "cancel refused at first": (
            lambda m, r: Fault(code=unavailable) if m == "CancelExecution" and chance.random() < 0.6 else None,
            (0.4, 1.0),
        ),
    }
    outcome: dict[str, object] = {}
    wrong: list[str] = []
    for name, (faults, moment) in cases.items():
        with tempfile.TemporaryDirectory() as folder, CloudRunServer(faults=faults) as server:
            server.add_job(command=COMMAND)
            runner = executor(server.address)
            cancelled_in_time = 0
            waits = []
            for number in range(each):
                step, cancelled = f"step{number}", threading.Event()
                timer = threading.Timer(chance.uniform(*moment), cancelled.set)
                timer.start()
                begun = time.monotonic()
                try:
                    result = runner.run(command(Path(folder, "effects"), step, lasts=30), invocation(step, cancelled=cancelled))
                    wrong.append(f"{name}: {result}")
                except CommandCancelled:
                    cancelled_in_time += 1
                waits.append(time.monotonic() - begun)
                timer.cancel()
                left = [e.short for e in server.running]
                if left:
                    wrong.append(f"{name}: {left} still run")
            outcome[name] = {"cancelled": cancelled_in_time, "executions": len(server.all()), "longest": round(max(waits), 1)}
    return {"each": each, **outcome, "wrong": wrong}


def many(commands: int = 200, at_a_time: int = 25) -> dict[str, object]:
    """Run many commands in one process, so many at a time."""
    with tempfile.TemporaryDirectory() as folder, CloudRunServer() as server:
        server.add_job(command=COMMAND)
        effects = Path(folder, "effects")
        runner = executor(server.address, poll_interval=0.5)

        def one(number: int) -> int:
            return runner.run(command(effects, f"step{number}", lasts=1.0), invocation(f"step{number}")).exit_code

        begun = time.monotonic()
        with ThreadPoolExecutor(at_a_time) as pool:
            codes = Counter(pool.map(one, range(commands)))
        ran = effects_of(effects)
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


def waiting(commands: int = 200, seconds: float = 20.0) -> dict[str, object]:
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


def waiter(address: str, commands: str, seconds: str, folder: str) -> None:
    """Wait for many executions; print the CPU seconds that the waiting cost, then leave."""
    runner = executor(address, poll_interval=10.0)
    for number in range(int(commands)):
        step = f"step{number}"
        work = command(Path(folder, "effects"), step)
        threading.Thread(target=runner.run, args=(work, invocation(step)), daemon=True).start()
    from starlake_dagster_components.executors.cloud_run.poller import poller

    while sum(len(g._watches) for g in poller()[0]._groups.values()) < int(commands):
        time.sleep(0.1)
    before, begun = time.process_time(), time.monotonic()
    time.sleep(float(seconds))
    cost, lasted = time.process_time() - before, time.monotonic() - begun
    print(json.dumps({"waiting for": int(commands), "seconds": round(lasted, 1), "cpu seconds": round(cost, 3)}), flush=True)
    os._exit(0)


def main() -> int:
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
        return 0
    if sys.argv[1:2] == ["--waiter"]:
        waiter(*sys.argv[2:])
        return 0
    runs = {"kills": kills, "calls": calls, "cancels": cancels, "many": many, "waiting": waiting}
    failed = False
    for name in sys.argv[1:] or list(runs):
        figures = runs[name]()
        failed = failed or bool(figures.get("wrong"))
        print(f"{name}: {json.dumps(figures, indent=2, ensure_ascii=False)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
