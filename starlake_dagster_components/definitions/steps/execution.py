"""The code of steps: pre-loads and transforms here, and loads in ``load_tables``."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

import dagster as dg

from ...commands import Command, RunContext, build_load_command, build_preload_command, build_stage_command, build_transform_command
from ...executors.base import CommandResult
from ...executors.local.load_files import find_waiting_files
from ...pipelines.pipeline import Pipeline
from ...project.model import Table, Task
from ...project.sql.intervals import find_task_interval_variables
from ...settings import Settings
from ..batches import Member
from ..checks import build_check_results
from ..graph import AssetGraph
from ..nodes import StarlakeNode
from ..sensors.cron_ticks import find_interval_before
from .command import READY, Events, StepCommands, build_count_metadata, build_data_version, build_run_metadata
from .empty_loads import report_empty_pre_load, report_last_results
from .load_tables import LoadSteps
from .reexecution import find_done_before, report_kept_assets
from .rows_of_steps import RowsOfSteps
from .run_tags import INTERVAL_END, INTERVAL_START

Body = Callable[[dg.AssetExecutionContext], Events]


class Steps:
    """The bodies of all ops of a project."""

    def __init__(self, graph: AssetGraph, settings: Settings) -> None:
        self._graph = graph
        self._settings = settings
        self._commands = StepCommands(graph, settings)
        self._rows = RowsOfSteps(graph, settings)
        self._loads = LoadSteps(graph, settings, self._commands, self._rows)

    def build_body(self, node: StarlakeNode, key: dg.AssetKey) -> Body:
        """Return the body of a node's op."""
        if node.type == "table":
            return self.build_load_body([Member(node, key, "result")])
        return partial({"domain": self.run_pre_load, "task": self.run_transform}[node.type], node, key)

    def build_load_body(self, members: Sequence[Member]) -> Body:
        """Return the body of the op of a batch of tables."""
        return partial(self._loads.load, tuple(members))

    def run_pre_load(self, node: StarlakeNode, key: dg.AssetKey, context: dg.AssetExecutionContext) -> Events:
        """Run the ``preload`` command of a domain and, with the ``imported`` strategy, ``stage``.

        If there is nothing to load, there is no output, so that Dagster skips the tables. In a job with ``run_dependencies_first``, there
        is one, because Dagster would also skip the tasks, which a generated job runs regardless of the loads.

        The strategies are described in Starlake's guide "Customize Dagster DAGs". The command gets the tables of this run, because without
        ``--tables`` some strategies always succeed (``PreLoadCmd``).
        """
        domain = node.load_domain
        pipeline = self._commands.find_pipeline(node, context)
        assert domain is not None
        assert pipeline is not None
        pre_load = pipeline.pre_load[domain.name]
        tables = self._select_tables(context, domain.tables, pipeline)
        run = self._commands.build_run_context(context, pipeline)
        names = ", ".join(t.name for t in tables)
        result = self._commands.run_command(context, pipeline, build_preload_command(run, domain, tables, pre_load))
        if result.not_ready:
            # Files that an earlier load of these tables left behind, for which ``preload`` does not check.
            files = build_load_command(run, domain, tables).files
            left = find_waiting_files(files, staged=pre_load.strategy == "imported") if files else []
            if not left or pre_load.strategy == "ack":
                # With ack, nothing is loaded yet, because a load would also take files whose ack file is missing.
                later = f"; {', '.join(left)}, left by an earlier load, will be loaded with the next ack" if left else ""
                continues = self._commands.runs_dependencies_first(context)
                then = "the tables stay unchanged" if continues else "the tables are skipped"
                context.log.info(f"{domain.name}: nothing to load for {names} (strategy {pre_load.strategy}); {then}{later}")
                yield from report_empty_pre_load(context, node.project, domain, pre_load.strategy, key)
                if continues:
                    yield dg.MaterializeResult(asset_key=key, metadata={"starlake/tables": names, READY: False, **result.metadata})
                    return
                for table in tables:
                    node_id = ("table", table.full_name)
                    report_last_results(self._graph.nodes[node_id], self._graph.keys[node_id], context)
                return
            context.log.info(f"{domain.name}: nothing new (strategy {pre_load.strategy}), but an earlier load left {', '.join(left)}")
        elif pre_load.strategy == "imported":
            staged = self._commands.run_command(context, pipeline, build_stage_command(run, domain, tables))
            result = CommandResult(0, metadata={**result.metadata, **staged.metadata})
        metadata = {"starlake/tables": names, **build_run_metadata(context, run), **result.metadata}
        yield dg.MaterializeResult(asset_key=key, metadata=metadata)

    def run_transform(self, node: StarlakeNode, key: dg.AssetKey, context: dg.AssetExecutionContext) -> Events:
        """Run the ``transform`` command of a task."""
        task = node.task
        assert task is not None
        if self._settings.batch:
            history = self._commands.find_history(context)
            before = find_done_before(context, history)
            if key in before:
                yield from report_kept_assets(context, history, [("result", key)], before)
                return
        pipeline = self._commands.find_pipeline(node, context)
        run = self._add_interval(context, task, pipeline, self._commands.build_run_context(context, pipeline, task))
        ended = self._commands.attempt_command(context, pipeline, build_transform_command(run, task))
        if ended.error is not None:
            raise ended.build_failure() from ended.error
        result = ended.result
        checks = list(build_check_results(node, key, result.expectations, self._rows.show(context, task)))
        checks += self._rows.check_columns(context, node, key)
        if result.exit_code != 0:
            # A failed check may be the reason for the failure.
            yield from checks
            raise ended.build_failure()
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                **dict(build_count_metadata(result.counters, result.row_count)),
                "starlake/seconds": round(ended.seconds, 3),
                **build_run_metadata(context, run),
                **self._describe_task(context, key, task, run, ended.command),
                **self._rows.build_sample(context, task, ended.command, None),
                **result.metadata,
            },
            check_results=checks,
            data_version=build_data_version(context),
        )

    def _describe_task(
        self, context: dg.AssetExecutionContext, key: dg.AssetKey, task: Task, run: RunContext, command: Command
    ) -> dict[str, Any]:
        """Return metadata with the SQL of a task in a run, its column lineage, and the actual columns if its YAML does not declare them."""
        from .column_lineage import build_actual_columns, build_column_metadata
        from .rendered_sql import build_rendered_sql

        sql = build_rendered_sql(context.log, run.project, task, command) if self._settings.show_sql else {}
        metadata = {**sql, **build_column_metadata(context.log, self._graph, self._rows.columns, task)}
        if not task.attributes:
            from .table_rows import read_columns

            columns = read_columns(context.log, run.project, task, warehouses=self._settings.warehouse_counts == "tables")
            metadata |= build_actual_columns(context, key, columns)
        return metadata

    def _add_interval(self, context: dg.AssetExecutionContext, task: Task, pipeline: Pipeline | None, run: RunContext) -> RunContext:
        """Add a data interval to a run that has none because it was started manually: the last complete one of the schedule.

        starlake-dagster does the same.

        Raises:
            dagster.Failure: the task uses the data interval, but the run has none, and the job has no schedule.
        """
        if run.interval_start is not None and run.interval_end is not None:
            return run
        schedule = pipeline.schedule if pipeline else None
        if schedule is not None:
            moment = run.scheduled_date or datetime.now(timezone.utc)
            start, end = find_interval_before(schedule.cron, schedule.timezone or self._settings.timezone, moment)
            context.log.info(f"the run has no data interval; using that of its schedule: {start.isoformat()} to {end.isoformat()}")
            return replace(run, interval_start=start, interval_end=end)
        own = (*pipeline.environment, *pipeline.task_options.get(task.full_name, ())) if pipeline else ()
        missing = sorted(find_task_interval_variables(task) - {*run.variables, *own})
        if missing:
            subject = "the Python file" if task.python_file else "the SQL"
            raise dg.Failure(
                f"{subject} of {task.full_name} uses {', '.join(missing)}, but this run has no data interval, because its job has no "
                f"schedule. Set the tags {INTERVAL_START} and {INTERVAL_END} of the run, or give the job a schedule",
                allow_retries=False,
            )
        return run

    def _select_tables(self, context: dg.AssetExecutionContext, tables: Sequence[Table], pipeline: Pipeline) -> Sequence[Table]:
        selected = context.run.asset_selection or None
        candidates = [t for t in tables if t in pipeline.tables] if context.run.job_name == pipeline.name else tables
        return [t for t in candidates if selected is None or self._graph.keys["table", t.full_name] in selected] or candidates
