"""What a step costs besides its command: this package's executor against Dagster's own and against other ways to do it.

    python bench/steps.py [--steps 50] [--at-a-time 8] [--repeat 3] [--waiting 500] [WAY...]

Each way runs the same job in a fresh process with a fresh SQLite instance; each step runs one command that sleeps. CPU is that of the run's
process and of everything it started, without what the commands themselves cost and without what came before ``execute_job`` (imports, definitions).
Needs Linux: a fork server outlives the run's process, and only Linux lets another process wait for it.
"""

import argparse
import ctypes
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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from starlake_dagster_components.step_executor import run_cancellable, starlake_step_executor

COMMAND = ("sleep", "0.2")
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
    """One run of one way.

    Attributes:
        way: which.
        cpu: CPU seconds per step over what the commands cost.
        wall: seconds of the run.
        memory: peak memory of the run's process in MB.
        steps: events of each step, without those that are about processes and resources.
    """

    way: str
    cpu: float
    wall: float
    memory: float
    steps: dict[str, list[str]]


# ---------------------------------------------------------------------------------------------- the job, in every process


def _settings() -> tuple[str, int, int]:
    return os.environ["BENCH_WAY"], int(os.environ["BENCH_STEPS"]), int(os.environ["BENCH_AT_A_TIME"])


def _run_command(cancelled: threading.Event) -> None:
    subprocess.run(COMMAND, check=True)


def _table(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name)
    def table(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        run_cancellable(context, _run_command)
        return dg.MaterializeResult(metadata={"rows": 1})

    return table


def _all_tables(names: Sequence[str], at_a_time: int) -> dg.AssetsDefinition:
    @dg.multi_asset(specs=[dg.AssetSpec(name, skippable=True) for name in names], name="all_tables", can_subset=True)
    def all_tables() -> Iterator[dg.MaterializeResult[Any]]:
        with ThreadPoolExecutor(at_a_time) as pool:
            running = {pool.submit(_run_command, threading.Event()): name for name in names}
            for done in as_completed(running):
                done.result()
                yield dg.MaterializeResult(running[done], metadata={"rows": 1})

    return all_tables


def job() -> dg.JobDefinition:
    way, steps, at_a_time = _settings()
    names = [f"table_{i:03d}" for i in range(steps)]
    executors: dict[str, dg.ExecutorDefinition] = {
        "threads": starlake_step_executor(max_concurrent=at_a_time),
        "in_process": dg.in_process_executor,
        "multiprocess": dg.multiprocess_executor.configured({"max_concurrent": at_a_time}),
        "forkserver": dg.multiprocess_executor.configured(
            {"max_concurrent": at_a_time, "start_method": {"forkserver": {"preload_modules": ["bench.steps"]}}}
        ),
        "delegating": _delegating(at_a_time),
        "one_step": dg.in_process_executor,
    }
    assets = [_all_tables(names, at_a_time)] if way == "one_step" else [_table(name) for name in names]
    job_ = dg.define_asset_job("job", executor_def=executors[way])
    return dg.Definitions(assets=assets, jobs=[job_]).resolve_job_def("job")


def _delegating(at_a_time: int) -> dg.ExecutorDefinition:
    """Dagster's executor for steps elsewhere, with "elsewhere" a thread. Not public either, and the way of its events is the database."""

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
                # Else each thread configures Python's logging while others store events, and they wait for each other for ever.
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


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _instance_settings(way: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"telemetry": {"enabled": False}}
    if way == "delegating":  # it would redirect the process's output in every thread
        settings["compute_logs"] = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return settings


def run_here() -> None:
    """Run the job of the environment in this process and print what it cost."""
    way, steps, _ = _settings()
    before = _cpu()
    for _ in range(steps):
        _run_command(threading.Event())
    commands = _cpu() - before
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder, overrides=_instance_settings(way)) as instance:
        reconstructable = dg.reconstructable(job)
        reconstructable.get_definition()
        not_the_job, wall = _cpu(), time.monotonic()
        result = dg.execute_job(reconstructable, instance)
        wall, ended = time.monotonic() - wall, _cpu()
        assert result.success
        events: dict[str, list[str]] = {}
        for entry in instance.all_logs(result.run_id):
            event = entry.dagster_event
            if event and event.step_key and not event.event_type_value.startswith(_ABOUT_PROCESSES):
                events.setdefault(event.step_key, []).append(event.event_type_value)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    not_the_job += _cpu() - ended + commands
    print(json.dumps(asdict(Measured(way, -not_the_job, wall, memory, events))), flush=True)
    os._exit(0)


def measure(way: str, steps: int, at_a_time: int) -> Measured:
    """Run one way in a process of its own."""
    environment = {**os.environ, "BENCH_WAY": way, "BENCH_STEPS": str(steps), "BENCH_AT_A_TIME": str(at_a_time)}
    repository = Path(__file__).resolve().parent.parent
    environment["PYTHONPATH"] = os.pathsep.join([str(repository), environment.get("PYTHONPATH", "")])
    code = "import bench.steps; bench.steps.run_here()"
    _adopt_orphans()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=repository, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{way}: {done.stderr[-3000:]}")
    _wait_for_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(**{**found, "cpu": (total + found["cpu"]) / steps})


def _adopt_orphans() -> None:
    """Become the parent of processes that lose theirs: a fork server ends after the run's process, and its children count with it."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def _wait_for_orphans() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


# ---------------------------------------------------------------------------------------------- steps that only wait


def run_waiting() -> None:
    """Start many steps that wait for each other and then for a while; print what the waiting costs."""
    steps = int(os.environ["BENCH_STEPS"])
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder, overrides=_instance_settings("")) as instance:
        result = dg.execute_job(dg.reconstructable(waiting_job), instance)
        assert result.success
    print(json.dumps({"cpu": _waited["cpu"], "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "steps": steps}))


SECONDS = 20.0
_waited: dict[str, float] = {}


def waiting_job() -> dg.JobDefinition:
    steps = int(os.environ["BENCH_STEPS"])
    everybody, released = threading.Barrier(steps), threading.Event()

    def waits(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"waits_{number}")
        def body() -> None:
            if everybody.wait() == 0:
                time.sleep(1)
                before = _cpu()
                time.sleep(SECONDS)
                _waited["cpu"] = _cpu() - before
                released.set()
            released.wait()

        return body

    job_ = dg.define_asset_job("job", executor_def=starlake_step_executor(max_concurrent=steps))
    return dg.Definitions(assets=[waits(i) for i in range(steps)], jobs=[job_]).resolve_job_def("job")


# ---------------------------------------------------------------------------------------------- the table


def table(measured: Sequence[Sequence[Measured]], steps: int, at_a_time: int) -> Iterator[str]:
    """Write the measurements as a Markdown table, one row per way, against this package's."""
    yield f"{steps} steps, {at_a_time} at a time, command `{' '.join(COMMAND)}`; Python {platform.python_version()}, dagster {dg.__version__}"
    yield ""
    yield "| way | CPU s per step, median (range) | times threads | wall s | peak MB | events of each step as in_process |"
    yield "|---|---|---|---|---|---|"
    own = next((statistics.median(m.cpu for m in runs) for runs in measured if runs[0].way == "threads"), None)
    reference = next((runs[0].steps for runs in measured if runs[0].way == "in_process"), None)
    for runs in measured:
        cpus = [m.cpu for m in runs]
        median = statistics.median(cpus)
        times = f"{median / own:.1f}" if own else ""
        same = "" if reference is None else "yes" if all(m.steps == reference for m in runs) else "no"
        wall, memory = statistics.median(m.wall for m in runs), statistics.median(m.memory for m in runs)
        yield f"| {WAYS[runs[0].way]} | {median:.3f} ({min(cpus):.3f}-{max(cpus):.3f}) | {times} | {wall:.1f} | {memory:.0f} | {same} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", choices=[[], *WAYS], default=[])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--at-a-time", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--waiting", type=int, default=0, help="also measure so many steps that only wait")
    options = parser.parse_args()
    ways = options.ways or list(WAYS)
    measured: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(options.repeat):  # round by round, so that a busy minute hits all ways
        for way in ways:
            measured[way].append(measure(way, options.steps, options.at_a_time))
            print(f"{way}: {measured[way][-1].cpu:.3f}", file=sys.stderr, flush=True)
    print("\n".join(table(list(measured.values()), options.steps, options.at_a_time)))
    if options.waiting:
        environment = {**os.environ, "BENCH_STEPS": str(options.waiting)}
        repository = Path(__file__).resolve().parent.parent
        code = "import bench.steps; bench.steps.run_waiting()"
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=repository, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"\n{found['steps']} steps waiting for {SECONDS:.0f} s: {found['cpu']:.3f} CPU s, process at {found['memory']:.0f} MB")


if __name__ == "__main__":
    main()
