"""Jobs for the tests of executors; in a module of its own, because other processes have to find them by name.

Every body appends its name to a file of the folder ``STEP_JOBS_FOLDER``, so that executions can be counted across processes.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from starlake_dagster_components.errors import CommandCanceled
from starlake_dagster_components.step_executor.cancellation import get_cancellation, get_printer, run_cancellable
from starlake_dagster_components.step_executor.definition import starlake_step_executor

EXECUTE = "import dagster, step_jobs; dagster.execute_job(dagster.reconstructable(step_jobs.{job}), dagster.DagsterInstance.get())"
"""Code that runs a job in a process of its own."""


def get_folder() -> Path:
    return Path(os.environ["STEP_JOBS_FOLDER"])


def record_run(name: str) -> None:
    with (get_folder() / "ran").open("a") as file:
        file.write(f"{name}\n")


def count_executions() -> Counter[str]:
    path = get_folder() / "ran"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def mark(name: str) -> None:
    (get_folder() / name).touch()


def wait_for(name: str, canceled: threading.Event | None = None) -> None:
    path = get_folder() / name
    deadline = time.monotonic() + 600
    while not path.exists():
        if canceled is not None and canceled.wait(0.02):
            raise CommandCanceled("it was canceled")
        if canceled is None:
            time.sleep(0.02)
        if time.monotonic() > deadline:
            raise TimeoutError(name)


def resolve(assets: Sequence[Any], executor: dg.ExecutorDefinition | None = None, hooks: Any = None, **kwargs: Any) -> dg.JobDefinition:
    job = dg.define_asset_job("job", executor_def=executor or starlake_step_executor(max_concurrent=4), hooks=hooks, **kwargs)
    return dg.Definitions(assets=assets, jobs=[job]).resolve_job_def("job")


# ---------------------------------------------------------------------------------------------- everything that a step may do


@dg.asset
def plain(context: dg.AssetExecutionContext) -> Any:
    context.log.info("a line of plain")
    record_run("plain")
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset(output_required=False)
def nothing_new(context: dg.AssetExecutionContext) -> Any:
    record_run("nothing_new")
    yield from ()


@dg.asset(deps=[nothing_new])
def after_nothing_new() -> None:
    record_run("after_nothing_new")


@dg.asset(deps=[after_nothing_new])
def long_after_nothing_new() -> None:
    record_run("long_after_nothing_new")


@dg.asset
def failing() -> None:
    record_run("failing")
    raise ValueError("broken on purpose")


@dg.asset(deps=[failing])
def after_failing() -> None:
    record_run("after_failing")


@dg.asset(deps=[plain], retry_policy=dg.RetryPolicy(max_retries=2, delay=0.2))
def retried_by_policy() -> None:
    record_run("retried_by_policy")
    if count_executions()["retried_by_policy"] < 3:
        raise ValueError("not yet")


@dg.asset
def retried_by_request(context: dg.AssetExecutionContext) -> None:
    record_run("retried_by_request")
    if context.op_execution_context.retry_number < 1:
        raise dg.RetryRequested(max_retries=1)


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=3))
def not_to_be_retried() -> None:
    record_run("not_to_be_retried")
    raise dg.Failure("no use to try again", metadata={"exit_code": 2}, allow_retries=False)


@dg.asset(check_specs=[dg.AssetCheckSpec("small", asset="checked", blocking=True)], deps=[plain])
def checked():  # type: ignore[no-untyped-def]
    record_run("checked")
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=False)])


@dg.asset(deps=[checked])
def after_checked() -> None:
    record_run("after_checked")


class Tool(dg.ConfigurableResource[Any]):
    """A resource with setup and teardown, which are counted."""

    name: str = "tool"

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        record_run("tool_set_up")

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        record_run("tool_torn_down")


@dg.asset
def with_resource(tool: Tool) -> Any:
    record_run("with_resource")
    return tool.name


@dg.asset
def reads_value(with_resource: str) -> None:
    record_run(f"reads_value_{with_resource}")


@dg.asset
async def asynchronous() -> Any:
    record_run("asynchronous")
    return 1


@dg.multi_asset(specs=[dg.AssetSpec("left", skippable=True), dg.AssetSpec("right", skippable=True)])
def two_sides():  # type: ignore[no-untyped-def]
    record_run("two_sides")
    yield dg.MaterializeResult("left")


@dg.asset(deps=["left"])
def after_left() -> None:
    record_run("after_left")


@dg.asset(deps=["right"])
def after_right() -> None:
    record_run("after_right")


@dg.success_hook
def done_hook(context: dg.HookContext) -> None:
    record_run(f"success_hook_{context.op.name}")


@dg.failure_hook
def failed_hook(context: dg.HookContext) -> None:
    record_run(f"failure_hook_{context.op.name}")
    raise RuntimeError("a hook that fails")


EVERYTHING = [
    plain,
    nothing_new,
    after_nothing_new,
    long_after_nothing_new,
    failing,
    after_failing,
    retried_by_policy,
    retried_by_request,
    not_to_be_retried,
    checked,
    after_checked,
    with_resource,
    reads_value,
    asynchronous,
    two_sides,
    after_left,
    after_right,
]
EXECUTORS = {
    "threads": starlake_step_executor(max_concurrent=4),
    "in_process": dg.in_process_executor,
    "multiprocess": dg.multiprocess_executor,
}


SOME = [plain, nothing_new, after_nothing_new, failing, after_failing, retried_by_request, with_resource, reads_value]


def build_with_all(assets: Sequence[Any], executor: str) -> dg.JobDefinition:
    job = dg.define_asset_job("job", executor_def=EXECUTORS[executor], hooks={done_hook, failed_hook})
    return dg.Definitions(assets=assets, jobs=[job], resources={"tool": Tool()}).resolve_job_def("job")


def everything_threads() -> dg.JobDefinition:
    return build_with_all(EVERYTHING, "threads")


def everything_in_process() -> dg.JobDefinition:
    return build_with_all(EVERYTHING, "in_process")


def some_threads() -> dg.JobDefinition:
    return build_with_all(SOME, "threads")


def some_multiprocess() -> dg.JobDefinition:
    return build_with_all(SOME, "multiprocess")


# ---------------------------------------------------------------------------------------------- cancellation


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=5))
def watches_event(context: dg.AssetExecutionContext) -> None:
    """Wait for cancellation as an executor of commands does."""
    record_run("watches_event")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    (get_folder() / "watched_pid").write_text(str(process.pid))

    def wait(canceled: threading.Event) -> None:
        mark("watches_event_runs")
        canceled.wait()
        process.send_signal(signal.SIGTERM)
        process.wait()
        mark("watches_event_canceled")
        raise CommandCanceled("the command was ended")

    run_cancellable(context, wait)


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=5))
def interrupted_in_python() -> None:
    """Run without support for cancellation."""
    record_run("interrupted_in_python")
    mark("interrupted_in_python_runs")
    try:
        while True:
            time.sleep(0.01)
    except dg.DagsterExecutionInterruptedError:
        mark("interrupted_in_python_interrupted")
        raise


@dg.asset(deps=[watches_event])
def after_watches_event() -> None:
    record_run("after_watches_event")


@dg.asset
def finished_before() -> None:
    record_run("finished_before")


def cancellable() -> dg.JobDefinition:
    return resolve([finished_before, watches_event, interrupted_in_python, after_watches_event])


def cancellable_in_process() -> dg.JobDefinition:
    return resolve([watches_event], dg.in_process_executor)


def cancellable_multiprocess() -> dg.JobDefinition:
    return resolve([watches_event], dg.multiprocess_executor)


@dg.asset
def ignores_everything(context: dg.AssetExecutionContext) -> None:
    record_run("ignores_everything")
    get_cancellation(context)
    mark("ignores_everything_runs")
    time.sleep(600)


def stubborn() -> dg.JobDefinition:
    return resolve([finished_before, ignores_everything], starlake_step_executor().configured({"cancel_grace_seconds": 1.0}))


@dg.asset
def ends_before_hooks(tool: Tool) -> None:
    record_run("ends_before_hooks")


def make_slow_hook(name: str) -> dg.HookDefinition:
    """Return a hook that ends when the test says so."""

    @dg.success_hook(name=name)
    def slow_hook(context: dg.HookContext) -> None:
        mark("hook_runs")
        wait_for("hooks_may_end")
        record_run(name)

    return slow_hook


def with_slow_hooks() -> dg.JobDefinition:
    hooks = {make_slow_hook("first_hook"), make_slow_hook("second_hook")}
    job = dg.define_asset_job("job", executor_def=starlake_step_executor(), hooks=hooks)
    return dg.Definitions(assets=[ends_before_hooks], jobs=[job], resources={"tool": Tool()}).resolve_job_def("job")


# ---------------------------------------------------------------------------------------------- a lost process


def _build_table(number: int, deps: list[str]) -> Any:
    @dg.asset(name=f"table_{number}", deps=deps)
    def table(context: dg.AssetExecutionContext) -> None:
        record_run(f"table_{number}")
        if number >= 6:  # these tables need the file that the test creates after it has killed the process
            mark(f"table_{number}_runs")
            wait_for("go", get_cancellation(context))

    return table


def tables() -> dg.JobDefinition:
    return resolve([_build_table(i, [f"table_{i - 5}"] if i >= 5 else []) for i in range(15)])


definitions = dg.Definitions(
    assets=[finished_before, watches_event, interrupted_in_python, after_watches_event],
    jobs=[dg.define_asset_job("job", executor_def=starlake_step_executor(max_concurrent=4))],
)
"""A code location."""

# ---------------------------------------------------------------------------------------------- logs


def build_speaker(name: str) -> Any:
    @dg.asset(name=name)
    def speaks(context: dg.AssetExecutionContext) -> None:
        another = threading.Thread(target=get_printer(context), args=(f"{name} in another thread",))
        _all_here.wait(600)
        for number in range(20):
            print(f"{name} prints {number}")  # noqa: T201
            print(f"{name} complains {number}", file=sys.stderr)  # noqa: T201
            dg.get_dagster_logger("tests").info(f"{name} logs {number}")
            context.log.info(f"{name} reports {number}")
        another.start()
        another.join()

    return speaks


SPEAKERS = ("anna", "bert", "carl", "dora")
_all_here = threading.Barrier(len(SPEAKERS))


def speakers() -> dg.JobDefinition:
    return resolve([build_speaker(name) for name in SPEAKERS])
