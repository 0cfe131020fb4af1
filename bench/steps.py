"""Measure the overhead of a step in addition to its command, with this package's step executor, Dagster's, and other ways.

    python bench/steps.py [--steps 50] [--at-a-time 8] [--repeat 3] [--waiting 500] [--json FILE] [WAY...]

Each way loads the same synthetic Starlake project (with as many tables, and as many tasks, as steps) and runs its load job in a fresh
process with a fresh SQLite instance. Each step runs a program that writes its name to a file and sleeps.

The process records its CPU seconds when ``execute_job`` begins and returns. Processes that it started, but for which it did not wait (a
fork server with its step processes), count as a whole. The commands are included. An implausible measurement (more CPU than the processors
have, a command that did not run or ran twice, contradictory figures) is discarded and repeated. Requires Linux.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dagster as dg

from bench.process_tree import Tree, run_tree
from bench.synthetic import write_project
from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.cancellation_event import Canceled
from starlake_dagster_components.commands import RunContext, build_load_command
from starlake_dagster_components.definitions.build import prepare_graph
from starlake_dagster_components.executors.base import Invocation
from starlake_dagster_components.executors.local.shell import ShellExecutor
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.step_executor.definition import starlake_step_executor

REPOSITORY = Path(__file__).resolve().parent.parent
SLEEP = 0.2
PROGRAM = f'#!/bin/sh\necho "$*" >> "$BENCH_RAN"\nexec sleep {SLEEP}\n'
JOB = "all_tables"
WAYS: Mapping[str, str] = {
    "threads": "steps in threads of the run's process (this package)",
    "in_process": "Dagster's in-process executor, one step at a time",
    "multiprocess": "Dagster's multiprocess executor, spawn (Dagster's default)",
    "forkserver": "Dagster's multiprocess executor, forkserver with preload",
    "delegating": "StepDelegatingExecutor, a StepHandler that starts threads",
    "one_step": "one step for all tables, results as they come (multi_asset)",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurement of one run.

    Attributes:
        way: the way.
        cpu: CPU seconds per step of the run's process and of all processes that it started, including commands.
        own: the part of the run's process itself. The rest is for commands, step processes and the fork server.
        wall: seconds of the run.
        memory: peak memory of the run's process in MB.
        steps: events of each step, except those about processes and resources.
    """

    way: str
    cpu: float
    own: float
    wall: float
    memory: float
    steps: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """The result of all runs of one way.

    Attributes:
        way: the way.
        description: its description.
        cpu: median of the CPU seconds per step, including commands.
        lowest: lowest of them.
        highest: highest of them.
        own: median of the CPU seconds per step of the run's process itself.
        times: ``cpu`` as a multiple of this package's; None if that was not measured.
        wall: median of the seconds of a run.
        memory: median of the peak memory of the run's process in MB.
        same_events: whether each step had the same events as with Dagster's in-process executor; None if that was not measured.
        runs: number of runs.
    """

    way: str
    description: str
    cpu: float
    lowest: float
    highest: float
    own: float
    times: float | None
    wall: float
    memory: float
    same_events: bool | None
    runs: int


class Implausible(Exception):
    """A measurement is implausible."""


# ---------------------------------------------------------------------------------------------- the job, in every process


def _make_executors(at_a_time: int) -> dict[str, dg.ExecutorDefinition]:
    forkserver = {"forkserver": {"preload_modules": ["bench.steps"]}}
    return {
        "threads": starlake_step_executor(max_concurrent=at_a_time),
        "in_process": dg.in_process_executor,
        "multiprocess": dg.multiprocess_executor.configured({"max_concurrent": at_a_time}),
        "forkserver": dg.multiprocess_executor.configured({"max_concurrent": at_a_time, "start_method": forkserver}),
        "delegating": _make_delegating_executor(at_a_time),
        "one_step": dg.in_process_executor,
    }


def job() -> dg.JobDefinition:
    way, root, at_a_time = os.environ["BENCH_WAY"], os.environ["BENCH_PROJECT"], int(os.environ["BENCH_AT_A_TIME"])
    commands = ShellExecutor(starlake_path=str(Path(root, "program")))
    if way == "one_step":
        return _build_one_step_job(root, Settings(executor=commands), at_a_time)
    step_executor = _make_executors(at_a_time)[way]
    return load_definitions_from_starlake_project(root, executor=commands, step_executor=step_executor).resolve_job_def(JOB)


def _build_one_step_job(root: str, settings: Settings, at_a_time: int) -> dg.JobDefinition:
    """Return a job with one op that runs the commands of all tables."""
    plan, graph, _ = prepare_graph(root, settings)
    (pipeline,) = (p for p in plan.pipelines if p.name == JOB)
    domains = {d.name: d for d in plan.project.domains}
    tables = {graph.keys["table", t.full_name]: t for t in pipeline.tables}
    executor = settings.executor
    assert executor is not None

    @dg.multi_asset(specs=[dg.AssetSpec(key, skippable=True) for key in tables], name=JOB, can_subset=True)
    def all_tables(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        run = RunContext(project=plan.project, pipeline=pipeline, job_id=context.run.run_id)

        def load(key: dg.AssetKey) -> None:
            table = tables[key]
            invocation = Invocation(
                log=lambda level, line: getattr(context.log, level)(f"{table.name}: {line}"),
                canceled=Canceled(),
                run_id=context.run.run_id,
                step_key=table.name,
            )
            assert executor.run(build_load_command(run, domains[table.domain], [table]), invocation).exit_code == 0

        with ThreadPoolExecutor(at_a_time) as pool:
            running = {pool.submit(load, key): key for key in tables}
            for done in as_completed(running):
                done.result()
                yield dg.MaterializeResult(running[done])

    return dg.Definitions(assets=[all_tables], jobs=[dg.define_asset_job(JOB, executor_def=dg.in_process_executor)]).resolve_job_def(JOB)


def _make_delegating_executor(at_a_time: int) -> dg.ExecutorDefinition:
    """Return Dagster's StepDelegatingExecutor with threads. It is not public either, and gets its events through the database."""

    @dg.executor(name="delegating")
    def delegating(_: dg.InitExecutorContext) -> dg.Executor:
        from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
        from dagster._core.execution.retries import RetryMode
        from dagster._core.executor.step_delegating import CheckStepHealthResult, StepDelegatingExecutor, StepHandler

        class ThreadHandler(StepHandler):
            @property
            def name(self) -> str:
                return "threads"

            def launch_step(self, step_handler_context: Any) -> Iterator[dg.DagsterEvent]:
                # Otherwise, each thread configures Python's logging while others store events, which is a deadlock.
                handlers = step_handler_context.instance.__dict__.setdefault("bench_handlers", step_handler_context.instance.get_handlers())
                step_handler_context.instance.get_handlers = lambda: handlers
                threading.Thread(target=self._run, args=(step_handler_context,), daemon=True).start()
                return iter(())

            def _run(self, context: Any) -> None:
                arguments, run, reconstructable = context.execute_step_args, context.dagster_run, dg.reconstructable(job)
                plan = create_execution_plan(reconstructable, run.run_config, arguments.step_keys_to_execute, arguments.known_state)
                for _ in execute_plan_iterator(plan, reconstructable, run, context.instance, arguments.retry_mode, run.run_config):
                    pass

            def check_step_health(self, step_handler_context: Any) -> CheckStepHealthResult:
                return CheckStepHealthResult.healthy()

            def terminate_step(self, step_handler_context: Any) -> Iterator[dg.DagsterEvent]:
                return iter(())

        return StepDelegatingExecutor(ThreadHandler(), RetryMode.ENABLED, max_concurrent=at_a_time)

    return delegating


# ---------------------------------------------------------------------------------------------- one measurement

_ABOUT_PROCESSES = ("STEP_WORKER", "RESOURCE_INIT", "LOGS_CAPTURED", "ENGINE_EVENT")


def _read_used_seconds(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _read_seconds() -> tuple[float, float]:
    """Return the CPU seconds so far of this process, and of the processes for which it waited."""
    return _read_used_seconds(resource.RUSAGE_SELF), _read_used_seconds(resource.RUSAGE_CHILDREN)


def _list_instance_settings(way: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"telemetry": {"enabled": False}}
    if way == "delegating":  # it would redirect the process's output in every thread
        settings["compute_logs"] = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return settings


def run_here() -> None:
    """Run the job that the environment selects in this process, and write the measurements to a file."""
    with (
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.local_temp(folder, overrides=_list_instance_settings(os.environ["BENCH_WAY"])) as instance,
    ):
        reconstructable = dg.reconstructable(job)
        reconstructable.get_definition()
        began, before = time.monotonic(), _read_seconds()
        result = dg.execute_job(reconstructable, instance)
        after, ended = _read_seconds(), time.monotonic()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        events: dict[str, list[str]] = {}
        for entry in instance.all_logs(result.run_id):
            event = entry.dagster_event
            if event and event.step_key and not event.event_type_value.startswith(_ABOUT_PROCESSES):
                events.setdefault(event.step_key, []).append(event.event_type_value)
        found = {
            "success": result.success,
            "own": after[0] - before[0],
            "children": after[1] - before[1],
            "until_end": sum(after),
            "wall": ended - began,
            "memory": memory,
            "steps": events,
        }
        Path(os.environ["BENCH_FOUND"]).write_text(json.dumps(found), encoding="utf-8")
    os._exit(0)


def measure(way: str, steps: int, at_a_time: int, *, tries: int = 3) -> Measured:
    """Run one way in a separate process.

    Args:
        way: one of WAYS.
        steps: number of tables of the project, and of steps of the job.
        at_a_time: number of commands at a time.
        tries: maximum number of measurements until one is plausible.

    Raises:
        Implausible: none of them is plausible.
    """
    for attempt in range(tries):
        try:
            return _measure(way, steps, at_a_time)
        except Implausible as error:
            if attempt + 1 == tries:
                raise
            print(f"{way}: measured again: {error}", file=sys.stderr, flush=True)
    raise AssertionError


def _measure(way: str, steps: int, at_a_time: int) -> Measured:
    with tempfile.TemporaryDirectory() as temporary:
        root, ran, result = Path(temporary, "project"), Path(temporary, "ran"), Path(temporary, "found")
        _write_project(root, steps)
        environment = {
            **os.environ,
            "BENCH_WAY": way,
            "BENCH_PROJECT": str(root),
            "BENCH_AT_A_TIME": str(at_a_time),
            "BENCH_RAN": str(ran),
            "BENCH_FOUND": str(result),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        }
        code = "import bench.steps; bench.steps.run_here()"
        tree = run_tree([sys.executable, "-c", code], environment=environment, folder=REPOSITORY)
        if tree.code != 0 or not result.exists():
            raise RuntimeError(f"{way}: {tree.output[-3000:]}")
        found = json.loads(result.read_text(encoding="utf-8"))
        commands = ran.read_text(encoding="utf-8").splitlines()
    if not found["success"]:
        raise RuntimeError(f"{way}: the run failed: {tree.output[-3000:]}")
    cpu = found["own"] + found["children"] + sum(tree.orphans)
    doubts = list(_list_doubts(found, tree, cpu, commands, steps))
    if doubts:
        raise Implausible("; ".join(doubts))
    return Measured(way, cpu / steps, found["own"] / steps, found["wall"], found["memory"], found["steps"])


def _list_doubts(found: Mapping[str, Any], tree: Tree, cpu: float, commands: Sequence[str], steps: int) -> Iterator[str]:
    """Yield the reasons why a measurement is implausible."""
    processors, slack = os.cpu_count() or 1, 0.1
    if min(found["own"], found["children"], *tree.orphans, 0.0) < 0:
        yield f"negative CPU time ({found['own']:.3f} s own, {found['children']:.3f} s children)"
    if found["own"] + found["children"] > processors * found["wall"] * 1.02 + slack:
        yield f"{found['own'] + found['children']:.2f} s CPU in {found['wall']:.2f} s on {processors} processors"
    if tree.cpu + sum(tree.orphans) > processors * tree.wall * 1.02 + slack:
        yield f"{tree.cpu + sum(tree.orphans):.2f} s CPU of all processes in {tree.wall:.2f} s on {processors} processors"
    if tree.cpu + slack < found["until_end"]:
        yield f"the process reports {found['until_end']:.2f} s CPU, but its parent {tree.cpu:.2f} s"
    if cpu < steps * 1e-4:
        yield f"{steps} commands cannot be started with {cpu:.4f} s CPU"
    times = Counter(commands)
    if len(times) != steps or set(times.values()) != {1}:
        yield f"{len(times)} of {steps} commands ran, {sum(times.values())} times in total"


def _write_project(root: Path, steps: int) -> None:
    write_project(root, 2 * steps, filename="all")
    # The connection is not DuckDB, because commands that write to the same DuckDB file wait for each other.
    (root / "metadata" / "application.sl.yml").write_text(
        "version: 1\napplication:\n  connectionRef: warehouse\n  connections:\n    warehouse:\n      type: jdbc\n      options:\n"
        '        url: "jdbc:postgresql://localhost/nowhere"\n        driver: org.postgresql.Driver\n'
        "  dagRef:\n    load: loads\n    transform: transforms\n",
        encoding="utf-8",
    )
    program = root / "program"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)


# ---------------------------------------------------------------------------------------------- steps that only wait

SECONDS = 20.0
_waited: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Waiting:
    """The measurement of steps of one run that all wait at the same time.

    Attributes:
        steps: number of steps.
        seconds: duration of the measurement.
        cpu: CPU seconds of their process in this time.
        memory: peak memory of the process in MB.
    """

    steps: int
    seconds: float
    cpu: float
    memory: float


def measure_waiting(steps: int) -> Waiting:
    """Run many waiting steps in a separate process, and measure its CPU and memory."""
    environment = {
        **os.environ,
        "BENCH_STEPS": str(steps),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }
    code = "import bench.steps; bench.steps.run_waiting()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"waiting: {done.stderr[-3000:]}")
    return Waiting(**json.loads(done.stdout.strip().splitlines()[-1]))


def run_waiting() -> None:
    """Run many steps that wait for each other and then for some time, and print the measurement."""
    steps = int(os.environ["BENCH_STEPS"])
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder, overrides=_list_instance_settings("")) as instance:
        result = dg.execute_job(dg.reconstructable(waiting_job), instance)
        assert result.success
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(asdict(Waiting(steps, SECONDS, _waited["cpu"], memory))))


def waiting_job() -> dg.JobDefinition:
    steps = int(os.environ["BENCH_STEPS"])
    everybody, released = threading.Barrier(steps), threading.Event()

    def build_waiting_asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"waits_{number}")
        def body() -> None:
            if everybody.wait() == 0:
                time.sleep(1)
                before = sum(_read_seconds())
                time.sleep(SECONDS)
                _waited["cpu"] = sum(_read_seconds()) - before
                released.set()
            released.wait()

        return body

    job_ = dg.define_asset_job("job", executor_def=starlake_step_executor(max_concurrent=steps))
    return dg.Definitions(assets=[build_waiting_asset(i) for i in range(steps)], jobs=[job_]).resolve_job_def("job")


# ---------------------------------------------------------------------------------------------- the table


def list_rows(measured: Sequence[Sequence[Measured]]) -> list[Row]:
    """Return the result of each way."""
    own = next((statistics.median(m.cpu for m in runs) for runs in measured if runs[0].way == "threads"), None)
    reference = next((runs[0].steps for runs in measured if runs[0].way == "in_process"), None)
    found = []
    for runs in measured:
        cpus = [m.cpu for m in runs]
        median = statistics.median(cpus)
        found.append(
            Row(
                way=runs[0].way,
                description=WAYS[runs[0].way],
                cpu=median,
                lowest=min(cpus),
                highest=max(cpus),
                own=statistics.median(m.own for m in runs),
                times=median / own if own else None,
                wall=statistics.median(m.wall for m in runs),
                memory=statistics.median(m.memory for m in runs),
                same_events=None if reference is None else all(m.steps == reference for m in runs),
                runs=len(runs),
            )
        )
    return found


def format_table(measured: Sequence[Sequence[Measured]], steps: int, at_a_time: int) -> Iterator[str]:
    """Yield the lines of a Markdown table with a row for each way."""
    yield (
        f"{steps} steps, {at_a_time} at a time, each with a command that sleeps {SLEEP} s; Python {platform.python_version()}, "
        f"dagster {dg.__version__}, {os.cpu_count()} processors"
    )
    yield ""
    yield (
        "| way | CPU s per step, commands included: median (range, runs) | of that the run's process | times threads | wall s | peak MB | "
        "events of each step as in_process |"
    )
    yield "|---|---|---|---|---|---|---|"
    for row in list_rows(measured):
        times = "" if row.times is None else f"{row.times:.1f}"
        same = "" if row.same_events is None else "yes" if row.same_events else "no"
        yield (
            f"| {row.description} | {row.cpu:.3f} ({row.lowest:.3f}-{row.highest:.3f}, "
            f"{row.runs}) | {row.own:.3f} | {times} | {row.wall:.1f} "
            f"| {row.memory:.0f} | {same} |"
        )


def measure_all(ways: Sequence[str], steps: int, at_a_time: int, repeat: int) -> list[list[Measured]]:
    """Measure ways several times, alternately, so that other load affects all of them."""
    measured: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(repeat):
        for way in ways:
            measured[way].append(measure(way, steps, at_a_time))
            print(f"{way}: {measured[way][-1].cpu:.3f}", file=sys.stderr, flush=True)
    return list(measured.values())


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure, print the table, and return its rows.

    Args:
        argv: arguments; None for those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", choices=[[], *WAYS], default=[])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--at-a-time", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--waiting", type=int, default=0, help="also measure this number of waiting steps")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args(argv)
    measured = measure_all(options.ways or list(WAYS), options.steps, options.at_a_time, options.repeat)
    print("\n".join(format_table(measured, options.steps, options.at_a_time)))
    if options.waiting:
        waiting = measure_waiting(options.waiting)
        print(f"\n{waiting.steps} steps waiting for {waiting.seconds:.0f} s: {waiting.cpu:.3f} CPU s, process at {waiting.memory:.0f} MB")
    found = list_rows(measured)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in found], indent=2), encoding="utf-8")
    return found


if __name__ == "__main__":
    main()
