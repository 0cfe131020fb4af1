"""Run the steps of load tables: a single table, or a batch of tables (setting ``batch``).

The tables of a batch are loaded with one command, and the executor determines the result of each table. Tables whose result is unknown, or
that the command did not reach, are then loaded one by one. Each table gets its own materialization and checks. The step fails if any table
failed.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from ...commands import RunContext, build_load_command, build_stage_command, split_into_batches
from ...errors import CommandTimeout
from ...executors.base import CommandResult, Counters, TableResult
from ...executors.starlake_output.audit_rows import is_failed_expectation
from ...executors.starlake_output.table_outcomes import add_counters
from ...pipelines.pipeline import Pipeline
from ...project.model import Domain, Table
from ...settings import Settings
from ..batches import FAILED, Member
from ..checks import REJECTED_ROWS, build_check_results, build_reject_check_result, describe_rejected, has_reject_check
from ..graph import AssetGraph
from .command import EndedCommand, Events, StepCommands, build_count_metadata, build_data_version, build_run_metadata, may_succeed_later
from .empty_loads import NO_FILES, find_last_row_count, is_empty_load, repeat_last_results, report_empty_load
from .reexecution import find_failed_before, find_loaded_before, report_kept_assets
from .rows_of_steps import RowsOfSteps
from .run_history import FAILED_IN_TABLE, FILES_LEFT, EarlierFailure

_ADVICE = "Its file may be in the ingesting folder, which no load reads: move it back to the stage folder"

LoadEvent = dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetObservation
LoadEvents = Generator[LoadEvent, None, "list[_Failed]"]


@dataclass(frozen=True, slots=True)
class _Failed:
    member: Member
    result: TableResult
    of: EndedCommand

    def find_reason(self, otherwise: str = "no output") -> str:
        """Return the error message of the table, or else of the command."""
        return self.result.reason or self.of.result.reason or otherwise


@dataclass(frozen=True, slots=True)
class LoadSteps:
    """The bodies of the ops that load tables."""

    graph: AssetGraph
    settings: Settings
    commands: StepCommands
    rows: RowsOfSteps

    def load(self, members: Sequence[Member], context: dg.AssetExecutionContext) -> Events:
        """Load the tables of an op that the run selects, and yield a materialization for each table that was loaded.

        With the ``imported`` strategy, they are staged first if the run does not include the pre-load of their domain.

        Raises:
            dagster.Failure: tables failed.
        """
        selected = _select_members(members, context)
        waiting = selected
        if len(members) > 1:
            history = self.commands.find_history(context)
            before = find_loaded_before(context, history)
            waiting = [m for m in selected if m.key not in before]
            yield from report_kept_assets(context, history, [(m.output, m.key) for m in selected], before)
        if not waiting:
            return
        pre_load = self.graph.keys.get(("domain", waiting[0].table.domain))
        if pre_load and self.commands.runs_dependencies_first(context) and self.commands.has_found_nothing(context, pre_load):
            # In a job with ``run_dependencies_first``, Dagster does not skip the tables.
            context.log.info(f"nothing was loaded: the pre-load of {waiting[0].table.domain} found nothing")
            for member in waiting:
                count = find_last_row_count(context.instance, member.key)
                metadata = {**dict(build_count_metadata(Counters(), count)), NO_FILES: "the pre-load found nothing"}
                checks = list(_repeat_selected_checks(context, member))
                yield dg.MaterializeResult(asset_key=member.key, metadata=metadata, check_results=checks or None)
            return
        node = waiting[0].node
        pipeline = self.commands.find_pipeline(node, context)
        run = self.commands.build_run_context(context, pipeline)
        tables = [m.table for m in waiting]
        domain = next(d for d in node.project.domains if d.name == tables[0].domain)
        if self._stages_itself(tables[0], pipeline, context):
            self.commands.run_command(context, pipeline, build_stage_command(run, domain, tables))
        failed = yield from _Load(self.commands, self.settings, self.rows, context, pipeline, run, domain).load_all(waiting)
        for one in failed:
            yield from self._report_failure(one, context)
        if failed:
            raise _build_step_failure(failed, waiting, domain)

    def _report_failure(self, failed: _Failed, context: dg.AssetExecutionContext) -> Iterator[LoadEvent]:
        """Yield the check results of a table whose load failed, and an observation if its rows are in the table or files may be lost."""
        member, result = failed.member, failed.result
        reason = failed.find_reason("the reason is unknown")
        if result.failed_in_table:
            text = f"The load failed, but its rows are in the table: {reason}"
            metadata = {FAILED_IN_TABLE: reason, **dict(build_count_metadata(result.counters, result.row_count))}
            yield dg.AssetObservation(member.key, text, metadata)
        elif result.leaves_files:
            text = f"The load failed, and its files may be in a folder that no other load reads: {reason}"
            yield dg.AssetObservation(member.key, text, {FILES_LEFT: reason})
        yield from _build_selected_checks(self.settings, self.rows, context, member, result)
        yield from self.rows.check_columns(context, member.node, member.key)

    def _stages_itself(self, table: Table, pipeline: Pipeline | None, context: dg.AssetExecutionContext) -> bool:
        pre_load = pipeline.pre_load.get(table.domain) if pipeline else None
        if pre_load is None or pre_load.strategy != "imported":
            return False
        # Dagster's execute_in_process passes an empty selection for the whole job.
        selected = context.run.asset_selection or None
        return selected is not None and self.graph.keys["domain", table.domain] not in selected


def _build_selected_checks(
    settings: Settings, rows: RowsOfSteps, context: dg.AssetExecutionContext, member: Member, result: TableResult
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of a table's checks that the run selects."""
    found = list(build_check_results(member.node, member.key, result.expectations, rows.show(context, member.table)))
    if has_reject_check(member.node, settings) and all(check.check_name != REJECTED_ROWS for check in found):
        rejected = build_reject_check_result(member.key, result.counters, settings)
        found += [rejected] if rejected else []
    selected = context.selected_asset_check_keys
    yield from (check for check in found if dg.AssetCheckKey(member.key, str(check.check_name)) in selected)


def _repeat_selected_checks(context: dg.AssetExecutionContext, member: Member) -> Iterator[dg.AssetCheckResult]:
    """Yield the last results of the checks that the run selects, for a table without files."""
    selected = context.selected_asset_check_keys
    for check in repeat_last_results(member.node, member.key, context.instance):
        if dg.AssetCheckKey(member.key, str(check.check_name)) in selected:
            yield check


def _select_members(members: Sequence[Member], context: dg.AssetExecutionContext) -> list[Member]:
    if len(members) == 1:
        return list(members)
    keys = context.selected_asset_keys
    alone = sorted({check.asset_key.to_user_string() for check in context.selected_asset_check_keys if check.asset_key not in keys})
    if alone:
        text = f"expectations are evaluated only when their table is loaded; materialize {', '.join(alone)}"
        if not keys:
            raise dg.Failure(text, allow_retries=False)
        context.log.warning(text)
    return [m for m in members if m.key in keys]


@dataclass
class _Load:
    """The load commands of one attempt of a step."""

    commands: StepCommands
    settings: Settings
    rows: RowsOfSteps
    context: dg.AssetExecutionContext
    pipeline: Pipeline | None
    run: RunContext
    domain: Domain
    number: int = 0
    failed_before: Mapping[dg.AssetKey, EarlierFailure] | None = None

    def load_all(self, members: Sequence[Member]) -> LoadEvents:
        """Load tables, yield their materializations, and return those that failed."""
        by_name = {m.table.name: m for m in members}
        failed: list[_Failed] = []
        for tables in split_into_batches([m.table for m in members]):
            batch = [by_name[t.name] for t in tables]
            failed += yield from (self._load_together(batch) if len(batch) > 1 else self._load_alone(batch[0]))
        return failed

    def _load_together(self, batch: Sequence[Member]) -> LoadEvents:
        self.context.log.info(f"loading {len(batch)} tables of {self.domain.name} in one command: {_join_names(batch)}")
        ended = yield from self._run_load(batch)
        failed: list[_Failed] = []
        again: list[tuple[Member, TableResult]] = []
        for member in batch:
            found = self._judge_table(member, ended.result.get_table_result(member.table.name, len(batch)))
            if found.outcome == "loaded":
                yield self._materialize(member, found, ended, len(batch))
            elif found.outcome == "failed":
                failed.append(_Failed(member, found, ended))
            elif not ended.result.retry or (ended.error is not None and not isinstance(ended.error, CommandTimeout)):
                # An interrupted command may still be running, so its tables are not loaded one by one.
                failed.append(_Failed(member, replace(found, reason=ended.result.reason, retry=ended.result.retry), ended))
            else:
                again.append((member, found))
        if again:
            self.context.log.warning(
                f"the command ended before these tables were loaded, or their outcome is unknown; loading them one by one: "
                f"{_join_names([m for m, _ in again])}"
            )
        for member, found in again:
            failed += yield from self._load_alone(member, found, ended)
        return failed

    def _load_alone(self, member: Member, before: TableResult | None = None, earlier: EndedCommand | None = None) -> LoadEvents:
        """Load a table alone. ``before`` is its result from an earlier command for several tables, which left the result unknown."""
        ended = yield from self._run_load([member])
        found = self._judge_table(member, ended.result.get_table_result(member.table.name, 1))
        if found.outcome != "loaded":
            return [_Failed(member, found, ended)]
        if before is not None and earlier is not None:
            if before.outcome == "unknown" and not (found.counters and found.counters.files):
                end = (
                    f"ended with exit code {earlier.result.shown_exit_code}{f' ({earlier.result.reason})' if earlier.result.reason else ''}"
                )
                reason = (
                    f"it is unknown whether it was loaded: the command for several tables {end}, and when the table was loaded alone, "
                    "there was no file. If the load failed, its file is in the ingesting folder, which no load reads: move it back to the "
                    "stage folder"
                )
                return [_Failed(member, replace(found, outcome="failed", reason=reason, retry=False), earlier)]
            found = replace(
                found,
                counters=add_counters(before.counters, found.counters),
                row_count=found.row_count if found.row_count is not None else before.row_count,
                expectations=found.expectations or before.expectations,
            )
        yield self._materialize(member, found, ended, 1)
        return []

    def _judge_table(self, member: Member, found: TableResult) -> TableResult:
        """Return the result of a table, or a failure because of earlier attempts or the ``rejected_rows`` setting."""
        found = self._fail_if_failed_before(member, found)
        counters = found.counters
        if counters is None or not counters.rejected:
            return found
        strategy = member.table.metadata.write_strategy
        overwrites = strategy is not None and (strategy.type or "") == "OVERWRITE"
        emptied = ", and the table is now empty because it was overwritten" if overwrites and not counters.accepted else ""
        table = f"{self.run.project.application.audit_domain}.rejected"
        text = f"{describe_rejected(counters)}{emptied}; their errors are in the table {table} (JOBID '{self.run.job_id}')"
        self.context.log.warning(f"{member.table.full_name}: {text}")
        if self.settings.rejected_rows != "block" or found.outcome != "loaded":
            return found
        return replace(found, outcome="failed", reason=text, retry=False, failed_in_table=True)

    def _fail_if_failed_before(self, member: Member, found: TableResult) -> TableResult:
        """Return the result of a table, or a failure if it found no file and an earlier attempt failed after it took the file."""
        if found.outcome != "loaded" or (found.counters is not None and found.counters.files):
            return found
        if self.failed_before is None:
            self.failed_before = find_failed_before(self.context, self.commands.find_history(self.context))
        earlier = self.failed_before.get(member.key)
        if earlier is None or (earlier.in_table and found.counters is None):
            return found
        if earlier.in_table:
            reason = f"there is no new file, and the load of the last file failed after its rows were written: {earlier.reason}"
            return replace(found, outcome="failed", reason=reason, retry=False, failed_in_table=True)
        files = "there is no file" if found.counters is not None else "it is unknown whether there was a file"
        reason = (
            f"{files}, and the last load failed: {earlier.reason}. Its file is in the ingesting or archive folder, which no load reads: "
            "move it back to the stage folder"
        )
        return replace(found, outcome="failed", reason=reason, retry=False, leaves_files=True)

    def _run_load(self, batch: Sequence[Member]) -> Generator[dg.MaterializeResult[Any], None, EndedCommand]:
        """Run the ``load`` command of a batch of tables, and return its result.

        If the run is canceled, materializations of the tables that are already loaded are yielded before the exception is raised.
        """
        # A separate ID for each command of a step, to distinguish their audit rows.
        job = f"{self.run.job_id}.c{self.number}" if self.number else self.run.job_id
        self.number += 1
        command = build_load_command(replace(self.run, job_id=job), self.domain, [m.table for m in batch])
        began = time.monotonic()
        try:
            ended = self.commands.attempt_command(self.context, self.pipeline, command)
        except (dg.DagsterExecutionInterruptedError, dg.Failure) as canceled:
            known: Mapping[str, TableResult] = getattr(canceled.__cause__, "tables", {}) if len(batch) > 1 else {}
            ended = EndedCommand(command, CommandResult(1), time.monotonic() - began, "")
            for member in batch:
                if member.table.name in known and known[member.table.name].outcome == "loaded":
                    yield self._materialize(member, known[member.table.name], ended, len(batch))
            raise
        return ended if ended.error else replace(ended, result=_forbid_retry_of_expectations(ended.result))

    def _materialize(self, member: Member, found: TableResult, ended: EndedCommand, tables: int) -> dg.MaterializeResult[Any]:
        seconds = round(ended.seconds, 3)
        spent = {"starlake/seconds": seconds} if tables == 1 else {"starlake/batch_seconds": seconds, "starlake/batch_tables": tables}
        checks = list(_build_selected_checks(self.settings, self.rows, self.context, member, found))
        empty, row_count = is_empty_load(found.counters), found.row_count
        if empty and row_count is None:
            row_count = find_last_row_count(self.context.instance, member.key)
        if not empty:
            checks += self.rows.check_columns(self.context, member.node, member.key)
        elif not checks:
            checks = list(_repeat_selected_checks(self.context, member))
        return dg.MaterializeResult(
            asset_key=member.key,
            metadata={
                **dict(build_count_metadata(found.counters, row_count)),
                **report_empty_load(self.context.log, self.run.project, member.table, self.pipeline, found.counters),
                **spent,
                **build_run_metadata(self.context, self.run),
                **self.rows.build_sample(self.context, member.table, ended.command, found.counters),
                **ended.result.metadata,
            },
            check_results=checks or None,
            data_version=build_data_version(self.context),
        )


def _forbid_retry_of_expectations(result: CommandResult) -> CommandResult:
    """Return the result without retries if expectations failed, which Starlake evaluates after writing rows (``IngestionJob.run``)."""
    if result.exit_code == 0 or not is_failed_expectation(result.reason):
        return result
    if not result.tables:
        return replace(result, retry=False, failed_in_table=True)
    # Executors with access to the files have set the reason of each table.
    unexplained = {name: table for name, table in result.tables.items() if table.outcome == "failed" and table.reason is None}
    judged = {name: replace(table, retry=False, failed_in_table=True, reason=result.reason) for name, table in unexplained.items()}
    return replace(result, tables={**result.tables, **judged})


def _join_names(members: Sequence[Member]) -> str:
    return ", ".join(m.table.name for m in members)


def _build_step_failure(failed: Sequence[_Failed], members: Sequence[Member], domain: Domain) -> dg.Failure:
    """Return the failure of a step, with the error message of each failed table."""
    reasons = {f.member.key.to_user_string(): f.find_reason() for f in failed}
    first, reason = failed[0], failed[0].find_reason()
    if len(members) == 1:
        if first.of.result.exit_code == 0 and first.of.error is None:
            metadata = {**first.of.build_failure_metadata(), FAILED: reasons}
            text = f"{reason}\nload failed although its exit code is 0 (executor {first.of.executor})"
            return dg.Failure(text, metadata, allow_retries=may_succeed_later(first.result.retry, reason))
        alone = first.of.build_failure()
        left = f"\n{_ADVICE}" if first.result.leaves_files and "move it back" not in reason else ""
        return dg.Failure(f"{alone.description}{left}", {**alone.metadata, FAILED: reasons}, allow_retries=alone.allow_retries)
    lines = [f"{f.member.table.name}: {f.find_reason()}" for f in failed]
    lines.append(f"load failed for {len(failed)} of {len(members)} tables of {domain.name} (executor {first.of.executor})")
    commands = list({f.of.command.shown: f.of for f in failed}.values())
    metadata = first.of.build_failure_metadata()
    if len(commands) > 1:
        metadata["starlake/command"] = "\n".join(c.command.shown for c in commands)
        tails = (f"{c.command.shown}\n```\n{chr(10).join(c.result.tail[-20:])}\n```" for c in commands)
        metadata["starlake/last_lines"] = dg.MetadataValue.md("\n\n".join(tails))
    may_retry = any(may_succeed_later(f.result.retry, f.find_reason()) for f in failed)
    return dg.Failure("\n".join(lines), {**metadata, FAILED: reasons}, allow_retries=may_retry)
