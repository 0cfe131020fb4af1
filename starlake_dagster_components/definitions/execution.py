"""What the steps do: which commands run for a domain, a table or a task, and what their results become in Dagster."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import dagster as dg

from ..commands import Command, RunContext, load_command, preload_command, stage_command, transform_command
from ..errors import CommandCancelled, InvalidSetting, StarlakeError
from ..executors.base import CommandResult, Invocation, Level
from ..pipelines.model import Pipeline
from ..project.model import Table
from ..step_executor import printer_of, run_cancellable
from .checks import check_results
from .graph import AssetGraph
from .nodes import StarlakeNode
from .run_history import RunHistories
from .run_tags import INTERVAL_END, INTERVAL_START, SCHEDULED_DATE, parse_time
from .settings import Settings

MAX_LOGGED = 2000
"""Lines of one command at level info or debug that go to the event log; all further ones go to the step's standard output."""

Events = Iterator[dg.MaterializeResult[Any]]


class Steps:
    """The bodies of all ops of a project."""

    def __init__(self, graph: AssetGraph, settings: Settings) -> None:
        self._graph = graph
        self._settings = settings
        self._pipelines = {p.name: p for p in graph.plan.pipelines}
        self._histories = RunHistories()

    def body(self, node: StarlakeNode, key: dg.AssetKey) -> Callable[[dg.AssetExecutionContext], Events]:
        """Return the body of a node's op."""
        run = {"domain": self.pre_load, "table": self.load, "task": self.transform}[node.type]
        return partial(run, node, key)

    def pre_load(self, node: StarlakeNode, key: dg.AssetKey, context: dg.AssetExecutionContext) -> Events:
        """Run a domain's ``preload`` and, for IMPORTED, its ``stage``; no output when nothing is ready.

        Starlake: PreLoadCmd; seed: Pre-load strategy. The tables are those of this run, never none: without ``--tables`` some
        strategies succeed whatever is there.
        """
        domain = node.load_domain
        pipeline = self._pipeline(node, context)
        assert domain is not None
        assert pipeline is not None
        pre_load = pipeline.pre_load[domain.name]
        tables = self._tables_of_run(context, domain.tables, pipeline)
        run = self._run_context(context, pipeline)
        names = ", ".join(t.name for t in tables)
        result = self._run(context, pipeline, preload_command(run, domain, tables, pre_load))
        if result.not_ready:
            context.log.info(f"{domain.name}: nothing to load for {names} (strategy {pre_load.strategy}); the tables are skipped")
            return
        if pre_load.strategy == "imported":
            staged = self._run(context, pipeline, stage_command(run, domain, tables))
            result = CommandResult(0, metadata={**result.metadata, **staged.metadata})
        yield dg.MaterializeResult(asset_key=key, metadata={"starlake/tables": names, **result.metadata})

    def load(self, node: StarlakeNode, key: dg.AssetKey, context: dg.AssetExecutionContext) -> Events:
        """Run a table's ``load``; staged first when its domain stages by IMPORTED and is not part of this run."""
        table = node.table
        assert table is not None
        pipeline = self._pipeline(node, context)
        run = self._run_context(context, pipeline)
        domain = next(d for d in node.project.domains if d.name == table.domain)
        if self._stages_itself(table, pipeline, context):
            self._run(context, pipeline, stage_command(run, domain, [table]))
        began = time.monotonic()
        result = self._run(context, pipeline, load_command(run, domain, [table]))
        yield self._materialized(node, key, result, time.monotonic() - began, run)

    def transform(self, node: StarlakeNode, key: dg.AssetKey, context: dg.AssetExecutionContext) -> Events:
        """Run a task's ``transform``."""
        task = node.task
        assert task is not None
        pipeline = self._pipeline(node, context)
        run = self._run_context(context, pipeline)
        began = time.monotonic()
        result = self._run(context, pipeline, transform_command(run, task))
        yield self._materialized(node, key, result, time.monotonic() - began, run)

    # ------------------------------------------------------------------------------------------------ what a run is about

    def _pipeline(self, node: StarlakeNode, context: dg.AssetExecutionContext) -> Pipeline | None:
        """Return the pipeline on whose behalf a step runs: that of the run's job where it runs the node, else the node's own."""
        pipeline = self._pipelines.get(context.run.job_name)
        if pipeline is not None:
            own = (
                node.table in pipeline.tables
                if node.table
                else node.task in pipeline.tasks
                if node.task
                else (node.load_domain is not None and node.load_domain.name in pipeline.pre_load)
            )
            if own:
                return pipeline
        return node.pipeline

    def _tables_of_run(self, context: dg.AssetExecutionContext, tables: Sequence[Table], pipeline: Pipeline) -> list[Table]:
        selected = context.run.asset_selection
        candidates = tables
        if context.run.job_name == pipeline.name:
            candidates = [t for t in tables if t in pipeline.tables]
        chosen = [t for t in candidates if selected is None or self._graph.key("table", t.full_name) in selected]
        return list(chosen or candidates)

    def _stages_itself(self, table: Table, pipeline: Pipeline | None, context: dg.AssetExecutionContext) -> bool:
        pre_load = pipeline.pre_load.get(table.domain) if pipeline else None
        if pre_load is None or pre_load.strategy != "imported":
            return False
        selected = context.run.asset_selection
        return selected is not None and self._graph.key("domain", table.domain) not in selected

    def _run_context(self, context: dg.AssetExecutionContext, pipeline: Pipeline | None) -> RunContext:
        tags = context.run.tags
        config = context.op_execution_context.op_config or {}
        return RunContext(
            project=self._graph.plan.project,
            pipeline=pipeline,
            profile=self._settings.env,
            variables=self._settings.variables,
            scheduled_date=_time(config.get("scheduled_date") or tags.get(SCHEDULED_DATE), "scheduled_date"),
            interval_start=_time(tags.get(INTERVAL_START), INTERVAL_START),
            interval_end=_time(tags.get(INTERVAL_END), INTERVAL_END),
            job_id=f"{context.run.run_id}.{context.op_execution_context.get_step_execution_context().step.key}",
        )

    # ------------------------------------------------------------------------------------------------ running a command

    def _run(self, context: dg.AssetExecutionContext, pipeline: Pipeline | None, command: Command) -> CommandResult:
        """Run a command; return its result when it is done or not ready.

        Raises:
            dagster.Failure: it failed, with command, exit code and last lines.
        """
        executor = self._settings.executor_of(pipeline)
        assert executor is not None
        try:
            result = run_cancellable(context, lambda cancelled: executor.run(command, self._invocation(context, cancelled)))
        except CommandCancelled as cancelled:
            raise dg.Failure(f"cancelled: {cancelled}", allow_retries=False) from cancelled
        except StarlakeError as error:
            raise dg.Failure(str(error), metadata={"command": command.shown}, allow_retries=getattr(error, "retry", True)) from error
        if result.exit_code != 0 and not result.not_ready:
            raise _failure(command, result)
        return result

    def _invocation(self, context: dg.AssetExecutionContext, cancelled: threading.Event) -> Invocation:
        step = context.op_execution_context.get_step_execution_context()
        history = self._histories.of(context.run, context.instance)
        return Invocation(
            log=_Log(context),
            cancelled=cancelled,
            run_id=context.run.run_id,
            step_key=step.step.key,
            attempt=context.op_execution_context.retry_number,
            since=history.since,
            earlier_runs=history.continued(step.step.key),
            report=lambda metadata: context.log.info("; ".join(f"{k}: {getattr(v, 'value', v)}" for k, v in metadata.items())),
        )

    def _materialized(
        self, node: StarlakeNode, key: dg.AssetKey, result: CommandResult, seconds: float, run: RunContext
    ) -> dg.MaterializeResult[Any]:
        # By this a sensor further down knows for when its run is.
        scheduled = {SCHEDULED_DATE: dg.MetadataValue.timestamp(run.scheduled_date)} if run.scheduled_date else {}
        return dg.MaterializeResult(
            asset_key=key,
            metadata={**dict(_result_metadata(result)), "starlake/seconds": round(seconds, 3), **scheduled, **result.metadata},
            check_results=list(check_results(node, key, result.expectations)) if self._settings.expectation_checks else None,
        )


class _Log:
    """Writes a command's lines into the run's log; a talkative command's later lines go to standard output only."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._log = context.log
        self._print = printer_of(context)
        self._count = 0

    def __call__(self, level: Level, line: str) -> None:
        if level in ("warning", "error"):
            getattr(self._log, level)(line)
            return
        self._count += 1
        if self._count <= MAX_LOGGED:
            getattr(self._log, level)(line)
            return
        if self._count == MAX_LOGGED + 1:
            self._log.info(f"more than {MAX_LOGGED} lines: the rest is in the step's standard output")
        self._print(line)


def _failure(command: Command, result: CommandResult) -> dg.Failure:
    lines = "\n".join(result.tail)
    reason = result.reason or (result.tail[-1] if result.tail else "no output")
    return dg.Failure(
        description=f"starlake {command.verb} failed with exit code {result.exit_code}: {reason}",
        metadata={
            "command": command.shown,
            "exit_code": result.exit_code,
            "last_lines": dg.MetadataValue.md(f"```\n{lines}\n```"),
            **result.metadata,
        },
        allow_retries=result.retry,
    )


def _result_metadata(result: CommandResult) -> Iterator[tuple[str, Any]]:
    counters = result.counters
    if counters:
        for name, count in (("rows_read", counters.input), ("rows_loaded", counters.accepted), ("rows_rejected", counters.rejected)):
            if count is not None:
                yield f"starlake/{name}", count
        yield "starlake/files", len(counters.files)
        if counters.files:
            yield "starlake/file_names", [path.rsplit("/", 1)[-1] for path in counters.files]
    if result.row_count is not None:
        yield "dagster/row_count", result.row_count


def _time(text: str | None, what: str) -> datetime | None:
    if not text:
        return None
    moment = parse_time(text)
    if moment is None:
        raise InvalidSetting(f"{what} '{text}' is no ISO 8601 time (expected like 2026-01-31T00:00:00)")
    return moment
