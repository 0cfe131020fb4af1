"""Run the commands of steps, and convert their results to Dagster's metadata and failures."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from ...cancellation_event import Canceled
from ...commands import Command, RunContext
from ...errors import CommandCanceled, CommandTimeout, InvalidSetting, StarlakeError
from ...executors.base import CommandResult, Counters, Invocation, Level
from ...executors.starlake_output.audit_rows import is_failed_expectation
from ...failed_sql import is_permanent
from ...pipelines.pipeline import Pipeline
from ...project.model import Task
from ...settings import Settings
from ...step_executor.cancellation import get_printer, run_cancellable
from ..graph import AssetGraph
from ..nodes import StarlakeNode
from ..partitions import find_interval_of_run, is_for_partitions
from .run_history import RunHistories, RunHistory, find_usual_seconds
from .run_options import build_option_metadata
from .run_tags import INTERVAL_END, INTERVAL_START, SCHEDULED_DATE, parse_time
from .step_config import StepConfig, read_step_config

FIRST_LINES = 20
"""Number of lines at the beginning of a program's output that go to the event log, whatever their level."""
_RESULTS = ("File(s): ", "Table: ", "Input records: ", "Accepted: ", "Rejected: ", "IngestionCounters:", "Moving ")
"""Prefixes of lines with results, which go to the event log, whatever their level."""

MAX_LOGGED = 2000
"""Maximum number of info and debug messages per command that go to the event log. All others only go to the step's stdout."""

_TIMED_OUT = 124
"""The exit code of the shell command ``timeout`` for a command that ran too long."""

EXECUTOR = "starlake/executor"
"""Metadata of a failure: name of the executor that ran the command."""

READY = "starlake/ready"
"""Metadata of a pre-load's materialization: False if it found nothing to load."""

Events = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetObservation]


@dataclass(frozen=True, slots=True)
class EndedCommand:
    """A command that has ended, whether or not it succeeded.

    Attributes:
        seconds: its duration.
        executor: name of the executor that ran it.
        error: the reason why it could not be started, or was interrupted.
    """

    command: Command
    result: CommandResult
    seconds: float
    executor: str
    error: StarlakeError | None = None

    def build_failure(self) -> dg.Failure:
        """Return the failure of a step that ran only this command. It describes the error, the SQL around it, and the command."""
        result = self.result
        if self.error is not None:
            metadata = {"starlake/command": self.command.shown, EXECUTOR: self.executor}
            return dg.Failure(
                str(self.error), metadata, allow_retries=may_succeed_later(getattr(self.error, "retry", True), str(self.error))
            )
        reason = result.reason or (result.tail[-1] if result.tail else "no output")
        statement = f"\n  in the statement:\n{result.statement}" if result.statement else ""
        ending = f"with exit code {result.shown_exit_code}" if result.shown_exit_code else "although its exit code is 0"
        return dg.Failure(
            f"{reason}{statement}\n{self.command.verb} failed {ending} (executor {self.executor})",
            self.build_failure_metadata(),
            allow_retries=may_succeed_later(result.retry, result.reason),
        )

    def build_failure_metadata(self) -> dict[str, Any]:
        """Return the metadata of a failure: command line, executor, exit code, and last lines."""
        lines = "\n".join(self.result.tail)
        return {
            "starlake/command": self.command.shown,
            EXECUTOR: self.executor,
            "starlake/exit_code": self.result.shown_exit_code,
            "starlake/last_lines": dg.MetadataValue.md(f"```\n{lines}\n```"),
            **self.result.metadata,
        }


class StepCommands:
    """Runs the commands of steps."""

    def __init__(self, graph: AssetGraph, settings: Settings) -> None:
        self._graph = graph
        self._settings = settings
        self._pipelines = {p.name: p for p in graph.plan.pipelines}
        self._histories = RunHistories()

    def find_pipeline(self, node: StarlakeNode, context: dg.AssetExecutionContext) -> Pipeline | None:
        """Return the pipeline for which a step runs: that of the run's job if it contains the node, or else the node's own."""
        pipeline = self._pipelines.get(context.run.job_name)
        if pipeline is None:
            return node.pipeline
        pre_loaded = node.load_domain is not None and node.load_domain.name in pipeline.pre_load
        return pipeline if pre_loaded or node.table in pipeline.tables or node.task in pipeline.tasks else node.pipeline

    def runs_dependencies_first(self, context: dg.AssetExecutionContext) -> bool:
        """Return whether a step is part of a job with ``run_dependencies_first``."""
        pipeline = self._pipelines.get(context.run.job_name)
        return pipeline is not None and pipeline.run_dependencies_first

    def has_found_nothing(self, context: dg.AssetExecutionContext, pre_load: dg.AssetKey) -> bool:
        """Return whether a pre-load found nothing to load, in this run or in a run that this one re-executes."""
        latest = context.instance.get_latest_materialization_event(pre_load)
        materialization = latest.asset_materialization if latest else None
        if latest is None or materialization is None:
            return False
        ready = materialization.metadata.get(READY)
        return (
            ready is not None and ready.value is False and latest.run_id in (context.run.run_id, *self.find_history(context).earlier_runs)
        )

    def build_run_context(self, context: dg.AssetExecutionContext, pipeline: Pipeline | None, task: Task | None = None) -> RunContext:
        """Return the context in which the commands of a step run.

        ``task`` is None for loads, to which ``sl_options`` do not apply.

        Raises:
            dagster.Failure: the op config and the run's tags contradict each other, or the run is for a partition that does not exist.
            InvalidSetting: a date in the op config or the tags is invalid.
        """
        tags = context.run.tags
        config = read_step_config(context)
        start, end = self._find_interval(context, pipeline, config)
        task_options = config.find_task_options(context.op_execution_context.op.name, task.full_name) if task else {}
        return RunContext(
            project=self._graph.plan.find_project(pipeline),
            pipeline=pipeline,
            profile=self._settings.env,
            variables={**self._settings.variables, **task_options, **config.options},
            scheduled_date=_parse_moment(config.scheduled_date or tags.get(SCHEDULED_DATE), "scheduled_date")
            or (end if is_for_partitions(tags) else None),
            interval_start=start,
            interval_end=end,
            job_id=f"{context.run.run_id}.{get_step_key(context)}",
            warehouse_counts=self._settings.warehouse_counts,
        )

    def _find_interval(
        self, context: dg.AssetExecutionContext, pipeline: Pipeline | None, config: StepConfig
    ) -> tuple[datetime | None, datetime | None]:
        """Return the data interval of a step: that of the run's partitions, or of the op config, or of the run's tags.

        Raises:
            dagster.Failure: the run is for a partition that does not exist, or the interval is incomplete, invalid, or ambiguous.
        """
        tags = context.run.tags
        if config.interval and is_for_partitions(tags):
            raise dg.Failure(
                "the op config sets an interval, but the run is for a partition, which has its own interval; remove one of them",
                allow_retries=False,
            )
        partitions = next((spec.partitions_def for spec in context.assets_def.specs if spec.partitions_def is not None), None)
        if partitions is None and pipeline is not None:
            # The asset is not partitioned, but its job is.
            partitions = self._graph.partitions.get(pipeline.name)
        if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
            try:
                interval = find_interval_of_run(tags, partitions)
            except (ValueError, dg.DagsterError) as error:
                raise dg.Failure(f"the run is for a partition that does not exist: {error}", allow_retries=False) from error
            if interval is not None:
                return interval
        texts = config.interval or (tags.get(INTERVAL_START), tags.get(INTERVAL_END))
        start, end = _parse_moment(texts[0], INTERVAL_START), _parse_moment(texts[1], INTERVAL_END)
        if (start is None) != (end is None):
            given, missing = (INTERVAL_START, INTERVAL_END) if end is None else (INTERVAL_END, INTERVAL_START)
            raise dg.Failure(f"the run has the tag {given} but not {missing}; a data interval needs both", allow_retries=False)
        if start is not None and end is not None and start >= end:
            raise dg.Failure(f"the data interval ends at {texts[1]}, not after its start {texts[0]}", allow_retries=False)
        return start, end

    def find_history(self, context: dg.AssetExecutionContext) -> RunHistory:
        """Return the history of a step's run."""
        return self._histories.find(context.run, context.instance)

    def run_command(self, context: dg.AssetExecutionContext, pipeline: Pipeline | None, command: Command) -> CommandResult:
        """Run a command, and return its result if it succeeds or reports that there is nothing to load.

        Raises:
            dagster.Failure: the command failed. The metadata contains the command line, exit code, and last lines.
        """
        ended = self.attempt_command(context, pipeline, command)
        if ended.error is not None or (ended.result.exit_code != 0 and not ended.result.not_ready):
            raise ended.build_failure() from ended.error
        return ended.result

    def attempt_command(self, context: dg.AssetExecutionContext, pipeline: Pipeline | None, command: Command) -> EndedCommand:
        """Run a command, and return its result even if it fails, cannot be started, or is interrupted.

        Raises:
            dagster.Failure, dagster.DagsterExecutionInterruptedError: the run was canceled.
        """
        executor = self._settings.get_executor(pipeline)
        error: StarlakeError | None = None
        began = time.monotonic()
        try:
            if read_step_config(context).dry_run:
                context.log.info(f"dry run: {command.shown}")
                result = CommandResult(0)
            else:
                assert executor is not None
                result = run_cancellable(context, lambda canceled: executor.run(command, self._build_invocation(context, canceled)))
        except CommandCanceled as canceled:
            raise dg.Failure(f"canceled: {canceled}", allow_retries=False) from canceled
        except CommandTimeout as timeout:
            error, result = timeout, CommandResult(_TIMED_OUT, reason=str(timeout), tables=timeout.tables)
        except StarlakeError as failed:
            error, result = failed, CommandResult(1, reason=str(failed), retry=getattr(failed, "retry", True))
        name = str(getattr(executor, "type", type(executor).__name__))
        return EndedCommand(command, result, time.monotonic() - began, name, error)

    def _build_invocation(self, context: dg.AssetExecutionContext, canceled: Canceled) -> Invocation:
        history = self.find_history(context)
        key = get_step_key(context)
        log = _Log(context)
        return Invocation(
            log=log,
            output=_OutputLog(context, log, self._settings.event_log_level),
            canceled=canceled,
            run_id=context.run.run_id,
            step_key=key,
            attempt=context.op_execution_context.retry_number,
            find_usual_seconds=lambda: find_usual_seconds(context),
            since=history.since,
            earlier_runs=history.list_continued_runs(key),
            report=lambda metadata: context.log.info("; ".join(f"{k}: {getattr(v, 'value', v)}" for k, v in metadata.items())),
        )


def build_data_version(context: dg.AssetExecutionContext) -> dg.DataVersion:
    """Return the data version of a materialization, which differs for each run.

    By default, Dagster derives it from the code version and upstream data versions, which stay the same when new files are loaded.
    """
    return dg.DataVersion(context.run.run_id)


def get_step_key(context: dg.AssetExecutionContext) -> str:
    """Return the key of the current step."""
    return context.op_execution_context.get_step_execution_context().step.key


class _Log:
    """Writes the messages of executors to the event log, and those beyond :data:`MAX_LOGGED` only to the step's stdout."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._log = context.log
        self._print = get_printer(context)
        self._count = 0

    def __call__(self, level: Level, line: str) -> None:
        if level in ("warning", "error"):
            getattr(self._log, level)(line)
            return
        self._count += 1
        if self._count <= MAX_LOGGED:
            getattr(self._log, level)(line)
        else:
            if self._count == MAX_LOGGED + 1:
                self._log.info(f"more than {MAX_LOGGED} lines: the rest is in the step's stdout")
            self._print(line)


class _OutputLog:
    """Writes a program's lines to the step's stdout, and those that the ``event_log_level`` setting selects to the event log."""

    def __init__(self, context: dg.AssetExecutionContext, log: _Log, event_log_level: str) -> None:
        self._log = log
        self._print = get_printer(context)
        self._levels = {"warning": frozenset(("warning", "error")), "info": frozenset(("info", "warning", "error"))}.get(event_log_level)
        self._first = FIRST_LINES if event_log_level == "warning" else 0

    def __call__(self, level: Level, line: str) -> None:
        self._print(line)
        if self._levels is None or level in self._levels or self._first > 0 or line.startswith(_RESULTS):
            self._log(level, line)
        self._first -= 1


def may_succeed_later(retry: bool, reason: str | None) -> bool:
    """Return whether a retry may succeed: the result allows one, and the error would not recur with the same SQL and files."""
    return retry and not is_permanent(reason) and not is_failed_expectation(reason)


def build_count_metadata(counters: Counters | None, row_count: int | None) -> Iterator[tuple[str, Any]]:
    """Yield the metadata of a materialization with counts of rows and files, as far as they are known."""
    if counters:
        for name, count in (("rows_read", counters.input), ("rows_loaded", counters.accepted), ("rows_rejected", counters.rejected)):
            if count is not None:
                yield f"starlake/{name}", count
        yield "starlake/files", len(counters.files)
        if counters.files:
            yield "starlake/file_names", [path.rsplit("/", 1)[-1] for path in counters.files]
    if row_count is not None:
        yield "dagster/row_count", row_count


def build_run_metadata(context: dg.AssetExecutionContext, run: RunContext) -> dict[str, Any]:
    """Return the metadata from which downstream sensors read the logical time and the options of the run."""
    config = read_step_config(context)
    return {
        **({SCHEDULED_DATE: dg.MetadataValue.timestamp(run.scheduled_date)} if run.scheduled_date else {}),
        **build_option_metadata(config.sl_options, config.sl_options_merge, dry_run=config.dry_run),
    }


def _parse_moment(text: str | None, name: str) -> datetime | None:
    if not text:
        return None
    moment = parse_time(text)
    if moment is None:
        raise InvalidSetting(f"{name} '{text}' is not an ISO 8601 time (expected a time such as 2026-01-31T00:00:00)")
    return moment
